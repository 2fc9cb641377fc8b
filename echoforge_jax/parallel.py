"""Meshes and shardings: the only file that names them. The batch axis is split over `data`, the state replicated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from echoforge_jax.config import ConfigError


def make_mesh(spec: Sequence[tuple[str, int]], devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh from ((axis, size), ...); one size may be -1 for what is left.

    Raises:
        ConfigError: the sizes do not multiply to the number of devices, or there is no `data` axis.
    """
    devices = jax.devices() if devices is None else list(devices)
    names, sizes = [name for name, _ in spec], [size for _, size in spec]
    if "data" not in names:
        raise ConfigError(f"config.training.mesh is {tuple(spec)}; expected an axis named 'data'")
    if sizes.count(-1) == 1:
        known = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = len(devices) // known
    if math.prod(sizes) != len(devices):
        raise ConfigError(f"config.training.mesh is {tuple(spec)}, which does not make {len(devices)} devices")
    return jax.make_mesh(tuple(sizes), tuple(names), axis_types=(AxisType.Auto,) * len(sizes), devices=devices)


def check_batch(mesh: Mesh, batch_clips: int) -> None:
    """The global batch must divide into equal parts a device."""
    if batch_clips % mesh.shape["data"]:
        raise ConfigError(
            f"config.data.batch_clips is {batch_clips}; {mesh.shape['data']} devices of the data axis cannot share it "
            "equally: use a multiple"
        )


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """The leading axis split over the devices of `data`."""
    return NamedSharding(mesh, PartitionSpec("data"))


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
    """This process's rows of a batch -> global arrays, sharded over the batch axis."""
    sharding = over_batch(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, value) for name, value in batch.items()}
