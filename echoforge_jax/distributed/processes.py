"""Cooperation of the processes of one run: all do the same steps, and the main one alone writes what people read."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src import distributed  # the coordinator's store of keys and values has no public name
from jax.experimental import multihost_utils

from echoforge_jax import interruption
from echoforge_jax.errors import USAGE, EndedWithMain

T = TypeVar("T")
STOP = "echoforge/stop"  # key in the coordinator's store
COORDINATOR_WAITS_S = 2.0  # the other processes would take a coordinator that ends before them for lost
OTHERS_WAIT_S = 3.0  # the others ask the store every second
_CALLS = itertools.count(1)


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


def on_main(action: Callable[[], None]) -> None:
    """Runs an action on the main process; where it raises, all processes end with its exit code.

    Args:
        action: what the main process does; the others wait for it.

    Raises:
        EndedWithMain: in the other processes, where the action failed.
        Exception: in the main process, what the action raises.
    """
    fault: Exception | None = None
    if is_main():
        try:
            action()
        except Exception as error:
            fault = error
    code = broadcast_from_main(0 if fault is None else int(getattr(fault, "exit_code", USAGE)))
    if fault is not None:
        raise fault
    if code:
        raise EndedWithMain(code)


def shard_for_process(items: Sequence[T]) -> Sequence[T]:
    """Returns this process's share of the items: every n-th of them, where n processes run."""
    return items[jax.process_index() :: jax.process_count()]


def asked_to_stop() -> bool:
    """Tells whether some process received a SIGTERM, so that all are to stop at this same call.

    All processes call it equally often. It is False where one process runs alone, whose own signal handler knows.
    """
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(next(_CALLS))


def stop_together() -> None:
    """Lets a SIGTERM or Ctrl-C of one process stop all processes of the run. To be called after they have joined.

    JAX has put its own handler of SIGTERM in place, by which all processes agree on a step (`asked_to_stop`). It is
    called from here on by `interruption`'s, which also ends a process that is not in a training's loop. A process that
    gets a signal tells the others at once through JAX's coordinator, since they may be in a long compilation and wait
    for it afterwards.
    """
    if jax.process_count() == 1:
        interruption.handle_again()
        return
    c_library = ctypes.CDLL(None)
    c_library.signal.restype = ctypes.c_void_p
    handler = c_library.signal(int(signal.SIGTERM), None)
    interruption.handle_again()
    client: Any = distributed.global_state.client
    if handler:
        notify_jax = ctypes.CFUNCTYPE(None, ctypes.c_int)(handler)
        interruption.at_signal(lambda: notify_jax(int(signal.SIGTERM)))
    interruption.at_signal(lambda: client.key_value_set(STOP, str(jax.process_index()), allow_overwrite=True))
    if is_main():
        interruption.be_patient(interruption.PATIENCE_S + COORDINATOR_WAITS_S)
    threading.Thread(target=_listen, args=(client,), name="stop of other processes", daemon=True).start()


def let_others_stop() -> None:
    """Waits, before this process ends after a signal, until the others have had the time to end by themselves.

    One that ends before they know would be taken for lost; so would the coordinator while another one still compiles.
    """
    time.sleep(interruption.PATIENCE_S + COORDINATOR_WAITS_S if is_main() else OTHERS_WAIT_S)


def _listen(client: Any) -> None:
    """Waits until another process was told to stop, and passes that on to this one."""
    while not interruption.received():
        try:
            client.key_value_try_get(STOP)
        except jax.errors.JaxRuntimeError as error:
            if not str(error).startswith("NOT_FOUND"):
                return  # the run is over
            time.sleep(1.0)
        else:
            os.kill(os.getpid(), signal.SIGTERM)
            return
