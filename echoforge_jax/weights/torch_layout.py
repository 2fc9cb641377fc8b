"""torch's names and axis orders for the arrays of a network, and safetensors files that hold them.

Encoder keys are torchvision's (`layer1.0.conv1.weight`, OIHW; `running_mean`), matrices are (out, in) as torch keeps
them. Flax keeps kernels as HWIO and (in, out).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from safetensors import SafetensorError, safe_open

from echoforge_jax.errors import ConfigError

LEAF_NAMES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
NUMBERED_MODULE = re.compile(r"^(layer\d+|downsample)_(\d+)$")  # Flax names cannot hold torch's dots


@dataclasses.dataclass(frozen=True)
class TorchArray:
    """Name and axis order of one array in torch's layout.

    Attributes:
        name: Its name, e.g. "encoder.layer1.0.conv1.weight".
        to_torch: Permutation of the axes from Flax to torch.
        from_torch: Permutation of the axes from torch to Flax.
    """

    name: str
    to_torch: tuple[int, ...]
    from_torch: tuple[int, ...]

    @classmethod
    def of(cls, path: tuple[str, ...], num_axes: int) -> TorchArray:
        """Describes an array by its place in Flax's variables.

        Args:
            path: names of the modules and of the array, without the collection ("params" or "batch_stats").
            num_axes: number of its axes.
        """
        *modules, leaf = path
        to_torch = from_torch = tuple(range(num_axes))
        name = LEAF_NAMES.get(leaf, leaf)
        if leaf == "kernel" and num_axes == 4:
            to_torch, from_torch = (3, 2, 0, 1), (2, 3, 1, 0)  # HWIO and OIHW
        elif leaf == "kernel" and num_axes == 2:
            to_torch = from_torch = (1, 0)
        elif leaf == "kernel":  # of attention, by head: torch has no such layout
            name = leaf
        names = [NUMBERED_MODULE.sub(r"\1.\2", module) for module in modules]
        return cls(".".join([*names, name]), to_torch, from_torch)

    def flax_values(self, values: Shaped[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Returns an array of a file in Flax's order, float32."""
        values = values.astype(np.float32)
        return values.transpose(self.from_torch) if values.ndim == len(self.from_torch) else values


def open_safetensors(path: Path, *, missing: str, not_safetensors: Callable[[SafetensorError], str]) -> Any:
    """Opens a safetensors file for reading (a context manager).

    Args:
        path: of the file.
        missing: message of the error where there is no such file.
        not_safetensors: makes the message of the error where the file is of another kind.

    Raises:
        ConfigError: there is no such file, or it is of another kind.
    """
    if not path.is_file():
        raise ConfigError(missing)
    try:
        return safe_open(str(path), "numpy")
    except SafetensorError as error:
        raise ConfigError(not_safetensors(error)) from error
