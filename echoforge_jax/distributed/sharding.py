"""Meshes and shardings of training.

The batch axis is split over all devices. The state is replicated, except that large arrays are split over the axis
`fsdp` where the mesh has one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import einops
import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from echoforge_jax.errors import ConfigError

T = TypeVar("T")
BATCH_AXES = ("data", "fsdp")


def make_mesh(spec: Sequence[tuple[str, int]], devices: Sequence[Any] | None = None) -> Mesh:
    """Makes a mesh from the sizes of its axes.

    Args:
        spec: ((axis, size), ...); one size may be -1 and takes the devices that are left.
        devices: None takes all devices.

    Raises:
        ConfigError: the sizes do not multiply to the number of devices, an axis is neither `data` nor `fsdp` or stands
            twice, or there is no `data` axis.
    """
    devices = jax.devices() if devices is None else list(devices)
    names, sizes = [name for name, _ in spec], [size for _, size in spec]
    if "data" not in names or set(names) - set(BATCH_AXES) or len(set(names)) < len(names):
        raise ConfigError(f"config.training.mesh is {tuple(spec)}; expected the axis 'data' and, if wanted, 'fsdp'")
    if sizes.count(-1) == 1:
        known = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = len(devices) // known
    if math.prod(sizes) != len(devices):
        raise ConfigError(f"config.training.mesh is {tuple(spec)}, which does not make {len(devices)} devices")
    return jax.make_mesh(tuple(sizes), tuple(names), axis_types=(AxisType.Auto,) * len(sizes), devices=devices)


def batch_parts(mesh: Mesh) -> int:
    """Counts the equal parts into which the batch axis is cut: one for each device."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES if axis in mesh.shape)


def check_batch(mesh: Mesh, batch_clips: int, accumulate: int = 1) -> None:
    """Checks that the global batch divides into equal parts.

    Args:
        mesh: of the training.
        batch_clips: clips of the global batch.
        accumulate: micro-batches into which each device's part is cut.

    Raises:
        ConfigError: it does not.
    """
    parts = batch_parts(mesh) * accumulate
    if batch_clips % parts:
        each = f" in {accumulate} parts each" if accumulate > 1 else ""
        raise ConfigError(
            f"config.data.batch_clips is {batch_clips}; {batch_parts(mesh)} devices cannot share it equally{each}: "
            f"use a multiple of {parts}"
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """Keeps a whole copy of an array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """Splits the leading axis over all devices."""
    return NamedSharding(mesh, PartitionSpec(tuple(axis for axis in BATCH_AXES if axis in mesh.shape)))


def state_shardings(mesh: Mesh, shapes: Any, split_from: int) -> Any:
    """Decides where each array of a state lives.

    Where the mesh has an axis `fsdp`, a large array is split along its longest side that this axis divides (ZeRO-3,
    Rajbhandari et al. 2020: parameters, moments and averages alike). All others are replicated.

    Args:
        mesh: of the training.
        shapes: a tree of arrays or of `jax.ShapeDtypeStruct`.
        split_from: number of elements of the smallest array that is split; smaller ones cost more to gather than to
            keep.

    Returns:
        A tree of shardings, of the structure of `shapes`.
    """
    across = mesh.shape.get("fsdp", 1)

    def place(leaf: Any) -> NamedSharding:
        sides = [i for i, side in enumerate(leaf.shape) if side % across == 0]
        if across == 1 or not sides or math.prod(leaf.shape) < split_from:
            return replicated(mesh)
        longest = max(sides, key=lambda i: leaf.shape[i])
        return NamedSharding(mesh, PartitionSpec(*("fsdp" if i == longest else None for i in range(len(leaf.shape)))))

    return jax.tree.map(place, shapes)


def in_parts(batch: Any, mesh: Mesh, parts: int) -> Any:
    """Cuts a batch into micro-batches along a new first axis. Each device cuts its own rows, so nothing moves.

    Args:
        batch: a tree of arrays (n, ...), split over the devices along n.
        mesh: of the training.
        parts: number of micro-batches p.

    Returns:
        The same tree with arrays (p, n / p, ...).
    """
    devices, rows = batch_parts(mesh), over_batch(mesh).spec[0]

    def cut(values: jax.Array) -> jax.Array:
        cut_up = einops.rearrange(values, "(d p n) ... -> p (d n) ...", d=devices, p=parts)
        return jax.lax.with_sharding_constraint(cut_up, NamedSharding(mesh, PartitionSpec(None, rows)))

    return jax.tree.map(cut, batch)


def put_batch(batch: T, mesh: Mesh) -> T:
    """Makes global arrays, sharded over the batch axis, from this process's rows.

    Args:
        batch: a pytree of NumPy arrays with the batch axis first.
        mesh: the device mesh.
    """
    sharding = over_batch(mesh)
    return jax.tree.map(lambda value: jax.make_array_from_process_local_data(sharding, value), batch)
