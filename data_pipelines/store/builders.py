"""Prepared data sets: TFDS builders that write clips as ArrayRecord, and opening what they wrote.

A record holds everything a `Clip` has, without loss. Records lie in the order of their ids, in shards of a fixed number
of entries, and the bytes depend on the source alone. Beside them: `index-SPLIT.json` (ids without decoding),
`skipped.json` (what could not be read, and why) and `preparation.json` (which data this is). TensorFlow is not needed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_builder import FileReaderBuilder

from data_pipelines.errors import DataError
from data_pipelines.formats import camus, echonet_dynamic
from data_pipelines.records import VIEWS, Clip, summarise_skipped
from data_pipelines.simulator.clip import SMALLEST_SIZE, patient_name, simulate_clip
from data_pipelines.simulator.cohort import SIMULATOR_VERSION, split_by_number
from data_pipelines.splits import SPLITS
from data_pipelines.store.shards import FEATURES, INDEX_KEYS, Plan, Shard, encode_entry, write_shard

VERSION = tfds.core.Version("1.0.0")  # raise it whenever the same source gives other records
PREPARATION, SKIPPED = "preparation.json", "skipped.json"


class NotPrepared(DataError, FileNotFoundError):
    """The data set, or the split, is not in the folder."""


# ---- the builders --------------------------------------------------------------------------------------------------


class _Info(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """Nothing: these data sets are not on Google's servers, and TFDS leaves an empty temporary folder each time."""


class ClipBuilder(FileReaderBuilder, skip_registration=True):
    """A TFDS builder of clips. `python -m data_pipelines.prepare` uses it in parallel and goes on where it stopped.

    Attributes:
        staged: a plan, and the folder and the description of its shards by name, written before; without it the
            builder plans and writes by itself.
    """

    VERSION = VERSION
    ABOUT: ClassVar[dict[str, Any]] = {}
    IN_PROCESSES: ClassVar[bool] = False  # reading holds the interpreter lock: threads gain little
    staged: tuple[Plan, Path, dict[str, Shard]] | None = None

    def __init__(self, *, file_format: Any = "array_record", **arguments: Any):
        super().__init__(file_format=file_format, **arguments)

    def plan(self, source: Path | None) -> Plan:
        """What there is to prepare from `source`.

        Raises:
            FileNotFoundError, ValueError: the source is not there, or is something else.
        """
        raise NotImplementedError

    @staticmethod
    def read(entry: Any) -> Clip:
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        return _Info(builder=self, features=FEATURES, disable_shuffling=True, **self.ABOUT)

    def _download_and_prepare(self, dl_manager: Any, download_config: Any) -> None:
        plan, folder, shards = self.staged or self._stage(dl_manager)
        target, missing, infos = Path(self.data_path), dict(plan.missing), []
        for split in plan.entries:
            names = [name for name, (of, _) in plan.shards().items() if of == split]
            full = [name for name in names if shards[name].record_ids]
            if not full:
                missing[split] = f"none of its {len(plan.entries[split])} records could be read"
                continue
            template = self._get_filename_template(split)
            for number, name in enumerate(full):
                _link(folder / name, Path(template.sharded_filepath(shard_index=number, num_shards=len(full))))
            index = {key: list(itertools.chain(*(getattr(shards[name], key) for name in full))) for key in INDEX_KEYS}
            (target / f"index-{split}.json").write_text(json.dumps(index))
            lengths, size_bytes = [len(shards[n].record_ids) for n in full], sum(shards[n].size_bytes for n in full)
            infos.append(tfds.core.SplitInfo(split, lengths, size_bytes, template))
        if not infos:
            raise ValueError(f"no usable record in {self.name}: {missing}")
        skipped = {split: list(plan.skipped.get(split, ())) for split in SPLITS}
        for name, (split, _) in plan.shards().items():
            skipped[split] += shards[name].skipped
        rows = {split: [dataclasses.asdict(s) for s in faults] for split, faults in skipped.items()}
        (target / SKIPPED).write_text(json.dumps(rows, indent=1))
        (target / PREPARATION).write_text(json.dumps({"origin": plan.origin, "missing": missing}, indent=1))
        if not self.staged:
            shutil.rmtree(folder)
        self.info.set_splits(tfds.core.SplitDict(infos))

    def _stage(self, dl_manager: Any) -> tuple[Plan, Path, dict[str, Shard]]:
        plan = self.plan(Path(dl_manager.manual_dir) if self.MANUAL_DOWNLOAD_INSTRUCTIONS else None)
        folder = Path(self.data_path) / "staged"
        folder.mkdir()
        encode = lambda entry: encode_entry(self.read, entry)
        shards = {name: write_shard(folder / name, map(encode, of)) for name, (_, of) in plan.shards().items()}
        return plan, folder, shards


def _link(source: Path, target: Path) -> None:
    """One file under two names, so that a stop between two of them loses nothing; a copy where there are no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


class Camus(ClipBuilder):
    """CAMUS, 500 patients, two views each: `source` is the folder with patient0001, ... or its parent."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    CAMUS may be used for research alone, so everybody fetches it after accepting its terms: CAMUS_public (NIfTI) at
    https://humanheart-project.creatis.insa-lyon.fr/database/#collection/6373703d73e9f0047faa1bc8 . Unpack it and give
    the folder that holds database_nifti/ and database_split/ as --source (in TFDS: as `manual_dir`).
    """
    ABOUT: ClassVar[dict[str, Any]] = {
        "description": "Apical two- and four-chamber half cycles with left ventricle, myocardium and left atrium.",
        "homepage": "https://www.creatis.insa-lyon.fr/Challenge/camus/",
        "citation": "@article{leclerc2019camus, author={Leclerc, S. and others}, title={Deep Learning for Segmentation "
        "Using an Open Large-Scale Dataset in 2D Echocardiography}, journal={IEEE TMI}, volume={38}, year={2019}}",
    }
    read = staticmethod(camus.read)

    def plan(self, source: Path | None) -> Plan:
        def files(entry: camus.Entry) -> list[Path]:
            mine = (f"{entry.record_id}_", f"Info_{entry.view}.cfg")
            return [path for path in entry.path.iterdir() if path.name.startswith(mine)]

        return _plan_of_tree(self.name, _existing(source, self), camus.index, files)


class EchonetDynamic(ClipBuilder):
    """EchoNet-Dynamic, 10030 videos: `source` is the folder with FileList.csv, VolumeTracings.csv and Videos/."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    EchoNet-Dynamic comes under Stanford's research use agreement, so everybody fetches it after accepting its terms at
    https://echonet.github.io/dynamic/ . Unpack it and give the folder that holds FileList.csv, VolumeTracings.csv and
    Videos/ as --source (in TFDS: as `manual_dir`).
    """
    ABOUT: ClassVar[dict[str, Any]] = {
        "description": "Apical four-chamber half cycles with the left ventricle traced at both ends.",
        "homepage": "https://echonet.github.io/dynamic/",
        "citation": "@article{ouyang2020video, author={Ouyang, D. and others}, title={Video-based AI for beat-to-beat "
        "assessment of cardiac function}, journal={Nature}, volume={580}, year={2020}}",
    }
    read = staticmethod(echonet_dynamic.read)

    def plan(self, source: Path | None) -> Plan:
        source = _existing(source, self)
        plan = _plan_of_tree(self.name, source, echonet_dynamic.index, lambda entry: [entry.path])
        digests = {
            name: hashlib.sha256((source / name).read_bytes()).hexdigest()
            for name in ("FileList.csv", "VolumeTracings.csv")
        }
        return dataclasses.replace(plan, origin=plan.origin | digests)


@dataclasses.dataclass(frozen=True)
class SimulatedEntry:
    """The arguments of one simulated clip."""

    record_id: str
    seed: int
    patient: int
    view: str
    frames: int
    size: int


class SimulatedEcho(ClipBuilder):
    """Both views of simulated patients, split 7:1:2 by their numbers; every frame has exact masks."""

    ABOUT: ClassVar[dict[str, Any]] = {
        "description": "Simulated apical half cycles with exact masks, volumes and ejection fraction."
    }
    IN_PROCESSES: ClassVar[bool] = True

    def __init__(self, *, patients: int = 40, seed: int = 0, frames: int = 16, size: int = 256, **arguments: Any):
        self.arguments = {"patients": patients, "seed": seed, "frames": frames, "size": size}
        super().__init__(**arguments)
        self._original_state |= self.arguments  # what TFDS makes a pickled builder from

    def plan(self, source: Path | None = None) -> Plan:
        patients, seed, frames, size = self.arguments.values()
        if frames < 2 or size < SMALLEST_SIZE or seed < 0:
            raise ValueError(
                f"frames is {frames}, size is {size}, seed is {seed}; expected at least 2, {SMALLEST_SIZE} and 0"
            )
        groups = split_by_number(patients)
        numbers = {patient_name(number): number for number in range(1, patients + 1)}
        entries = {
            split: [
                SimulatedEntry(f"{patient}_{view}", seed, numbers[patient], view, frames, size)
                for patient in groups[camus.SPLIT_FILES[split]]
                for view in VIEWS
            ]
            for split in SPLITS
        }
        ordered = {split: sorted(of_split, key=lambda e: e.record_id) for split, of_split in entries.items()}
        origin = {"name": self.name, "simulator_version": SIMULATOR_VERSION, **self.arguments}
        return Plan(origin, ordered, {}, {})

    @staticmethod
    def read(entry: SimulatedEntry) -> Clip:
        return simulate_clip(entry.seed, entry.patient, entry.view, frames=entry.frames, size=entry.size)


BUILDERS: dict[str, type[ClipBuilder]] = {builder.name: builder for builder in (Camus, EchonetDynamic, SimulatedEcho)}


def _existing(source: Path | None, builder: ClipBuilder) -> Path:
    if source is None or not source.is_dir():
        how = " ".join(str(builder.MANUAL_DOWNLOAD_INSTRUCTIONS).split())
        raise FileNotFoundError(f"source {source} is not a folder; {builder.name} has to be fetched by hand. {how}")
    return source


def _plan_of_tree(name: str, root: Path, index: Callable, files: Callable[[Any], list[Path]]) -> Plan:
    """The plan of a data set on disk; its fingerprint is made of the ids, splits, file names and sizes."""
    entries, skipped, missing, faults = {}, {}, {}, []
    for split in SPLITS:
        try:
            found, skipped[split] = index(root, split)
        except ValueError as error:  # an empty split, or, if it is so with every split, something else
            missing[split] = str(error)
            faults.append(error)
            continue
        if found:
            entries[split] = found
        else:
            missing[split] = f"none of its {len(skipped[split])} records is there"
    if len(faults) == len(SPLITS):
        raise faults[0]
    if not entries:
        raise ValueError(f"{root} has no record of any split: {summarise_skipped(itertools.chain(*skipped.values()))}")
    digest = hashlib.sha256()
    for split, of_split in entries.items():
        for entry in of_split:
            sizes = sorted((path.name, path.stat().st_size) for path in files(entry))
            digest.update(json.dumps([split, entry.record_id, sizes]).encode())
    counts = {split: len(of_split) for split, of_split in entries.items()}
    return Plan({"name": name, "records": counts, "files": digest.hexdigest()}, entries, skipped, missing)


# ---- opening -------------------------------------------------------------------------------------------------------


def builder_dir(data_dir: Path, name: str) -> Path:
    """Where a data set lies: what `tfds.builder_from_directory` takes."""
    return Path(data_dir) / name / str(VERSION)
