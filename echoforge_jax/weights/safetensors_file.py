"""A trained network as one safetensors file: weights under torch's names, and the card (configuration, metrics) inside.

In half precision the kernels are float16; norms and biases stay float32, for the variances of a network that reads grey
levels 0..255 are larger than float16 can hold.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from safetensors.numpy import save

from echoforge_jax.errors import ConfigError
from echoforge_jax.weights.torch_layout import TorchArray, open_safetensors

CARD = "echoforge_card"  # name of the metadata entry
DType = Literal["float32", "float16"]
DTYPES: dict[DType, type[np.floating]] = {"float32": np.float32, "float16": np.float16}


def weights_bytes(variables: dict[str, Any], card: dict[str, Any], dtype: DType = "float32") -> bytes:
    """Returns the content of a file.

    Args:
        variables: {"params": ..., "batch_stats": ...}, nested dictionaries of arrays.
        card: what the file says of the network, as JSON can hold it.
        dtype: type of the kernels.
    """
    tensors = {}
    for path, values in jax.tree.leaves_with_path(variables):
        array = TorchArray.of(tuple(part.key for part in path[1:]), values.ndim)
        kind = DTYPES[dtype] if values.ndim > 1 else np.float32
        tensors[array.name] = np.array(np.asarray(values, np.float32).transpose(array.to_torch), kind, order="C")
    return save(tensors, {CARD: json.dumps(card)})


def read_weights(path: Path, shapes: dict[str, Any]) -> dict[str, Any]:
    """Reads the variables of a file, float32.

    Args:
        path: of the file.
        shapes: the structure that is expected, `jax.eval_shape` of the network's `init`.

    Raises:
        ConfigError: no safetensors file, or a tensor is missing, too many or of another shape (named).
    """
    with _open(path) as file:
        unread = set(file.keys())

        def read(key_path: Any, wanted: Any) -> np.ndarray:
            array = TorchArray.of(tuple(part.key for part in key_path[1:]), len(wanted.shape))
            if array.name not in unread:
                raise ConfigError(f"{path} has no {array.name}: it is a network of another configuration")
            unread.remove(array.name)
            values = array.flax_values(file.get_tensor(array.name))
            if values.shape != tuple(wanted.shape):
                raise ConfigError(f"{path}: {array.name} is {values.shape}, the network needs {tuple(wanted.shape)}")
            return values

        variables = jax.tree.map_with_path(read, shapes)
    if unread:
        raise ConfigError(
            f"{path} holds {len(unread)} tensors that the network does not have, e.g. {sorted(unread)[0]}"
        )
    return variables


def read_card(path: Path) -> dict[str, Any]:
    """Reads the card of a file.

    Raises:
        ConfigError: no safetensors file, or one without a card (an encoder alone, say).
    """
    with _open(path) as file:
        text = (file.metadata() or {}).get(CARD)
    if text is None:
        raise ConfigError(f"{path} holds no trained EchoForge (no metadata {CARD!r}); expected a file of the export")
    return parse_card(text, path)


def parse_card(text: str, path: Path) -> dict[str, Any]:
    """Reads the card of a trained network from JSON.

    Args:
        text: the JSON.
        path: the file that holds it, for the message.

    Raises:
        ConfigError: it is no JSON, or has no configuration.
    """
    try:
        card = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"the card of {path} is no JSON ({error}); export the network again") from error
    if not isinstance(card, dict) or not isinstance(card.get("config"), dict):
        raise ConfigError(f"the card of {path} holds no configuration; export the network again")
    return card


def _open(path: Path) -> Any:
    return open_safetensors(
        path,
        missing=f"{path} is not a file; expected a .safetensors file of the export",
        not_safetensors=lambda error: f"{path} is not a safetensors file ({error})",
    )
