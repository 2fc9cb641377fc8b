"""The configuration of a run: what its fields mean (`schema`), and how it is read and changed (`reader`)."""

from echoforge_jax.config.reader import default_config, differences, flatten, read_config
from echoforge_jax.config.schema import (
    REMATERIALISABLE,
    Config,
    DataConfig,
    EvaluationConfig,
    MixConfig,
    ModelConfig,
    OptimizerConfig,
    SemiConfig,
    SimulationConfig,
    TrainingConfig,
)

__all__ = [
    "REMATERIALISABLE",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "MixConfig",
    "ModelConfig",
    "OptimizerConfig",
    "SemiConfig",
    "SimulationConfig",
    "TrainingConfig",
    "default_config",
    "differences",
    "flatten",
    "read_config",
]
