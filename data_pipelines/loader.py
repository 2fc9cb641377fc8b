"""The records of a data set: read once and kept, or read from a store whenever they are wanted.

Sampled, resized clips are small (a 10-frame 256x256 clip with its masks is 1.3 MB): keeping them is the rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, overload

from data_pipelines.clips import SampledClip, sample_clip
from data_pipelines.formats import camus, cine, echonet_dynamic
from data_pipelines.formats.splits import SPLITS
from data_pipelines.records import VIEWS, Clip, Skipped, UnreadableRecord, summarise_skipped
from data_pipelines.store import NotPrepared, StoredClips

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
        """The entries of a split ("all": of the whole tree) and what is missing from it. Cines have no splits: all."""
        if self.format == "store":
            if split == "all":
                return self._index_whole_store()
            stored = StoredClips(self.root, split)
            wanted = [i for i, name in enumerate(stored.record_ids) if name.rpartition("_")[2] in self.views]
            return [(stored, i) for i in wanted], stored.skipped
        if self.format == "cine":
            return cine.index(self.root)
        if self.format == "camus":
            return camus.index(self.root, split, scheme=self.split_scheme, views=self.views)
        return echonet_dynamic.index(self.root, split, scheme=self.split_scheme)

    def _index_whole_store(self) -> tuple[list, list[Skipped]]:
        entries, skipped, empty = [], [], []
        for split in SPLITS:
            try:
                found, left_out = self.index(split)
            except NotPrepared as error:  # a store need not have all three
                empty.append(str(error))
                continue
            entries += found
            skipped += left_out
        if len(empty) == len(SPLITS):
            raise EmptySplit(f"{self.root} has no record in any split: {empty[0]}")
        return entries, skipped

    def read(self, entry: Any) -> Clip:
        """One of the entries that `index` gave."""
        if self.format == "store":
            stored, place = entry
            return stored[place]
        return {"camus": camus, "echonet_dynamic": echonet_dynamic, "cine": cine}[self.format].read(entry)


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

    def read(entry: Any) -> T | Skipped:
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
