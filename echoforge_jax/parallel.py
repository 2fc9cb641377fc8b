"""Meshes and shardings: the only file that names them. The batch axis is split over `data`, the state replicated.

Where several processes run one training, all do the same steps; the main one alone writes what people read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
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


def is_main() -> bool:
    """Whether this process writes logs and results."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Returns when every process has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


@contextmanager
def main_first(name: str) -> Iterator[None]:
    """The main process does what stands inside, then the others (who mostly find it done)."""
    if not is_main():
        wait_for_all(name)
    try:
        yield
    finally:
        if is_main():
            wait_for_all(name)


def least(value: int) -> int:
    """The smallest of the values that the processes hold."""
    return int(np.min(multihost_utils.process_allgather(np.array([value])))) if jax.process_count() > 1 else value


def asked_to_stop(step: int) -> bool:
    """Whether some process got a SIGTERM, and all are to stop after this same step. To be called by all at each step;
    False where there is one process, whose own handler knows."""
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)
