"""How steadily the masks of a clip follow the heart: what the Dice of single frames cannot see."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from jaxtyping import Bool
from skimage import measure

from echoforge_jax.evaluation.overlap import dice


@dataclasses.dataclass(frozen=True)
class Steadiness:
    """Steadiness of the predicted masks of a clip, compared with the reference masks.

    A value is nan where there are too few frames for it (two for Dice, three for areas) or where an area curve gives no
    ratio.

    Attributes:
        n_frames: number of frames.
        frame_to_frame_dice: mean Dice of each predicted mask and the next.
        frame_to_frame_dice_excess: the same minus the reference's own value. The true motion of the heart is in both
            and cancels: a negative value means flicker, a positive one masks that lag behind the heart.
        area_roughness: root mean square of the second difference of the predicted area curve, divided by its mean.
        area_roughness_ratio: the same divided by the reference's own value; above 1 is rougher than the heart.
        frames_in_pieces: number of predicted masks with more than one 4-connected component.
    """

    n_frames: int
    frame_to_frame_dice: float
    frame_to_frame_dice_excess: float
    area_roughness: float
    area_roughness_ratio: float
    frames_in_pieces: int


def temporal_consistency(prediction: Bool[np.ndarray, "t h w"], reference: Bool[np.ndarray, "t h w"]) -> Steadiness:
    """Measures the steadiness of the masks of consecutive frames.

    Args:
        prediction: predicted masks, (t, h, w).
        reference: reference masks of the same frames, (t, h, w).

    Raises:
        ValueError: the two differ in shape.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction is {prediction.shape}, reference {reference.shape}: score them at one size")
    dice_prediction, dice_reference = _frame_to_frame_dice(prediction), _frame_to_frame_dice(reference)
    rough_prediction, rough_reference = _area_roughness(prediction), _area_roughness(reference)
    return Steadiness(
        n_frames=len(prediction),
        frame_to_frame_dice=dice_prediction,
        frame_to_frame_dice_excess=dice_prediction - dice_reference,
        area_roughness=rough_prediction,
        area_roughness_ratio=rough_prediction / rough_reference if rough_reference > 0 else np.nan,
        frames_in_pieces=sum(int(np.asarray(measure.label(mask, connectivity=1)).max()) > 1 for mask in prediction),
    )


def _frame_to_frame_dice(masks: Bool[np.ndarray, "t h w"]) -> float:
    return float(np.mean([dice(a, b) for a, b in itertools.pairwise(masks)])) if len(masks) > 1 else np.nan


def _area_roughness(masks: Bool[np.ndarray, "t h w"]) -> float:
    areas = masks.sum((1, 2)).astype(np.float64)
    if len(areas) < 3 or not areas.any():
        return np.nan
    return float(np.sqrt(np.mean(np.diff(areas, 2) ** 2)) / areas.mean())
