"""The data sets that can be prepared: CAMUS, EchoNet-Dynamic and simulated patients."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from data_pipelines.formats import camus, echonet_dynamic
from data_pipelines.records import VIEWS, Clip, Index, summarise_skipped
from data_pipelines.simulator.clip import SMALLEST_SIZE, ClipSettings, simulate_clip
from data_pipelines.simulator.cohort import SIMULATOR_VERSION, split_by_number
from data_pipelines.simulator.patient import Patient, patient_name
from data_pipelines.splits import SPLITS
from data_pipelines.store.builder import ClipBuilder
from data_pipelines.store.shards import Plan

PUBLIC_MODULE = "data_pipelines.store"  # TFDS writes the module of a builder into dataset_info.json: it must not change


class Camus(ClipBuilder):
    """CAMUS, 500 patients with two views each: --source is the folder with patient0001, ... or its parent."""

    __module__ = PUBLIC_MODULE
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    CAMUS may be used for research alone, so everybody fetches it after accepting its terms: CAMUS_public (NIfTI) at
    https://humanheart-project.creatis.insa-lyon.fr/database/#collection/6373703d73e9f0047faa1bc8 . Unpack it and give
    the folder that holds database_nifti/ and database_split/ as --source (in TFDS: as `manual_dir`).
    """
    INFO: ClassVar[dict[str, Any]] = {
        "description": "Apical two- and four-chamber half cycles with left ventricle, myocardium and left atrium.",
        "homepage": "https://www.creatis.insa-lyon.fr/Challenge/camus/",
        "citation": "@article{leclerc2019camus, author={Leclerc, S. and others}, title={Deep Learning for Segmentation "
        "Using an Open Large-Scale Dataset in 2D Echocardiography}, journal={IEEE TMI}, volume={38}, year={2019}}",
    }
    read = staticmethod(camus.read)

    def plan(self, source: Path | None) -> Plan:
        """Lists the records of a CAMUS tree."""
        return _plan_of_tree(self.name, _existing_folder(source, self), camus.index, _camus_files)


class EchonetDynamic(ClipBuilder):
    """EchoNet-Dynamic, 10030 videos: --source is the folder with FileList.csv, VolumeTracings.csv and Videos/."""

    __module__ = PUBLIC_MODULE
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    EchoNet-Dynamic comes under Stanford's research use agreement, so everybody fetches it after accepting its terms at
    https://echonet.github.io/dynamic/ . Unpack it and give the folder that holds FileList.csv, VolumeTracings.csv and
    Videos/ as --source (in TFDS: as `manual_dir`).
    """
    INFO: ClassVar[dict[str, Any]] = {
        "description": "Apical four-chamber half cycles with the left ventricle traced at both ends.",
        "homepage": "https://echonet.github.io/dynamic/",
        "citation": "@article{ouyang2020video, author={Ouyang, D. and others}, title={Video-based AI for beat-to-beat "
        "assessment of cardiac function}, journal={Nature}, volume={580}, year={2020}}",
    }
    read = staticmethod(echonet_dynamic.read)

    def plan(self, source: Path | None) -> Plan:
        """Lists the videos of an EchoNet-Dynamic tree; its two tables are part of the fingerprint."""
        source = _existing_folder(source, self)
        plan = _plan_of_tree(self.name, source, echonet_dynamic.index, _echonet_files)
        found = echonet_dynamic.find_files(source)
        digests = {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in (("FileList.csv", found.file_list), ("VolumeTracings.csv", found.tracings))
        }
        return dataclasses.replace(plan, origin=plan.origin | digests)


@dataclasses.dataclass(frozen=True)
class SimulatedEntry:
    """The arguments of one simulated clip.

    Attributes:
        record_id: patient and view, e.g. "patient0001_4CH".
        seed: seed of the simulated population.
        patient: number of the patient, from 1.
        view: "2CH" or "4CH".
        frames: frames from end-diastole to end-systole.
        size: side of the frames in pixels.
    """

    record_id: str
    seed: int
    patient: int
    view: str
    frames: int
    size: int


class SimulatedEcho(ClipBuilder):
    """Both views of simulated patients, split 7:1:2 by their numbers; every frame has exact masks."""

    __module__ = PUBLIC_MODULE
    INFO: ClassVar[dict[str, Any]] = {
        "description": "Simulated apical half cycles with exact masks, volumes and ejection fraction."
    }
    READS_IN_PROCESSES: ClassVar[bool] = True

    def __init__(self, *, patients: int = 40, seed: int = 0, frames: int = 16, size: int = 256, **arguments: Any):
        """Makes the builder.

        Args:
            patients: how many patients to simulate, at least 3.
            seed: seed of the population.
            frames: frames from end-diastole to end-systole, at least 2.
            size: side of the frames in pixels.
            **arguments: arguments of `tfds.core.DatasetBuilder`, e.g. data_dir.
        """
        self.arguments = {"patients": patients, "seed": seed, "frames": frames, "size": size}
        super().__init__(**arguments)
        self._original_state |= self.arguments  # what TFDS makes a pickled builder from

    def plan(self, source: Path | None = None) -> Plan:
        """Lists the clips to simulate; `source` is not used.

        Raises:
            ValueError: the arguments of the builder are too small.
        """
        patients, seed, frames, size = self.arguments.values()
        if frames < 2 or size < SMALLEST_SIZE or seed < 0:
            raise ValueError(
                f"frames is {frames}, size is {size}, seed is {seed}; expected at least 2, {SMALLEST_SIZE} and 0"
            )
        numbers = {patient_name(number): number for number in range(1, patients + 1)}
        entries = {
            split: [
                SimulatedEntry(f"{patient}_{view}", seed, numbers[patient], view, frames, size)
                for patient in split_patients
                for view in VIEWS
            ]
            for split, split_patients in split_by_number(patients).items()
        }
        ordered = {split: sorted(rows, key=lambda entry: entry.record_id) for split, rows in entries.items()}
        origin = {"name": self.name, "simulator_version": SIMULATOR_VERSION, **self.arguments}
        return Plan(origin, ordered, {}, {})

    @staticmethod
    def read(entry: SimulatedEntry) -> Clip:
        """Simulates one clip."""
        settings = ClipSettings(frames=entry.frames, size=entry.size)
        return simulate_clip(Patient(entry.seed, entry.patient), entry.view, settings)


BUILDERS: dict[str, type[ClipBuilder]] = {builder.name: builder for builder in (Camus, EchonetDynamic, SimulatedEcho)}


def _existing_folder(source: Path | None, builder: ClipBuilder) -> Path:
    if source is None or not source.is_dir():
        how = " ".join(str(builder.MANUAL_DOWNLOAD_INSTRUCTIONS).split())
        raise FileNotFoundError(f"source {source} is not a folder; {builder.name} has to be fetched by hand. {how}")
    return source


def _camus_files(entry: camus.Entry) -> list[Path]:
    """Lists the files of one record."""
    prefixes = (f"{entry.record_id}_", f"Info_{entry.view}.cfg")
    return [path for path in entry.path.iterdir() if path.name.startswith(prefixes)]


def _echonet_files(entry: echonet_dynamic.Entry) -> list[Path]:
    """Lists the files of one record."""
    return [entry.path]


def _plan_of_tree(
    name: str, root: Path, index: Callable[[Path, str], Index[Any]], files: Callable[[Any], list[Path]]
) -> Plan:
    """Plans a data set on disk; its fingerprint is made of the ids, splits, file names and sizes."""
    entries, skipped, missing, notes, faults = {}, {}, {}, {}, []
    for split in SPLITS:
        try:
            listed = index(root, split)
        except ValueError as error:  # an empty split, or, if it is so with every split, something else
            missing[split] = str(error)
            faults.append(error)
            continue
        skipped[split], notes[split] = listed.skipped, listed.notes
        if listed.entries:
            entries[split] = listed.entries
        else:
            missing[split] = f"none of its {len(listed.skipped)} records is there"
    if len(faults) == len(SPLITS):
        raise faults[0]
    if not entries:
        raise ValueError(f"{root} has no record of any split: {summarise_skipped(itertools.chain(*skipped.values()))}")
    digest = hashlib.sha256()
    for split, split_entries in entries.items():
        for entry in split_entries:
            sizes = sorted((path.name, path.stat().st_size) for path in files(entry))
            digest.update(json.dumps([split, entry.record_id, sizes]).encode())
    counts = {split: len(split_entries) for split, split_entries in entries.items()}
    return Plan({"name": name, "records": counts, "files": digest.hexdigest()}, entries, skipped, missing, notes)
