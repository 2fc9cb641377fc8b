"""What FileList.csv states of a video, each statement checked against the others of its row and of its column.

EF is per cent and 100 (EDV - ESV) / EDV; volumes are in ml. A column that is given as a fraction or in litres as a
whole is converted. A statement that contradicts another, where neither can be told to be the wrong one, is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from data_pipelines.formats.frame_rate import frame_rate
from data_pipelines.notes import Note, note
from data_pipelines.tables import Row, Table, number

EF_TOLERANCE = 2.0  # per cent; rounding of EF and of small volumes
EDV_LIMITS_ML = (2.0, 1000.0)  # from the smallest newborn to the largest ventricle
ML_PER_UNIT = {"litres": 1000.0, "mm3": 0.001}
NUMBERS = ("ef", "edv", "esv", "fps", "frameheight", "framewidth", "numberofframes")


@dataclasses.dataclass(frozen=True)
class Units:
    """The units of the columns of one table.

    Attributes:
        ef_is_fraction: whether the column EF holds fractions of 1, not per cent.
        volume_unit: "ml", or one of `ML_PER_UNIT`.
    """

    ef_is_fraction: bool = False
    volume_unit: str = "ml"


@dataclasses.dataclass(frozen=True)
class Statements:
    """What FileList.csv states of one video; None where it states nothing, or nothing that can be believed.

    Attributes:
        fps: frames per second.
        ef_percent: ejection fraction, per cent.
        volumes_ml: (EDV, ESV), ml.
        size: (height, width) in pixels of the video that was traced, each None where it is not known.
        frames: number of its frames.
        notes: what was converted, and which statements disagree.
    """

    fps: float | None = None
    ef_percent: float | None = None
    volumes_ml: tuple[float, float] | None = None
    size: tuple[int | None, int | None] = (None, None)
    frames: int | None = None
    notes: tuple[Note, ...] = ()


def find_units(table: Table) -> Units:
    """Finds the units of EF and of the volumes from all rows of the table."""
    values = [_numbers(row) for row in table.rows]
    ef = [row["ef"] for row in values if row["ef"] is not None]
    edv = [max(row["edv"], row["esv"]) for row in values if row["edv"] is not None and row["esv"] is not None]
    unit = "ml"
    if edv and max(edv) > 0:
        middle = float(np.median(edv))
        unit = "litres" if middle < 0.7 else "mm3" if middle > 2000 else "ml"
    return Units(bool(ef) and 0 < max(ef) <= 1 and min(ef) >= 0, unit)


def read_statements(row: Row, units: Units) -> Statements:
    """Reads what one row states of its video.

    Args:
        row: the row.
        units: those of the whole table.
    """
    values, notes = _numbers(row), []
    for name in NUMBERS:
        if (text := row.fields.get(name, "")) and values[name] is None and not _is_empty(text):
            notes.append(note("field not read", f"{name} is {text!r}, expected a number: taken as not known."))
    volumes_ml = _volumes(values, units, notes)
    ef_percent = _ejection_fraction(values["ef"], units, volumes_ml, notes)
    if volumes_ml is not None and volumes_ml[0] < volumes_ml[1]:
        edv, esv = volumes_ml
        notes.append(note("EDV smaller than ESV", f"EDV {edv:g}, ESV {esv:g} ml: the larger one is taken as EDV."))
        volumes_ml = (esv, edv)
    if ef_percent is not None and volumes_ml is not None:
        edv, esv = volumes_ml
        of_volumes = 100 * (edv - esv) / edv
        if abs(of_volumes - ef_percent) > EF_TOLERANCE:
            text = (
                f"EF is {ef_percent:g} %, EDV {edv:g} and ESV {esv:g} ml give {of_volumes:.1f} %: none of them is used."
            )
            notes.append(note("EF contradicts the volumes", text))
            ef_percent = volumes_ml = None
    height, width, frames = (_whole(name, values, notes) for name in ("frameheight", "framewidth", "numberofframes"))
    fps = values["fps"]
    if fps is not None and frame_rate(fps) is None:
        notes.append(note("value not possible", f"fps is {fps:g}, which no recording has: taken as not known."))
        fps = None
    return Statements(fps, ef_percent, volumes_ml, (height, width), frames, tuple(notes))


def _whole(name: str, values: Mapping[str, float | None], notes: list[Note]) -> int | None:
    """Returns a field that counts something."""
    value = values[name]
    if value is None or (value >= 1 and value == int(value)):
        return None if value is None else int(value)
    notes.append(note("value not possible", f"{name} is {value:g}, expected 1, 2, ...: taken as not known."))
    return None


def _volumes(values: dict[str, float | None], units: Units, notes: list[Note]) -> tuple[float, float] | None:
    edv, esv = values["edv"], values["esv"]
    if edv is None or esv is None:
        return None
    if units.volume_unit != "ml":
        factor = ML_PER_UNIT[units.volume_unit]
        text = f"EDV {edv:g}, ESV {esv:g}: the whole column reads as {units.volume_unit}, converted to ml."
        notes.append(note("volumes in another unit", text))
        edv, esv = edv * factor, esv * factor
    if not (min(edv, esv) >= 0 and EDV_LIMITS_ML[0] <= max(edv, esv) <= EDV_LIMITS_ML[1]):
        text = f"EDV {edv:g}, ESV {esv:g} ml: no ventricle has these volumes, taken as not known."
        notes.append(note("value not possible", text))
        return None
    return edv, esv


def _ejection_fraction(
    stated: float | None, units: Units, volumes_ml: tuple[float, float] | None, notes: list[Note]
) -> float | None:
    if stated is None:
        return None
    if units.ef_is_fraction:
        notes.append(note("EF is a fraction", f"EF is {stated:g}, as the whole column a fraction: read as per cent."))
        stated *= 100
    elif 0 < stated <= 1 and volumes_ml is not None:
        of_volumes = 100 * (max(volumes_ml) - min(volumes_ml)) / max(volumes_ml)
        if abs(of_volumes - 100 * stated) <= EF_TOLERANCE:
            text = f"EF is {stated:g}, the volumes give {of_volumes:.1f} %: read as {100 * stated:g} %."
            notes.append(note("EF is a fraction", text))
            stated *= 100
    if not 1 < stated < 100:
        text = f"EF is {stated:g} %: no heart has it, taken as not known; is it a fraction?"
        notes.append(note("value not possible", text))
        return None
    return stated


def _numbers(row: Row) -> dict[str, float | None]:
    """Reads the fields that should be numbers; None where there is none."""
    values: dict[str, float | None] = {}
    for name in NUMBERS:
        try:
            values[name] = number(row.fields.get(name, ""))
        except ValueError:
            values[name] = None
    return values


def _is_empty(text: str) -> bool:
    """Says whether a field says that nothing is known."""
    try:
        return number(text) is None
    except ValueError:
        return False
