"""Lists the records of an EchoNet tree: brings rows of FileList.csv, tracings and videos together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_pipelines import splits
from data_pipelines.formats.echonet_dynamic import files, listed
from data_pipelines.formats.echonet_dynamic.files import TreeFiles, Videos, find_files
from data_pipelines.formats.echonet_dynamic.listed import Listed, Tracings
from data_pipelines.formats.echonet_dynamic.statements import Statements, Units, find_units, read_statements
from data_pipelines.notes import Note, note
from data_pipelines.records import Index, Skipped
from data_pipelines.splits import PatientSplits
from data_pipelines.tables import Table, TableError, read_table

SPLIT_VALUES: dict[str, str] = dict(zip(splits.SPLITS, ("TRAIN", "VAL", "TEST"), strict=True))
LIST_COLUMNS = ("FileName", "EF", "ESV", "EDV", "FrameHeight", "FrameWidth", "FPS", "NumberOfFrames", "Split")
TRACING_COLUMNS = ("FileName", "X1", "Y1", "X2", "Y2", "Frame")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One video of FileList.csv, with its rows of VolumeTracings.csv.

    Attributes:
        record_id: patient_id + "_4CH", as in `Clip`.
        patient_id: the file name without its extension.
        path: the video.
        tracings: by frame counted from 0, in pixels: (rows, 4) of x1, y1, x2, y2, or (points, 2) of x, y; frame -1
            holds rows whose frame number cannot be read.
        stated: what FileList.csv says of it.
        notes: what was found of it before it is read.
    """

    record_id: str
    patient_id: str
    path: Path
    tracings: Tracings = dataclasses.field(repr=False, compare=False)
    stated: Statements
    notes: tuple[Note, ...] = ()


@dataclasses.dataclass(frozen=True)
class Leftovers:
    """What lies in a tree and is not read.

    Attributes:
        videos: videos that FileList.csv does not list.
        tracings: names of VolumeTracings.csv that FileList.csv does not list.
        files: files and folders that belong to nothing.
        other_views: folders of views that are not apical.
        unknown_splits: patients by what their field Split holds, where that says no split.
    """

    videos: tuple[str, ...]
    tracings: tuple[str, ...]
    files: tuple[str, ...]
    other_views: tuple[str, ...]
    unknown_splits: Mapping[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class _Tree:
    """All of a tree but the videos' pixels.

    Attributes:
        found: its files.
        table: FileList.csv.
        patients: the videos that it lists.
    """

    found: TreeFiles
    table: Table
    patients: list[Listed]

    @classmethod
    def open(cls, root: Path) -> _Tree:
        """Finds the files and reads FileList.csv."""
        found = find_files(Path(root))
        table = read_table(found.file_list, ("filename",))
        return cls(found, table, listed.list_videos(table))

    def assign(self, scheme: str) -> PatientSplits:
        """Assigns every patient to a split."""
        return listed.assign_splits(self.found.folder, self.patients, scheme, are_folds=self.found.is_pediatric)


def index(root: Path, split: str, *, scheme: str = "auto") -> Index[Entry]:
    """Lists the records of a split, sorted by record id, and those left out.

    Left out are "video missing", "several videos of one name", "duplicate id" (rows of one name that differ; equal rows
    count once) and "file list garbled" (a stray comma has shifted the fields of a row).

    Args:
        root: the folder with FileList.csv, VolumeTracings.csv and Videos/; or with the folder A4C of EchoNet-Pediatric.
        split: "train", "validation" (VAL in the file), "test" or "all".
        scheme: as for `patient_splits`.

    Raises:
        FileNotFoundError: one of the three, or the split file, is missing.
        ValueError: a column is missing, a CSV file is garbled, the split is unknown or empty, the split file is wrong.
    """
    if split not in (*SPLIT_VALUES, "all"):
        raise ValueError(f"split {split!r} is not one of {[*SPLIT_VALUES, 'all']}")
    tree = _Tree.open(root)
    patients = tree.patients
    assigned = PatientSplits("", {}) if split == "all" else tree.assign(scheme)
    videos, traced = files.list_videos(tree.found.videos), listed.read_tracings(tree.found.tracings)
    keys = [patient.key for patient in patients]
    matched, matched_tracings = listed.match(keys, videos.by_key), listed.match(keys, traced)
    units, wanted = find_units(tree.table), set(assigned.patients.get(split, ()))
    entries: list[Entry] = []
    skipped = _nameless(tree.table) if split == "all" else []
    for patient in patients:
        if split != "all" and patient.patient_id not in wanted:
            continue
        if fault := _fault(patient):
            skipped.append(fault)
            continue
        video = _choose_video(patient, tree.found.videos, videos, matched.get(patient.key))
        if isinstance(video, Skipped):
            skipped.append(video)
            continue
        own = traced.get(matched_tracings.get(patient.key, ""), {})
        entries.append(_entry(patient, video, own, units))
    if not patients and not skipped:
        raise TableError(f"{tree.found.file_list} names no video")
    if not entries and not skipped:
        raise splits.empty_split(split, assigned, tree.found.folder)
    return Index(
        sorted(entries, key=lambda entry: entry.record_id), sorted(skipped, key=lambda record: record.record_id)
    )


def patient_splits(root: Path, scheme: str = "auto") -> PatientSplits:
    """Assigns every patient to a split.

    The column Split of FileList.csv names splits in any of their usual spellings, or holds the ten folds 0..9 of
    EchoNet-Pediatric. Its authors use the folds for cross-validation; one split of them is the rule of this project:
    folds 0..7 are "train", 8 is "validation", 9 is "test" (scheme "folds").

    Args:
        root: the folder with FileList.csv, or with the folder A4C of EchoNet-Pediatric.
        scheme: "official", which is also "auto": the column Split (a name that is listed in two splits is in both); or
            the path of a split file or folder (`data_pipelines.splits`).

    Raises:
        FileNotFoundError: FileList.csv or the split file is missing.
        ValueError: FileList.csv or the split file is garbled.
    """
    return _Tree.open(root).assign(scheme)


def leftovers(root: Path, assigned: PatientSplits) -> Leftovers:
    """Lists what lies in a tree and is not read.

    Args:
        root: as for `index`.
        assigned: the splits of its patients.

    Raises:
        FileNotFoundError: as for `index`.
        ValueError: as for `index`.
    """
    tree = _Tree.open(root)
    videos, traced = files.list_videos(tree.found.videos), listed.read_tracings(tree.found.tracings)
    keys = [patient.key for patient in tree.patients]
    seen = {*listed.match(keys, videos.by_key).values()}
    seen_tracings = {*listed.match(keys, traced).values()}
    inside = tuple(f"{tree.found.videos.name}/{name}" for name in videos.others)
    return Leftovers(
        videos=tuple(sorted(name for name in videos.by_key if name not in seen)),
        tracings=tuple(sorted(name for name in traced if name not in seen_tracings)),
        files=(*tree.found.unread, *inside),
        other_views=tree.found.other_views,
        unknown_splits=listed.unknown_splits(tree.patients, assigned),
    )


def _nameless(table: Table) -> list[Skipped]:
    """Returns the rows that name no video."""
    return [
        Skipped(f"row {row.line}", "file list garbled", f"{table.path}, row {row.line} has no FileName: {row.fields}")
        for row in table.rows
        if not files.key(row.fields["filename"])
    ]


def _fault(patient: Listed) -> Skipped | None:
    """Says why the rows of a video cannot be used."""
    if differing := listed.contradictions(patient.rows):
        detail = f"FileList.csv has it {len(patient.rows)} times, with {'; '.join(differing)}: remove the wrong row"
        return Skipped(patient.record_id, "duplicate id", detail)
    if (row := patient.rows[0]).runs_over:
        detail = f"row {row.line} of FileList.csv has more fields than the header: a stray comma has shifted them"
        return Skipped(patient.record_id, "file list garbled", detail)
    return None


@dataclasses.dataclass(frozen=True)
class _Video:
    """The video of a record.

    Attributes:
        path: the file.
        notes: how it was found, where that was not by its plain name.
    """

    path: Path
    notes: tuple[Note, ...] = ()


def _choose_video(patient: Listed, folder: Path, videos: Videos, matched: str | None) -> _Video | Skipped:
    plain = folder / f"{patient.key}.avi"
    if matched is None:
        named = files.stem(patient.key).casefold()
        near = [name for name in (*videos.by_key, *videos.others) if files.stem(name).casefold().startswith(named)]
        detail = f"FileList.csv has it, {plain} is not there" + (f"; there is {near[:3]}" if near else "")
        return Skipped(patient.record_id, "video missing", detail)
    paths = videos.by_key[matched]
    names = [str(path.relative_to(folder)) for path in paths]
    if plain in paths:
        others = [name for path, name in zip(paths, names, strict=True) if path != plain]
        text = f"{plain.name} is read; there is {', '.join(others)} too."
        return _Video(plain, (note("several videos of one name", text),) if others else ())
    if len(paths) > 1:
        detail = f"{folder} has {', '.join(names)}, and no {plain.name}: keep one of them"
        return Skipped(patient.record_id, "several videos of one name", detail)
    return _Video(paths[0], (note("video under another name", f"{names[0]} is read, for {plain.name}."),))


def _entry(patient: Listed, video: _Video, own: Tracings, units: Units) -> Entry:
    stated = read_statements(patient.rows[0], units)
    notes: Sequence[Note] = (*video.notes, *stated.notes)
    if (count := len(patient.rows)) > 1:
        notes = (*notes, note("row repeated", f"FileList.csv has it {count} times with the same content."))
    return Entry(patient.record_id, patient.patient_id, video.path, own, stated, tuple(notes))
