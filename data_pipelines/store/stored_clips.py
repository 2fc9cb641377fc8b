"""Opens a prepared store: its clips by position, read when they are asked for."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex, overload

import tensorflow_datasets as tfds
from google.protobuf.json_format import ParseError
from google.protobuf.message import DecodeError

from data_pipelines.notes import Note
from data_pipelines.notes_by_record import notes_from_json
from data_pipelines.records import Clip, Skipped, UnreadableRecord
from data_pipelines.splits import SPLITS
from data_pipelines.store.builder import NOTES, PREPARATION, SKIPPED, NotPrepared, SplitNotPrepared, builder_dir
from data_pipelines.store.data_sets import BUILDERS
from data_pipelines.store.shards import decode_clip

# json, TFDS and protobuf raise one of these on a file that is not what was written
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, FileNotFoundError, RuntimeError, ParseError)


class StoredClips(Sequence[Clip]):
    """The clips of a prepared split, read when they are asked for.

    Threads may share it. It can be pickled: another process then opens its own readers.

    Attributes:
        folder: the folder of the data set.
        split: "train", "validation" or "test".
        record_ids: the records, in order.
        patient_ids: the patient of every record.
        has_labels: whether any frame of the record has a reference mask.
        half_cycle_frames: frames from ED to ES of every record, both included; 0 where they are not known.
        skipped: records that the source has and that could not be read.
        notes: what the readers said, by record; empty in a store that was prepared before notes were kept.
    """

    def __init__(self, folder: Path, split: str):
        """Opens the split and checks that its files are whole.

        Args:
            folder: the folder of the data set, DATA_DIR/NAME/VERSION.
            split: "train", "validation" or "test".

        Raises:
            SplitNotPrepared: the data set lacks the split.
            NotPrepared: the data set is not there, or lost files.
        """
        self.folder, self.split = Path(folder), split
        if not (self.folder / PREPARATION).is_file():
            raise NotPrepared(f"{self.folder} holds no prepared data set: prepare it: {self._command}")
        try:
            preparation = self._read_json(PREPARATION)
            builder: Any = tfds.builder_from_directory(self.folder)
            if split not in builder.info.splits:
                cause = preparation["missing"].get(split, "no such split")
                raise SplitNotPrepared(f"{self.folder} has the splits {[*builder.info.splits]}, not {split!r}: {cause}")
            info = builder.info.splits[split]
            absent = [path.name for path in info.filepaths if not path.exists()]
            if absent or sum(path.stat().length for path in info.filepaths) != info.num_bytes:
                raise self._damaged(f"{absent[:3] or 'a file of another size'} in split {split!r}")
            index = self._read_json(f"index-{split}.json")
            self.record_ids: tuple[str, ...] = tuple(index["record_ids"])
            self.patient_ids: tuple[str, ...] = tuple(index["patient_ids"])
            self.has_labels: tuple[bool, ...] = tuple(index["has_labels"])
            self.half_cycle_frames: tuple[int, ...] = tuple(index["half_cycle_frames"])
            self.skipped: list[Skipped] = [Skipped(**row) for row in self._read_json(SKIPPED)[split]]
            kept = self._read_json(NOTES) if (self.folder / NOTES).is_file() else {}
            self.notes: dict[str, tuple[Note, ...]] = notes_from_json(kept.get(split, {}))
        except NotPrepared:
            raise
        except DAMAGED as error:
            first_line = next(iter(str(error).splitlines()), "")
            raise self._damaged(f"{type(error).__name__}: {first_line[:120]}") from error
        self._records = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)

    @property
    def _command(self) -> str:
        """The command that makes this store, without its --source."""
        return f"python -m data_pipelines.prepare {self.folder.parent.name} --data_dir {self.folder.parent.parent}"

    def _damaged(self, symptom: str) -> NotPrepared:
        return NotPrepared(f"{self.folder} is damaged: {symptom}: prepare it again: {self._command} --overwrite")

    @property
    def notes_apart(self) -> dict[str, tuple[Note, ...]]:
        """The notes on what is no record of the split, e.g. on a folder that is not read; clips bring all others."""
        records = set(self.record_ids)
        return {name: own for name, own in self.notes.items() if name not in records}

    def __len__(self) -> int:
        return len(self.record_ids)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> list[Clip]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Clip | list[Clip]:
        """Reads one clip, or those of a slice.

        Raises:
            UnreadableRecord: "damaged store": the file on disk is not what was written.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]  # negative, or an IndexError
        try:
            return decode_clip(self._records[position]).with_notes(self.notes.get(self.record_ids[position], ()))
        except (RuntimeError, KeyError, ValueError, DecodeError, zlib.error) as error:
            detail = f"{self.folder}, record {position} of {self.split!r}: {error}: prepare it again with --overwrite"
            raise UnreadableRecord(self.record_ids[position], "damaged store", detail) from error

    def __repr__(self) -> str:
        return f"StoredClips({str(self.folder)!r}, {self.split!r}): {len(self)} clips"

    def _read_json(self, name: str) -> dict[str, Any]:
        """Reads one of the JSON files beside the shards."""
        content = json.loads((self.folder / name).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError(f"{name} holds {type(content).__name__}, expected an object")
        return content

    def __reduce__(self) -> tuple:
        return StoredClips, (self.folder, self.split)  # another process opens its own readers


def open_store(data_dir: Path, name: str, split: str) -> StoredClips:
    """Opens one split of a data set that `python -m data_pipelines.prepare` made.

    Args:
        data_dir: the folder that holds data sets.
        name: name of the data set, e.g. "camus".
        split: "train", "validation" or "test".

    Raises:
        ValueError: the name is not one of "camus", "echonet_dynamic" and "simulated_echo", or there is no such split.
        NotPrepared: the data set is not there, lacks the split, or lost files.
    """
    if name not in BUILDERS or split not in SPLITS:
        raise ValueError(f"data set {name!r}, split {split!r}: expected one of {[*BUILDERS]} and one of {[*SPLITS]}")
    return StoredClips(builder_dir(data_dir, name), split)
