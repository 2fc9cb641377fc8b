"""Losses (paper 3.4, eq. 9). Every mean is a weighted sum over a weight that may be zero: then the loss is zero.

Weights are per frame (labelled or not) or per pixel (confident or not). Everything is float32.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def weighted_mean(values: Float[Array, "*s"], weights: Float[Array, "*s"]) -> Float[Array, ""]:
    """sum(w v) / sum(w), 0 where no weight is left."""
    total = weights.sum()
    return (values * weights).sum() / jnp.where(total > 0, total, 1.0)


def cross_entropy_from_logits(logits: Float[Array, "*s"], target: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Binary cross-entropy of each pixel, target 0..1."""
    return jnp.maximum(logits, 0) - logits * target + jnp.log1p(jnp.exp(-jnp.abs(logits)))


def cross_entropy_from_probability(p: Float[Array, "*s"], target: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Binary cross-entropy of each pixel for a probability that is not a sigmoid of one logit."""
    p = jnp.clip(p, 1e-6, 1.0 - 1e-6)
    return -(target * jnp.log(p) + (1.0 - target) * jnp.log1p(-p))


def soft_dice_loss(
    p: Float[Array, "b t h w"], target: Float[Array, "b t h w"], pixel_weights: Float[Array, "b t h w"] | None = None
) -> Float[Array, "b t"]:
    """1 - soft Dice of each frame, over the pixels of weight 1; a frame without any has loss 0."""
    weights = jnp.ones_like(p) if pixel_weights is None else pixel_weights
    overlap = (p * target * weights).sum((2, 3))
    size = ((p + target) * weights).sum((2, 3))
    return jnp.where(weights.sum((2, 3)) > 0, 1.0 - (2.0 * overlap + 1.0) / (size + 1.0), 0.0)


def supervised(
    logits: Float[Array, "b t h w"], target: Float[Array, "b t h w"], labelled: Float[Array, "b t"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Eq. 9's BCE and Dice, means over the labelled frames."""
    bce = weighted_mean(cross_entropy_from_logits(logits, target).mean((2, 3)), labelled)
    dice = weighted_mean(soft_dice_loss(jax.nn.sigmoid(logits), target), labelled)
    return bce, dice


def unsupervised(
    logits: Float[Array, "b t h w"], pseudo_label: Float[Array, "b t h w"], confident: Float[Array, "b t h w"]
) -> Float[Array, ""]:
    """Eq. 9's L_U: BCE averaged over the confident pixels, and Dice with its sums over them, a mean over the frames
    that have any. `confident` is zero on labelled frames; pseudo-labels get no gradient."""
    pseudo_label, confident = jax.lax.stop_gradient((pseudo_label, confident))
    bce = weighted_mean(cross_entropy_from_logits(logits, pseudo_label), confident)
    some = (confident.sum((2, 3)) > 0).astype(jnp.float32)
    return bce + weighted_mean(soft_dice_loss(jax.nn.sigmoid(logits), pseudo_label, confident), some)


def supervised_probability(
    p: Float[Array, "b t h w"], target: Float[Array, "b t h w"], weights: Float[Array, "b t"]
) -> Float[Array, ""]:
    """BCE + Dice of a probability map, means over the weighted frames (the term that trains CPR's Wq, Wk, Wv)."""
    bce = weighted_mean(cross_entropy_from_probability(p, target).mean((2, 3)), weights)
    return bce + weighted_mean(soft_dice_loss(p, target), weights)


def dice_percent(prediction: Float[Array, "b t h w"], target: Float[Array, "b t h w"]) -> Float[Array, "b t"]:
    """Dice of 0/1 masks, per cent, of each frame; 100 where both are empty."""
    overlap, size = (prediction * target).sum((2, 3)), (prediction + target).sum((2, 3))
    return 100.0 * jnp.where(size > 0, 2.0 * overlap / jnp.where(size > 0, size, 1.0), 1.0)
