"""Distances between the borders of two masks: Hausdorff, its 95th percentile, average surface distances.

The border of a mask is the mask minus its erosion by the 4-neighbours; outside the picture counts as outside the mask.
Distances run between pixel centres and come from an exact Euclidean distance transform with the true pixel spacing.
The conventions are those of medpy (`hd`, `hd95`, `asd`) and of MONAI's symmetric surface distance; what the literature
of this method calls "HD" is `hd95` here and its "ASD" is `assd`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from echoforge_jax.evaluation.overlap import check_masks


@dataclasses.dataclass(frozen=True)
class SurfaceDistances:
    """Distances in the unit of `spacing`; 0 if both masks are empty, nan (undefined) if exactly one is.

    Attributes:
        hd: Hausdorff distance, the largest distance from either border to the other.
        hd95: 95th percentile of the distances of both directions POOLED (medpy's hd95).
        hd95_directed: the larger of the two directions' own 95th percentiles (MONAI's).
        asd_prediction_to_reference: mean distance of the prediction's border points to the reference's border.
        asd_reference_to_prediction: the other way.
        assd: mean of the distances of both directions pooled.
        boundary_f_1: boundary F-score, 0..1, at a tolerance of 1 unit: the harmonic mean of the shares of either
            border's points that lie within it of the other (Csurka et al., BMVC 2013); 1 for two empty masks, 0
            for one.
        boundary_f_2: the same at 2 units.
    """

    hd: float
    hd95: float
    hd95_directed: float
    asd_prediction_to_reference: float
    asd_reference_to_prediction: float
    assd: float
    boundary_f_1: float
    boundary_f_2: float


def surface_distances(
    prediction: Bool[np.ndarray, "h w"], reference: Bool[np.ndarray, "h w"], spacing: tuple[float, float]
) -> SurfaceDistances:
    """Every border distance of one frame; `spacing` is (row, column) in mm a pixel, or (1, 1) for pixels.

    Work is done on the masks' common bounding box, which changes no value: both borders lie inside it.

    Raises:
        ValueError: the masks differ in shape or are not boolean, or a spacing is not positive and finite.
    """
    check_masks(prediction, reference)
    check_spacing(spacing)
    if not (prediction.any() and reference.any()):
        one = bool(prediction.any() or reference.any())
        return SurfaceDistances(*[np.nan if one else 0.0] * 6, *[0.0 if one else 1.0] * 2)
    box = _bounding_box(prediction | reference)
    prediction_border, reference_border = border(prediction[box]), border(reference[box])
    forward = np.asarray(ndimage.distance_transform_edt(~reference_border, sampling=spacing))[prediction_border]
    backward = np.asarray(ndimage.distance_transform_edt(~prediction_border, sampling=spacing))[reference_border]
    pooled = np.concatenate([forward, backward])
    return SurfaceDistances(
        hd=float(pooled.max()),
        hd95=_percentile95(pooled),
        hd95_directed=max(_percentile95(forward), _percentile95(backward)),
        asd_prediction_to_reference=float(forward.mean()),
        asd_reference_to_prediction=float(backward.mean()),
        assd=float(pooled.mean()),
        boundary_f_1=_boundary_f(forward, backward, 1.0),
        boundary_f_2=_boundary_f(forward, backward, 2.0),
    )


def border(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The pixels of the mask with at least one of their four neighbours outside it (or outside the picture)."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def check_spacing(spacing: tuple[float, float]) -> None:
    """Refuses a spacing that is not two positive finite numbers.

    Raises:
        ValueError: with what was found.
    """
    if len(spacing) != 2 or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"spacing is {spacing}, expected (row, column), both positive: use (1, 1) where unknown")


def _boundary_f(forward: Float[np.ndarray, " n"], backward: Float[np.ndarray, " m"], tolerance: float) -> float:
    within = tolerance * (1 + 1e-9)  # a distance of three pixels of 1/3 mm is 1 mm
    precision, recall = float((forward <= within).mean()), float((backward <= within).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _percentile95(distances: Float[np.ndarray, " n"]) -> float:
    return float(np.percentile(distances, 95))


def _bounding_box(mask: Bool[np.ndarray, "h w"]) -> tuple[slice, slice]:
    """The rows and columns that hold the mask, one more on each side where the picture has one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)
