"""Training clips that are read from a store whenever they are asked for, for data sets larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from data_pipelines.notes_by_record import merge_notes
from data_pipelines.records import SampledClip, Skipped, summarise_skipped
from data_pipelines.sampling import sample_clip
from data_pipelines.source import EmptySplit, LoadedSplit, StoreSource
from data_pipelines.store.stored_clips import StoredClips


class LazyClips(Sequence[SampledClip]):
    """Clips of a store as `sample_clip` gives them, read whenever they are asked for.

    Threads may share it. It can be pickled: worker processes then open their own readers.

    Attributes:
        stored: the prepared split.
        frames: frames of a sampled clip.
        size: side of the frames in pixels.
        training_labels: which masks the training may use, as in `sample_clip`.
        positions: which records of the store these are, in order.
        use_labels: False hides the labels of all of them from the training.
    """

    def __init__(
        self,
        stored: StoredClips,
        frames: int,
        size: int,
        *,
        training_labels: str = "ed_es",
        positions: Sequence[int] | None = None,
        use_labels: bool = True,
    ):
        """Describes the clips; reads none.

        Args:
            stored: the prepared split.
            frames: frames of a sampled clip.
            size: side of the frames in pixels.
            training_labels: which masks the training may use, as in `sample_clip`.
            positions: which records of the store to take, in order; None takes all.
            use_labels: False hides the labels of all of them from the training.
        """
        self.stored, self.frames, self.size, self.training_labels = stored, frames, size, training_labels
        self.positions = tuple(range(len(stored))) if positions is None else tuple(positions)
        self.use_labels = use_labels

    def select(self, wanted: Callable[[int], bool], *, use_labels: bool = True) -> LazyClips:
        """Returns some of the clips.

        Args:
            wanted: says of a position in the store whether its clip is taken.
            use_labels: False hides the labels of the clips taken.
        """
        return LazyClips(
            self.stored,
            self.frames,
            self.size,
            training_labels=self.training_labels,
            positions=[position for position in self.positions if wanted(position)],
            use_labels=use_labels,
        )

    @property
    def fully_labelled(self) -> bool:
        """Whether the training may use the label of every frame of every clip."""
        return self.use_labels and (self.training_labels == "all" or self.frames == 2)

    def __len__(self) -> int:
        return len(self.positions)

    @overload
    def __getitem__(self, index: int) -> SampledClip: ...
    @overload
    def __getitem__(self, index: slice) -> list[SampledClip]: ...
    def __getitem__(self, index: int | slice) -> SampledClip | list[SampledClip]:
        """Reads one clip, or those of a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        clip = self.stored[self.positions[index]]
        sampled = sample_clip(clip, self.frames, self.size, training_labels=self.training_labels)
        return sampled if self.use_labels else sampled.without_labels()


def open_lazily(
    source: StoreSource, split: str, *, frames: int, size: int, training_labels: str = "ed_es"
) -> LoadedSplit[SampledClip]:
    """Opens a stored split for a training that reads its clips when they are needed.

    Args:
        source: the store.
        split: "train", "validation" or "test".
        frames: frames of a sampled clip.
        size: side of the frames in pixels.
        training_labels: which masks the training may use, as in `sample_clip`.

    Returns:
        The usable clips as `LazyClips`, those left out (too few frames from ED to ES, or no mask), and the notes that
        the store keeps of those used and of the whole.

    Raises:
        EmptySplit: no record is usable.
        NotPrepared: there is no such store or split.
    """
    listed, stored = source.index(split), StoredClips(source.root, split)
    kept, skipped = [], list(listed.skipped)
    for position in (entry.position for entry in listed.entries):
        length, record_id = stored.half_cycle_frames[position], stored.record_ids[position]
        if not length:
            skipped.append(Skipped(record_id, "ED or ES missing", "training needs both frames marked"))
        elif length < min(frames, 3):
            skipped.append(Skipped(record_id, "too few frames", f"{length} frames from ED to ES, {frames} asked for"))
        elif not stored.has_labels[position]:
            skipped.append(Skipped(record_id, "no labelled frame", "neither ED nor ES has a mask"))
        else:
            kept.append(position)
    if not kept:
        raise EmptySplit(f"no usable record in split {split!r} of {source.root}: {summarise_skipped(skipped)}")
    clips = LazyClips(stored, frames, size, training_labels=training_labels, positions=kept)
    used = {record_id: stored.notes.get(record_id, ()) for record_id in map(stored.record_ids.__getitem__, kept)}
    return LoadedSplit(clips, skipped, merge_notes(listed.notes, used))
