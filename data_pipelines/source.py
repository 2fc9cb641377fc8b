"""The records of a data set: read once and kept, or read from a store whenever they are wanted.

Sampled, resized clips are small (a 10-frame 256x256 clip with its masks is 1.3 MB): keeping them is the rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from data_pipelines.errors import DataError
from data_pipelines.formats import camus, cine, echonet_dynamic
from data_pipelines.records import VIEWS, Clip, Skipped, UnreadableRecord, summarise_skipped
from data_pipelines.splits import SPLITS
from data_pipelines.store.builders import NotPrepared
from data_pipelines.store.stored_clips import StoredClips

Progress = Callable[[int, int], None]
T = TypeVar("T")


class EmptySplit(DataError):
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
