"""Left-ventricular volume by the summation of 20 discs, and the ejection fraction.

Source: Lang et al., "Recommendations for cardiac chamber quantification", J Am Soc Echocardiogr 28(1), 2015,
and Schiller et al., ibid. 2(5), 1989: discs of equal height stacked along the long axis from the middle of the mitral
plane to the apex, with the length of the instant itself. The biplane volume uses the LONGER of the two views' lengths,
as those recommendations do. Published single-plane and "official CAMUS" figures use other formulas: a volume
is always named with its method.

Everything is measured along sub-pixel lines in the unit of the spacing; no constant is a number of pixels.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from skimage import measure

from echoforge_jax.evaluation.surface import check_spacing

N_DISCS = 20
LINES_PER_DISC = 4  # a disc's diameter is the mean over this many lines across it, which evens out pixel steps
ML_PER_MM3 = 1e-3
AXIS_ROUNDS = 20
# A base corner is extreme in depth more than in width; at 1 the wall of a strongly tapering ventricle would win.
BASE_WEIGHT = 2.0


class MeasurementError(ValueError):
    """A mask that cannot be measured.

    `reason` is a short fixed phrase, the same for every mask with the same fault, so that faults can be counted.
    """

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class LongAxis:
    """Points are (row, column) in the unit of the spacing, from the centre of pixel (0, 0).

    Attributes:
        apex: the contour's farthest point from the middle of the base.
        base: the two ends of the mitral plane, (2, 2).
        length: from the middle of the base to the apex.
    """

    apex: Float[np.ndarray, "2"]
    base: Float[np.ndarray, "2 2"]
    length: float


def single_plane_discs(mask: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float]) -> float:
    """Volume, ml, of 20 circular discs along the long axis of one view (usually 4CH).

    Where the spacing is not known give (1, 1): the number is then in thousands of cubic pixels and of use only in a
    ratio such as `ef_percent`.

    Raises:
        MeasurementError: there is no long axis (see `long_axis`).
        ValueError: the mask is not boolean (h, w), or a spacing is not positive and finite.
    """
    diameters_mm, length_mm = disc_diameters(mask, spacing_mm)
    return float(np.pi / 4 * np.sum(diameters_mm**2) * length_mm / N_DISCS * ML_PER_MM3)


def biplane_discs(
    mask_4ch: Bool[np.ndarray, "h w"],
    spacing_4ch_mm: tuple[float, float],
    mask_2ch: Bool[np.ndarray, "h w"],
    spacing_2ch_mm: tuple[float, float],
) -> float:
    """Volume, ml, of 20 elliptic discs whose axes are the diameters of the two views at the same share of the length.

    The disc height is a twentieth of the longer of the two views' long axes at this instant.

    Raises:
        MeasurementError: a view has no long axis (see `long_axis`).
        ValueError: a mask is not boolean (h, w), or a spacing is not positive and finite.
    """
    diameters_4ch_mm, length_4ch_mm = disc_diameters(mask_4ch, spacing_4ch_mm)
    diameters_2ch_mm, length_2ch_mm = disc_diameters(mask_2ch, spacing_2ch_mm)
    height_mm = max(length_4ch_mm, length_2ch_mm) / N_DISCS
    return float(np.pi / 4 * np.sum(diameters_4ch_mm * diameters_2ch_mm) * height_mm * ML_PER_MM3)


def ef_percent(edv_ml: float, esv_ml: float) -> float:
    """Ejection fraction 100 (EDV - ESV) / EDV, per cent; only the ratio counts, so any common unit will do.

    A larger end-systolic volume gives a negative number: the two instants are never exchanged.

    Raises:
        MeasurementError: EDV is not positive, ESV is negative, or one is not finite.
    """
    if not (np.isfinite(edv_ml) and np.isfinite(esv_ml)):
        raise MeasurementError("a volume is not finite")
    if edv_ml <= 0 or esv_ml < 0:
        raise MeasurementError("a volume is not positive")
    return 100.0 * (edv_ml - esv_ml) / edv_ml


def disc_diameters(
    mask: Bool[np.ndarray, "h w"], spacing: tuple[float, float]
) -> tuple[Float[np.ndarray, "20"], float]:
    """Diameters of the 20 discs, apex first, and the length of the long axis, in the unit of the spacing.

    A diameter is the integral of the bilinearly interpolated mask along a line across the axis: a straight edge counts
    exactly, in any direction.

    Raises:
        MeasurementError, ValueError: as `long_axis`.
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
    return diameters, axis.length


def long_axis(component: Bool[np.ndarray, "h w"], spacing: tuple[float, float]) -> LongAxis:
    """The long axis of one connected mask: base, apex and length.

    The ends of the base are the contour's extreme points towards the base and each side, in the frame of the axis and
    as shares of the contour's extent in it (depth counts twice). The apex is the farthest contour point from their
    middle; the centre of those that tie within half a pixel gives its direction, for a blunt apex is a row of pixels.
    Base and apex are found in turn until they stay. The start is the principal axis (the beam's, where the principal
    axis lies across it).
    The apex is taken to be nearer to the probe, which is at row 0.

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
    """The largest 4-connected part of the mask, its holes filled; the first in reading order among equals.

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
    """Sub-pixel outline in (row, column) pixels; the picture's edge counts as outside."""
    outlines = measure.find_contours(np.pad(component, 1).astype(np.float32), 0.5)
    if not outlines:
        raise MeasurementError("the mask is empty")
    return max(outlines, key=len) - 1.0


def _principal_direction(component: Bool[np.ndarray, "h w"], spacing: tuple[float, float]) -> Float[np.ndarray, "2"]:
    """Unit vector of the largest second moment, pointing away from the probe; the beam's if it lies across the beam."""
    points = np.stack(np.nonzero(component), axis=1) * np.asarray(spacing)
    centred = points - points.mean(axis=0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    direction = direction if direction[0] >= 0 else -direction
    return direction if direction[0] > np.sqrt(0.5) else np.array([1.0, 0.0])


def _unit_range(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return (values - values.min()) / max(float(np.ptp(values)), np.finfo(np.float64).tiny)
