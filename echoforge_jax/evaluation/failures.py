"""Why a mask is wrong, as far as the two masks and the picture tell: measured remarks for a gallery of failures."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

AREA_RATIO = (0.85, 1.18)  # outside: too small, too large
SHIFT_SHARE = 0.08  # of the reference's height or width, whichever is larger
ERROR_SHARE = 0.5  # of the wrong pixels in one third of the ventricle
RING_SHARE = 0.06  # of the ventricle's larger side: the wall that is looked at around the reference
LOW_CONTRAST = 15  # grey levels; CAMUS walls are 29 to 55 brighter than the cavity (10th and 90th percentile)
SHADOW_LEVEL, SHADOW_SHARE = 15, 0.25  # grey level, and share of the wall below it


def failure_reasons(
    image: UInt8[np.ndarray, "h w"],
    prediction: Bool[np.ndarray, "h w"],
    reference: Bool[np.ndarray, "h w"],
    spacing_mm: tuple[float, float] | None,
) -> list[str]:
    """Remarks about one frame, the gravest first, each with its number; distances in mm, or px without a spacing.

    First what is wrong with the mask, then what makes the picture hard. Empty: neither stands out.
    """
    if not reference.any():
        return ["the reference is empty"]
    if not prediction.any():
        return ["nothing was drawn", *_picture(image, reference)]
    return [*_mask(prediction, reference, spacing_mm), *_picture(image, reference)]


def _mask(
    prediction: Bool[np.ndarray, "h w"], reference: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float] | None
) -> list[str]:
    found = []
    unit, spacing = ("mm", np.array(spacing_mm)) if spacing_mm else ("px", np.ones(2))
    if not (prediction & reference).any():
        found.append("drawn beside the ventricle")
    labelled: Any = ndimage.label(prediction)
    pieces, count = labelled
    if count > 1:
        largest = np.bincount(pieces[prediction]).max() / prediction.sum()
        found.append(f"in {count} pieces, the largest holds {100 * largest:.0f} %")
    ratio = prediction.sum() / reference.sum()
    if not AREA_RATIO[0] <= ratio <= AREA_RATIO[1]:
        found.append(f"area {100 * (ratio - 1):+.0f} %: drawn too {'large' if ratio > 1 else 'small'}")
    rows, columns = np.nonzero(reference)
    sides = np.array([np.ptp(rows) + 1, np.ptp(columns) + 1]) * spacing
    centres = (np.argwhere(mask).mean(axis=0) for mask in (prediction, reference))
    shift = np.subtract(*centres) * spacing
    if np.hypot(*shift) > SHIFT_SHARE * sides.max():
        vertical = np.abs(shift[0]) > np.abs(shift[1])
        where = ("down" if shift[0] > 0 else "up") if vertical else ("right" if shift[1] > 0 else "left")
        found.append(f"centre off by {np.hypot(*shift):.1f} {unit}, mostly {where}")
    wrong = np.nonzero(prediction ^ reference)[0]
    if len(wrong):
        thirds = np.clip((wrong - rows.min()) * 3 // (np.ptp(rows) + 1), 0, 2)
        shares = np.bincount(thirds, minlength=3) / len(wrong)
        if shares.max() > ERROR_SHARE and shares.argmax() != 1:
            place = "apical (upper)" if shares.argmax() == 0 else "basal (lower)"
            found.append(f"{100 * shares.max():.0f} % of the wrong pixels in the {place} third")
    return found


def _picture(image: UInt8[np.ndarray, "h w"], reference: Bool[np.ndarray, "h w"]) -> list[str]:
    found = []
    rows, columns = np.nonzero(reference)
    width = max(2, round(RING_SHARE * max(np.ptp(rows), np.ptp(columns))))
    ring = image[ndimage.binary_dilation(reference, iterations=width) & ~reference].astype(np.float64)
    if len(ring):
        contrast = ring.mean() - image[reference].mean()
        if contrast < LOW_CONTRAST:
            found.append(f"wall only {contrast:.0f} grey levels brighter than the cavity")
        dark = (ring < SHADOW_LEVEL).mean()
        if dark > SHADOW_SHARE:
            found.append(f"{100 * dark:.0f} % of the wall in darkness")
    if reference[0].any() or reference[-1].any() or reference[:, 0].any() or reference[:, -1].any():
        found.append("the ventricle is cut by the picture's edge")
    return found
