"""Attention, feed-forward and position encoding of a pre-norm transformer.

Axes: b batch, q tokens that read, k tokens that are read, c channels, p cells of a grid (row by row).
"""

from __future__ import annotations

import warnings

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float


class Attention(nn.Module):
    """y = x + MultiHead(LayerNorm(x), keys, values).

    MultiHead is the concatenation over the heads of softmax(Q K^T / sqrt(c / heads)) V, projected to c channels. Q, K
    and V (c / heads channels each) are projections of the three arguments. The softmax is computed in float32.

    Attributes:
        heads: number of heads, a divisor of c.
        dtype: type of the rest of the arithmetic.
    """

    heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b q c"],
        keys: Float[Array, "b k c"] | None = None,
        values: Float[Array, "b k c"] | None = None,
        mask: Bool[Array, "b #q k"] | None = None,
    ) -> Float[Array, "b q c"]:
        """Lets tokens read other tokens, or each other.

        Args:
            x: the tokens that read.
            keys: what they compare themselves with; None: LayerNorm(x), self-attention.
            values: what they read; None: the keys.
            mask: True where a token may read another one; None: everywhere.
        """
        query = nn.LayerNorm(dtype=self.dtype)(x)
        keys = query if keys is None else keys
        values = keys if values is None else values
        attend = nn.MultiHeadDotProductAttention(
            num_heads=self.heads, dtype=self.dtype, force_fp32_for_softmax=True, name="attention"
        )
        with warnings.catch_warnings():  # Flax takes values with as many tokens as channels for a misplaced mask
            warnings.filterwarnings("ignore", message="You are passing an array of shape")
            y = attend(query, keys, values, mask=None if mask is None else mask[:, None])
        return x + y.astype(x.dtype)


class FeedForward(nn.Module):
    """y = x + W2 gelu(W1 LayerNorm(x) + b1) + b2, with W1 (c, expansion c) and W2 (expansion c, c).

    Attributes:
        expansion: width of the hidden layer, in multiples of c.
        dtype: type of the arithmetic.
    """

    expansion: int = 4
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b q c"]) -> Float[Array, "b q c"]:
        """Applies the block to every token by itself."""
        y = nn.LayerNorm(dtype=self.dtype)(x)
        y = nn.gelu(nn.Dense(self.expansion * x.shape[-1], dtype=self.dtype)(y))
        return x + nn.Dense(x.shape[-1], dtype=self.dtype)(y)


def sine_position_encoding(height: int, width: int, channels: int) -> Float[np.ndarray, "p c"]:
    """Encodes the row and column of every cell of a grid in sines and cosines (Carion et al. 2020).

    The first c / 2 channels hold the row r, the others the column, each as sin(f_i y) for i = 0 .. c / 4 - 1, then
    cos(f_i y), with y = 16 pi (r + 1/2) / height and f_i = 10000^(-i / (c / 4)).

    Args:
        height: rows of the grid.
        width: columns of the grid.
        channels: c, a multiple of 4.

    Returns:
        One vector for each cell, p = height width, row by row; float32.
    """
    quarter = channels // 4
    frequency = 1.0 / 10000.0 ** (np.arange(quarter) / quarter)

    def encode(length: int) -> np.ndarray:
        angle = (np.arange(length) + 0.5)[:, None] / length * 2 * np.pi * frequency[None] * 8
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)

    rows = np.broadcast_to(encode(height)[:, None], (height, width, 2 * quarter))
    columns = np.broadcast_to(encode(width)[None], (height, width, 2 * quarter))
    return np.concatenate([rows, columns], axis=2).reshape(height * width, channels).astype(np.float32)
