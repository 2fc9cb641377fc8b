"""The names of an EchoNet tree: rows of FileList.csv by video, its column Split, and tracings by video."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from data_pipelines import splits
from data_pipelines.formats.echonet_dynamic.files import key, stem
from data_pipelines.splits import SPLITS, PatientSplits, SplitError
from data_pipelines.tables import Row, Table, TableError, number, read_table

Tracings = Mapping[int, Float[np.ndarray, "rows columns"]]
CHORD, POINT = ("x1", "y1", "x2", "y2"), ("x", "y")  # a row of a tracing in EchoNet-Dynamic and in EchoNet-Pediatric
FOLDS = dict(enumerate((*["train"] * 8, "validation", "test")))
CERTAIN_FOLD = 3  # a column with smaller numbers alone may as well number the splits


@dataclasses.dataclass(frozen=True)
class Listed:
    """One video of FileList.csv.

    Attributes:
        key: its path below Videos/ without its suffix.
        patient_id: its name; the whole path where several videos of different folders have one name.
        rows: its rows: one, unless the file names it again.
    """

    key: str
    patient_id: str
    rows: list[Row]

    @property
    def record_id(self) -> str:
        """The id of the record: all videos are of the four-chamber view."""
        return f"{self.patient_id}_4CH"


def list_videos(table: Table) -> list[Listed]:
    """Groups the rows of FileList.csv by the video that they name; rows without a name are left out."""
    rows: dict[str, list[Row]] = {}
    for row in table.rows:
        if name := key(row.fields["filename"]):
            rows.setdefault(name, []).append(row)
    stems = Counter(stem(name) for name in rows)
    return [
        Listed(name, stem(name) if stems[stem(name)] == 1 else name.replace("/", "-"), own)
        for name, own in rows.items()
    ]


def read_tracings(path: Path) -> dict[str, dict[int, Float[np.ndarray, "rows columns"]]]:
    """Reads the tracings by video and frame, rows in the order of the file; a coordinate that is no number is nan.

    Frames are numbers from 0. Rows of frame -1 have a number that cannot be read; rows whose frame says that there is
    none ("No Systolic" in EchoNet-Pediatric) are left out.

    Returns:
        Tracings by frame, by the path of the video below Videos/ without its suffix.

    Raises:
        TableError: it is not a table of chords (X1, Y1, X2, Y2) or of points (X, Y).
    """
    table = read_table(path, ("filename", "frame"))
    columns = next((names for names in (CHORD, POINT) if set(names) <= set(table.columns)), None)
    if columns is None:
        raise TableError(f"{path} has the columns {table.columns}, expected {CHORD} or {POINT}")
    grouped: dict[str, dict[int, list[list[float]]]] = {}
    for row in table.rows:
        if (frame := _frame(row.fields["frame"])) is None:
            continue
        grouped.setdefault(key(row.fields["filename"]), {}).setdefault(frame, []).append(
            [math.nan] * len(columns) if row.runs_over else [_coordinate(row.fields[name]) for name in columns]
        )
    return {name: {frame: np.array(rows) for frame, rows in frames.items()} for name, frames in grouped.items()}


def assign_splits(where: Path, videos: Sequence[Listed], scheme: str, *, are_folds: bool) -> PatientSplits:
    """Assigns every patient to a split.

    Args:
        where: the tree, for messages.
        videos: the videos of FileList.csv.
        scheme: as for `echonet_dynamic.patient_splits`.
        are_folds: whether numbers of the column Split are certainly folds.

    Raises:
        FileNotFoundError: the split file is missing.
        SplitError: the split file is garbled; or the numbers of the column Split may be folds or splits.
    """
    if scheme not in ("auto", "official"):
        if not Path(scheme).expanduser().exists():
            raise FileNotFoundError(
                f"scheme {scheme!r} of {where} is neither 'auto', 'official' nor a file that exists"
            )
        return PatientSplits(scheme, splits.read_splits(Path(scheme), {video.patient_id for video in videos}))
    values = {row.fields.get("split", "") for video in videos for row in video.rows} - {""}
    folds = {_fold(value) for value in values}
    use_folds = bool(folds) and None not in folds
    if use_folds and not are_folds and max(fold for fold in folds if fold is not None) < CERTAIN_FOLD:
        raise SplitError(
            f"the column Split of {where} holds {sorted(values)}: these may be folds or numbers of splits; write "
            "TRAIN, VAL and TEST, or give a split file"
        )
    groups: dict[str, list[str]] = {split: [] for split in SPLITS}
    for video in videos:
        for value in dict.fromkeys(row.fields.get("split", "") for row in video.rows):
            if (split := _split(value, use_folds=use_folds)) and video.patient_id not in groups[split]:
                groups[split].append(video.patient_id)
    return PatientSplits("folds" if use_folds else "official", groups)


def unknown_splits(videos: Iterable[Listed], assigned: PatientSplits) -> dict[str, tuple[str, ...]]:
    """Returns the patients whose field Split says no split, by what it holds.

    Args:
        videos: the videos of FileList.csv.
        assigned: their splits.
    """
    if assigned.scheme not in ("folds", "official"):
        return {}
    found: dict[str, list[str]] = {}
    for video in videos:
        for value in dict.fromkeys(row.fields.get("split", "") for row in video.rows):
            if _split(value, use_folds=assigned.scheme == "folds") is None:
                found.setdefault(value, []).append(video.patient_id)
    return {value: tuple(patients) for value, patients in found.items()}


def contradictions(rows: Sequence[Row]) -> list[str]:
    """Lists the columns in which the rows of one video differ, each with its values."""
    differing = []
    for name in rows[0].fields:
        values = list(dict.fromkeys(row.fields.get(name, "") for row in rows))
        if name not in ("", "filename") and len({_comparable(value) for value in values}) > 1:
            differing.append(f"{name} {' and '.join(map(repr, values))}")
    return differing


def match(wanted: Sequence[str], there: Iterable[str]) -> dict[str, str]:
    """Matches names of one file with those of another: the same path, else the same name in any case or folder.

    Args:
        wanted: paths of videos without their suffix.
        there: the same of another file or folder.

    Returns:
        wanted -> there, where it is certain: neither of them may mean another one too.
    """
    there = list(there)
    matched = {name: name for name in set(wanted) & set(there)}
    taken = set(matched.values())
    for form in (stem, str.casefold, _folded_stem):
        free: dict[str, list[str]] = {}
        for name in there:
            if name not in taken:
                free.setdefault(form(name), []).append(name)
        asking: dict[str, list[str]] = {}
        for name in wanted:
            if name not in matched:
                asking.setdefault(form(name), []).append(name)
        for name, names in asking.items():
            found = free.get(name, [])
            bare = len(found) == 1 and ("/" not in found[0] or "/" not in names[0] or form is str.casefold)
            if len(names) == 1 and bare:
                matched[names[0]] = found[0]
                taken.add(found[0])
    return matched


def _folded_stem(name: str) -> str:
    return stem(name).casefold()


def _split(value: str, *, use_folds: bool) -> str | None:
    if not use_folds:
        return splits.split_of(value)
    fold = _fold(value)
    return None if fold is None else FOLDS.get(fold)


def _fold(value: str) -> int | None:
    """Reads the number of a fold; spreadsheets write 3 as 3.0."""
    whole = value.removesuffix(".0")
    return int(whole) if whole.isdecimal() else None


def _frame(text: str) -> int | None:
    """Reads the number of a frame; None where the text says that there is no such frame, -1 for anything else."""
    if text.lower().startswith("no"):
        return None
    whole = text.removesuffix(".0")
    return int(whole) if whole.isdecimal() else -1


def _coordinate(text: str) -> float:
    try:
        value = number(text)
    except ValueError:
        return math.nan
    return math.nan if value is None else value


def _comparable(text: str) -> float | str | None:
    """Returns a number where the text is one, so that 50 and 50.0 are equal."""
    try:
        return number(text)
    except ValueError:
        return text.casefold()
