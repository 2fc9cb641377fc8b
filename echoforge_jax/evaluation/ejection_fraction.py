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


@dataclasses.dataclass(frozen=True)
class Discs:
    """One mask cut across its long axis.

    Attributes:
        diameters: of the 20 discs, apex first, in the unit of the spacing.
        length: of the long axis.
    """

    diameters: Float[np.ndarray, "20"]
    length: float


def single_plane_discs(view: Discs) -> float:
    """Volume, ml, of 20 circular discs along the long axis of one view (usually 4CH), from lengths in mm.

    Where the spacing is not known and was given as (1, 1), the number is in thousands of cubic pixels and of use only
    in a ratio such as `ef_percent`.
    """
    return _stack(view.diameters, view.diameters, view.length)


def biplane_discs(view_4ch: Discs, view_2ch: Discs) -> float:
    """Volume, ml, of 20 elliptic discs whose axes are the diameters of the two views at the same share of the length.

    The disc height is a twentieth of the longer of the two views' long axes at this instant.
    """
    return _stack(view_4ch.diameters, view_2ch.diameters, max(view_4ch.length, view_2ch.length))


def camus_official(ed_4ch: Discs, es_4ch: Discs, ed_2ch: Discs, es_2ch: Discs) -> tuple[float, float]:
    """EDV and ESV, ml, as published for CAMUS: biplane, but ONE disc height for both instants, from the longest of the
    four long axes (Leclerc et al., IEEE TMI 38(9), 2019, and its evaluation script).

    The ventricle shortens in systole, so this ESV is too large and the EF too small (by about 7 points in
    simulated hearts): for comparison with published numbers, not for a patient.
    """
    length = max(discs.length for discs in (ed_4ch, es_4ch, ed_2ch, es_2ch))
    return _stack(ed_4ch.diameters, ed_2ch.diameters, length), _stack(es_4ch.diameters, es_2ch.diameters, length)


def folland(view: Discs) -> float:
    """Volume, ml, of three segments of a third of the length each: a cylinder at the base, a truncated cone, a cone at
    the apex, V = (A_m + (A_m + A_p) / 2 + A_p / 3) L / 3 (Folland et al., Circulation 60(4), 1979).

    There A_m and A_p are short-axis areas at the mitral valve and the papillary muscles; here, from one view, those of
    circles across the axis a third of the length from the base and from the apex. Two diameters alone would jump with
    the pixels: each is read off a parabola through the eight discs around its level.
    """
    papillary, mitral = (np.pi / 4 * _diameter_at(view.diameters, share) ** 2 for share in (1 / 3, 2 / 3))
    return float((mitral + (mitral + papillary) / 2 + papillary / 3) * view.length / 3 * ML_PER_MM3)


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


def measure_discs(mask: Bool[np.ndarray, "h w"], spacing: tuple[float, float]) -> Discs:
    """The 20 discs of the mask's largest component, in the unit of the spacing; (1, 1) where it is not known.

    A diameter is the integral of the bilinearly interpolated mask along a line across the axis: a straight edge counts
    exactly, in any direction.

    Raises:
        MeasurementError: there is no long axis (see `long_axis`).
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


def _diameter_at(diameters: Float[np.ndarray, "20"], share: float) -> float:
    """The diameter at a share of the length from the apex."""
    centres = (np.arange(N_DISCS) + 0.5) / N_DISCS
    nearest = np.argsort(np.abs(centres - share), kind="stable")[:8]
    return float(np.polyval(np.polyfit(centres[nearest] - share, diameters[nearest], 2), 0.0))


def _stack(a: Float[np.ndarray, "20"], b: Float[np.ndarray, "20"], length_mm: float) -> float:
    """Volume, ml, of elliptic discs with diameters a and b that share the length."""
    return float(np.pi / 4 * np.sum(a * b) * length_mm / N_DISCS * ML_PER_MM3)


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
