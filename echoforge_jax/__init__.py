"""EchoForge in JAX: left-ventricle segmentation in echocardiography clips, learnt from two labelled frames a clip.

>>> import echoforge_jax as ef
>>> predictor = ef.load("camus-small")
>>> predictor.size
256

The names below are imported when they are first used, so that `import echoforge_jax` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from data_pipelines.records import Clip
    from echoforge_jax.api import ejection_fraction, load, read_clip
    from echoforge_jax.config import Config, ModelConfig, default_config, read_config, replace
    from echoforge_jax.inference import Ensemble, Predictor, Segmentation
    from echoforge_jax.models.echoforge import EchoForge
    from echoforge_jax.weights.trained import Trained

__all__ = [
    "Clip",
    "Config",
    "EchoForge",
    "Ensemble",
    "ModelConfig",
    "Predictor",
    "Segmentation",
    "Trained",
    "__version__",
    "default_config",
    "ejection_fraction",
    "load",
    "read_clip",
    "read_config",
    "replace",
]

_HOMES = {
    "Clip": "data_pipelines.records",
    "Config": "echoforge_jax.config",
    "EchoForge": "echoforge_jax.models.echoforge",
    "Ensemble": "echoforge_jax.inference",
    "ModelConfig": "echoforge_jax.config",
    "Predictor": "echoforge_jax.inference",
    "Segmentation": "echoforge_jax.inference",
    "Trained": "echoforge_jax.weights.trained",
    "default_config": "echoforge_jax.config",
    "ejection_fraction": "echoforge_jax.api",
    "load": "echoforge_jax.api",
    "read_clip": "echoforge_jax.api",
    "read_config": "echoforge_jax.config",
    "replace": "echoforge_jax.config",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
