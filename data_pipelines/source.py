"""Data sets on disk, one class for each format, and reading a whole split of one into memory.

Sampled, resized clips are small (a 10-frame 256x256 clip with its masks is 1.3 MB): keeping them in memory is the rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from data_pipelines.errors import DataError
from data_pipelines.formats import camus, cine, echonet_dynamic
from data_pipelines.notes import Note
from data_pipelines.notes_by_record import merge_notes
from data_pipelines.records import VIEWS, Clip, Index, Skipped, UnreadableRecord, summarise_skipped
from data_pipelines.splits import SPLITS, NoPatient
from data_pipelines.store.builder import SplitNotPrepared
from data_pipelines.store.stored_clips import StoredClips

Progress = Callable[[int, int], None]
T = TypeVar("T")
ItemT = TypeVar("ItemT", covariant=True)


class EmptySplit(DataError):
    """A split has no usable record."""


def has_records(source: Source, split: str) -> bool:
    """Tells whether a data set has a record in a split.

    Args:
        source: the data set.
        split: "train", "validation" or "test".

    Raises:
        DataError, FileNotFoundError: the data set cannot be read at all, which is another matter than an empty split.
    """
    try:
        return bool(source.index(split).entries)
    except (NoPatient, SplitNotPrepared):
        return False


@runtime_checkable
class Source(Protocol):
    """A data set on disk."""

    @property
    def root(self) -> Path:
        """The folder of the data set."""
        ...

    def index(self, split: str) -> Index[Any]:
        """Lists the records of "train", "validation", "test" or "all" (every record of the data set)."""
        ...

    def read(self, entry: Any) -> Clip:
        """Reads one of the entries that `index` gave; raises UnreadableRecord where that fails."""
        ...


@dataclasses.dataclass(frozen=True)
class CamusSource:
    """A CAMUS tree, of the official NIfTI release or of the older .mhd release.

    Attributes:
        root: the folder that holds patient0001, ..., or its parent with database_nifti/.
        split_scheme: how patients are assigned to splits; see `camus.patient_splits`.
        views: the views wanted of each patient.
    """

    root: Path
    split_scheme: str = "auto"
    views: tuple[str, ...] = VIEWS

    def index(self, split: str) -> Index[camus.Entry]:
        """Lists the records of a split; "all" lists every patient folder."""
        return camus.index(self.root, split, scheme=self.split_scheme, views=self.views)

    def read(self, entry: camus.Entry) -> Clip:
        """Reads one record from ED to ES."""
        return camus.read(entry)


@dataclasses.dataclass(frozen=True)
class EchonetDynamicSource:
    """An EchoNet-Dynamic tree.

    Attributes:
        root: the folder with FileList.csv, VolumeTracings.csv and Videos/.
        split_scheme: how patients are assigned to splits; see `echonet_dynamic.patient_splits`.
    """

    root: Path
    split_scheme: str = "auto"

    def index(self, split: str) -> Index[echonet_dynamic.Entry]:
        """Lists the videos of a split; "all" lists every row of FileList.csv."""
        return echonet_dynamic.index(self.root, split, scheme=self.split_scheme)

    def read(self, entry: echonet_dynamic.Entry) -> Clip:
        """Reads one video from ED to ES."""
        return echonet_dynamic.read(entry)


@dataclasses.dataclass(frozen=True)
class CineSource:
    """A folder of cines without labels, or a single cine.

    Attributes:
        root: the folder, or the file.
    """

    root: Path

    def index(self, split: str) -> Index[cine.CineEntry]:
        """Lists every cine below the folder: cines have no splits, so that `split` changes nothing."""
        return cine.index(self.root)

    def read(self, entry: cine.CineEntry) -> Clip:
        """Reads one cine, cropped to its ultrasound sector."""
        return cine.read(entry)


@dataclasses.dataclass(frozen=True)
class StoredEntry:
    """One record of a store.

    Attributes:
        clips: the prepared split that holds it.
        position: its position there.
    """

    clips: StoredClips
    position: int


@dataclasses.dataclass(frozen=True)
class StoreSource:
    """A store that `python -m data_pipelines.prepare` made.

    Attributes:
        root: the folder of the data set, DATA_DIR/NAME/VERSION.
        views: the views wanted of each patient.
    """

    root: Path
    views: tuple[str, ...] = VIEWS

    def index(self, split: str) -> Index[StoredEntry]:
        """Lists the records of a split; "all" lists those of every split that the store has.

        Raises:
            NotPrepared: there is no such store, or it lacks the split.
            EmptySplit: with "all", the store has no record in any split.
        """
        if split == "all":
            return self._index_every_split()
        stored = StoredClips(self.root, split)
        wanted = [i for i, record_id in enumerate(stored.record_ids) if record_id.rpartition("_")[2] in self.views]
        return Index([StoredEntry(stored, position) for position in wanted], stored.skipped, stored.notes_apart)

    def read(self, entry: StoredEntry) -> Clip:
        """Reads one stored record."""
        return entry.clips[entry.position]

    def _index_every_split(self) -> Index[StoredEntry]:
        entries, skipped, absent, notes = [], [], [], {}
        for split in SPLITS:
            try:
                listed = self.index(split)
            except SplitNotPrepared as error:  # a store need not have all three
                absent.append(str(error))
                continue
            entries += listed.entries
            skipped += listed.skipped
            notes = merge_notes(notes, listed.notes)
        if len(absent) == len(SPLITS):
            raise EmptySplit(f"{self.root} has no record in any split: {absent[0]}")
        return Index(entries, skipped, notes)


def open_source(
    format_name: str, root: Path, *, split_scheme: str = "auto", views: tuple[str, ...] = VIEWS
) -> CamusSource | EchonetDynamicSource | CineSource | StoreSource:
    """Opens a data set by the name of its format; nothing is read yet.

    Args:
        format_name: "camus", "echonet_dynamic", "cine" or "store".
        root: the folder of the data set.
        split_scheme: how patients are assigned to splits; used by "camus" and "echonet_dynamic".
        views: the views wanted of each patient; used by "camus" and "store".

    Raises:
        ValueError: there is no such format.
    """
    match format_name:
        case "camus":
            return CamusSource(root, split_scheme, views)
        case "echonet_dynamic":
            return EchonetDynamicSource(root, split_scheme)
        case "cine":
            return CineSource(root)
        case "store":
            return StoreSource(root, views)
    raise ValueError(f"format is {format_name!r}; expected 'camus', 'echonet_dynamic', 'cine' or 'store'")


@dataclasses.dataclass(frozen=True)
class LoadedSplit(Generic[ItemT]):
    """The records of a split.

    Attributes:
        clips: what was made of every usable record, in the order of the record ids.
        skipped: the records that were left out.
        notes: what the readers said of the records that were kept, and what was known before any was read, by record;
            records without a note are absent.
    """

    clips: Sequence[ItemT]
    skipped: list[Skipped]
    notes: Mapping[str, tuple[Note, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Used(Generic[T]):
    """What was made of one record, and what its reader said.

    Attributes:
        value: what `use` returned.
        record_id: the record.
        notes: the notes of its clip.
    """

    value: T
    record_id: str
    notes: tuple[Note, ...]


def load_split(
    source: Source,
    split: str,
    use: Callable[[Clip], T],
    *,
    skip_unreadable: bool = True,
    threads: int = 2,
    progress: Progress | None = None,
) -> LoadedSplit[T]:
    """Reads a split and keeps `use(clip)` of every record.

    Args:
        source: the data set.
        split: "train", "validation", "test" or "all".
        use: what to make of a clip; a record for which it raises UnreadableRecord is skipped.
        skip_unreadable: False raises the first fault instead of skipping the record.
        threads: how many records are read at a time.
        progress: called after every record with (records done, records in all); None: not called.

    Raises:
        EmptySplit: no record is usable; the message counts what was skipped and why.
        UnreadableRecord: a record cannot be read and `skip_unreadable` is False.
    """
    listed = source.index(split)
    kept: list[T] = []
    skipped = list(listed.skipped)
    notes = dict(listed.notes)

    def read(entry: Any) -> _Used[T] | Skipped:
        try:
            clip = source.read(entry)
            clip = clip.with_notes(listed.notes.get(clip.record_id, ()))
            return _Used(use(clip), clip.record_id, clip.notes)
        except UnreadableRecord as fault:
            if not skip_unreadable:
                raise
            return Skipped(fault.record_id, fault.reason, fault.detail)

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for done, result in enumerate(pool.map(read, listed.entries), 1):
            if isinstance(result, Skipped):
                skipped.append(result)
            else:
                kept.append(result.value)
                notes |= merge_notes({result.record_id: (*notes.get(result.record_id, ()), *result.notes)})
            if progress is not None:
                progress(done, len(listed.entries))
    if not kept:
        details = "\n".join(f"  {record.record_id}: {record.reason}: {record.detail}" for record in skipped[:3])
        raise EmptySplit(
            f"no usable record in split {split!r} of {source.root}: {summarise_skipped(skipped) or 'it is empty'}"
            f"\n{details}"
        )
    return LoadedSplit(kept, skipped, notes)
