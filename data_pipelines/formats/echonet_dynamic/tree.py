"""Reads the tables of EchoNet-Dynamic: FileList.csv, VolumeTracings.csv, and which videos are there."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from data_pipelines import splits
from data_pipelines.records import Index, Skipped
from data_pipelines.splits import PatientSplits

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
        tracings: (rows, 4) of x1, y1, x2, y2 in pixels, by frame counted from 0; frame -1 holds rows whose frame
            number cannot be read.
        fps: frames per second, or None where it is not known.
        ef_percent: ejection fraction stated by the data set, per cent, or None.
        volumes_ml: (EDV, ESV) stated by the data set, ml, or None.
    """

    record_id: str
    patient_id: str
    path: Path
    tracings: Mapping[int, Float[np.ndarray, "rows 4"]] = dataclasses.field(repr=False, compare=False)
    fps: float | None
    ef_percent: float | None
    volumes_ml: tuple[float, float] | None


def index(root: Path, split: str, *, scheme: str = "auto") -> Index[Entry]:
    """Lists the records of a split, sorted by record id, and those left out.

    Left out are "video missing", "duplicate id" (the first row of a name counts) and "file list garbled" (a field that
    should be a number is none; an empty field is taken as not known).

    Args:
        root: the folder with FileList.csv, VolumeTracings.csv and Videos/.
        split: "train", "validation" (VAL in the file), "test" or "all".
        scheme: as for `patient_splits`.

    Raises:
        FileNotFoundError: one of the three, or the split file, is missing.
        ValueError: a column is missing, a CSV file is garbled, the split is unknown or empty, the split file is wrong.
    """
    root = Path(root)
    if split not in (*SPLIT_VALUES, "all"):
        raise ValueError(f"split {split!r} is not one of {[*SPLIT_VALUES, 'all']}")
    for name in ("FileList.csv", "VolumeTracings.csv", "Videos"):
        if not (root / name).exists():
            raise FileNotFoundError(f"{root / name} is missing: EchoNet-Dynamic is two CSV files and Videos/")
    rows = _read_rows(root / "FileList.csv", ("filename", "split"))
    tracings, videos = _read_tracings(root / "VolumeTracings.csv"), set(os.listdir(root / "Videos"))
    assigned = _assign_splits(root, rows, scheme)
    own_split = {patient: name for name, ids in assigned.patients.items() for patient in ids}
    entries: list[Entry] = []
    skipped: list[Skipped] = []
    first_value: dict[str, str] = {}
    for row in rows:
        patient_id, listed = _stem(row["filename"]), row["split"].strip().upper()
        row_split = splits.ALIASES.get(listed.lower()) if assigned.scheme == "official" else own_split.get(patient_id)
        is_duplicate, first = patient_id in first_value, first_value.setdefault(patient_id, listed)
        if split not in ("all", row_split):
            continue
        record_id, video = f"{patient_id}_4CH", root / "Videos" / f"{patient_id}.avi"
        if is_duplicate:
            detail = f"FileList.csv has it in {first} already, and again in {listed}"
            skipped.append(Skipped(record_id, "duplicate id", detail))
            continue
        if video.name not in videos:
            skipped.append(Skipped(record_id, "video missing", f"FileList.csv has it, {video} is not there"))
            continue
        try:
            fps, ef_percent, edv_ml, esv_ml = (_number(row.get(key, "")) for key in ("fps", "ef", "edv", "esv"))
        except ValueError as error:
            skipped.append(Skipped(record_id, "file list garbled", f"FPS, EF, EDV or ESV of FileList.csv: {error}"))
            continue
        volumes_ml = None if edv_ml is None or esv_ml is None else (edv_ml, esv_ml)
        entries.append(Entry(record_id, patient_id, video, tracings.get(patient_id, {}), fps, ef_percent, volumes_ml))
    if not entries and not skipped:
        raise splits.empty_split(split, assigned, root)
    return Index(
        sorted(entries, key=lambda entry: entry.record_id), sorted(skipped, key=lambda record: record.record_id)
    )


def patient_splits(root: Path, scheme: str = "auto") -> PatientSplits:
    """Assigns every patient to a split.

    Args:
        root: the folder with FileList.csv.
        scheme: "official", which is also "auto": the column Split of FileList.csv (a name that is listed twice appears
            twice); or the path of a split file or folder (`data_pipelines.splits`).

    Raises:
        FileNotFoundError: FileList.csv or the split file is missing.
        ValueError: FileList.csv or the split file is garbled.
    """
    return _assign_splits(Path(root), _read_rows(Path(root) / "FileList.csv", ("filename", "split")), scheme)


def _assign_splits(root: Path, rows: list[dict[str, str]], scheme: str) -> PatientSplits:
    if scheme not in ("auto", "official"):
        if not Path(scheme).expanduser().exists():
            raise FileNotFoundError(f"scheme {scheme!r} of {root} is neither 'auto', 'official' nor a file that exists")
        return PatientSplits(scheme, splits.read_splits(Path(scheme), {_stem(row["filename"]) for row in rows}))
    groups: dict[str, list[str]] = {split: [] for split in SPLIT_VALUES}
    for row in rows:
        if split := splits.ALIASES.get(row["split"].strip().lower()):
            groups[split].append(_stem(row["filename"]))
    return PatientSplits("official", groups)


def _stem(name: str) -> str:
    name = name.strip()
    return name[:-4] if name.lower().endswith(".avi") else name


def _number(text: str) -> float | None:
    """Reads a finite number; None for an empty field. Raises ValueError for anything else."""
    if not text.strip():
        return None
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text!r} is not a finite number")
    return value


def _read_rows(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    """Reads the rows of a CSV file by lower-case column name; a row that breaks off is filled up with empty fields."""
    try:
        header, *rows = list(csv.reader(io.StringIO(splits.read_text(path), newline=""))) or [[]]
    except csv.Error as error:
        raise ValueError(f"{path} is not CSV: {error}: fetch it again") from error
    columns = [name.strip().lower() for name in header]
    if missing := set(needed) - set(columns):
        raise ValueError(f"{path} lacks the columns {sorted(missing)}; it has {columns}")
    return [dict(zip(columns, row + [""] * len(columns), strict=False)) for row in rows if row]


def _read_tracings(path: Path) -> dict[str, dict[int, Float[np.ndarray, "rows 4"]]]:
    """Reads the tracings by patient and frame, rows in the order of the file; a coordinate that is no number is nan."""
    grouped: dict[str, dict[int, list[list[float]]]] = {}
    for row in _read_rows(path, tuple(name.lower() for name in TRACING_COLUMNS)):
        frame = int(row["frame"]) if row["frame"].strip().isdecimal() else -1
        try:
            coordinates = [float(row[key]) for key in ("x1", "y1", "x2", "y2")]
        except ValueError:
            coordinates = [math.nan] * 4
        grouped.setdefault(_stem(row["filename"]), {}).setdefault(frame, []).append(coordinates)
    return {name: {frame: np.array(rows) for frame, rows in frames.items()} for name, frames in grouped.items()}
