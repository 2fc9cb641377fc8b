"""Attention blocks shared by ARC and TSF: pre-norm residual layers over Flax's multi-head attention."""

from __future__ import annotations

import warnings
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float


class Attention(nn.Module):
    """x + attention(norm(x), keys, values); keys and values default to norm(x). `mask` True: may attend."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b q c"],
        keys: Float[Array, "b n c"] | None = None,
        values: Float[Array, "b n c"] | None = None,
        mask: Bool[Array, "b #q n"] | None = None,
    ) -> Float[Array, "b q c"]:
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
    """x + W2 gelu(W1 norm(x)), hidden width `expansion` times c."""

    expansion: int = 4
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        y = nn.LayerNorm(dtype=self.dtype)(x)
        y = nn.gelu(nn.Dense(self.expansion * x.shape[-1], dtype=self.dtype)(y))
        return x + nn.Dense(x.shape[-1], dtype=self.dtype)(y)


def sine_position_encoding(height: int, width: int, channels: int) -> Float[np.ndarray, "p c"]:
    """2-D sine encoding (Carion et al. 2020): half of `channels` (a multiple of 4) for the row, half for the column."""
    quarter = channels // 4
    frequency = 1.0 / 10000.0 ** (np.arange(quarter) / quarter)

    def encode(n: int) -> np.ndarray:
        angle = (np.arange(n) + 0.5)[:, None] / n * 2 * np.pi * frequency[None] * 8
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)

    rows = np.broadcast_to(encode(height)[:, None], (height, width, 2 * quarter))
    columns = np.broadcast_to(encode(width)[None], (height, width, 2 * quarter))
    return np.concatenate([rows, columns], axis=2).reshape(height * width, channels).astype(np.float32)
