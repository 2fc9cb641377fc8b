"""Records of a data set in memory, and training batches as a pure function of the step.

Sampled, resized clips are small (a 10-frame 256x256 clip with its masks is 1.3 MB), so a split is read once and kept.
A batch depends on (seed, step) alone: position in the stream -> epoch and place -> record and augmentation draw. Any
number of readers, processes or restarts gives the same batches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import grain
import numpy as np

from data_pipelines.augment import Augmentation
from data_pipelines.clips import SampledClip
from data_pipelines.formats import camus, echonet_dynamic
from data_pipelines.records import VIEWS, Clip, Skipped, UnreadableRecord, summarise_skipped

Batch = dict[str, np.ndarray]
Progress = Callable[[int, int], None]
T = TypeVar("T")


class EmptySplit(ValueError):
    """No usable record in a split."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set on disk: which format, where, how it is split, which views."""

    format: str
    root: Path
    split_scheme: str = "auto"
    views: tuple[str, ...] = VIEWS

    def index(self, split: str) -> tuple[list, list[Skipped]]:
        """The entries of a split and what is missing from it."""
        if self.format == "camus":
            return camus.index(self.root, split, scheme=self.split_scheme, views=self.views)
        return echonet_dynamic.index(self.root, split)

    def read(self, entry: camus.Entry | echonet_dynamic.Entry) -> Clip:
        return camus.read(entry) if isinstance(entry, camus.Entry) else echonet_dynamic.read(entry)


def load_split(
    source: Source,
    split: str,
    use: Callable[[Clip], T],
    *,
    skip_unreadable: bool = True,
    threads: int = 2,
    progress: Progress | None = None,
) -> tuple[list[T], list[Skipped]]:
    """Reads a split and keeps `use(clip)` of every record, in the order of the record ids.

    Raises:
        EmptySplit: nothing usable; the message counts what was skipped and why.
        UnreadableRecord: the first one, if `skip_unreadable` is False.
    """
    entries, skipped = source.index(split)
    kept: list[T] = []

    def read(entry: camus.Entry | echonet_dynamic.Entry) -> T | Skipped:
        try:
            return use(source.read(entry))
        except UnreadableRecord as fault:
            if not skip_unreadable:
                raise
            return Skipped(fault.record_id, fault.reason, fault.detail)

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for done, result in enumerate(pool.map(read, entries), 1):
            if isinstance(result, Skipped):
                skipped.append(result)
            else:
                kept.append(result)
            if progress is not None:
                progress(done, len(entries))
    if not kept:
        details = "\n".join(f"  {s.record_id}: {s.reason}: {s.detail}" for s in skipped[:3])
        raise EmptySplit(
            f"no usable record in split {split!r} of {source.root}: {summarise_skipped(skipped) or 'it is empty'}"
            f"\n{details}"
        )
    return kept, skipped


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """The batches of a training, by step from 0.

    An epoch covers every clip exactly once: its last batch is filled up with clips of the same epoch whose `valid` is 0
    (they count in batch statistics, in no loss).

    Attributes:
        batch_clips: clips of the global batch; this process makes rows `process_index` of `process_count`.
    """

    clips: Sequence[SampledClip]
    batch_clips: int
    seed: int
    augmentation: Augmentation
    process_index: int = 0
    process_count: int = 1

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.clips) // self.batch_clips)

    @property
    def has_unlabelled_frames(self) -> bool:
        return any(not clip.labelled.all() for clip in self.clips)

    def batch(self, step: int) -> Batch:
        """The batch of one step.

        Returns:
            image (b, t, h, w) float32 grey levels 0..1; mask (b, t, h, w) uint8 LV endocardium 0/1, zero where unknown;
            labelled (b, t) float32, frames the supervised losses may use; annotated (b, t) float32, frames with a
            reference (for monitoring alone); valid (b,) float32; view and record (b,) int32.
        """
        epoch, within = divmod(int(step), self.steps_per_epoch)
        order = np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.clips))
        rows_per_process = self.batch_clips // self.process_count
        first = within * self.batch_clips + self.process_index * rows_per_process
        places = np.arange(first, first + rows_per_process)
        records = order[places % len(order)]
        images, masks = [], []
        for record in records:
            clip = self.clips[record]
            rng = np.random.default_rng([self.seed, 2, epoch, int(record)])
            image, mask = self.augmentation(clip.frames, clip.mask, rng)
            images.append(image)
            masks.append(mask)
        chosen = [self.clips[record] for record in records]
        return {
            "image": np.stack(images),
            "mask": np.stack(masks),
            "labelled": np.stack([clip.labelled for clip in chosen]).astype(np.float32),
            "annotated": np.stack([clip.annotated for clip in chosen]).astype(np.float32),
            "valid": (places < len(order)).astype(np.float32),
            "view": np.array([VIEWS.index(c.view) if c.view in VIEWS else len(VIEWS) for c in chosen], np.int32),
            "record": records.astype(np.int32),
        }

    def iterate(self, first_step: int, last_step: int, threads: int) -> Iterator[Batch]:
        """Batches of steps first_step .. last_step - 1, made ahead by Grain's reader threads."""
        if last_step <= first_step:
            return iter(())
        steps = grain.MapDataset.range(first_step, last_step).map(self.batch)
        options = grain.ReadOptions(num_threads=max(threads, 1), prefetch_buffer_size=2 * max(threads, 1))
        return iter(steps.to_iter_dataset(options))
