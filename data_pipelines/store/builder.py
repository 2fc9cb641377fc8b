"""A prepared data set on disk, and the TFDS builder that every kind of data set derives from.

A record holds everything a `Clip` has, without loss. Records lie in the order of their ids, in shards of a fixed number
of entries, and the bytes depend on the source alone. Next to the shards are `index-SPLIT.json` (ids without decoding),
`skipped.json` (what could not be read, and why), `notes.json` (what the readers said of each record) and
`preparation.json` (which data this is). TensorFlow is not needed.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_builder import FileReaderBuilder

from data_pipelines.errors import DataError
from data_pipelines.notes_by_record import merge_notes, notes_as_json
from data_pipelines.records import Clip
from data_pipelines.splits import SPLITS
from data_pipelines.store.shards import FEATURES, INDEX_KEYS, Plan, Shard, encode_entry, write_shard

VERSION = tfds.core.Version("1.0.0")  # raise it whenever the same source gives other records
PREPARATION, SKIPPED, NOTES = "preparation.json", "skipped.json", "notes.json"


class NotPrepared(DataError, FileNotFoundError):
    """The data set, or the split, is not in the folder, or files of it are damaged."""


class SplitNotPrepared(NotPrepared):
    """The data set is there and whole, and lacks the split."""


@dataclasses.dataclass(frozen=True)
class Staged:
    """Shards that are written and wait to become a data set.

    Attributes:
        plan: what the data set is made of.
        folder: where the shards lie.
        shards: what each of them holds, by its name.
    """

    plan: Plan
    folder: Path
    shards: dict[str, Shard]


class _Info(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """Does nothing: these data sets are not on Google's servers, where TFDS would look for them each time."""


class ClipBuilder(FileReaderBuilder, skip_registration=True):
    """Builds a data set of clips, for TFDS or for `python -m data_pipelines.prepare`.

    The command reads in parallel and continues an interrupted preparation: it writes the shards and sets `staged`.
    Without that the builder plans and writes by itself.

    Attributes:
        INFO: description, homepage and citation for TFDS.
        READS_IN_PROCESSES: whether records are read in worker processes: reading holds the interpreter lock, so that
            threads gain little.
        staged: shards that are written already, or None.
    """

    VERSION = VERSION
    INFO: ClassVar[dict[str, Any]] = {}
    READS_IN_PROCESSES: ClassVar[bool] = False
    staged: Staged | None = None

    def __init__(self, *, file_format: Any = "array_record", **arguments: Any):
        """Makes the builder.

        Args:
            file_format: format of the files, as TFDS takes it.
            **arguments: arguments of `tfds.core.DatasetBuilder`, e.g. data_dir.
        """
        super().__init__(file_format=file_format, **arguments)

    def plan(self, source: Path | None) -> Plan:
        """Lists what there is to prepare from `source` (None: the data set has no source on disk).

        Raises:
            FileNotFoundError, ValueError: the source is not there, or is something else.
        """
        raise NotImplementedError

    @staticmethod
    def read(entry: Any) -> Clip:
        """Reads one entry of the plan; raises UnreadableRecord where that fails."""
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        return _Info(builder=self, features=FEATURES, disable_shuffling=True, **self.INFO)

    def _download_and_prepare(self, dl_manager: Any, download_config: Any) -> None:
        staged = self.staged or self._stage(dl_manager)
        plan, shards, target = staged.plan, staged.shards, Path(self.data_path)
        missing, infos = dict(plan.missing), []
        for split in plan.entries:
            names = [name for name, job in plan.shards().items() if job.split == split and shards[name].record_ids]
            if not names:
                missing[split] = f"none of its {len(plan.entries[split])} records could be read"
                continue
            template = self._get_filename_template(split)
            for number, name in enumerate(names):
                path = template.sharded_filepath(shard_index=number, num_shards=len(names))
                _link(staged.folder / name, Path(path))
            index = {key: list(itertools.chain(*(getattr(shards[name], key) for name in names))) for key in INDEX_KEYS}
            (target / f"index-{split}.json").write_text(json.dumps(index))
            lengths = [len(shards[name].record_ids) for name in names]
            infos.append(tfds.core.SplitInfo(split, lengths, sum(shards[name].size_bytes for name in names), template))
        if not infos:
            raise ValueError(f"no usable record in {self.name}: {missing}")
        _write_skipped(staged, target)
        _write_notes(staged, target)
        (target / PREPARATION).write_text(json.dumps({"origin": plan.origin, "missing": missing}, indent=1))
        if not self.staged:
            shutil.rmtree(staged.folder)
        self.info.set_splits(tfds.core.SplitDict(infos))

    def _stage(self, dl_manager: Any) -> Staged:
        """Writes all shards one after the other, for a preparation by TFDS alone."""
        plan = self.plan(Path(dl_manager.manual_dir) if self.MANUAL_DOWNLOAD_INSTRUCTIONS else None)
        folder = Path(self.data_path) / "staged"
        folder.mkdir()
        shards = {}
        for name, job in plan.shards().items():
            shards[name] = write_shard(folder / name, (encode_entry(self.read, entry) for entry in job.entries))
        return Staged(plan, folder, shards)


def builder_dir(data_dir: Path, name: str) -> Path:
    """Returns the folder of a data set, as `tfds.builder_from_directory` takes it.

    Args:
        data_dir: the folder that holds data sets.
        name: name of the data set, e.g. "camus".
    """
    return Path(data_dir) / name / str(VERSION)


def _write_skipped(staged: Staged, target: Path) -> None:
    """Writes what could not be read, by split."""
    skipped = {split: list(staged.plan.skipped.get(split, ())) for split in SPLITS}
    for name, job in staged.plan.shards().items():
        skipped[job.split] += staged.shards[name].skipped
    rows = {split: [dataclasses.asdict(record) for record in records] for split, records in skipped.items()}
    (target / SKIPPED).write_text(json.dumps(rows, indent=1))


def _write_notes(staged: Staged, target: Path) -> None:
    """Writes what the readers said, by split and record."""
    plan = staged.plan
    parts = {split: [plan.notes.get(split, {})] for split in SPLITS}
    for name, job in plan.shards().items():
        parts[job.split].append(staged.shards[name].notes)
    rows = {split: notes_as_json(merge_notes(*found)) for split, found in parts.items()}
    (target / NOTES).write_text(json.dumps(rows, indent=1))


def _link(source: Path, target: Path) -> None:
    """Gives one file two names, so that a stop between two of them loses nothing; copies where links do not exist."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
