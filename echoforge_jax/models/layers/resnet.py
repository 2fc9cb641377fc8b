"""ResNet encoder (He et al. 2016): features at strides 4, 8, 16 and, with four stages, 32.

Bottleneck (50) or basic (18) blocks, any width. `stride_in_first_1x1` is the original v1 (Caffe, Keras); otherwise
v1.5 (torchvision), which strides in the 3x3. Modules are named after torchvision's keys: `pretrained.py` renames only.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from echoforge_jax.models.layers.convolution import conv, make_norm, max_pool

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


class Block(nn.Module):
    """A residual block: three convolutions (bottleneck) or two (basic), and a projection where the shape changes."""

    features: int
    stride: int
    bottleneck: bool
    stride_in_first_1x1: bool
    norm: str
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], train: bool) -> Float[Array, "n i j d"]:
        norm = make_norm(self.norm, train, self.dtype)
        if self.bottleneck:
            first, second = (self.stride, 1) if self.stride_in_first_1x1 else (1, self.stride)
            plan = [(self.features, 1, first), (self.features, 3, second), (4 * self.features, 1, 1)]
        else:
            plan = [(self.features, 3, self.stride), (self.features, 3, 1)]
        y = x
        for i, (features, size, stride) in enumerate(plan, 1):
            y = conv(features, size, stride, dtype=self.dtype, name=f"conv{i}")(y)
            y = norm(f"bn{i}")(y)
            if i < len(plan):
                y = nn.relu(y)
        if x.shape != y.shape:
            x = conv(y.shape[-1], 1, self.stride, dtype=self.dtype, name="downsample_0")(x)
            x = norm("downsample_1")(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """The trunk. `stages` 3 stops at stride 16, 4 at stride 32."""

    depth: int = 50
    width: int = 64
    stages: int = 3
    stride_in_first_1x1: bool = False
    norm: str = "batch"
    dtype: Any = jnp.float32
    rematerialise: bool = False  # what is inside the blocks is computed anew in the backward pass

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], train: bool) -> list[Float[Array, "n _ _ _"]]:
        """Normalised images, (n, h, w, channels); h and w multiples of the last stride. Returns one map a stage."""
        x = conv(self.width, 7, 2, dtype=self.dtype, name="conv1")(x)
        x = nn.relu(make_norm(self.norm, train, self.dtype)("bn1")(x))
        x = max_pool(x)
        maps = []
        kind = nn.remat(Block, static_argnums=(2,)) if self.rematerialise else Block
        for stage in range(self.stages):
            for block in range(BLOCKS[self.depth][stage]):
                x = kind(
                    features=self.width * 2**stage,
                    stride=2 if stage > 0 and block == 0 else 1,
                    bottleneck=self.depth >= 50,
                    stride_in_first_1x1=self.stride_in_first_1x1,
                    norm=self.norm,
                    dtype=self.dtype,
                    name=f"layer{stage + 1}_{block}",
                )(x, train)
            maps.append(x)
        return maps
