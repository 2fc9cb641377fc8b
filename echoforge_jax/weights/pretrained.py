"""Pretrained encoders: a safetensors file in torchvision's key layout -> parameters, together with its preprocessing.

Two conventions exist and must not be mixed: torchvision's v1.5 (RGB, 0..1, mean and std) and the original v1 (Caffe:
BGR, 0..255, mean only, stride in the first 1x1). A file says in its metadata when it is v1. No pickle is read.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np

from echoforge_jax.config import ModelConfig
from echoforge_jax.errors import ConfigError
from echoforge_jax.weights.torch_layout import TorchArray, open_safetensors

TORCHVISION_MEAN, TORCHVISION_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def with_preprocessing(config: ModelConfig) -> ModelConfig:
    """Returns the configuration with the strides and the normalisation that its pretrained file was trained with.

    Raises:
        ConfigError: the file is missing, is no safetensors file, or its metadata cannot be understood.
    """
    if config.pretrained is None:
        return config
    with _open(config.pretrained) as file:
        metadata = file.metadata() or {}
    if "first 1x1" not in metadata.get("stride", ""):
        return dataclasses.replace(
            config, stride_in_first_1x1=False, input_mean=TORCHVISION_MEAN, input_std=TORCHVISION_STD
        )
    stated = re.fullmatch(r"BGR, 0\.\.255, minus \[([\d., ]+)\]", metadata.get("input", ""))
    if stated is None:
        raise ConfigError(
            f"{config.pretrained}: metadata 'input' is {metadata.get('input')!r}; "
            "expected 'BGR, 0..255, minus [b,g,r]' for a file with v1 strides"
        )
    mean = tuple(float(m) / 255.0 for m in stated[1].split(","))
    return dataclasses.replace(config, stride_in_first_1x1=True, input_mean=mean, input_std=(1.0 / 255.0,) * len(mean))


def load_encoder(variables: dict[str, Any], config: ModelConfig) -> dict[str, Any]:
    """Replaces the encoder in the variables of an `EchoForge` by the weights of the configuration's pretrained file.

    Args:
        variables: {"params": ..., "batch_stats": ...}; all but the encoder is left as it is.
        config: the model; `config.pretrained` names the file.

    Raises:
        ConfigError: a key is missing or has another shape (named), or the norm cannot take batch statistics.
    """
    if config.pretrained is None:
        return variables
    if config.norm == "group":
        raise ConfigError("config.model.pretrained holds batch norms; set config.model.norm to 'batch' or 'frozen'")
    with _open(config.pretrained) as file:
        keys = set(file.keys())

        def read(path: Any, wanted: Any) -> np.ndarray:
            array = TorchArray.of(tuple(part.key for part in path), wanted.ndim)
            if array.name not in keys:
                stages = sorted({key.split(".")[0] for key in keys if key.startswith("layer")})
                raise ConfigError(
                    f"{config.pretrained} has no {array.name} (it holds {', '.join(stages)}); "
                    f"the configuration asks for ResNet-{config.encoder_depth} with {config.encoder_stages} stages"
                )
            values = array.flax_values(file.get_tensor(array.name))
            if values.shape != wanted.shape:
                raise ConfigError(
                    f"{config.pretrained}: {array.name} is {values.shape}, the model needs {wanted.shape}"
                )
            return values

        encoder = {
            collection: jax.tree.map_with_path(read, variables[collection]["encoder"])
            for collection in ("params", "batch_stats")
        }
    return {**variables, **{name: {**variables[name], "encoder": values} for name, values in encoder.items()}}


def _open(path: str) -> Any:
    return open_safetensors(
        Path(path),
        missing=f"config.model.pretrained is {path!r}, which is not a file; expected a .safetensors file",
        not_safetensors=lambda error: (
            f"{path} is not a safetensors file ({error}); a torchvision .pth is converted outside this package, see "
            "docs/explanation/method.md, 'Pretrained weights'"
        ),
    )
