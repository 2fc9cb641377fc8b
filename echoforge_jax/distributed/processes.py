"""Cooperation of the processes of one run: all do the same steps, and the main one alone writes what people read."""

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


def has_joined() -> bool:
    """Tells whether this process has joined a run over several processes."""
    return jax.distributed.is_initialized()


def is_main() -> bool:
    """Tells whether this process writes logs and results."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Waits until every process has called this function with the same name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


@contextmanager
def main_first(name: str) -> Iterator[None]:
    """Lets the main process run the block first; the others run it afterwards and usually find the work done.

    Args:
        name: of the waiting point, the same in all processes.
    """
    if not is_main():
        wait_for_all(name)
    try:
        yield
    finally:
        if is_main():
            wait_for_all(name)


def min_over_processes(value: int) -> int:
    """Returns the smallest of the values that the processes hold."""
    return int(np.min(multihost_utils.process_allgather(np.array([value])))) if jax.process_count() > 1 else value


def broadcast_from_main(value: int) -> int:
    """Returns the main process's value in all processes."""
    return int(multihost_utils.broadcast_one_to_all(np.array(value))) if jax.process_count() > 1 else value


def gather_on_main(groups: dict[int, tuple[np.ndarray, ...]], folder: Path) -> dict[int, tuple[np.ndarray, ...]] | None:
    """Collects numbered groups of arrays from all processes on the main one.

    The arrays may have any shape, so they travel through files.

    Args:
        groups: arrays of this process, by the number of the group.
        folder: a folder that all processes see; it is made and removed.

    Returns:
        The groups of all processes; None in other processes than the main one.

    Raises:
        ValueError: two processes hold a group of the same number.
    """
    if jax.process_count() == 1:
        return groups
    folder.mkdir(parents=True, exist_ok=True)
    if not is_main():
        arrays = {f"{number} {position}": a for number, group in groups.items() for position, a in enumerate(group)}
        np.savez_compressed(folder / f"{jax.process_index()}.npz", allow_pickle=False, **arrays)
    wait_for_all("all processes have written their arrays")
    if not is_main():
        wait_for_all("the main process has read all arrays")  # the folder may be used again
        return None
    gathered = dict(groups)
    for index in range(1, jax.process_count()):
        with np.load(folder / f"{index}.npz") as arrays:
            names = sorted((int(number), int(position)) for number, position in (n.split() for n in arrays.files))
            for number, group in itertools.groupby(names, key=lambda name: name[0]):
                if number in gathered:
                    raise ValueError(f"two processes found number {number}")
                gathered[number] = tuple(arrays[f"{n} {position}"] for n, position in group)
    shutil.rmtree(folder)
    wait_for_all("the main process has read all arrays")
    return gathered


def shard_for_process(items: Sequence[T]) -> Sequence[T]:
    """Returns this process's share of the items: every n-th of them, where n processes run."""
    return items[jax.process_index() :: jax.process_count()]


def asked_to_stop(step: int) -> bool:
    """Tells whether some process received a SIGTERM, so that all are to stop after this same step.

    All processes call it at each step. It is False where one process runs alone, whose own signal handler knows.

    Args:
        step: the step that was just done, the same in all processes.
    """
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)
