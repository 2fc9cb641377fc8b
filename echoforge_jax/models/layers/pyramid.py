"""A small feature pyramid in two halves, with ARC between them.

`CoarsePyramid` makes X (stride 8) from the encoder's maps of strides 8, 16 (and 32). `FinePyramid` makes E (stride 4)
from the recalibrated X and the encoder's map of stride 4. So ARC acts on every pixel of the mask.

Axes: n images, h w rows and columns at stride 8, i j rows and columns at stride 4, c channels, d channels of the
encoder's map.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from echoforge_jax.models.layers.convolution import Conv, ConvImplementation
from echoforge_jax.models.layers.normalization import make_norm
from echoforge_jax.models.layers.resampling import resize


class CoarsePyramid(nn.Module):
    """X = LayerNorm(Conv3x3(ReLU(T_1))), with T_l = Norm(Conv1x1(S_l)) + resize(T_(l+1)) from the coarsest map down.

    S_l are the encoder's maps of strides 8, 16, ... The layer norm puts features and anchors on one scale.

    Attributes:
        channels: channels c of X.
        norm: "batch" or "group"; see `make_norm`.
        convolutions: the forms of the convolutions.
        dtype: type of the arithmetic.
    """

    channels: int
    norm: str
    convolutions: ConvImplementation
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, maps: Sequence[Float[Array, "n _ _ _"]], train: bool) -> Float[Array, "n h w c"]:
        """Makes X.

        Args:
            maps: S_1, S_2, ...: the encoder's maps from stride 8 on, finest first.
            train: whether the norms use the batch's statistics.
        """
        conv = functools.partial(Conv, implementation=self.convolutions, dtype=self.dtype)
        norm = make_norm(self.norm, train, self.dtype)
        laterals = [
            norm(name=f"lateral{level}_bn")(conv(self.channels, 1, name=f"lateral{level}")(features))
            for level, features in enumerate(maps)
        ]
        top = laterals[-1]
        for lateral in laterals[-2::-1]:
            top = lateral + resize(top, lateral.shape[1:3])
        x = conv(self.channels, 3, name="smooth")(nn.relu(top))
        return nn.LayerNorm(dtype=self.dtype, name="layer_norm")(x)


class FinePyramid(nn.Module):
    """E = ReLU(Norm(Conv3x3(ReLU(Norm(Conv1x1(S)) + resize(X))))), with S the encoder's map of stride 4.

    Attributes:
        channels: channels c of X and E.
        norm: "batch" or "group"; see `make_norm`.
        convolutions: the forms of the convolutions.
        dtype: type of the arithmetic.
    """

    channels: int
    norm: str
    convolutions: ConvImplementation
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], fine: Float[Array, "n i j d"], train: bool
    ) -> Float[Array, "n i j c"]:
        """Makes E.

        Args:
            x: recalibrated X, stride 8.
            fine: S, stride 4.
            train: whether the norms use the batch's statistics.
        """
        conv = functools.partial(Conv, implementation=self.convolutions, dtype=self.dtype)
        norm = make_norm(self.norm, train, self.dtype)
        lateral = norm(name="lateral_bn")(conv(self.channels, 1, name="lateral")(fine))
        e = conv(self.channels, 3, name="smooth")(nn.relu(lateral + resize(x, lateral.shape[1:3])))
        return nn.relu(norm(name="smooth_bn")(e))
