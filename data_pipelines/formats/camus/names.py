"""Names of CAMUS folders and files, in any case and with any of the suffixes, and what in a tree is none of them."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from data_pipelines.notes import Note, note
from data_pipelines.records import Skipped

FILE = re.compile(
    r"(?P<patient>patient\d+)_(?P<view>2CH|4CH)_(?P<kind>ED|ES|half_sequence|sequence)(?P<gt>_gt)?"
    r"\.(?P<suffix>nii\.gz|nii|hdr|mhd)",
    re.IGNORECASE,
)
CFG = re.compile(r"Info_(?P<view>2CH|4CH)\.cfg", re.IGNORECASE)
FOLDER = re.compile(r"patient\d+", re.IGNORECASE)
LIKE_FOLDER = re.compile(r"patient[ _-]*\d+", re.IGNORECASE)
KINDS = {kind.lower(): kind for kind in ("ED", "ES", "half_sequence", "sequence")}
SUFFIXES = ("nii.gz", "nii", "hdr", "mhd")  # the first one that is there is read
PICTURES = {"nifti": ("ED", "ES", "half_sequence"), "mhd": ("ED", "ES", "half_sequence", "sequence")}


@dataclasses.dataclass(frozen=True)
class FileName:
    """What the name of a file says.

    Attributes:
        patient: e.g. "patient0001".
        view: "2CH" or "4CH".
        kind: "ED", "ES", "half_sequence" or "sequence", with "_gt" for a mask.
        suffix: one of `SUFFIXES`.
    """

    patient: str
    view: str
    kind: str
    suffix: str

    @property
    def layout(self) -> str:
        """ "nifti" or "mhd"."""
        return "mhd" if self.suffix == "mhd" else "nifti"


@dataclasses.dataclass(frozen=True)
class PatientFolder:
    """The folder of one patient.

    Attributes:
        patient_id: e.g. "patient0001".
        path: the folder that holds the files.
        notes: what was found on the way to it.
    """

    patient_id: str
    path: Path
    notes: tuple[Note, ...] = ()


@dataclasses.dataclass(frozen=True)
class RecordFiles:
    """The files of one record.

    Attributes:
        layout: "nifti" or "mhd"; "" where there is no picture.
        files: paths by kind: "ED", "ES", "half_sequence", "sequence", each also with "_gt", and "cfg".
        notes: what else lies there.
        strangers: names of files of the view that belong to other patients.
    """

    layout: str
    files: dict[str, Path]
    notes: tuple[Note, ...] = ()
    strangers: tuple[str, ...] = ()


def parse(name: str) -> FileName | None:
    """Reads the name of a file; None where it is none of CAMUS."""
    if not (match := FILE.fullmatch(name)):
        return None
    kind = KINDS[match["kind"].lower()] + ("_gt" if match["gt"] else "")
    return FileName(match["patient"].lower(), match["view"].upper(), kind, match["suffix"].lower())


def is_tree(path: Path) -> bool:
    """Says whether a folder holds folders of patients, or database_nifti with such folders."""
    below = path / "database_nifti"
    return any(FOLDER.fullmatch(one.name) for one in (below if below.is_dir() else path).iterdir())


def find_patients(root: Path) -> tuple[Path, dict[str, PatientFolder], list[Skipped]]:
    """Finds the folders of the patients, and the folders and files beside them that hold records and are not read.

    Args:
        root: the folder that holds patient0001, ..., or its parent with database_nifti/.

    Returns:
        The folder that holds the patients, the folder of each patient by id, and what is not read.
    """
    below = root / "database_nifti"
    folder = below if below.is_dir() else root
    skipped = []
    if folder != root:
        for path in sorted(root.iterdir()):
            if FOLDER.fullmatch(path.name) and path.is_dir():
                detail = f"{path}: {below} is there and is read in its place: keep one of the two"
                skipped.append(Skipped(path.name, "patient folder not read", detail))
    claims: dict[str, list[Path]] = {}
    loose: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            if found := parse(path.name):
                loose.setdefault(f"{found.patient}_{found.view}", []).append(path.name)
        elif FOLDER.fullmatch(path.name):
            claims.setdefault(path.name.lower(), []).append(path)
        elif LIKE_FOLDER.search(path.name) or any(parse(name) for name in _list(path)):
            detail = f"{path} looks like a patient's folder: rename it to patientNNNN, or remove it if it is a copy"
            skipped.append(Skipped(path.name, "patient folder not read", detail))
    for record_id, names in loose.items():
        detail = f"{folder} holds {', '.join(names[:3])} beside the patients' folders: move them into one"
        skipped.append(Skipped(record_id, "file outside a patient's folder", detail))
    present = {}
    for patient_id, paths in sorted(claims.items()):
        chosen = next((path for path in paths if path.name == patient_id), paths[0] if len(paths) == 1 else None)
        for path in paths:
            if path != chosen:
                others = ", ".join(other.name for other in paths if other != path)
                detail = f"{path} and {others} are one patient by their names: keep one of them"
                skipped.append(Skipped(path.name, "patient folder not read", detail))
        if chosen is not None:
            present[patient_id] = _enter(PatientFolder(patient_id, chosen))
    return folder, _same_numbers(present), skipped


def record_files(folder: PatientFolder, names: Sequence[str], view: str) -> RecordFiles:
    """Finds the files of one view in the folder of a patient.

    Args:
        folder: the folder.
        names: the names of its files.
        view: "2CH" or "4CH".
    """
    own: dict[str, list[str]] = {}
    strangers = []
    notes = []
    for name in sorted(names):
        found = parse(name)
        if found is None or found.view != view:
            continue
        if _number(found.patient) == _number(folder.patient_id):
            own.setdefault(found.kind, []).append(name)
        else:
            strangers.append(name)
    pictures = {kind: [parsed.layout for name in found if (parsed := parse(name))] for kind, found in own.items()}
    layouts = [
        layout for layout in ("nifti", "mhd") if any(layout in pictures.get(kind, ()) for kind in PICTURES[layout])
    ]
    files: dict[str, Path] = {}
    for kind, found in own.items():
        fitting = [name for name in found if (parsed := parse(name)) and parsed.layout in layouts[:1]]
        if not fitting:
            continue
        official = f"{folder.patient_id}_{view}_{kind}"
        fitting.sort(key=lambda name: (not name.startswith(official), _suffix_rank(name), name))
        files[kind] = folder.path / fitting[0]
        if len(fitting) > 1:
            text = f"{fitting[0]} was read, {', '.join(fitting[1:])} not."
            notes.append(note("several files of one image", text))
    for name in sorted(names):
        if (match := CFG.fullmatch(name)) and match["view"].upper() == view:
            files.setdefault("cfg", folder.path / name)
    if unknown := _unknown(names, view):
        text = f"{', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}: no name of CAMUS."
        notes.append(note("file not read", text))
    if strangers and layouts:
        text = f"{folder.path.name} holds {', '.join(strangers[:3])}; they were not read."
        notes.append(note("files of another patient", text))
    return RecordFiles(layouts[0] if layouts else "", files, (*folder.notes, *notes), tuple(strangers))


def _enter(folder: PatientFolder) -> PatientFolder:
    """Goes into the one folder below that holds the patient's files, where the patient's own holds none."""
    if any(parse(name) for name in _list(folder.path)):
        return folder
    below = [path for path in sorted(_folders(folder.path)) if any(parse(name) for name in _list(path))]
    if len(below) != 1:
        return folder
    text = f"The files lie in {folder.path.name}/{below[0].name}."
    return dataclasses.replace(folder, path=below[0], notes=(note("patient folder nested", text),))


def _same_numbers(present: dict[str, PatientFolder]) -> dict[str, PatientFolder]:
    """Adds a note to the patients whose names differ and whose numbers do not."""
    by_number: dict[int, list[str]] = {}
    for patient_id in present:
        by_number.setdefault(_number(patient_id), []).append(patient_id)
    for names in by_number.values():
        if len(names) > 1:
            text = f"{' and '.join(names)} have one number; they were read as two patients."
            for name in names:
                folder = present[name]
                notes = (*folder.notes, note("two folders of one number", text))
                present[name] = dataclasses.replace(folder, notes=notes)
    return present


def _unknown(names: Iterable[str], view: str) -> list[str]:
    """Names the images of a view whose names are none of CAMUS, e.g. "patient0001_4CH_ED (1).nii.gz"."""
    images = re.compile(r".*\.(nii\.gz|nii|hdr|mhd)", re.IGNORECASE)
    return [
        name
        for name in sorted(names)
        if images.fullmatch(name) and not name.startswith(".") and parse(name) is None and view in name.upper()
    ]


def _suffix_rank(name: str) -> int:
    parsed = parse(name)
    return SUFFIXES.index(parsed.suffix) if parsed else len(SUFFIXES)


def _number(patient_id: str) -> int:
    return int(patient_id.lower().removeprefix("patient"))


def _list(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []  # said when the record is read


def _folders(path: Path) -> list[Path]:
    return [path / name for name in _list(path) if os.path.isdir(path / name)]  # Path.is_dir raises without permission
