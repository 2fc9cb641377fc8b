"""A small feature pyramid in two halves, with ARC between them.

`CoarsePyramid` makes X (stride 8) from strides 8, 16 (and 32); `FinePyramid` makes E (stride 4) from the recalibrated
X and the stride-4 map, so that ARC acts on every pixel of the mask (method: section 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from echoforge_jax.models.layers.convolution import conv, make_norm, resize


class CoarsePyramid(nn.Module):
    """Maps of strides 8, 16, ... -> X at stride 8, layer-normalised so that features and anchors share one scale."""

    channels: int
    norm: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, maps: Sequence[Float[Array, "n _ _ _"]], train: bool) -> Float[Array, "n h w c"]:
        norm = make_norm(self.norm, train, self.dtype)
        laterals = [
            norm(f"lateral{level}_bn")(conv(self.channels, 1, dtype=self.dtype, name=f"lateral{level}")(features))
            for level, features in enumerate(maps)
        ]
        top = laterals[-1]
        for lateral in laterals[-2::-1]:
            top = lateral + resize(top, lateral.shape[1:3])
        x = conv(self.channels, 3, dtype=self.dtype, name="smooth")(nn.relu(top))
        return nn.LayerNorm(dtype=self.dtype, name="layer_norm")(x)


class FinePyramid(nn.Module):
    """Recalibrated X (stride 8) and the stride-4 map -> E at stride 4."""

    channels: int
    norm: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], fine: Float[Array, "n i j d"], train: bool
    ) -> Float[Array, "n i j c"]:
        norm = make_norm(self.norm, train, self.dtype)
        lateral = norm("lateral_bn")(conv(self.channels, 1, dtype=self.dtype, name="lateral")(fine))
        e = conv(self.channels, 3, dtype=self.dtype, name="smooth")(nn.relu(lateral + resize(x, lateral.shape[1:3])))
        return nn.relu(norm("smooth_bn")(e))
