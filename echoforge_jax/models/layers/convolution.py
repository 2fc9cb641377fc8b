"""Convolutions as this project uses them: NHWC, torchvision's symmetric padding, He initialisation.

Where XLA's own form is slow on a CPU, another form of the same arithmetic stands in: a 1x1 convolution is a matrix
product, max pooling is a maximum of shifted maps, and without AVX-512 the gradient of a larger kernel is one matrix
product a tap (ratios: docs/explanation/cpu_kernels.md). `plain_convolutions` switches all of that off, for benchmarks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

kaiming = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")  # He et al. 2015, for what a ReLU follows

_matrix_products = True


@contextmanager
def plain_convolutions() -> Iterator[None]:
    """Inside, every traced convolution and pooling is XLA's own (for benchmarks)."""
    global _matrix_products
    _matrix_products = False
    try:
        yield
    finally:
        _matrix_products = True


def conv_general_dilated(lhs: Array, rhs: Array, window_strides: Any, padding: Any, **kwargs: Any) -> Array:
    """`jax.lax.conv_general_dilated` of NHWC arrays and HWIO kernels, without groups, in the forms named above."""
    dilations = (kwargs.get(name) or (1, 1) for name in ("lhs_dilation", "rhs_dilation"))
    plain = kwargs.get("feature_group_count", 1) != 1 or any(tuple(dilation) != (1, 1) for dilation in dilations)
    if plain or not _matrix_products:
        return jax.lax.conv_general_dilated(lhs, rhs, window_strides, padding, **kwargs)
    rows, columns = window_strides
    if rhs.shape[:2] != (1, 1) or any(p != (0, 0) for p in padding):
        return _spatial_convolution(lhs, rhs, (rows, columns), tuple(map(tuple, padding)), kwargs.get("precision"))
    return jax.lax.dot_general(
        lhs[:, ::rows, ::columns], rhs[0, 0], (((3,), (0,)), ((), ())), precision=kwargs.get("precision")
    )


Pairs = tuple[tuple[int, int], ...]
# With AVX-512 XLA's kernel gradients run at 90 to 195 GFLOP/s, a product a tap (which has to copy its transposed map)
# at 40 to 160; with AVX2 the taps were the faster ones.
KERNEL_GRADIENT_BY_TAPS = not {"X86_V4", "AVX512F"} & set(
    np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
)
MIN_CHANNELS_BY_TAPS = 64  # below, a matrix product a tap is too narrow to pay for the longer program


def _xla_convolution(x: Array, kernel: Array, strides: tuple[int, int], padding: Pairs, precision: Any) -> Array:
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=precision
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _spatial_convolution(x: Array, kernel: Array, strides: tuple[int, int], padding: Pairs, precision: Any) -> Array:
    """XLA's convolution; on a CPU without AVX-512 the gradient of its kernel is made tap by tap."""
    return _xla_convolution(x, kernel, strides, padding, precision)


def _forward(
    x: Array, kernel: Array, strides: tuple[int, int], padding: Pairs, precision: Any
) -> tuple[Array, tuple[Array, Array]]:
    return _xla_convolution(x, kernel, strides, padding, precision), (x, kernel)


def _backward(
    strides: tuple[int, int], padding: Pairs, precision: Any, saved: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    of_x = jax.vjp(lambda x: _xla_convolution(x, kernel, strides, padding, precision), x)[1](gradient)[0]

    def by_xla(x: Array, gradient: Array) -> Array:
        return jax.vjp(lambda k: _xla_convolution(x, k, strides, padding, precision), kernel)[1](gradient)[0]

    def by_tap(x: Array, gradient: Array) -> Array:
        padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
        taps = [
            jax.lax.dot_general(seen, gradient, (((0, 1, 2), (0, 1, 2)), ((), ())), precision=precision)
            for seen in _shifted(padded, kernel.shape[:2], strides, gradient.shape[1:3])
        ]
        return jnp.stack(taps).reshape(kernel.shape)

    taps = KERNEL_GRADIENT_BY_TAPS and x.shape[-1] >= MIN_CHANNELS_BY_TAPS
    of_kernel = jax.lax.platform_dependent(x, gradient, cpu=by_tap if taps else by_xla, default=by_xla)
    return of_x, of_kernel


_spatial_convolution.defvjp(_forward, _backward)


def _shifted(padded: Array, window: Sequence[int], strides: Sequence[int], size: Sequence[int]) -> list[Array]:
    """What each tap of a window sees of a padded map, row by row of the window."""
    n, _, _, c = padded.shape
    last = [(places - 1) * stride + 1 for places, stride in zip(size, strides, strict=True)]
    return [
        jax.lax.slice(padded, (0, i, j, 0), (n, i + last[0], j + last[1], c), (1, *strides, 1))
        for i in range(window[0])
        for j in range(window[1])
    ]


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n i j c"]:
    """Maximum over 3x3 cells at stride 2, padded by 1. A gradient is shared by cells that tie."""
    padding = ((1, 1), (1, 1))
    if not _matrix_products:
        whole: Any = padding
        return nn.max_pool(x, (3, 3), (2, 2), padding=whole)
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-jnp.inf)
    size = [(side - 1) // 2 + 1 for side in x.shape[1:3]]
    return functools.reduce(jnp.maximum, _shifted(padded, (3, 3), (2, 2), size))


def conv(
    features: int, size: int, stride: int = 1, *, bias: bool = False, dtype: Any = jnp.float32, **kwargs: Any
) -> nn.Conv:
    """A `size` x `size` convolution padded by (size - 1) / 2 on every side. No bias by default: a norm follows."""
    pad = (size - 1) // 2
    return nn.Conv(
        features,
        (size, size),
        (stride, stride),
        padding=((pad, pad), (pad, pad)),
        use_bias=bias,
        dtype=dtype,
        kernel_init=kwargs.pop("kernel_init", kaiming),
        conv_general_dilated_cls=lambda: conv_general_dilated,
        **kwargs,
    )


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
