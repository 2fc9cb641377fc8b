"""Operations that several parts of the paper share: the masked mean of eq. 3, the unit vector of a cosine similarity,
and masks averaged to cells.

Axes: b clips, t frames, n images, h w rows and columns of a feature map, H W rows and columns of a full-size frame, c
channels. An axis of size 2 is foreground, background.
"""

from __future__ import annotations

import einops
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from echoforge_jax.models.layers.resampling import average_pool


def masked_mean(features: Float[Array, "n h w c"], mask: Float[Array, "n h w"]) -> Float[Array, "n 2 c"]:
    """Averages features inside a soft mask and outside it (eq. 3).

    v[n, k] = sum_hw m_k[n, h, w] x[n, h, w] / (sum_hw m_k[n, h, w] + 1e-6), with m_0 the mask and m_1 = 1 - m_0. The
    sums are computed in float32. An empty mask gives a vector of zeros.

    Args:
        features: x, any floating type.
        mask: m_0, values from 0 to 1, float32.

    Returns:
        v, float32: the foreground's mean (k = 0) and the background's (k = 1).
    """
    masks = jnp.stack([mask, 1.0 - mask], axis=1)
    pooled = jnp.einsum("nkhw,nhwc->nkc", masks, features.astype(jnp.float32))
    return pooled / (masks.sum(axis=(2, 3))[..., None] + 1e-6)


def unit_vector(x: Float[Array, "*batch c"]) -> Float[Array, "*batch c"]:
    """Scales vectors to length 1: x / sqrt(|x|^2 + 1e-12), which is finite for x = 0, as is its gradient."""
    return x * jax.lax.rsqrt((x * x).sum(-1, keepdims=True) + 1e-12)


def pool_to_cells(mask: Float[Array, "b t H W"], height: int) -> Float[Array, "b t h w"]:
    """Averages masks over square cells: a cell's value is the share of foreground in it.

    Args:
        mask: values from 0 to 1.
        height: rows h of the result; H is a multiple of it, and W of the same cell.
    """
    cells = average_pool(einops.rearrange(mask, "b t h w -> (b t) h w 1"), mask.shape[2] // height)
    return einops.rearrange(cells, "(b t) h w 1 -> b t h w", b=len(mask))
