"""Overlap of two masks: Dice coefficient and intersection over union.

Both are 1 for two empty masks (nothing was there and nothing was drawn) and 0 where exactly one mask is empty, so that
an empty prediction is never left out of a mean.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool


def dice(prediction: Bool[np.ndarray, "h w"], reference: Bool[np.ndarray, "h w"]) -> float:
    """Computes the Dice coefficient 2 |P and R| / (|P| + |R|).

    Args:
        prediction: predicted mask P, (h, w).
        reference: reference mask R, (h, w).

    Returns:
        0..1; 1.0 if both masks are empty, 0.0 if one is.

    Raises:
        ValueError: the masks differ in shape or are not boolean.
    """
    both, total = _counts(prediction, reference)
    return 2 * both / total if total else 1.0


def iou(prediction: Bool[np.ndarray, "h w"], reference: Bool[np.ndarray, "h w"]) -> float:
    """Computes the intersection over union |P and R| / |P or R|.

    Args:
        prediction: predicted mask P, (h, w).
        reference: reference mask R, (h, w).

    Returns:
        0..1; 1.0 if both masks are empty, 0.0 if one is.

    Raises:
        ValueError: the masks differ in shape or are not boolean.
    """
    both, total = _counts(prediction, reference)
    return both / (total - both) if total else 1.0


def check_masks(prediction: np.ndarray, reference: np.ndarray) -> None:
    """Checks that two masks are boolean, two-dimensional and of one size.

    Args:
        prediction: predicted mask.
        reference: reference mask.

    Raises:
        ValueError: a mask has another type or rank, or the two differ in shape; the message says what was found.
    """
    for name, mask in (("prediction", prediction), ("reference", reference)):
        if mask.dtype != np.bool_ or mask.ndim != 2:
            raise ValueError(f"{name} is {mask.dtype} {mask.shape}, expected bool (h, w): compare labels first")
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction is {prediction.shape}, reference {reference.shape}: resize to the native size")


def _counts(prediction: np.ndarray, reference: np.ndarray) -> tuple[int, int]:
    """Returns |P and R| and |P| + |R|."""
    check_masks(prediction, reference)
    both = int(np.count_nonzero(prediction & reference))
    return both, int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))
