"""echoforge_jax.distributed.sharding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import einops
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from echoforge_jax.errors import ConfigError

BATCH_AXES = ("data", "fsdp")


def make_mesh(spec: Sequence[tuple[str, int]], devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh from ((axis, size), ...); one size may be -1 for what is left.

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
    """Into how many equal parts the batch axis is cut: one a device."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES if axis in mesh.shape)


def check_batch(mesh: Mesh, batch_clips: int, accumulate: int = 1) -> None:
    """The global batch must divide into equal parts a device (and, of those, equal parts to accumulate)."""
    parts = batch_parts(mesh) * accumulate
    if batch_clips % parts:
        each = f" in {accumulate} parts each" if accumulate > 1 else ""
        raise ConfigError(
            f"config.data.batch_clips is {batch_clips}; {batch_parts(mesh)} devices cannot share it equally{each}: "
            f"use a multiple of {parts}"
        )


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """The leading axis split over all devices."""
    return NamedSharding(mesh, PartitionSpec(tuple(axis for axis in BATCH_AXES if axis in mesh.shape)))


def state_shardings(mesh: Mesh, shapes: Any, split_from: int) -> Any:
    """Where each array of a state lives: with an axis `fsdp`, large arrays are split along their longest side that it
    divides (ZeRO-3: parameters, moments, averages alike); all others are replicated.

    Args:
        shapes: a tree of arrays or of `jax.ShapeDtypeStruct`.
        split_from: elements of the smallest array that is split; smaller ones cost more to gather than to keep.
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
    """A batch as `parts` smaller ones along a new first axis; each device cuts up its own rows, nothing moves."""
    devices, rows = batch_parts(mesh), over_batch(mesh).spec[0]

    def cut(values: jax.Array) -> jax.Array:
        cut_up = einops.rearrange(values, "(d p n) ... -> p (d n) ...", d=devices, p=parts)
        return jax.lax.with_sharding_constraint(cut_up, NamedSharding(mesh, PartitionSpec(None, rows)))

    return jax.tree.map(cut, batch)


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
    """This process's rows of a batch -> global arrays, sharded over the batch axis."""
    sharding = over_batch(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, value) for name, value in batch.items()}
