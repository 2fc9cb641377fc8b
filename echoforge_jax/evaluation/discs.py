"""The method of discs, geometry: the long axis of a mask and the diameters of 20 discs across it.

Source: Schiller et al., "Recommendations for quantitation of the left ventricle by two-dimensional echocardiography",
J Am Soc Echocardiogr 2(5), 1989: discs of equal height, stacked along the long axis from the middle of the mitral plane
to the apex. All lines are sub-pixel and in the unit of the pixel spacing; no constant is a number of pixels.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from skimage import measure

from echoforge_jax.evaluation.surface import check_spacing

N_DISCS = 20
LINES_PER_DISC = 4  # the diameter of a disc is the mean over this many lines across it, which evens out pixel steps
AXIS_ROUNDS = 20
# A base corner is extreme in depth more than in width: at 1 the side wall of a strongly tapering ventricle would win.
BASE_WEIGHT = 2.0


class MeasurementError(ValueError):
    """A mask that cannot be measured.

    Attributes:
        reason: a short fixed phrase, the same for every mask with the same fault, so that faults can be counted.
    """

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class LongAxis:
    """The long axis of a ventricle. Points are (row, column) in the unit of the spacing; pixel (0, 0) is the origin.

    Attributes:
        apex: the contour point that is farthest from the middle of the base, (2,).
        base: the two ends of the mitral plane, (2, 2).
        length: distance from the middle of the base to the apex.
    """

    apex: Float[np.ndarray, "2"]
    base: Float[np.ndarray, "2 2"]
    length: float


@dataclasses.dataclass(frozen=True)
class Discs:
    """One mask, cut into 20 discs across its long axis.

    Attributes:
        diameters: diameters of the discs, the apical one first, (20,), in the unit of the spacing.
        length: length of the long axis, in the unit of the spacing.
    """

    diameters: Float[np.ndarray, "20"]
    length: float


def measure_discs(mask: Bool[np.ndarray, "h w"], spacing: tuple[float, float]) -> Discs:
    """Measures the 20 discs of the largest component of a mask.

    A diameter is the integral of the bilinearly interpolated mask along a line across the axis, so that a straight edge
    counts exactly, in any direction.

    Args:
        mask: the left ventricle, (h, w).
        spacing: (row, column) size of a pixel in mm, or (1, 1) where it is not known.

    Raises:
        MeasurementError: the mask has no long axis (see `long_axis`).
        ValueError: the mask is not boolean (h, w), or a spacing is not positive and finite.
    """
    component = largest_component(mask)
    axis = long_axis(component, spacing)
    down = (axis.base.mean(axis=0) - axis.apex) / axis.length
    across = np.array([-down[1], down[0]])
    rows, columns = np.nonzero(component)
    points = np.stack([rows, columns], axis=1) * np.asarray(spacing)
    offsets = (points - axis.apex) @ across
    step = min(spacing) / 2
    lateral = np.arange(offsets.min() - 2 * max(spacing), offsets.max() + 2 * max(spacing) + step, step)
    n_lines = N_DISCS * LINES_PER_DISC
    along = (np.arange(n_lines) + 0.5) * (axis.length / n_lines)
    positions = axis.apex + along[:, None, None] * down + lateral[None, :, None] * across
    pixels = np.moveaxis(positions / np.asarray(spacing), -1, 0)
    coverage = ndimage.map_coordinates(component.astype(np.float32), pixels, order=1, mode="grid-constant")
    widths = coverage.sum(axis=1) * step
    diameters = widths.reshape(N_DISCS, LINES_PER_DISC).mean(axis=1).astype(np.float64)
    if not (diameters > 0).all():
        raise MeasurementError("a disc has no width")
    return Discs(diameters, axis.length)


def long_axis(component: Bool[np.ndarray, "h w"], spacing: tuple[float, float]) -> LongAxis:
    """Finds the long axis of one connected mask: base, apex and length.

    The apex is assumed to be nearer to the probe (row 0) than the base. The search starts with the principal axis of
    the mask, or with the direction of the beam where the principal axis lies across it, and repeats two steps until the
    base stays the same:
    1. Base: with u (depth along the axis) and v (position across it) scaled to 0..1 over the contour, the two ends are
       the contour points with the largest 2 u + v and 2 u - v.
    2. Apex: the contour point that is farthest from the middle of the base. A blunt apex is a row of pixels, so the
       direction is that of the centre of all points that tie within half a pixel.

    Args:
        component: one connected mask without holes, (h, w).
        spacing: (row, column) size of a pixel in mm, or (1, 1) where it is not known.

    Raises:
        MeasurementError: the mask is empty, too small to have 20 discs, or gives no apex above the base.
        ValueError: the mask is not boolean (h, w), or a spacing is not positive and finite.
    """
    check_spacing(spacing)
    contour = _outer_contour(component) * np.asarray(spacing)
    direction = _principal_direction(component, spacing)
    seen: set[tuple[int, int]] = set()
    for _ in range(AXIS_ROUNDS):
        across = np.array([-direction[1], direction[0]])
        along_share, across_share = _unit_range(contour @ direction), _unit_range(contour @ across)
        depth = BASE_WEIGHT * along_share
        ends = int(np.argmax(depth + across_share)), int(np.argmax(depth - across_share))
        middle = contour[list(ends)].mean(axis=0)
        distances = np.linalg.norm(contour - middle, axis=1)
        length = float(distances.max())
        towards = middle - contour[distances >= length - min(spacing) / 2].mean(axis=0)
        if not towards.any():
            raise MeasurementError("the mask has no apex")
        direction = towards / np.linalg.norm(towards)
        if ends in seen:
            break
        seen.add(ends)
    if direction[0] <= 0:
        raise MeasurementError("the apex is not above the base")
    if length < N_DISCS * min(spacing) / 4:
        raise MeasurementError("the mask is too small for 20 discs")
    return LongAxis(apex=middle - length * direction, base=contour[list(ends)], length=length)


def largest_component(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Returns the largest 4-connected part of a mask with its holes filled; of equal ones the first in reading order.

    Raises:
        MeasurementError: the mask is empty.
        ValueError: the mask is not boolean (h, w).
    """
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise ValueError(f"mask is {mask.dtype} {mask.shape}, expected bool (h, w): compare labels first")
    if not mask.any():
        raise MeasurementError("the mask is empty")
    labels = np.asarray(measure.label(mask, connectivity=1))
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return np.asarray(ndimage.binary_fill_holes(largest))


def _outer_contour(component: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "n 2"]:
    """Returns the sub-pixel outline in (row, column) pixels; outside the picture counts as outside the mask."""
    outlines = measure.find_contours(np.pad(component, 1).astype(np.float32), 0.5)
    if not outlines:
        raise MeasurementError("the mask is empty")
    return max(outlines, key=len) - 1.0


def _principal_direction(component: Bool[np.ndarray, "h w"], spacing: tuple[float, float]) -> Float[np.ndarray, "2"]:
    """Returns the direction of the largest second moment, away from the probe, or the beam's if it lies across it."""
    points = np.stack(np.nonzero(component), axis=1) * np.asarray(spacing)
    centred = points - points.mean(axis=0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    direction = direction if direction[0] >= 0 else -direction
    return direction if direction[0] > np.sqrt(0.5) else np.array([1.0, 0.0])


def _unit_range(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Scales values to 0..1."""
    return (values - values.min()) / max(float(np.ptp(values)), np.finfo(np.float64).tiny)
