"""Convolutions as this project uses them: NHWC, torchvision's symmetric padding, He initialisation.

A 1x1 convolution is a matrix product: equal in value, and on a CPU its backward pass is several times faster than
XLA's convolution. `plain_convolutions` switches to `lax.conv_general_dilated` everywhere, for the benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

kaiming = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")  # He et al. 2015, for what a ReLU follows

_matrix_products = True


@contextmanager
def plain_convolutions() -> Iterator[None]:
    """Inside, every traced convolution is `lax.conv_general_dilated`, 1x1 ones too (for benchmarks)."""
    global _matrix_products
    _matrix_products = False
    try:
        yield
    finally:
        _matrix_products = True


def conv_general_dilated(lhs: Array, rhs: Array, window_strides: Any, padding: Any, **kwargs: Any) -> Array:
    """`jax.lax.conv_general_dilated`, with an unpadded 1x1 kernel on NHWC arrays as one matrix product."""
    plain = rhs.shape[:2] != (1, 1) or any(p != (0, 0) for p in padding) or kwargs.get("feature_group_count", 1) != 1
    if plain or not _matrix_products:
        return jax.lax.conv_general_dilated(lhs, rhs, window_strides, padding, **kwargs)
    rows, columns = window_strides
    return jax.lax.dot_general(
        lhs[:, ::rows, ::columns], rhs[0, 0], (((3,), (0,)), ((), ())), precision=kwargs.get("precision")
    )


def conv(
    features: int, size: int, stride: int = 1, *, bias: bool = False, dtype: Any = jnp.float32, **kwargs: Any
) -> nn.Conv:
    """A `size` x `size` convolution padded by (size - 1) / 2 on every side. No bias by default: a norm follows."""
    pad = (size - 1) // 2
    return nn.Conv(
        features, (size, size), (stride, stride), padding=((pad, pad), (pad, pad)), use_bias=bias, dtype=dtype,
        kernel_init=kwargs.pop("kernel_init", kaiming), conv_general_dilated_cls=lambda: conv_general_dilated, **kwargs,
    )  # fmt: skip


def make_norm(kind: str, train: bool, dtype: Any) -> Callable[..., nn.Module]:
    """Normalisation after a convolution.

    `batch`: statistics of the global batch in training, running ones otherwise; `frozen`: running statistics always;
    `group`: 8 channels a group, no statistics kept.
    """
    if kind == "group":
        return lambda name: nn.GroupNorm(num_groups=None, group_size=8, epsilon=1e-5, dtype=dtype, name=name)
    return lambda name: nn.BatchNorm(
        use_running_average=(kind == "frozen") or not train, momentum=0.9, epsilon=1e-5, dtype=dtype, name=name
    )


def resize(x: Float[Array, "n h w c"], size: Sequence[int]) -> Float[Array, "n i j c"]:
    """Bilinear resize with half-pixel centres, without antialiasing."""
    return jax.image.resize(x, (x.shape[0], size[0], size[1], x.shape[3]), "bilinear", antialias=False)


def average_pool(x: Float[Array, "n h w c"], factor: int) -> Float[Array, "n i j c"]:
    """Mean over non-overlapping `factor` x `factor` cells."""
    return einops.reduce(x, "n (h i) (w j) c -> n h w c", "mean", i=factor, j=factor)
