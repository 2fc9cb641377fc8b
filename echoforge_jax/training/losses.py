"""Losses (paper 3.4, eq. 9). Every mean is a weighted sum over a weight that may be zero: then the loss is zero.

Axes: b clips, t frames, h w pixels. Weights are per frame (labelled or not) or per pixel (confident or not). Everything
is float32.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

DICE_SMOOTHING = 1.0  # pixels added above and below the fraction, so that empty masks have a gradient


class Supervised(NamedTuple):
    """The two parts of eq. 9 on labelled frames.

    Attributes:
        bce: Binary cross-entropy.
        dice: Soft Dice loss.
    """

    bce: Float[Array, ""]
    dice: Float[Array, ""]


def weighted_mean(values: Float[Array, "*s"], weights: Float[Array, "*s"]) -> Float[Array, ""]:
    """sum(w v) / sum(w), and 0 where no weight is left.

    Args:
        values: v.
        weights: w, of the same shape, not negative.
    """
    total = weights.sum()
    return (values * weights).sum() / jnp.where(total > 0, total, 1.0)


def cross_entropy_from_logits(logits: Float[Array, "*s"], target: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Binary cross-entropy of each pixel, -t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x)), exact for large |x|.

    Args:
        logits: x, foreground log-odds.
        target: t, 0..1.
    """
    return jnp.maximum(logits, 0) - logits * target + jnp.log1p(jnp.exp(-jnp.abs(logits)))


def cross_entropy_from_probability(p: Float[Array, "*s"], target: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Binary cross-entropy of each pixel for a probability that is not the sigmoid of one logit.

    Args:
        p: foreground probability; clipped to 1e-6 .. 1 - 1e-6.
        target: 0..1.
    """
    p = jnp.clip(p, 1e-6, 1.0 - 1e-6)
    return -(target * jnp.log(p) + (1.0 - target) * jnp.log1p(-p))


def soft_dice_loss(
    p: Float[Array, "b t h w"], target: Float[Array, "b t h w"], pixel_weights: Float[Array, "b t h w"] | None = None
) -> Float[Array, "b t"]:
    """1 - (2 sum(w p t) + 1) / (sum(w p) + sum(w t) + 1) of each frame; 0 for a frame without any weight.

    Args:
        p: foreground probability.
        target: t, 0 or 1.
        pixel_weights: w; None weighs every pixel with 1.
    """
    weights = jnp.ones_like(p) if pixel_weights is None else pixel_weights
    overlap = (p * target * weights).sum((2, 3))
    size = ((p + target) * weights).sum((2, 3))
    dice = (2.0 * overlap + DICE_SMOOTHING) / (size + DICE_SMOOTHING)
    return jnp.where(weights.sum((2, 3)) > 0, 1.0 - dice, 0.0)


def supervised(
    logits: Float[Array, "b t h w"], target: Float[Array, "b t h w"], frame_weights: Float[Array, "b t"]
) -> Supervised:
    """Eq. 9's binary cross-entropy and Dice loss, as means over the labelled frames.

    Args:
        logits: foreground log-odds.
        target: reference masks, 0 or 1.
        frame_weights: 1 for the frames that count.
    """
    bce = weighted_mean(cross_entropy_from_logits(logits, target).mean((2, 3)), frame_weights)
    dice = weighted_mean(soft_dice_loss(jax.nn.sigmoid(logits), target), frame_weights)
    return Supervised(bce, dice)


def unsupervised(
    logits: Float[Array, "b t h w"], pseudo_label: Float[Array, "b t h w"], confident: Float[Array, "b t h w"]
) -> Float[Array, ""]:
    """Eq. 9's L_U on pseudo-labels.

    The binary cross-entropy is a mean over the confident pixels; the Dice loss sums over the confident pixels of each
    frame and is a mean over the frames that have any. Pseudo-labels get no gradient.

    Args:
        logits: foreground log-odds.
        pseudo_label: 0 or 1.
        confident: 1 for the pixels that count; 0 on labelled frames.
    """
    pseudo_label, confident = jax.lax.stop_gradient((pseudo_label, confident))
    bce = weighted_mean(cross_entropy_from_logits(logits, pseudo_label), confident)
    has_confident_pixels = (confident.sum((2, 3)) > 0).astype(jnp.float32)
    dice = soft_dice_loss(jax.nn.sigmoid(logits), pseudo_label, confident)
    return bce + weighted_mean(dice, has_confident_pixels)


def supervised_probability(
    p: Float[Array, "b t h w"], target: Float[Array, "b t h w"], frame_weights: Float[Array, "b t"]
) -> Float[Array, ""]:
    """Binary cross-entropy + Dice loss of a probability map, as means over the weighted frames.

    Args:
        p: foreground probability.
        target: reference masks, 0 or 1.
        frame_weights: 1 for the frames that count.
    """
    bce = weighted_mean(cross_entropy_from_probability(p, target).mean((2, 3)), frame_weights)
    return bce + weighted_mean(soft_dice_loss(p, target), frame_weights)


def dice_percent(prediction: Float[Array, "b t h w"], target: Float[Array, "b t h w"]) -> Float[Array, "b t"]:
    """Dice of the masks of each frame in per cent; 100 where both are empty.

    Args:
        prediction: masks, 0 or 1.
        target: masks, 0 or 1.
    """
    overlap, size = (prediction * target).sum((2, 3)), (prediction + target).sum((2, 3))
    return 100.0 * jnp.where(size > 0, 2.0 * overlap / jnp.where(size > 0, size, 1.0), 1.0)
