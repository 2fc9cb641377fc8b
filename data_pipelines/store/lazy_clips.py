"""data_pipelines.store.lazy_clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from data_pipelines.records import SampledClip, Skipped, summarise_skipped
from data_pipelines.sampling import sample_clip
from data_pipelines.source import EmptySplit, Source
from data_pipelines.store.stored_clips import StoredClips


class LazyClips(Sequence[SampledClip]):
    """Clips of a store as `sample_clip` gives them, read whenever they are asked for.

    Safe to share between threads; picklable, so that worker processes open their own readers.

    Attributes:
        places: which records of the store, in order.
        use_labels: False hides the labels of all of them.
    """

    def __init__(
        self,
        stored: StoredClips,
        frames: int,
        size: int,
        training_labels: str = "ed_es",
        places: Sequence[int] | None = None,
        use_labels: bool = True,
    ):
        self.stored, self.frames, self.size, self.training_labels = stored, frames, size, training_labels
        self.places = tuple(range(len(stored))) if places is None else tuple(places)
        self.use_labels = use_labels

    def only(self, chosen: Callable[[int], bool], *, use_labels: bool = True) -> LazyClips:
        """Those of the clips whose place in the store is `chosen`."""
        places = [place for place in self.places if chosen(place)]
        return LazyClips(self.stored, self.frames, self.size, self.training_labels, places, use_labels)

    @property
    def fully_labelled(self) -> bool:
        """Whether every frame of every clip may be learnt from."""
        return self.use_labels and (self.training_labels == "all" or self.frames == 2)

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> SampledClip: ...
    @overload
    def __getitem__(self, index: slice) -> list[SampledClip]: ...
    def __getitem__(self, index: int | slice) -> SampledClip | list[SampledClip]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        clip = sample_clip(self.stored[self.places[index]], self.frames, self.size, self.training_labels)
        return clip if self.use_labels else clip.without_labels()


def open_lazily(
    source: Source, split: str, frames: int, size: int, training_labels: str
) -> tuple[LazyClips, list[Skipped]]:
    """The usable clips of a stored split, unread, and those left out: too few frames from ED to ES, or no label.

    Raises:
        EmptySplit: nothing usable.
        NotPrepared: there is no such store or split.
    """
    entries, skipped = source.index(split)
    stored = StoredClips(source.root, split)
    kept = []
    for _, place in entries:
        found, name = stored.half_cycle_frames[place], stored.record_ids[place]
        if not found:
            skipped.append(Skipped(name, "ED or ES missing", "training needs both frames marked"))
        elif found < min(frames, 3):
            skipped.append(Skipped(name, "too few frames", f"{found} frames from ED to ES, {frames} asked for"))
        elif not stored.has_labels[place]:
            skipped.append(Skipped(name, "no labelled frame", "neither ED nor ES has a mask"))
        else:
            kept.append(place)
    if not kept:
        raise EmptySplit(f"no usable record in split {split!r} of {source.root}: {summarise_skipped(skipped)}")
    return LazyClips(stored, frames, size, training_labels, kept), skipped
