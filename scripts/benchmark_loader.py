"""Augmented training clips per second: from memory and from a prepared store, by reader threads and worker processes.

    python scripts/benchmark_loader.py [--clips=400] [--long_run=10000] [--size=256] [--frames=10]

Reading alone (store -> clip of the wanted size) and augmenting alone are measured beside, so that the table says what
bounds the rate. All settings run once in each round, interleaved; medians are printed. --long_run then draws that many
clips and prints the resident memory on the way.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from data_pipelines import prepare, store
from data_pipelines.augment import Augmentation
from data_pipelines.batches import Stream, TrainingBatches
from data_pipelines.records import SampledClip
from data_pipelines.sampling import sample_clip
from data_pipelines.store.lazy_clips import LazyClips

_CLIPS = flags.DEFINE_integer("clips", 200, "Clips drawn in each measurement.")
_LONG = flags.DEFINE_integer("long_run", 0, "Clips of the memory measurement; 0: none.")
_SIZE = flags.DEFINE_integer("size", 256, "Frame size, pixels.")
_FRAMES = flags.DEFINE_integer("frames", 10, "Frames a clip.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Rounds over all settings.")
_PATIENTS = flags.DEFINE_integer("patients", 20, "Simulated patients in the store, two clips each.")
_THREADS_AND_PROCESSES = ((1, 0), (2, 0), (1, 1), (1, 2))


def resident_mb() -> float:
    """Memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def timed(work: Callable[[], int]) -> float:
    """Clips per second of a piece of work that returns how many it made."""
    began = time.perf_counter()
    return work() / (time.perf_counter() - began)


def batches(clips: Sequence[SampledClip]) -> TrainingBatches:
    return TrainingBatches((Stream(clips, 4),), seed=0, augmentation=Augmentation())


def drawn_per_second(made: TrainingBatches, threads: int, processes: int) -> float:
    """Clips per second from the second batch on: the start of worker processes is not part of the measurement."""
    batches_made = made.iterate(0, 1 + _CLIPS.value // 4, threads, processes)
    next(batches_made)
    return timed(lambda: sum(len(batch.valid) for batch in batches_made))


def main(_: list[str]) -> None:
    size, frames = _SIZE.value, _FRAMES.value
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["simulated_echo", "--data_dir", folder, "--patients", str(_PATIENTS.value), "--workers", "2"]
        if prepare.main([*arguments, "--frames", str(2 * frames), "--size", str(size)]):
            raise SystemExit("the store could not be prepared")
        stored = store.open_store(Path(folder), "simulated_echo", "train")
        sample = lambda i: sample_clip(stored[i % len(stored)], frames, size)
        memory = [sample(i) for i in range(len(stored))]
        lazy = LazyClips(stored, frames, size)
        augmentation, rng = Augmentation(), np.random.default_rng(0)

        def augment() -> int:
            for i in range(_CLIPS.value):
                augmentation(memory[i % len(memory)].frames, memory[i % len(memory)].label_map, rng)
            return _CLIPS.value

        settings: dict[str, Callable[[], float]] = {
            "reading alone, 1 thread": lambda: timed(lambda: len([sample(i) for i in range(_CLIPS.value)])),
            "augmenting alone, 1 thread": lambda: timed(augment),
        }
        for name, made in (("memory", batches(memory)), ("store", batches(lazy))):
            for threads, processes in _THREADS_AND_PROCESSES:
                key = f"batches from {name}, {threads} threads, {processes} worker processes"
                settings[key] = functools.partial(drawn_per_second, made, threads, processes)
        rates: dict[str, list[float]] = {name: [] for name in settings}
        for _round in range(_ROUNDS.value):
            for name, work in settings.items():
                rates[name].append(work())
        print(f"clips of {frames} frames of {size}x{size} per second, median of {_ROUNDS.value} rounds:")
        for name, values in rates.items():
            print(f"  {name:50} {statistics.median(values):7.1f}   ({min(values):.1f} to {max(values):.1f})")
        if _LONG.value:
            print(f"resident memory while {_LONG.value} clips are drawn from the store, 2 threads:")
            for step, _batch in enumerate(batches(lazy).iterate(0, _LONG.value // 4, 2), 1):
                if step % max(_LONG.value // 40, 1) == 0 or step == 50:
                    print(f"  after {4 * step:6} clips {resident_mb():8.0f} MB", flush=True)


if __name__ == "__main__":
    app.run(main)
