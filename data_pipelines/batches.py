"""Training batches as a pure function of the step.

A batch depends on (seed, step) alone: position in each stream of clips -> pass and place -> record and augmentation
draw. Any number of readers, processes or restarts gives the same batches.
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

from data_pipelines.augment import Augmentation
from data_pipelines.batch import Batch
from data_pipelines.errors import DataError
from data_pipelines.records import VIEWS, SampledClip, UnlabelledCine, cavity_of
from data_pipelines.sampling import draw_half_cycle
from data_pipelines.store.lazy_clips import LazyClips

AnyClip = SampledClip | UnlabelledCine


class BatchError(DataError):
    """The rows of a batch cannot be shared out as asked: says what was found and which field to change."""


@dataclasses.dataclass(frozen=True)
class Stream:
    """Clips that fill `rows` rows of every global batch; `sets_epoch` says whether an epoch has to cover them."""

    clips: Sequence[AnyClip]
    rows: int
    sets_epoch: bool = True

    @property
    def steps_to_cover(self) -> int:
        return -(-len(self.clips) // self.rows)


def labelled_patients(patient_ids: Sequence[str], fraction: float, seed: int) -> frozenset[str]:
    """The patients whose labels a semi-supervised study may use: a share of them (at least one), drawn by `seed`.

    Nested: with the same seed the patients of a smaller fraction are part of those of a larger one.
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
    """The streams of a training: labelled clips first, so that every device's batch gets at least one of them.

    Args:
        labelled: clips with at least one labelled frame.
        unlabelled: clips of the same data set without any.
        extras: further sources with the share of the batch that each fills (rounded to whole rows, at least one).
        labelled_rows: rows for labelled clips; 0: in proportion to their number, at least one a device.

    Raises:
        BatchError: no labelled clip, or rows that do not fit into the batch.
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


@functools.lru_cache(maxsize=8)
def _order(seed: int, stream: int, turn: int, count: int) -> np.ndarray:
    """The order of a stream's clips in one pass. Kept: ten million clips take a second to shuffle."""
    order = np.random.default_rng([seed, 1, stream, turn]).permutation(count)
    order.flags.writeable = False
    return order


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """The batches of a training, by step from 0.

    An epoch ends when the slowest of the streams that set it is covered: exactly once, for its last batch is filled up
    with clips of the same epoch whose `valid` is 0 (they count in batch statistics, in no loss). The other streams go
    round and round, each pass in a new order.

    Attributes:
        frames: of a clip; only draws from cines need it.
        devices: over which the batch axis is cut into equal parts; the rows of a stream are dealt to them in turn.
        process_index, process_count: this process makes that part of the rows.
        fixed_steps: an epoch has this many steps, and all streams go round and round; 0: an epoch covers the clips.
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
        return sum(stream.rows for stream in self.streams)

    @property
    def steps_per_epoch(self) -> int:
        return self.fixed_steps or max(stream.steps_to_cover for stream in self.streams if stream.sets_epoch)

    @functools.cached_property
    def digest(self) -> str:
        """Names the clips of all streams, in order, and which of them have labels."""
        named = [list(_named(stream.clips)) for stream in self.streams]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]

    @property
    def has_unlabelled_frames(self) -> bool:
        return any(not _fully_labelled(stream.clips) for stream in self.streams)

    def batch(self, step: int) -> Batch:
        """This process's rows of the batch of one step."""
        step = int(step)
        rows = [row for number in range(len(self.streams)) for row in self._rows(number, step)]
        if len(self.streams) > 1:
            rows = [rows[place] for place in np.arange(len(rows)).reshape(-1, self.devices).T.ravel()]
        share = len(rows) // self.process_count
        rows = rows[self.process_index * share : (self.process_index + 1) * share]
        clips, images, labels = [], [], []
        for number, turn, record, _ in rows:
            rng = np.random.default_rng([self.seed, 2, number, turn, record])
            clip = self.streams[number].clips[record]
            clip = draw_half_cycle(clip, self.frames, rng) if isinstance(clip, UnlabelledCine) else clip
            image, moved = self.augmentation(clip.frames, clip.label_map, rng)
            clips.append(clip)
            images.append(image)
            labels.append(moved)
        first_id = np.cumsum([0, *(len(stream.clips) for stream in self.streams)])
        stacked = np.stack(labels)
        return Batch(
            image=np.stack(images),
            cavity=cavity_of(stacked),
            may_train=np.stack([clip.may_train for clip in clips]).astype(np.float32),
            has_reference=np.stack([clip.has_reference for clip in clips]).astype(np.float32),
            valid=np.array([valid for *_, valid in rows], np.float32),
            view=np.array([VIEWS.index(c.view) if c.view in VIEWS else len(VIEWS) for c in clips], np.int32),
            record=np.array([first_id[number] + record for number, _, record, _ in rows], np.int32),
        )

    def _rows(self, number: int, step: int) -> list[tuple[int, int, int, bool]]:
        """(stream, pass, record, valid) of the rows that a stream gives to a step."""
        stream, count = self.streams[number], len(self.streams[number].clips)
        if not self.fixed_steps and stream.sets_epoch and stream.steps_to_cover == self.steps_per_epoch:
            turn, within = divmod(step, self.steps_per_epoch)
            places = [(turn, within * stream.rows + i) for i in range(stream.rows)]
        else:
            places = [divmod(step * stream.rows + i, count) for i in range(stream.rows)]
        orders = {turn: _order(self.seed, number, turn, count) for turn, _ in places}
        return [(number, turn, int(orders[turn][place % count]), place < count) for turn, place in places]

    def iterate(self, first_step: int, last_step: int, threads: int, worker_processes: int = 0) -> Iterator[Batch]:
        """Batches of steps first_step .. last_step - 1, made ahead by Grain's reader threads or worker processes.

        Worker processes get a copy of the clips each; they pay where clips are read from a store and threads are not
        enough.
        """
        if last_step <= first_step:
            return iter(())
        threads = max(threads, 1)
        steps = grain.MapDataset.range(first_step, last_step).map(self.batch)
        made = steps.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads))
        if worker_processes:
            if not flags.FLAGS.is_parsed():  # Grain's workers read absl's flags; a library user has none
                flags.FLAGS.mark_as_parsed()
            made = made.mp_prefetch(grain.MultiprocessingOptions(worker_processes, per_worker_buffer_size=2))
        return _closed_at_the_end(iter(made))


def _closed_at_the_end(batches: grain.DatasetIterator[Batch]) -> Iterator[Batch]:
    """Worker processes and the memory they share end with the iteration, also where it is left early."""
    try:
        yield from batches
    finally:
        batches.close()


def _named(clips: Sequence[AnyClip]) -> Iterator[tuple[str, int]]:
    """Record id and number of labelled frames of each clip; -1 where they are read when needed. Reads nothing."""
    if isinstance(clips, LazyClips):
        yield from ((clips.stored.record_ids[place], -int(clips.use_labels)) for place in clips.places)
        return
    for clip in clips:
        yield clip.record_id, int(clip.may_train.sum()) if isinstance(clip, SampledClip) else 0


def _fully_labelled(clips: Sequence[AnyClip]) -> bool:
    if isinstance(clips, LazyClips):  # reads nothing
        return clips.fully_labelled
    return all(isinstance(clip, SampledClip) and bool(clip.may_train.all()) for clip in clips)
