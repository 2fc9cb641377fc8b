"""The records of a data set: read once and kept.

Sampled, resized clips are small: a 10-frame 256x256 clip with its masks is 1.3 MB.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from data_pipelines.formats import camus, cine, echonet_dynamic
from data_pipelines.records import VIEWS, Clip, Skipped, UnreadableRecord, summarise_skipped

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
        """The entries of a split and what is missing from it. Cines have no splits: all of them."""
        if self.format == "cine":
            return cine.index(self.root)
        if self.format == "camus":
            return camus.index(self.root, split, scheme=self.split_scheme, views=self.views)
        return echonet_dynamic.index(self.root, split)

    def read(self, entry: Any) -> Clip:
        """One of the entries that `index` gave."""
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
