"""EchoNet-Dynamic on disk: FileList.csv, VolumeTracings.csv and Videos/*.avi, read and written.

Source of the format and of the rasterisation of the tracings: D. Ouyang et al., "Video-based AI for beat-to-beat
assessment of cardiac function", Nature 580, 2020, and its public code. One apical four-chamber video a patient, two
traced frames, no pixel spacing.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from data_pipelines import splits as split_files
from data_pipelines.files import make_folder, write_atomically
from data_pipelines.formats.echonet_dynamic.tracings import ROWS_PER_FRAME, chords, polygon_mask
from data_pipelines.formats.echonet_dynamic.video import read_video, write_video
from data_pipelines.records import ENDOCARDIUM, Clip, Skipped, UnreadableRecord

__all__ = ["Entry", "chords", "index", "patient_splits", "polygon_mask", "read", "write_tree"]

SPLITS = {"train": "TRAIN", "validation": "VAL", "test": "TEST"}
LIST_COLUMNS = ("FileName", "EF", "ESV", "EDV", "FrameHeight", "FrameWidth", "FPS", "NumberOfFrames", "Split")
TRACING_COLUMNS = ("FileName", "X1", "Y1", "X2", "Y2", "Frame")
SLACK = 0.05  # a tracing may leave the frame by this fraction of its side; the rasterisation cuts it off there


@dataclasses.dataclass(frozen=True)
class Entry:
    """One video of FileList.csv, with its rows of VolumeTracings.csv.

    Attributes:
        record_id: patient_id + "_4CH", as in `Clip`.
        patient_id: the file name without its extension.
        path: the video.
        tracings: (rows, 4) of x1, y1, x2, y2 in pixels, by frame counted from 0; -1: no frame number.
        fps: frames per second, or None.
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


def index(root: Path, split: str, *, scheme: str = "auto") -> tuple[list[Entry], list[Skipped]]:
    """The records of a split, sorted by record_id, and those left out.

    Left out are "video missing", "duplicate id" (the first row of a name counts) and "file list garbled" (a number that
    is none; an empty field is taken as not known).

    Args:
        root: the folder with FileList.csv, VolumeTracings.csv and Videos/.
        split: "train", "validation" (VAL in the file), "test" or "all".
        scheme: as for `patient_splits`.

    Raises:
        FileNotFoundError: one of the three, or the split file, is missing.
        ValueError: a column is missing, a CSV file is garbled, the split is unknown or empty, the split file is wrong.
    """
    root = Path(root)
    if split not in (*SPLITS, "all"):
        raise ValueError(f"split {split!r} is not one of {[*SPLITS, 'all']}")
    for name in ("FileList.csv", "VolumeTracings.csv", "Videos"):
        if not (root / name).exists():
            raise FileNotFoundError(f"{root / name} is missing: EchoNet-Dynamic is two CSV files and Videos/")
    rows = _read_rows(root / "FileList.csv", ("filename", "split"))
    tracings, videos = _read_tracings(root / "VolumeTracings.csv"), set(os.listdir(root / "Videos"))
    scheme, groups = _groups(root, rows, scheme)
    own = None if scheme == "official" else {patient: name for name, ids in groups.items() for patient in ids}
    entries: list[Entry] = []
    skipped: list[Skipped] = []
    first_row: dict[str, str] = {}
    for row in rows:
        patient_id, listed = _stem(row["filename"]), row["split"].strip().upper()
        subset = split_files.ALIASES.get(listed.lower()) if own is None else own.get(patient_id)
        duplicate, first = patient_id in first_row, first_row.setdefault(patient_id, listed)
        if split not in ("all", subset):
            continue
        record_id, video = f"{patient_id}_4CH", root / "Videos" / f"{patient_id}.avi"
        if duplicate:
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
        raise split_files.SplitError(split_files.empty_split(split, scheme, root, groups))
    return sorted(entries, key=lambda e: e.record_id), sorted(skipped, key=lambda s: s.record_id)


def patient_splits(root: Path, scheme: str = "auto") -> tuple[str, dict[str, list[str]]]:
    """The scheme used, and the patients of "train", "validation" and "test" by it.

    Args:
        root: the folder with FileList.csv.
        scheme: "official", which is also "auto": the column Split of FileList.csv (a name that stands there twice is
            there twice); or the path of a split file or folder (`data_pipelines.formats.splits`).

    Raises:
        FileNotFoundError: FileList.csv or the split file is missing.
        ValueError: FileList.csv or the split file is garbled.
    """
    return _groups(Path(root), _read_rows(Path(root) / "FileList.csv", ("filename", "split")), scheme)


def _groups(root: Path, rows: list[dict[str, str]], scheme: str) -> tuple[str, dict[str, list[str]]]:
    if scheme not in ("auto", "official"):
        if not Path(scheme).expanduser().exists():
            raise FileNotFoundError(f"scheme {scheme!r} of {root} is neither 'auto', 'official' nor a file that exists")
        return scheme, split_files.read_splits(Path(scheme), {_stem(row["filename"]) for row in rows})
    groups: dict[str, list[str]] = {name: [] for name in SPLITS}
    for row in rows:
        if name := split_files.ALIASES.get(row["split"].strip().lower()):
            groups[name].append(_stem(row["filename"]))
    return "official", groups


def _stem(name: str) -> str:
    name = name.strip()
    return name[:-4] if name.lower().endswith(".avi") else name


def _number(text: str) -> float | None:
    """None for an empty field; ValueError unless it is a finite number."""
    if not text.strip():
        return None
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text!r} is not a finite number")
    return value


def _read_rows(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV file by lower-case column name; a row that breaks off is filled up with empty fields."""
    try:
        header, *rows = list(csv.reader(io.StringIO(split_files.read_text(path), newline=""))) or [[]]
    except csv.Error as error:
        raise ValueError(f"{path} is not CSV: {error}: fetch it again") from error
    columns = [name.strip().lower() for name in header]
    if missing := set(needed) - set(columns):
        raise ValueError(f"{path} lacks the columns {sorted(missing)}; it has {columns}")
    return [dict(zip(columns, row + [""] * len(columns), strict=False)) for row in rows if row]


def _read_tracings(path: Path) -> dict[str, dict[int, Float[np.ndarray, "rows 4"]]]:
    """The tracings by patient and frame, rows in the order of the file; a coordinate that is no number is nan."""
    grouped: dict[str, dict[int, list[list[float]]]] = {}
    for row in _read_rows(path, tuple(name.lower() for name in TRACING_COLUMNS)):
        frame = int(row["frame"]) if row["frame"].strip().isdecimal() else -1
        try:
            coordinates = [float(row[key]) for key in ("x1", "y1", "x2", "y2")]
        except ValueError:
            coordinates = [math.nan] * 4
        grouped.setdefault(_stem(row["filename"]), {}).setdefault(frame, []).append(coordinates)
    return {name: {frame: np.array(rows) for frame, rows in frames.items()} for name, frames in grouped.items()}


def read(entry: Entry) -> Clip:
    """The frames from ED to ES, both ends labelled with the LV (label 1). Spacing is None: the data set has none.

    ED is the traced frame with the larger area (of more than two traced frames, ED and ES are the largest and the
    smallest); a video in which it comes after ES is reversed in time.

    Raises:
        UnreadableRecord: "fewer than two traced frames", "row count", "truncated file", "zero frames", "video shorter
            than the traced frame", "coordinates out of range or not finite", "empty mask", "not readable".
    """
    if len(entry.tracings) < 2:
        raise _fault(entry, "fewer than two traced frames", f"VolumeTracings.csv has frames {sorted(entry.tracings)}")
    for frame, rows in entry.tracings.items():
        if len(rows) != ROWS_PER_FRAME:
            raise _fault(entry, "row count", f"frame {frame} has {len(rows)} rows in VolumeTracings.csv, expected 21")
    frames = read_video(entry.path, entry.record_id)
    height, width = frames.shape[1:]
    if (last := max(entry.tracings)) >= len(frames):
        raise _fault(entry, "video shorter than the traced frame", f"frame {last} of {len(frames)}, counted from 0")
    limit = np.array([width, height, width, height])
    for frame, rows in entry.tracings.items():
        if frame < 0 or not ((rows >= -SLACK * limit) & (rows <= (1 + SLACK) * limit)).all():
            detail = f"traced frame {frame}: x, y {rows.min()}..{rows.max()}, the video is {width} x {height}"
            raise _fault(entry, "coordinates out of range or not finite", detail)
    masks = {frame: polygon_mask(rows, height, width) for frame, rows in sorted(entry.tracings.items())}
    areas = {frame: int(mask.sum()) for frame, mask in masks.items()}
    ed = max(areas, key=areas.__getitem__)
    es = min((frame for frame in areas if frame != ed), key=areas.__getitem__)
    if areas[es] == 0:
        raise _fault(entry, "empty mask", f"the tracing of frame {es} encloses no pixel")
    order = np.arange(ed, es + 1) if ed < es else np.arange(ed, es - 1, -1)
    labels = np.zeros((len(order), height, width), np.uint8)
    labels[0], labels[-1] = masks[ed] * ENDOCARDIUM, masks[es] * ENDOCARDIUM
    return Clip(
        frames=frames[order],
        label_map=labels,
        has_reference=np.isin(order, (ed, es)),
        ed_index=0,
        es_index=len(order) - 1,
        spacing_mm=None,
        fps=entry.fps,
        patient_id=entry.patient_id,
        view="4CH",
        ef_percent=entry.ef_percent,
        volumes_ml=entry.volumes_ml,
    )


def _fault(entry: Entry, reason: str, detail: str) -> UnreadableRecord:
    return UnreadableRecord(entry.record_id, reason, detail)


def write_tree(clips: Iterable[Clip], root: Path, splits: Mapping[str, str]) -> None:
    """Writes Videos/*.avi (MJPG), then FileList.csv and VolumeTracings.csv. Each file appears whole or not at all.

    What the format has no room for is lost: spacing, the labels other than the LV, the masks between ED and ES.

    Args:
        clips: four-chamber clips with ED and ES known and labelled; unknown fps, EF and volumes become empty fields.
        root: the folder to write.
        splits: patient_id -> "TRAIN", "VAL" or "TEST".

    Raises:
        ValueError: ED or ES is unknown, equal, unlabelled or without an LV; a patient twice, or without a split.
        OSError: the folder cannot be written (PermissionError where it is read-only).
    """
    videos = make_folder(Path(root) / "Videos")
    file_list: list[tuple] = [LIST_COLUMNS]
    tracings: list[tuple] = [TRACING_COLUMNS]
    written: set[str] = set()
    for clip in clips:
        name, split = clip.patient_id, splits.get(clip.patient_id)
        if split not in SPLITS.values() or name in written or clip.view not in ("4CH", ""):
            raise ValueError(
                f"{clip.record_id}: split {split!r} must be one of {[*SPLITS.values()]}, the view 4CH, "
                f"the patient new (written before: {name in written})"
            )
        for frame in (clip.ed_index, clip.es_index):
            if frame is None or clip.ed_index == clip.es_index or not clip.has_reference[frame]:
                raise ValueError(f"{clip.record_id}: ED {clip.ed_index}, ES {clip.es_index} must be two, labelled")
            rows = chords(clip.label_map[frame] == ENDOCARDIUM)
            tracings += [(f"{name}.avi", *row, frame) for row in rows.round(4).tolist()]
        write_video(clip.frames, clip.fps, videos / f"{name}.avi")
        edv_ml, esv_ml = clip.volumes_ml or ("", "")
        ef_percent, fps = ("" if value is None else value for value in (clip.ef_percent, clip.fps))
        file_list.append((name, ef_percent, esv_ml, edv_ml, *clip.frames.shape[1:], fps, len(clip), split))
        written.add(name)
    for file_name, rows in (("VolumeTracings.csv", tracings), ("FileList.csv", file_list)):
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_atomically(Path(root) / file_name, text.getvalue().encode())
