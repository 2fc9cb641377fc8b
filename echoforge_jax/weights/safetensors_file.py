"""A network as one safetensors file: weights under torchvision-like names, the card (configuration, metrics) inside.

Encoder keys are torchvision's behind `encoder.` (`encoder.layer1.0.conv1.weight`, OIHW; `running_mean`), matrices are
(out, in) as torch keeps them. In half precision the kernels are float16; norms and biases stay float32, for the
variances of a network that reads grey levels 0..255 pass float16's range.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from echoforge_jax.errors import ConfigError

CARD = "echoforge_card"  # the metadata entry
DTYPES = {"float32": np.float32, "float16": np.float16}
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
FOLDED = re.compile(r"^(layer\d+|downsample)_(\d+)$")


def weights_bytes(variables: dict[str, Any], card: dict[str, Any], dtype: str = "float32") -> bytes:
    """The content of a file with these variables (nested dicts of arrays) and card (what JSON can hold)."""
    tensors = {}
    for path, value in _leaves(variables):
        name, to_torch, _ = _layout(path, value.ndim)
        kind = DTYPES[dtype] if value.ndim > 1 else np.float32
        tensors[name] = np.array(np.asarray(value, np.float32).transpose(to_torch), kind, order="C")
    return save(tensors, {CARD: json.dumps(card)})


def read_weights(path: Path, shapes: dict[str, Any]) -> dict[str, Any]:
    """The variables of a file, float32, in the structure of `shapes` (of `jax.eval_shape` of the network's `init`).

    Raises:
        ConfigError: no safetensors file, or a tensor is missing, too many or of another shape (named).
    """
    with _open(path) as file:
        left = set(file.keys())

        def tensor(key_path: Any, wanted: Any) -> np.ndarray:
            name, _, back = _layout(tuple(part.key for part in key_path), len(wanted.shape))
            if name not in left:
                raise ConfigError(f"{path} has no {name}: it is a network of another configuration")
            left.remove(name)
            value = file.get_tensor(name).astype(np.float32)
            value = value.transpose(back) if value.ndim == len(back) else value
            if value.shape != tuple(wanted.shape):
                raise ConfigError(f"{path}: {name} is {value.shape}, the network needs {tuple(wanted.shape)}")
            return value

        variables = jax.tree.map_with_path(tensor, shapes)
    if left:
        raise ConfigError(f"{path} holds {len(left)} tensors that the network does not have, e.g. {sorted(left)[0]}")
    return variables


def read_card(path: Path) -> dict[str, Any]:
    """The card of a file.

    Raises:
        ConfigError: no safetensors file, or one without a card (an encoder alone, say).
    """
    with _open(path) as file:
        text = (file.metadata() or {}).get(CARD)
    if text is None:
        raise ConfigError(f"{path} holds no trained EchoForge (no metadata {CARD!r}); expected a file of the export")
    return json.loads(text)


def _leaves(variables: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if not isinstance(variables, dict):
        return [(path, variables)]
    return [leaf for name, value in variables.items() for leaf in _leaves(value, (*path, name))]


def _layout(path: tuple[str, ...], dimensions: int) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Name in the file, and the axes there and back, of a variable: ("params" or "batch_stats", module, ..., leaf)."""
    *modules, leaf = path[1:]
    there, back = tuple(range(dimensions)), tuple(range(dimensions))
    name = LEAVES.get(leaf, leaf)
    if leaf == "kernel" and dimensions == 4:  # HWIO and OIHW
        there, back = (3, 2, 0, 1), (2, 3, 1, 0)
    elif leaf == "kernel" and dimensions == 2:
        there, back = (1, 0), (1, 0)
    elif leaf == "kernel":  # of attention, by head: torch has no such layout
        name = leaf
    return ".".join([*(FOLDED.sub(r"\1.\2", module) for module in modules), name]), there, back


def _open(path: Path) -> Any:
    if not path.is_file():
        raise ConfigError(f"{path} is not a file; expected a .safetensors file of the export")
    try:
        return safe_open(str(path), "numpy")
    except SafetensorError as error:
        raise ConfigError(f"{path} is not a safetensors file ({error})") from error
