"""Distances between the borders of two masks: Hausdorff distance, its 95th percentile, average surface distances.

The border of a mask is the mask minus its erosion by the 4-neighbours; outside the picture counts as outside the mask.
Distances are between pixel centres and come from an exact Euclidean distance transform with the true pixel spacing.
The conventions are those of medpy (`hd`, `hd95`, `asd`) and of MONAI's symmetric surface distance. What the EchoForge
paper and related work call "HD" is `hd95` here, and their "ASD" is `assd`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from echoforge_jax.evaluation.overlap import check_masks


@dataclasses.dataclass(frozen=True)
class SurfaceDistances:
    """The border distances of one frame, in the unit of the spacing, and its boundary F-scores.

    Let a be the distances of the prediction's border points to the reference's border, and b those of the reference's
    border points to the prediction's border. Distances are 0 if both masks are empty and nan (undefined) if one is.

    Attributes:
        hd: Hausdorff distance, max(a and b).
        hd95: 95th percentile of a and b POOLED (as in medpy).
        hd95_directed: the larger of the 95th percentile of a and that of b (as in MONAI).
        asd_prediction_to_reference: mean of a.
        asd_reference_to_prediction: mean of b.
        assd: mean of a and b pooled.
        boundary_f_1: boundary F-score, 0..1, with a tolerance of 1 unit: the harmonic mean 2 p r / (p + r) of the share
            p of a and the share r of b that do not exceed the tolerance (Csurka et al., BMVC 2013); 1 for two empty
            masks, 0 if one is empty.
        boundary_f_2: the same with a tolerance of 2 units.
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
    """Measures every border distance of one frame.

    It works on the common bounding box of the masks, which changes no value: both borders lie inside it.

    Args:
        prediction: predicted mask, (h, w).
        reference: reference mask, (h, w).
        spacing: (row, column) size of a pixel in mm, or (1, 1) for distances in pixels.

    Raises:
        ValueError: the masks differ in shape or are not boolean, or a spacing is not positive and finite.
    """
    check_masks(prediction, reference)
    check_spacing(spacing)
    if not (prediction.any() and reference.any()):
        one_is_empty = bool(prediction.any() or reference.any())
        distance, boundary_f = (np.nan, 0.0) if one_is_empty else (0.0, 1.0)
        return SurfaceDistances(*[distance] * 6, boundary_f_1=boundary_f, boundary_f_2=boundary_f)
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
    """Returns the pixels of a mask with at least one of their four neighbours outside it (or outside the picture)."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def check_spacing(spacing: tuple[float, float]) -> None:
    """Checks that a spacing is two positive finite numbers.

    Raises:
        ValueError: it is not; the message says what was found.
    """
    if len(spacing) != 2 or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"spacing is {spacing}, expected (row, column), both positive: use (1, 1) where unknown")


def _boundary_f(forward: Float[np.ndarray, " n"], backward: Float[np.ndarray, " m"], tolerance: float) -> float:
    """Computes the boundary F-score from the distances of both directions."""
    within = tolerance * (1 + 1e-9)  # a distance of three pixels of 1/3 mm is 1 mm
    precision, recall = float((forward <= within).mean()), float((backward <= within).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _percentile95(distances: Float[np.ndarray, " n"]) -> float:
    return float(np.percentile(distances, 95))


def _bounding_box(mask: Bool[np.ndarray, "h w"]) -> tuple[slice, slice]:
    """Returns the rows and columns that hold the mask, and one more on each side where the picture has one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)
