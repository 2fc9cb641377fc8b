"""Tracings of EchoNet and the masks inside them.

In EchoNet-Dynamic a tracing is 21 rows x1, y1, x2, y2 in pixels: the long axis and 20 chords across it. In
EchoNet-Pediatric it is a polygon: a row x, y for each corner. The rasterisation is that of EchoNet-Dynamic's public
code (D. Ouyang et al., Nature 580, 2020).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from skimage.draw import polygon

ROWS_PER_FRAME = 21  # the long axis, then 20 chords
FEWEST_POINTS = 3


def is_complete(rows: Float[np.ndarray, "rows columns"]) -> bool:
    """Says whether a tracing has the rows that it needs: 21 of an axis and chords, or 3 corners."""
    return len(rows) == ROWS_PER_FRAME if rows.shape[1] == 4 else len(np.unique(rows, axis=0)) >= FEWEST_POINTS


def without_copies(rows: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "kept columns"]:
    """Returns the rows of a tracing once each, in their order, if it holds all of them equally often; else all rows."""
    _, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
    return rows[np.sort(first)] if counts.min() == counts.max() > 1 else rows


def outline(rows: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "corners 2"]:
    """Returns the polygon (x, y) of a tracing: through (x1, y1) of the chords and back through (x2, y2)."""
    return rows if rows.shape[1] == 2 else np.concatenate([rows[1:, :2], rows[:0:-1, 2:]])


def scaled(rows: Float[np.ndarray, "rows columns"], factor: float) -> Float[np.ndarray, "rows columns"]:
    """Brings a tracing onto an enlarged picture; whole numbers are the centres of pixels.

    Args:
        rows: the tracing.
        factor: new size over old size.
    """
    return (rows + 0.5) * factor - 0.5


def polygon_mask(rows: Float[np.ndarray, "rows columns"], height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """Draws the area inside a tracing as the data set's own code does (a little large); row 0 is not used.

    Args:
        rows: the tracing.
        height: height of the frame in pixels.
        width: width of the frame in pixels.
    """
    x, y = outline(rows).T
    mask = np.zeros((height, width), bool)
    mask[polygon(np.rint(y).astype(int), np.rint(x).astype(int), (height, width))] = True
    return mask


def chords(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "21 4"]:
    """Traces a mask: its long axis, then 20 chords across it from apex to base.

    The long axis is the first principal axis of the pixels, pointing down (in an apical view the apex is on top). A
    chord joins the outermost pixels on its line, so a hole or a notch across the axis is filled.

    Raises:
        ValueError: the mask is empty.
    """
    pixels = np.argwhere(mask)[:, ::-1].astype(np.float64)  # x, y
    if len(pixels) == 0:
        raise ValueError("the mask is empty: it has no chords")
    centre = pixels.mean(axis=0)
    axis = np.linalg.svd(pixels - centre, full_matrices=False)[2][0]
    axis = axis if axis[1] >= 0 else -axis
    across = np.array([axis[1], -axis[0]])
    along_px, aside_px = (pixels - centre) @ axis, (pixels - centre) @ across
    rows = []
    for position in np.linspace(along_px.min(), along_px.max(), ROWS_PER_FRAME - 1):
        on_line = np.abs(along_px - position) <= max(0.5, np.abs(along_px - position).min())
        ends = centre + position * axis + np.outer([aside_px[on_line].min(), aside_px[on_line].max()], across)
        rows.append(ends.ravel())
    middle = [(row[:2] + row[2:]) / 2 for row in (rows[0], rows[-1])]
    return np.stack([np.concatenate(middle), *rows])


def crosses_itself(rows: Float[np.ndarray, "rows columns"]) -> bool:
    """Says whether two sides of the outline cross, so that the mask is not the area inside; touching does not count."""
    start = outline(rows)
    end = np.roll(start, -1, axis=0)

    def side(a: np.ndarray, b: np.ndarray, point: np.ndarray) -> np.ndarray:
        """Returns the sign of the turn a -> b -> point, of every side with every point, (sides, points)."""
        (abx, aby), (apx, apy) = np.moveaxis(b - a, -1, 0)[..., None], np.moveaxis(point[None] - a[:, None], -1, 0)
        return np.sign(abx * apy - aby * apx)

    apart = side(start, end, start) * side(start, end, end) < 0
    return bool((apart & apart.T).any())
