"""Measures training clips per second, from memory and from a prepared store, by reader threads and worker processes.

    python scripts/benchmark_loader.py [--clips=400] [--long_run=10000] [--size=256] [--frames=10]

Reading alone (from the store to a clip of the wanted size) and augmenting alone are measured too, so that the table
shows what limits the rate. All settings run once in each round, interleaved; medians are printed. --long_run then draws
that many clips and prints the resident memory on the way.
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
from data_pipelines.augment import augment
from data_pipelines.batches import Stream, TrainingBatches
from data_pipelines.lazy_clips import LazyClips
from data_pipelines.records import SampledClip
from data_pipelines.sampling import sample_clip
from data_pipelines.settings import Augmentation

_CLIPS = flags.DEFINE_integer("clips", 200, "Number of clips that each measurement draws.")
_LONG_RUN = flags.DEFINE_integer("long_run", 0, "Number of clips of the measurement of memory; 0 leaves it out.")
_SIZE = flags.DEFINE_integer("size", 256, "Side of the frames in pixels.")
_FRAMES = flags.DEFINE_integer("frames", 10, "Number of frames of a clip.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Number of rounds over all settings.")
_PATIENTS = flags.DEFINE_integer("patients", 20, "Number of simulated patients in the store, with two clips each.")
_THREADS_AND_PROCESSES = ((1, 0), (2, 0), (1, 1), (1, 2))
_BATCH_CLIPS = 4


def resident_mb() -> float:
    """Returns how much memory of this process is in RAM, in megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def clips_per_second(work: Callable[[], int]) -> float:
    """Times a piece of work that returns how many clips it made."""
    began = time.perf_counter()
    return work() / (time.perf_counter() - began)


def make_batches(clips: Sequence[SampledClip]) -> TrainingBatches:
    """Makes augmented batches of four clips."""
    return TrainingBatches((Stream(clips, _BATCH_CLIPS),), seed=0, augmentation=Augmentation())


def batches_per_second(batches: TrainingBatches, threads: int, processes: int) -> float:
    """Measures clips per second from the second batch on, without the start of worker processes.

    Args:
        batches: what to draw from.
        threads: reader threads.
        processes: worker processes; 0 reads in this process.
    """
    drawn = batches.iterate(0, 1 + _CLIPS.value // _BATCH_CLIPS, threads=threads, worker_processes=processes)
    next(drawn)
    return clips_per_second(lambda: sum(len(batch.valid) for batch in drawn))


def measure(stored: store.StoredClips) -> None:
    """Measures every setting in each round and prints the medians."""
    size, frames = _SIZE.value, _FRAMES.value
    memory = [sample_clip(clip, frames, size) for clip in stored]
    settings, rng = Augmentation(), np.random.default_rng(0)

    def read_alone() -> int:
        for i in range(_CLIPS.value):
            sample_clip(stored[i % len(stored)], frames, size)
        return _CLIPS.value

    def augment_alone() -> int:
        for i in range(_CLIPS.value):
            clip = memory[i % len(memory)]
            augment(clip.frames, clip.label_map, settings, rng)
        return _CLIPS.value

    measurements: dict[str, Callable[[], float]] = {
        "reading alone, 1 thread": functools.partial(clips_per_second, read_alone),
        "augmenting alone, 1 thread": functools.partial(clips_per_second, augment_alone),
    }
    lazy = LazyClips(stored, frames, size)
    for name, batches in (("memory", make_batches(memory)), ("store", make_batches(lazy))):
        for threads, processes in _THREADS_AND_PROCESSES:
            key = f"batches from {name}, {threads} threads, {processes} worker processes"
            measurements[key] = functools.partial(batches_per_second, batches, threads, processes)
    rates: dict[str, list[float]] = {name: [] for name in measurements}
    for _round in range(_ROUNDS.value):
        for name, measurement in measurements.items():
            rates[name].append(measurement())
    print(f"clips of {frames} frames of {size}x{size} per second, median of {_ROUNDS.value} rounds:")
    for name, values in rates.items():
        print(f"  {name:50} {statistics.median(values):7.1f}   ({min(values):.1f} to {max(values):.1f})")


def watch_memory(stored: store.StoredClips) -> None:
    """Prints the resident memory while many clips are drawn from the store."""
    batches = make_batches(LazyClips(stored, _FRAMES.value, _SIZE.value))
    print(f"resident memory while {_LONG_RUN.value} clips are drawn from the store, 2 threads:")
    for step, _batch in enumerate(batches.iterate(0, _LONG_RUN.value // _BATCH_CLIPS, threads=2), 1):
        if step % max(_LONG_RUN.value // 40, 1) == 0 or step == 50:
            print(f"  after {_BATCH_CLIPS * step:6} clips {resident_mb():8.0f} MB", flush=True)


def main(_: list[str]) -> None:
    """Prepares a simulated store in a temporary folder and measures."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["simulated_echo", "--data_dir", folder, "--patients", str(_PATIENTS.value), "--workers", "2"]
        if prepare.main([*arguments, "--frames", str(2 * _FRAMES.value), "--size", str(_SIZE.value)]):
            raise SystemExit("the store could not be prepared")
        stored = store.open_store(Path(folder), "simulated_echo", "train")
        measure(stored)
        if _LONG_RUN.value:
            watch_memory(stored)


if __name__ == "__main__":
    app.run(main)
