"""Meshes and shardings: the only file that names them. The batch axis is split over all devices; the state is
replicated, but for what is large enough to be split over the axis `fsdp`, where the mesh has one.

Where several processes run one training, all do the same steps; the main one alone writes what people read.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

T = TypeVar("T")


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


def min_over_processes(value: int) -> int:
    """The smallest of the values that the processes hold."""
    return int(np.min(multihost_utils.process_allgather(np.array([value])))) if jax.process_count() > 1 else value


def broadcast_from_main(value: int) -> int:
    """The main process's value, on all."""
    return int(multihost_utils.broadcast_one_to_all(np.array(value))) if jax.process_count() > 1 else value


def gather_on_main(found: dict[int, tuple[np.ndarray, ...]], folder: Path) -> dict[int, tuple[np.ndarray, ...]] | None:
    """What the processes found, by number, on the main one; None on the others. Goes through files, for the arrays are
    of any shape.

    Args:
        folder: that all processes see; it is made and removed.

    Raises:
        ValueError: two processes found the same number.
    """
    if jax.process_count() == 1:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    if not is_main():
        arrays = {f"{number} {place}": a for number, several in found.items() for place, a in enumerate(several)}
        np.savez_compressed(folder / f"{jax.process_index()}.npz", allow_pickle=False, **arrays)
    wait_for_all("all have written what they found")
    if not is_main():
        wait_for_all("what was found is read")  # the folder may be used again
        return None
    whole = dict(found)
    for index in range(1, jax.process_count()):
        with np.load(folder / f"{index}.npz") as arrays:
            names = sorted((int(number), int(place)) for number, place in (name.split() for name in arrays.files))
            for number, group in itertools.groupby(names, key=lambda name: name[0]):
                if number in whole:
                    raise ValueError(f"two processes found number {number}")
                whole[number] = tuple(arrays[f"{n} {place}"] for n, place in group)
    shutil.rmtree(folder)
    wait_for_all("what was found is read")
    return whole


def shard_for_process(items: Sequence[T]) -> Sequence[T]:
    """Every n-th of the items that are dealt to n processes."""
    return items[jax.process_index() :: jax.process_count()]


def asked_to_stop(step: int) -> bool:
    """Whether some process got a SIGTERM, and all are to stop after this same step. To be called by all at each step;
    False where there is one process, whose own handler knows."""
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)
