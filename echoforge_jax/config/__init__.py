"""The configuration of a run: what its fields mean (`schema`), and how it is read and changed (`reader`)."""

from echoforge_jax.config.reader import default_config, differences, flatten, read_config, replace, stored_form
from echoforge_jax.config.renamed import rename_fields
from echoforge_jax.config.schema import (
    Config,
    DataConfig,
    EvaluationConfig,
    FlameRiseConfig,
    LossConfig,
    MixConfig,
    ModelConfig,
    OptimizerConfig,
    PseudoLabelConfig,
    SimulationConfig,
    TrainingConfig,
)

__all__ = [
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "FlameRiseConfig",
    "LossConfig",
    "MixConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PseudoLabelConfig",
    "SimulationConfig",
    "TrainingConfig",
    "default_config",
    "differences",
    "flatten",
    "read_config",
    "rename_fields",
    "replace",
    "stored_form",
]
