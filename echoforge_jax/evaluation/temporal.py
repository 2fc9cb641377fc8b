"""How steadily a prediction follows the heart through a clip: what Dice of single frames cannot see."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Bool
from skimage import measure

from echoforge_jax.evaluation.overlap import dice


def temporal_consistency(
    prediction: Bool[np.ndarray, "t h w"], reference: Bool[np.ndarray, "t h w"]
) -> dict[str, float | int]:
    """Steadiness of the masks of t consecutive frames, all with a reference, beside the reference's own.

    Returns:
        n_frames;
        frame_to_frame_dice: mean Dice of a predicted mask and the next;
        frame_to_frame_dice_excess: the same minus the reference's. The heart's true motion is in both and falls out:
            negative means flicker, positive a mask that lags behind;
        area_roughness: root mean square second difference of the area curve over its mean, of the prediction;
        area_roughness_ratio: that over the reference's; above 1 is rougher than the heart;
        frames_in_pieces: predicted masks of more than one 4-connected component.
        nan where there are too few frames (two for Dice, three for areas) or a curve that gives no ratio.

    Raises:
        ValueError: the two differ in shape.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction is {prediction.shape}, reference {reference.shape}: score them at one size")
    steady, true = _frame_to_frame(prediction), _frame_to_frame(reference)
    rough, true_rough = _roughness(prediction), _roughness(reference)
    return {
        "n_frames": len(prediction),
        "frame_to_frame_dice": steady,
        "frame_to_frame_dice_excess": steady - true,
        "area_roughness": rough,
        "area_roughness_ratio": rough / true_rough if true_rough > 0 else np.nan,
        "frames_in_pieces": sum(int(np.asarray(measure.label(mask, connectivity=1)).max()) > 1 for mask in prediction),
    }


def _frame_to_frame(masks: Bool[np.ndarray, "t h w"]) -> float:
    return float(np.mean([dice(a, b) for a, b in itertools.pairwise(masks)])) if len(masks) > 1 else np.nan


def _roughness(masks: Bool[np.ndarray, "t h w"]) -> float:
    areas = masks.sum((1, 2)).astype(np.float64)
    if len(areas) < 3 or not areas.any():
        return np.nan
    return float(np.sqrt(np.mean(np.diff(areas, 2) ** 2)) / areas.mean())
