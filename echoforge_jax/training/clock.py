"""Where the time of a training goes: steps, waiting for data, checkpoints; and its memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import jax

T = TypeVar("T")
GIB = 2**30


class Clock:
    """Times a window of steps.

    Steps are dispatched ahead of the device. Only a watcher that waits for each result knows when the device fell idle,
    and so how long it waited for the next batch.
    """

    def __init__(self) -> None:
        self._watcher = ThreadPoolExecutor(1)
        self._done: Future[float] | None = None
        self.restart()

    def restart(self) -> None:
        """Begins a new window."""
        self._began, self._steps, self._idle_s, self._saving_s = time.monotonic(), 0, 0.0, 0.0

    def batches(self, source: Iterable[T]) -> Iterator[T]:
        """Passes the batches on and times how long each one took to come."""
        batches, end = iter(source), object()
        while True:
            asked = time.monotonic()
            batch = next(batches, end)
            if batch is end:
                return
            if self._done is not None and self._done.done():
                self._idle_s += time.monotonic() - max(self._done.result(), asked)
            yield cast(T, batch)

    def dispatched(self, results: Any) -> None:
        """Notes that a step was given to the device, which will fill `results`."""
        self._steps += 1
        self._done = self._watcher.submit(_when_ready, results)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Counts the time inside as time for checkpoints, of the next window."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._saving_s += time.monotonic() - began

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the time inside out: compilation and validation say nothing about the speed of steps."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._began += time.monotonic() - began
            self._done = None

    def clips_per_s(self, batch_clips: int) -> float:
        """Returns the clips a second of this window so far, for batches of so many clips."""
        return self._steps * batch_clips / self._spent_s()

    def _spent_s(self) -> float:
        return max(time.monotonic() - self._began - self._saving_s, 1e-9)

    def values(self, batch_clips: int) -> dict[str, float]:
        """Returns the window as metrics, for batches of so many clips.

        Returns:
            clips_per_s; step_s, seconds a step (neither where no step was timed); data_wait_share, the share of that
            time in which the device waited for data; checkpoint_s, further seconds in which a checkpoint held up the
            loop; host_memory_gib, this process's memory at its highest; device_memory_gib of its first device, where
            that is known.
        """
        spent_s = self._spent_s()
        values = {
            "data_wait_share": min(self._idle_s / spent_s, 1.0),
            "checkpoint_s": self._saving_s,
            "host_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB,
        }
        if self._steps:
            values |= {"clips_per_s": self.clips_per_s(batch_clips), "step_s": spent_s / self._steps}
        if stats := jax.local_devices()[0].memory_stats():
            values["device_memory_gib"] = stats.get("peak_bytes_in_use", 0) / GIB
        return values

    def close(self) -> None:
        """Ends the watcher's thread."""
        self._watcher.shutdown()


def _when_ready(results: Any) -> float:
    jax.block_until_ready(results)
    return time.monotonic()
