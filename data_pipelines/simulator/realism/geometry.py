"""Where the ventricle lies and how it is shaped, and the shape of the sector (per cent, mm, degrees)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Bool

from data_pipelines.simulator.realism.frames import COLUMNS, ROWS, SectorFrame

Statistics = dict[str, float | np.floating]


@dataclasses.dataclass(frozen=True)
class Sector:
    """The two straight edges of a sector.

    Attributes:
        apex_column: column where the edges meet, in pixels of the frame.
        apex_row: row where the edges meet; negative above the frame.
        angle_deg: angle between the edges.
    """

    apex_column: float
    apex_row: float
    angle_deg: float

    def statistics(self) -> Statistics:
        """Returns the place of the apex and the opening angle by name."""
        return {
            "sector angle deg": self.angle_deg,
            "sector apex x %": 100 * self.apex_column / COLUMNS,
            "sector apex y %": 100 * self.apex_row / ROWS,
        }


def fit_sector(frame: SectorFrame) -> Sector:
    """Fits straight lines to the left and the right edge of the sector. The frame needs a pixel spacing."""
    row_mm, column_mm = frame.known_spacing_mm
    first, last = edge_columns(frame.sector)
    widest = int((last - first).argmax())
    rows = np.arange(int(0.15 * widest), max(int(0.85 * widest), int(0.15 * widest) + 2))
    (left_slope, left), (right_slope, right) = (np.polyfit(rows, edge[rows], 1) for edge in (first, last + 1))
    row = (left - right) / (right_slope - left_slope)
    per_row = column_mm / row_mm
    angle_deg = math.degrees(math.atan(right_slope * per_row) - math.atan(left_slope * per_row))
    return Sector(left + left_slope * row, row + 0.5, angle_deg)


def edge_columns(sector: Bool[np.ndarray, "h w"]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first and the last column of the sector in every row."""
    return sector.argmax(axis=1), sector.shape[1] - 1 - sector[:, ::-1].argmax(axis=1)


def ventricle_shape(cavity: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float] | None) -> Statistics:
    """Measures the ventricle: its centre; with a pixel spacing also its area, eccentricity and the lean of its axis.

    Args:
        cavity: where the LV endocardium is.
        spacing_mm: (row_mm, column_mm), or None where it is not known.
    """
    row, column = np.nonzero(cavity)
    centre = {
        "LV centre x %": 100 * column.mean() / cavity.shape[1],
        "LV centre y %": 100 * row.mean() / cavity.shape[0],
    }
    if spacing_mm is None:
        return centre
    (yy, xy), (_, xx) = np.cov(row * spacing_mm[0], column * spacing_mm[1])
    short, long = np.linalg.eigvalsh(np.array([[yy, xy], [xy, xx]]))
    return centre | {
        "LV area mm2": row.size * spacing_mm[0] * spacing_mm[1],
        "LV eccentricity": math.sqrt(max(1 - short / long, 0)),
        "LV lean deg": math.degrees(0.5 * math.atan2(2 * xy, yy - xx)),
    }
