"""The strongly changed view of a clip, for strategies whose labels were made from the clean clip."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from data_pipelines.batch import Batch

NOISE = 0.05  # standard deviation, grey levels of 0..1


def student_view(batch: Batch, key: PRNGKeyArray) -> Float[Array, "b t h w"]:
    """Returns what the network sees: `strong_view`, but clips whose every frame is labelled stay as they are.

    Args:
        batch: the clean batch.
        key: of the random draws.
    """
    clean = batch.may_train.all(1)[:, None, None, None]
    return jnp.where(clean, batch.image, strong_view(batch.image, key))


def strong_view(image: Float[Array, "b t h w"], key: PRNGKeyArray) -> Float[Array, "b t h w"]:
    """Changes the grey levels of each clip by one draw of gamma, contrast and brightness, and adds noise to each pixel.

    Only intensities change (no CutMix, no perturbed features).

    Args:
        image: grey levels 0..1.
        key: of the random draws.
    """
    gamma_key, contrast_key, brightness_key, noise_key = jax.random.split(key, 4)

    def draw(key: PRNGKeyArray, low: float, high: float) -> Float[Array, "b 1 1 1"]:
        return jax.random.uniform(key, (image.shape[0], 1, 1, 1), minval=low, maxval=high)

    image = jnp.power(jnp.maximum(image, 1e-6), jnp.exp2(draw(gamma_key, -1.0, 1.0)))
    mean = image.mean(axis=(1, 2, 3), keepdims=True)
    image = mean + (image - mean) * draw(contrast_key, 0.5, 1.5) + draw(brightness_key, -0.15, 0.15)
    return jnp.clip(image + NOISE * jax.random.normal(noise_key, image.shape), 0.0, 1.0)
