"""Pretrained encoders: a safetensors file in torchvision's key layout -> parameters, together with its preprocessing.

Two conventions exist and must not be mixed: torchvision's v1.5 (RGB, 0..1, mean and std) and the original v1 (Caffe:
BGR, 0..255, mean only, stride in the first 1x1). A file says in its metadata when it is v1. No pickle is read.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from echoforge_jax.config import ModelConfig
from echoforge_jax.errors import ConfigError

TORCHVISION_MEAN, TORCHVISION_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_NORM_PARAMETERS = {"scale": "weight", "bias": "bias"}
_NORM_STATISTICS = {"mean": "running_mean", "var": "running_var"}


def with_preprocessing(config: ModelConfig) -> ModelConfig:
    """The model configuration with the strides and the normalisation that its pretrained file was trained with.

    Raises:
        ConfigError: the file is missing, is no safetensors file, or its metadata cannot be understood.
    """
    if not config.pretrained:
        return config
    with _open(config.pretrained) as file:
        metadata = file.metadata() or {}
    if "first 1x1" not in metadata.get("stride", ""):
        return dataclasses.replace(
            config, stride_in_first_1x1=False, input_mean=TORCHVISION_MEAN, input_std=TORCHVISION_STD
        )
    found = re.fullmatch(r"BGR, 0\.\.255, minus \[([\d., ]+)\]", metadata.get("input", ""))
    if found is None:
        raise ConfigError(
            f"{config.pretrained}: metadata 'input' is {metadata.get('input')!r}; "
            "expected 'BGR, 0..255, minus [b,g,r]' for a file with v1 strides"
        )
    mean = tuple(float(m) / 255.0 for m in found[1].split(","))
    return dataclasses.replace(config, stride_in_first_1x1=True, input_mean=mean, input_std=(1.0 / 255.0,) * len(mean))


def load_encoder(variables: dict[str, Any], config: ModelConfig) -> dict[str, Any]:
    """`variables` of an `EchoForge` with the encoder replaced by the file's weights; the rest is left as it is.

    Raises:
        ConfigError: a key is missing or has another shape (named), or the norm cannot take batch statistics.
    """
    if config.norm == "group":
        raise ConfigError("config.model.pretrained holds batch norms; set config.model.norm to 'batch' or 'frozen'")
    with _open(config.pretrained) as file:
        keys = set(file.keys())

        def tensor(key: str, shape: tuple[int, ...]) -> np.ndarray:
            if key not in keys:
                stages = sorted({k.split(".")[0] for k in keys if k.startswith("layer")})
                raise ConfigError(
                    f"{config.pretrained} has no {key} (it holds {', '.join(stages)}); "
                    f"the configuration asks for ResNet-{config.encoder_depth} with {config.encoder_stages} stages"
                )
            value = file.get_tensor(key).astype(np.float32)
            if value.ndim == 4:
                value = value.transpose(2, 3, 1, 0)  # OIHW -> HWIO
            if value.shape != shape:
                raise ConfigError(f"{config.pretrained}: {key} is {value.shape}, the model needs {shape}")
            return value

        def fill(tree: dict[str, Any], prefix: str, names: dict[str, str]) -> dict[str, Any]:
            out = {}
            for name, value in tree.items():
                if isinstance(value, dict):
                    key = re.sub(r"^(layer\d+|downsample)_(\d+)$", r"\1.\2", name)
                    out[name] = fill(value, f"{prefix}{key}.", names)
                else:
                    is_kernel = name == "kernel"
                    out[name] = tensor(prefix + ("weight" if is_kernel else names[name]), value.shape)
            return out

        params = {**variables["params"], "encoder": fill(variables["params"]["encoder"], "", _NORM_PARAMETERS)}
        stats = {**variables["batch_stats"], "encoder": fill(variables["batch_stats"]["encoder"], "", _NORM_STATISTICS)}
    return {**variables, "params": params, "batch_stats": stats}


def _open(path: str) -> Any:
    if not Path(path).is_file():
        raise ConfigError(f"config.model.pretrained is {path!r}, which is not a file; expected a .safetensors file")
    try:
        return safe_open(path, "numpy")
    except SafetensorError as error:
        raise ConfigError(
            f"{path} is not a safetensors file ({error}); a torchvision .pth is converted outside this package, see "
            "docs/explanation/method.md, 'Pretrained weights'"
        ) from error
