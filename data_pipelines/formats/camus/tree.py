"""Finds the records of a CAMUS tree, and the split that each patient belongs to."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_pipelines import splits
from data_pipelines.errors import DataError
from data_pipelines.formats.camus.names import PatientFolder, find_patients, record_files
from data_pipelines.notes import Note
from data_pipelines.records import VIEWS, Index, Skipped
from data_pipelines.splits import PatientSplits

SPLIT_FILES: dict[str, str] = dict(zip(splits.SPLITS, ("training", "validation", "testing"), strict=True))
SCHEMES = ("auto", "official", "number", "ratio")


@dataclasses.dataclass(frozen=True)
class Entry:
    """Where one record lies: one apical view of one patient.

    Attributes:
        record_id: patient_id and view, e.g. "patient0001_4CH".
        patient_id: e.g. "patient0001".
        view: "2CH" or "4CH".
        path: the folder that holds the patient's files.
        layout: "nifti" (the official release) or "mhd" (the older one).
        files: paths by kind, as `names.RecordFiles.files`.
    """

    record_id: str
    patient_id: str
    view: str
    path: Path
    layout: str
    files: Mapping[str, Path] = dataclasses.field(default_factory=dict, hash=False)


def index(root: Path, split: str, *, scheme: str = "auto", views: Sequence[str] = VIEWS) -> Index[Entry]:
    """Lists the records of a split, sorted by record id, what is missing from it, and what in the tree is not read.

    Names may be in any case. Folders and files that look like records and are none are listed as skipped.

    Args:
        root: the folder that holds patient0001, ..., or its parent with database_nifti/.
        split: "train", "validation", "test" or "all" (every patient folder).
        scheme: as for `patient_splits`.
        views: the views wanted of each patient.

    Raises:
        FileNotFoundError: `root`, or the files that the scheme needs, are missing.
        ValueError: there is no patient folder, the split is empty, the split or the scheme is unknown.
        SplitError: as `patient_splits`.
    """
    if split not in (*SPLIT_FILES, "all"):
        raise ValueError(f"split {split!r} is not one of {[*SPLIT_FILES, 'all']}")
    patients, present, skipped = _patients(Path(root))
    if split == "all" and scheme in ("auto", "number", "ratio"):
        wanted = list(present)
    else:
        assigned = _assign_splits(patients, present, scheme)
        wanted = list(present) if split == "all" else assigned.patients[split]
        if not wanted:
            raise splits.empty_split(split, assigned, patients)
    entries: list[Entry] = []
    notes: dict[str, tuple[Note, ...]] = {}
    for patient_id in sorted(wanted):
        if (folder := present.get(patient_id)) is None:
            detail = f"split {split!r} names it, {patients} lacks it"
            skipped += [Skipped(f"{patient_id}_{view}", "patient missing", detail) for view in views]
            continue
        try:
            names = os.listdir(folder.path)
        except OSError as error:
            detail = f"{folder.path}: {error.strerror}: make it readable"
            skipped += [Skipped(f"{patient_id}_{view}", "not readable", detail) for view in views]
            continue
        for view in views:
            record_id, found = f"{patient_id}_{view}", record_files(folder, names, view)
            if found.layout:
                entries.append(Entry(record_id, patient_id, view, folder.path, found.layout, found.files))
                if found.notes:
                    notes[record_id] = found.notes
            elif found.strangers:
                detail = f"{folder.path} holds {', '.join(found.strangers[:3])}: move them, or rename the folder"
                skipped.append(Skipped(record_id, "files of another patient", detail))
            else:
                detail = f"{folder.path} holds no {record_id}_{{ED,ES,half_sequence}}.nii.gz or .mhd"
                skipped.append(Skipped(record_id, "view missing", detail))
    return Index(sorted(entries, key=lambda entry: entry.record_id), skipped, notes)


def patient_splits(root: Path, scheme: str = "auto") -> PatientSplits:
    """Assigns every patient to a split.

    Args:
        root: the folder that holds the patients, or its parent with database_nifti/.
        scheme: "official" (database_split/*.txt), "number" (1-350 train, 351-400 validation, 401-500 test; only for a
            tree numbered like that), "ratio" (7:1:2 in the order of the patients' numbers, for any other tree; it
            depends on which patients are there), "auto" (official if its three files exist, else number), or the path
            of a split file or folder (`data_pipelines.splits`).

    Raises:
        FileNotFoundError: `root`, or the files that the scheme needs, are missing.
        SplitError: a patient is in two splits, the scheme does not know a number, or a split file is garbled or names
            a patient that is not there.
        ValueError: there is no patient folder, or the scheme is unknown.
    """
    patients, present, _ = _patients(Path(root))
    return _assign_splits(patients, present, scheme)


def _patients(root: Path) -> tuple[Path, dict[str, PatientFolder], list[Skipped]]:
    """Returns the folder that holds the patients, the folder of each patient, and what is not read."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; looked for patient0001, ... and database_nifti/ in it")
    folder, present, skipped = find_patients(root)
    if not present:
        others = sorted(path.name for path in folder.iterdir())
        raise DataError(
            f"{folder} holds no patientNNNN folder; found {len(others)} others: {others[:8]}: give the "
            "folder with patient0001, ... or its parent with database_nifti/"
        )
    return folder, present, skipped


def _assign_splits(patients: Path, present: Mapping[str, PatientFolder], scheme: str) -> PatientSplits:
    parent = [patients.parent] if patients.name == "database_nifti" else []
    folders = [folder / "database_split" for folder in (patients, *parent)]
    complete = [
        folder
        for folder in folders
        if all((folder / f"subgroup_{name}.txt").is_file() for name in SPLIT_FILES.values())
    ]
    numbers = {patient_id: int(patient_id.removeprefix("patient")) for patient_id in present}
    if scheme == "official" or (scheme == "auto" and complete):
        if not complete:
            raise FileNotFoundError(
                f"no subgroup_{{training,validation,testing}}.txt in {[str(folder) for folder in folders]}: "
                "add the files of the release, or use scheme='number'"
            )
        files = {split: complete[0] / f"subgroup_{name}.txt" for split, name in SPLIT_FILES.items()}
        groups = {split: splits.read_text(file).split() for split, file in files.items()}
        splits.check_once(groups, complete[0])
        return PatientSplits("official", groups)
    if scheme in ("auto", "number"):
        return PatientSplits("number", splits.by_camus_number(numbers, patients))
    if scheme == "ratio":
        return PatientSplits("ratio", splits.by_ratio(numbers, patients))
    if not Path(scheme).expanduser().exists():
        raise FileNotFoundError(f"scheme {scheme!r} is neither one of {SCHEMES} nor a split file or folder that exists")
    return PatientSplits(scheme, splits.read_splits(Path(scheme), present.keys()))
