"""The encoder, a ResNet (He et al. 2016): maps of strides 4, 8, 16 and, with four stages, 32.

Modules have the names of torchvision's keys, so a pretrained file is read by renaming alone.

Axes: n images, h w rows and columns of the input, i j rows and columns of the output, c input channels, d output
channels.
"""

from __future__ import annotations

import dataclasses
import functools

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from echoforge_jax.models.layers.convolution import Conv, ConvImplementation, max_pool
from echoforge_jax.models.layers.normalization import make_norm

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}  # residual blocks of each stage, by depth


class Block(nn.Module):
    """A residual block: y = ReLU(shortcut(x) + f(x)).

    f is Conv1x1, Conv3x3, Conv1x1 (bottleneck) or Conv3x3, Conv3x3 (basic). A norm follows each of them, and a ReLU all
    but the last. The shortcut is x, or Conv1x1 and a norm where f changes the shape.

    Attributes:
        features: channels of the inner convolutions; the output has 4 times as many in a bottleneck.
        stride: stride of the block.
        bottleneck: the kind of f.
        stride_in_first_1x1: a bottleneck strides in its first 1x1 convolution (v1: Caffe, Keras), not in its 3x3 (v1.5:
            torchvision).
        norm: see `make_norm`.
        convolutions: the forms of the convolutions.
        dtype: type of the arithmetic.
    """

    features: int
    stride: int
    bottleneck: bool
    stride_in_first_1x1: bool
    norm: str
    convolutions: ConvImplementation
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], train: bool) -> Float[Array, "n i j d"]:
        """Applies the block.

        Args:
            x: the input map.
            train: whether the norms use the batch's statistics.
        """
        conv = functools.partial(Conv, implementation=self.convolutions, dtype=self.dtype)
        norm = make_norm(self.norm, train, self.dtype)
        if self.bottleneck:
            first, second = (self.stride, 1) if self.stride_in_first_1x1 else (1, self.stride)
            plan = [(self.features, 1, first), (self.features, 3, second), (4 * self.features, 1, 1)]
        else:
            plan = [(self.features, 3, self.stride), (self.features, 3, 1)]
        y = x
        for number, (features, size, stride) in enumerate(plan, 1):
            y = conv(features, size, stride, name=f"conv{number}")(y)
            y = norm(name=f"bn{number}")(y)
            if number < len(plan):
                y = nn.relu(y)
        if x.shape != y.shape:
            x = conv(y.shape[-1], 1, self.stride, name="downsample_0")(x)
            x = norm(name="downsample_1")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """The encoder: a 7x7 convolution and max pooling to stride 4, then stages of residual blocks.

    Attributes:
        depth: 18 (basic blocks) or 50 (bottlenecks).
        width: channels of the first convolution; stage s (from 0) has 2^s times as many inside its blocks.
        stages: 3 (the last map has stride 16) or 4 (stride 32).
        stride_in_first_1x1: see `Block`; a property of the pretrained weights.
        norm: see `make_norm`.
        dtype: type of the arithmetic.
        rematerialise: whether the backward pass computes the insides of the blocks again instead of storing them.
        convolutions: the forms of the convolutions and of max pooling.
    """

    depth: int = 50
    width: int = 64
    stages: int = 3
    stride_in_first_1x1: bool = False
    norm: str = "batch"
    dtype: DTypeLike = jnp.float32
    rematerialise: bool = False
    convolutions: ConvImplementation = dataclasses.field(default_factory=ConvImplementation.for_this_machine)

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], train: bool) -> list[Float[Array, "n _ _ _"]]:
        """Encodes images.

        Args:
            x: normalised images; h and w are multiples of the last stage's stride.
            train: whether the norms use the batch's statistics.

        Returns:
            One map for each stage, finest (stride 4) first.
        """
        conv = Conv(self.width, 7, 2, implementation=self.convolutions, dtype=self.dtype, name="conv1")
        x = nn.relu(make_norm(self.norm, train, self.dtype)(name="bn1")(conv(x)))
        x = max_pool(x, self.convolutions)
        maps = []
        block_class = nn.remat(Block, static_argnums=(2,)) if self.rematerialise else Block
        for stage in range(self.stages):
            for block in range(BLOCKS[self.depth][stage]):
                x = block_class(
                    features=self.width * 2**stage,
                    stride=2 if stage > 0 and block == 0 else 1,
                    bottleneck=self.depth >= 50,
                    stride_in_first_1x1=self.stride_in_first_1x1,
                    norm=self.norm,
                    convolutions=self.convolutions,
                    dtype=self.dtype,
                    name=f"layer{stage + 1}_{block}",
                )(x, train)
            maps.append(x)
        return maps
