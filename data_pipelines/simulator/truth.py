"""The table `truth.csv` of a simulated data set: exact volumes (ml) and ejection fraction (%) of every view."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Collection, Iterable
from pathlib import Path

from data_pipelines.files import write_atomically
from data_pipelines.records import QUALITIES

TRUTH_FILE = "truth.csv"


@dataclasses.dataclass(frozen=True, order=True)
class TruthRow:
    """One row of the table: one view of one patient. Rows are ordered by patient and view.

    Attributes:
        patient: name of the patient.
        view: "2CH" or "4CH".
        edv_ml: end-diastolic volume, with six decimals.
        esv_ml: end-systolic volume, with six decimals.
        ef_percent: ejection fraction, with six decimals.
        quality: "Good", "Medium" or "Poor".
    """

    patient: str
    view: str
    edv_ml: str
    esv_ml: str
    ef_percent: str
    quality: str


COLUMNS = tuple(field.name for field in dataclasses.fields(TruthRow))


def write_truth(folder: Path, rows: Iterable[TruthRow]) -> None:
    """Writes the table anew.

    Args:
        folder: folder of the data set.
        rows: all rows.
    """
    write_atomically(folder / TRUTH_FILE, _as_csv(rows, header=True).encode())


def append_truth(folder: Path, rows: Iterable[TruthRow]) -> None:
    """Adds rows at the end of the table.

    Args:
        folder: folder of the data set.
        rows: the new rows.
    """
    with (folder / TRUTH_FILE).open("a", newline="") as file:
        file.write(_as_csv(rows, header=False))


def read_finished(folder: Path, views: Collection[str]) -> list[TruthRow]:
    """Reads the rows of the patients whose views are all in the table; none where there is no table.

    A line that an interruption cut short counts as missing.

    Args:
        folder: folder of the data set.
        views: the views that a finished patient has.
    """
    path = folder / TRUTH_FILE
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = [TruthRow(**row) for row in csv.DictReader(file) if row["quality"] in QUALITIES]
    views_of: dict[str, set[str]] = {}
    for row in rows:
        views_of.setdefault(row.patient, set()).add(row.view)
    return [row for row in rows if views_of[row.patient] == set(views)]


def _as_csv(rows: Iterable[TruthRow], *, header: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    writer.writerows(dataclasses.astuple(row) for row in rows)
    return text.getvalue()
