"""Where the pixels of an image file lie in space, and how one file is laid onto another.

NIfTI states it by two affines (sform and qform), MetaImage by TransformMatrix, Offset and ElementSpacing. Two files of
one record may store their pixels in different directions; every viewer lays them onto each other by these statements,
and so does `fit`. Axes are those of NIfTI: x to the patient's right, y to the front (RAS+). CAMUS stores columns to the
left and rows to the back, so that row 0 is nearest to the probe; `standard_turn` brings a picture there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped

SAME_STEP = 0.01  # steps that differ by less are rounded numbers of one spacing
SAME_PIXEL = 0.1  # pixels: an offset that differs by less is a rounded number
ALIGNED = 0.9  # cosine from which a direction counts as that of an axis


@dataclasses.dataclass(frozen=True)
class Turn:
    """How stored pixels are turned: first the axes are swapped, then rows and columns are reversed.

    Attributes:
        swaps_axes: whether rows become columns.
        reverses_rows: whether the last row becomes the first.
        reverses_columns: whether the last column becomes the first.
    """

    swaps_axes: bool = False
    reverses_rows: bool = False
    reverses_columns: bool = False

    def __bool__(self) -> bool:
        return self != Turn()

    def __str__(self) -> str:
        names = ("axes swapped", "rows reversed", "columns reversed")
        return " and ".join(name for name, done in zip(names, dataclasses.astuple(self), strict=True) if done)

    def apply(self, pixels: Shaped[np.ndarray, "t h w"]) -> Shaped[np.ndarray, "t h2 w2"]:
        """Turns every frame."""
        turned = pixels.swapaxes(1, 2) if self.swaps_axes else pixels
        turned = turned[:, :: -1 if self.reverses_rows else 1, :: -1 if self.reverses_columns else 1]
        return np.ascontiguousarray(turned) if self else pixels

    def spacing(self, spacing_mm: tuple[float, float] | None) -> tuple[float, float] | None:
        """Returns the spacing (row_mm, column_mm) after the turn."""
        return (spacing_mm[1], spacing_mm[0]) if spacing_mm and self.swaps_axes else spacing_mm


@dataclasses.dataclass(frozen=True)
class Placement:
    """One statement of a file on where its pixels lie; RAS+, in the unit of the file.

    Attributes:
        column_step: the way from one column to the next, (3,).
        row_step: the way from one row to the next, (3,).
        origin: the centre of the first stored pixel, (3,).
        source: what states it: "sform", "qform" or "TransformMatrix".
    """

    column_step: Float[np.ndarray, " 3"]
    row_step: Float[np.ndarray, " 3"]
    origin: Float[np.ndarray, " 3"]
    source: str

    def __str__(self) -> str:
        column, row, origin = (
            "(" + ", ".join(f"{value + 0.0:.4g}" for value in vector) + ")"
            for vector in (self.column_step, self.row_step, self.origin)
        )
        return f"{self.source}: column step {column}, row step {row}, origin {origin}"

    @property
    def is_default(self) -> bool:
        """Whether writers leave it so who state no geometry: no offset, and steps that are one or all positive."""
        steps = np.stack([self.column_step, self.row_step])
        along = np.array([steps[0, 0], steps[1, 1]])
        is_diagonal = np.allclose(steps, np.diag([*along, 0])[:2], atol=1e-4)
        plain = (along > 0).all() or np.allclose(along, -1)
        return bool(is_diagonal and plain and np.allclose(self.origin[:2], 0, atol=1e-4))


@dataclasses.dataclass(frozen=True)
class Fit:
    """How one image is laid onto another.

    Attributes:
        turn: how its pixels are turned.
        first_row: row of the anchor on which the first turned row lies; a fraction lies between two rows.
        first_column: the same for columns.
    """

    turn: Turn = Turn()
    first_row: float = 0.0
    first_column: float = 0.0

    @property
    def is_shifted(self) -> bool:
        """Whether the first pixels of the two do not coincide."""
        return (self.first_row, self.first_column) != (0, 0)

    @property
    def is_whole(self) -> bool:
        """Whether pixels lie on pixels."""
        return self.first_row % 1 == 0 and self.first_column % 1 == 0


def fit(anchor: Placement, other: Placement, anchor_shape: tuple[int, int], other_shape: tuple[int, int]) -> Fit | None:
    """Finds how `other` lies on `anchor`.

    Args:
        anchor: the placement of the image that stays.
        other: the placement of the image that is laid onto it.
        anchor_shape: its (rows, columns).
        other_shape: the (rows, columns) of the other.

    Returns:
        None where the two have another spacing, plane or angle. Offsets are rounded by a tenth of a pixel at most.
    """
    basis = np.stack([anchor.row_step, anchor.column_step], axis=1)
    inverse = np.linalg.pinv(basis)
    steps = np.stack([other.row_step, other.column_step], axis=1)
    exact = inverse @ steps  # (row, column) of the anchor by (row, column) of the other
    whole = np.rint(exact)
    leaves_plane = np.linalg.norm(steps - basis @ exact, axis=0) > SAME_STEP * np.linalg.norm(steps, axis=0)
    if leaves_plane.any() or np.abs(exact - whole).max() > SAME_STEP or not _is_turn(whole):
        return None
    turn = Turn(bool(whole[0, 0] == 0), bool(whole[0].sum() < 0), bool(whole[1].sum() < 0))
    rows, columns = other_shape[::-1] if turn.swaps_axes else other_shape
    first = inverse @ (other.origin - anchor.origin)  # where the first stored pixel lies
    first -= np.array([turn.reverses_rows * (rows - 1), turn.reverses_columns * (columns - 1)])
    tolerance = SAME_PIXEL + np.abs(exact - whole).max() * max(rows, columns)
    if (rows, columns) == anchor_shape and np.abs(first).max() <= tolerance:
        return Fit(turn)
    nearest = np.rint(first)
    row, column = np.where(np.abs(first - nearest) <= SAME_PIXEL, nearest, first).tolist()
    return Fit(turn, row, column)


def standard_turn(placements: Sequence[Placement]) -> Turn:
    """Finds the turn to the directions of CAMUS: columns to the left, rows to the back.

    Args:
        placements: the statements of one file; the first one counts.

    Returns:
        No turn where nothing is stated, where the statement is one that writers leave by default, and where the
        picture does not lie along the axes.
    """
    if not placements or placements[0].is_default:
        return Turn()
    column, row = (step / np.linalg.norm(step) for step in (placements[0].column_step, placements[0].row_step))
    swaps = abs(column[1]) > abs(column[0])
    along_x, along_y = (row, column) if swaps else (column, row)
    if abs(along_x[0]) < ALIGNED or abs(along_y[1]) < ALIGNED:
        return Turn()
    return Turn(bool(swaps), bool(along_y[1] > 0), bool(along_x[0] > 0))


def _is_turn(matrix: Float[np.ndarray, "2 2"]) -> bool:
    return np.array_equal(np.abs(matrix), np.eye(2)) or np.array_equal(np.abs(matrix), np.eye(2)[::-1])
