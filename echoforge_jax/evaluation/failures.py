"""Measured remarks on why a predicted mask is wrong, from both masks and the picture, for a gallery of failures.

The limits below are this project's own; they decide only which remarks are made.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

AREA_RATIO = (0.85, 1.18)  # predicted over reference area; outside it a mask is called too small or too large
SHIFT_SHARE = 0.08  # distance of the centres over the larger side of the reference; above it is remarked on
ERROR_SHARE = 0.5  # share of the wrong pixels in the upper or lower third of the ventricle; above it is remarked on
RING_SHARE = 0.06  # width of the ring around the reference that is taken for the wall, over the ventricle's larger side
LOW_CONTRAST = 15  # grey levels; in CAMUS walls are 29 to 55 brighter than the cavity (10th and 90th percentile)
SHADOW_LEVEL, SHADOW_SHARE = 15, 0.25  # a wall pixel below this grey level is dark; this share of dark pixels is much


def failure_reasons(
    image: UInt8[np.ndarray, "h w"],
    prediction: Bool[np.ndarray, "h w"],
    reference: Bool[np.ndarray, "h w"],
    spacing_mm: tuple[float, float] | None,
) -> list[str]:
    """Describes what is wrong with the mask of one frame, and then what makes its picture difficult.

    Args:
        image: grey levels, (h, w).
        prediction: predicted mask, (h, w).
        reference: reference mask, (h, w).
        spacing_mm: (row, column) size of a pixel in mm, or None for distances in pixels.

    Returns:
        Remarks with their numbers, the most serious first; none where nothing stands out.
    """
    if not reference.any():
        return ["the reference is empty"]
    if not prediction.any():
        return ["nothing was drawn", *_picture_remarks(image, reference)]
    return [*_mask_remarks(prediction, reference, spacing_mm), *_picture_remarks(image, reference)]


def _mask_remarks(
    prediction: Bool[np.ndarray, "h w"], reference: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float] | None
) -> list[str]:
    remarks = []
    unit, spacing = ("mm", np.array(spacing_mm)) if spacing_mm else ("px", np.ones(2))
    if not (prediction & reference).any():
        remarks.append("drawn beside the ventricle")
    pieces, count = cast(tuple[np.ndarray, int], ndimage.label(prediction))
    if count > 1:
        largest = np.bincount(pieces[prediction]).max() / prediction.sum()
        remarks.append(f"in {count} pieces, the largest holds {100 * largest:.0f} %")
    ratio = prediction.sum() / reference.sum()
    if not AREA_RATIO[0] <= ratio <= AREA_RATIO[1]:
        remarks.append(f"area {100 * (ratio - 1):+.0f} %: drawn too {'large' if ratio > 1 else 'small'}")
    rows, columns = np.nonzero(reference)
    sides = np.array([np.ptp(rows) + 1, np.ptp(columns) + 1]) * spacing
    centres = (np.argwhere(mask).mean(axis=0) for mask in (prediction, reference))
    shift = np.subtract(*centres) * spacing
    if np.hypot(*shift) > SHIFT_SHARE * sides.max():
        vertical = np.abs(shift[0]) > np.abs(shift[1])
        where = ("down" if shift[0] > 0 else "up") if vertical else ("right" if shift[1] > 0 else "left")
        remarks.append(f"centre off by {np.hypot(*shift):.1f} {unit}, mostly {where}")
    wrong = np.nonzero(prediction ^ reference)[0]
    if len(wrong):
        thirds = np.clip((wrong - rows.min()) * 3 // (np.ptp(rows) + 1), 0, 2)
        shares = np.bincount(thirds, minlength=3) / len(wrong)
        if shares.max() > ERROR_SHARE and shares.argmax() != 1:
            place = "apical (upper)" if shares.argmax() == 0 else "basal (lower)"
            remarks.append(f"{100 * shares.max():.0f} % of the wrong pixels in the {place} third")
    return remarks


def _picture_remarks(image: UInt8[np.ndarray, "h w"], reference: Bool[np.ndarray, "h w"]) -> list[str]:
    remarks = []
    rows, columns = np.nonzero(reference)
    width = max(2, round(RING_SHARE * max(np.ptp(rows), np.ptp(columns))))
    ring = image[ndimage.binary_dilation(reference, iterations=width) & ~reference].astype(np.float64)
    if len(ring):
        contrast = ring.mean() - image[reference].mean()
        if contrast < LOW_CONTRAST:
            remarks.append(f"wall only {contrast:.0f} grey levels brighter than the cavity")
        dark = (ring < SHADOW_LEVEL).mean()
        if dark > SHADOW_SHARE:
            remarks.append(f"{100 * dark:.0f} % of the wall in darkness")
    if reference[0].any() or reference[-1].any() or reference[:, 0].any() or reference[:, -1].any():
        remarks.append("the ventricle is cut by the picture's edge")
    return remarks
