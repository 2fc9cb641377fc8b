"""Training batches as a pure function of the step.

A batch depends on (seed, step) alone: the step gives the position in each stream of clips, the position gives the
record and its augmentation. Any number of readers, processes or restarts gives the same batches.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Sequence

import grain
import numpy as np
from absl import flags
from jaxtyping import Int64

from data_pipelines.augment import augment
from data_pipelines.batch import Batch
from data_pipelines.errors import DataError
from data_pipelines.lazy_clips import LazyClips
from data_pipelines.records import VIEWS, SampledClip, UnlabelledCine, cavity_mask
from data_pipelines.sampling import draw_half_cycle
from data_pipelines.settings import Augmentation

AnyClip = SampledClip | UnlabelledCine


class BatchError(DataError):
    """The rows of a batch cannot be allocated as asked: the message says what was found and which field to change."""


@dataclasses.dataclass(frozen=True)
class Stream:
    """Clips that fill some rows of every global batch.

    Attributes:
        clips: the clips.
        rows: how many rows of every batch they fill.
        sets_epoch: whether an epoch has to cover all of them.
    """

    clips: Sequence[AnyClip]
    rows: int
    sets_epoch: bool = True

    @property
    def steps_to_cover(self) -> int:
        """How many steps show every clip at least once."""
        return -(-len(self.clips) // self.rows)


@dataclasses.dataclass(frozen=True)
class _Row:
    """One row of a batch.

    Attributes:
        stream: number of the stream that fills it.
        turn: number of the pass over the clips of the stream.
        record: position of the clip in the stream.
        valid: False for a row that only fills up the last batch of an epoch.
    """

    stream: int
    turn: int
    record: int
    valid: bool


def labelled_patients(patient_ids: Sequence[str], fraction: float, *, seed: int) -> frozenset[str]:
    """Draws the patients whose labels a semi-supervised study may use.

    With the same seed, the patients of a smaller fraction are part of those of a larger one.

    Args:
        patient_ids: the patient of every clip; the order does not matter.
        fraction: share of the patients to draw, 0..1; at least one patient is drawn.
        seed: seed of the draw.
    """
    patients = sorted(set(patient_ids))
    order = np.random.default_rng([seed, 3]).permutation(len(patients))
    return frozenset(patients[i] for i in order[: max(1, round(fraction * len(patients)))])


def allocate_rows(
    labelled: Sequence[AnyClip],
    unlabelled: Sequence[AnyClip],
    extras: Sequence[tuple[Sequence[AnyClip], float]] = (),
    *,
    batch_clips: int,
    devices: int = 1,
    labelled_rows: int = 0,
) -> tuple[Stream, ...]:
    """Allocates the rows of a batch to streams of clips.

    Labelled clips come first, so that every device gets at least one of them in every batch.

    Args:
        labelled: clips with at least one labelled frame.
        unlabelled: clips of the same data set without any.
        extras: clips of further sources, each with the share of the batch that they fill (rounded to whole rows, at
            least one).
        batch_clips: rows of the global batch.
        devices: how many devices share the global batch.
        labelled_rows: rows for labelled clips; 0 allocates in proportion to their number, at least one for each device.

    Raises:
        BatchError: there is no labelled clip, or the rows do not fit into the batch.
    """
    extra_rows = [max(1, round(share * batch_clips)) for _, share in extras]
    rows = batch_clips - sum(extra_rows)
    if not labelled:
        raise BatchError("no clip of the training split has a labelled frame: there is nothing to learn from")
    if not unlabelled:
        labelled_rows = rows
    elif not labelled_rows:
        proportion = round(rows * len(labelled) / (len(labelled) + len(unlabelled)))
        labelled_rows = min(max(proportion, devices), rows - 1)
    if labelled_rows < devices or labelled_rows + (1 if unlabelled else 0) > rows:
        raise BatchError(
            f"config.data.batch_clips is {batch_clips}, of which {sum(extra_rows)} rows are for config.data.mix and "
            f"{labelled_rows} for labelled clips; expected at least one labelled clip for each of {devices} devices"
            f"{' and one row for the unlabelled clips' if unlabelled else ''}: use a larger batch"
        )
    streams = [Stream(labelled, labelled_rows)]
    if unlabelled:
        streams.append(Stream(unlabelled, rows - labelled_rows))
    streams += [Stream(clips, n, sets_epoch=False) for (clips, _), n in zip(extras, extra_rows, strict=True)]
    return tuple(streams)


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """The batches of a training, by step from 0.

    An epoch ends when every clip of the streams that set it has been shown exactly once; the slowest of these streams
    decides. Its last batch is filled up with clips of the same epoch whose `valid` is 0: they count in batch
    statistics and in no loss. The other streams cycle, each pass in a new order.

    Attributes:
        streams: what fills the rows of every batch.
        seed: seed of the order of the clips and of their augmentation.
        augmentation: ranges of the augmentation.
        frames: frames that are drawn from a cine; streams without cines do not use it.
        devices: global device count. With several streams, row i goes to device i % devices, so that every device
            receives rows of each stream.
        process_index: number of this process; `batch` returns only this process's contiguous slice of the rows.
        process_count: how many processes share the global batch.
        fixed_steps: steps of an epoch, with every stream cycling; 0: an epoch is one pass over the slowest of the
            streams that set it.
    """

    streams: tuple[Stream, ...]
    seed: int
    augmentation: Augmentation
    frames: int = 0
    devices: int = 1
    process_index: int = 0
    process_count: int = 1
    fixed_steps: int = 0

    @property
    def batch_clips(self) -> int:
        """Rows of the global batch."""
        return sum(stream.rows for stream in self.streams)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return self.fixed_steps or max(stream.steps_to_cover for stream in self.streams if stream.sets_epoch)

    @functools.cached_property
    def digest(self) -> str:
        """Fingerprint of the clips of all streams, in order, and of which of them have labels."""
        identities = [list(_identities(stream.clips)) for stream in self.streams]
        return hashlib.sha256(json.dumps(identities).encode()).hexdigest()[:16]

    @property
    def has_unlabelled_frames(self) -> bool:
        """Whether any frame has no label that the training may use."""
        return any(not _fully_labelled(stream.clips) for stream in self.streams)

    @functools.cached_property
    def has_undecided_pixels(self) -> bool:
        """Whether any clip in memory has pixels without a decided label."""
        return any(_has_undecided_pixels(stream.clips) for stream in self.streams)

    def batch(self, step: int) -> Batch:
        """Makes this process's rows of the batch of one step; its arrays are NumPy's.

        `decided` is None unless `has_undecided_pixels`, so that it is the same for every step of a training.
        """
        rows = self._rows(int(step))
        clips, images, label_maps, decided = [], [], [], []
        for row in rows:
            rng = np.random.default_rng([self.seed, 2, row.stream, row.turn, row.record])
            clip = self.streams[row.stream].clips[row.record]
            clip = draw_half_cycle(clip, self.frames, rng) if isinstance(clip, UnlabelledCine) else clip
            augmented = augment(clip.frames, clip.label_map, self.augmentation, rng, decided=clip.decided)
            clips.append(clip)
            images.append(augmented.image)
            label_maps.append(augmented.label_map)
            everywhere = np.ones(augmented.label_map.shape, bool)
            decided.append(everywhere if augmented.decided is None else augmented.decided)
        first_id = np.cumsum([0, *(len(stream.clips) for stream in self.streams)])
        return Batch(
            image=np.stack(images),
            cavity=cavity_mask(np.stack(label_maps)),
            may_train=np.stack([clip.may_train for clip in clips]).astype(np.float32),
            has_reference=np.stack([clip.has_reference for clip in clips]).astype(np.float32),
            valid=np.array([row.valid for row in rows], np.float32),
            view=np.array([VIEWS.index(c.view) if c.view in VIEWS else len(VIEWS) for c in clips], np.int32),
            record=np.array([first_id[row.stream] + row.record for row in rows], np.int32),
            decided=np.stack(decided).astype(np.uint8) if self.has_undecided_pixels else None,
        )

    def iterate(self, first_step: int, last_step: int, *, threads: int, worker_processes: int = 0) -> Iterator[Batch]:
        """Makes the batches of steps first_step .. last_step - 1 ahead of their use, by Grain.

        Args:
            first_step: the first step.
            last_step: the step after the last one.
            threads: reader threads (of each worker process, where there are any).
            worker_processes: reader processes; 0 reads in this process. Each of them gets a copy of the clips, so they
                pay where clips are read from a store and threads are not enough.
        """
        if last_step <= first_step:
            return iter(())
        threads = max(threads, 1)
        steps = grain.MapDataset.range(first_step, last_step).map(self.batch)
        batches = steps.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads))
        if worker_processes:
            if not flags.FLAGS.is_parsed():  # Grain's workers read absl's flags; a library user has none
                flags.FLAGS.mark_as_parsed()
            batches = batches.mp_prefetch(grain.MultiprocessingOptions(worker_processes, per_worker_buffer_size=2))
        return _close_at_end(iter(batches))

    def _rows(self, step: int) -> list[_Row]:
        """Lists this process's rows of a step, in the order of the devices."""
        rows = [row for number in range(len(self.streams)) for row in self._stream_rows(number, step)]
        if len(self.streams) > 1:
            rows = [rows[i] for i in np.arange(len(rows)).reshape(-1, self.devices).T.ravel()]
        share = len(rows) // self.process_count
        return rows[self.process_index * share : (self.process_index + 1) * share]

    def _stream_rows(self, number: int, step: int) -> list[_Row]:
        """Lists the rows that one stream gives to a step."""
        stream, count = self.streams[number], len(self.streams[number].clips)
        if not self.fixed_steps and stream.sets_epoch and stream.steps_to_cover == self.steps_per_epoch:
            turn, step_of_epoch = divmod(step, self.steps_per_epoch)
            positions = [(turn, step_of_epoch * stream.rows + i) for i in range(stream.rows)]
        else:
            positions = [divmod(step * stream.rows + i, count) for i in range(stream.rows)]
        orders = {turn: _order(self.seed, number, turn, count) for turn, _ in positions}
        return [_Row(number, turn, int(orders[turn][i % count]), valid=i < count) for turn, i in positions]


@functools.lru_cache(maxsize=8)
def _order(seed: int, stream: int, turn: int, count: int) -> Int64[np.ndarray, " n"]:
    """Draws the order of a stream's clips in one pass. It is cached: ten million clips take a second to shuffle."""
    order = np.random.default_rng([seed, 1, stream, turn]).permutation(count)
    order.flags.writeable = False
    return order


def _close_at_end(batches: grain.DatasetIterator[Batch]) -> Iterator[Batch]:
    """Ends worker processes, and frees the memory they share, with the iteration, also where it is left early."""
    try:
        yield from batches
    finally:
        batches.close()


def _identities(clips: Sequence[AnyClip]) -> Iterator[tuple[str, int]]:
    """Yields record id and number of labelled frames of each clip; -1 where clips are read when needed."""
    if isinstance(clips, LazyClips):
        yield from ((clips.stored.record_ids[position], -int(clips.use_labels)) for position in clips.positions)
        return
    for clip in clips:
        yield clip.record_id, int(clip.may_train.sum()) if isinstance(clip, SampledClip) else 0


def _fully_labelled(clips: Sequence[AnyClip]) -> bool:
    if isinstance(clips, LazyClips):  # reads nothing
        return clips.fully_labelled
    return all(isinstance(clip, SampledClip) and bool(clip.may_train.all()) for clip in clips)


def _has_undecided_pixels(clips: Sequence[AnyClip]) -> bool:
    if isinstance(clips, LazyClips):  # masks are carried in memory alone
        return False
    return any(isinstance(clip, SampledClip) and clip.decided is not None for clip in clips)
