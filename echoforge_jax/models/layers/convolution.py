"""Convolution and max pooling, and the record that chooses in which form they are compiled.

On a CPU some of XLA's own forms are slow, so equivalent ones stand in (ratios: docs/explanation/cpu_kernels.md).

Axes: n images, h w rows and columns of the input, i j rows and columns of the output, c input channels, d output
channels, s side of a square kernel.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

kaiming = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")  # He et al. 2015: before a ReLU

MIN_CHANNELS_BY_TAPS = 64  # with fewer, the matrix product of a tap is too narrow to pay for the longer program


@dataclasses.dataclass(frozen=True)
class ConvImplementation:
    """The forms in which a network's convolutions and max pooling are compiled. All of them agree up to rounding.

    Attributes:
        matrix_products_for_1x1: a 1x1 convolution is one matrix product over the channels; else XLA's convolution.
        matrix_products_for_strided_1x1: the same for a 1x1 convolution with a stride, of the map with cells left out.
            XLA's compiler for NVIDIA GPUs (seen in jax 0.11.2) ends the process where it fuses the two.
        max_pool_by_shifts: max pooling is the maximum of nine shifted maps, and cells that tie share the gradient;
            else XLA's `reduce_window`, where one of the tied cells gets the whole gradient.
        kernel_gradient_by_taps: on a CPU, the gradient of a kernel is one matrix product per tap (position in the
            kernel), where the input has at least `MIN_CHANNELS_BY_TAPS` channels; else XLA's gradient.
    """

    matrix_products_for_1x1: bool
    matrix_products_for_strided_1x1: bool
    max_pool_by_shifts: bool
    kernel_gradient_by_taps: bool

    @classmethod
    def for_this_machine(cls) -> ConvImplementation:
        """Returns the fastest forms for this machine's CPU. Other devices run the first two at XLA's own speed."""
        # With AVX-512, XLA's kernel gradients reach 90 to 195 GFLOP/s and the taps (which copy their transposed maps)
        # 40 to 160; with AVX2 the taps are the faster ones.
        return cls(
            matrix_products_for_1x1=True,
            matrix_products_for_strided_1x1=jax.default_backend() == "cpu",
            max_pool_by_shifts=True,
            kernel_gradient_by_taps=not _cpu_has_avx512(),
        )

    @classmethod
    def for_any_device(cls) -> ConvImplementation:
        """Returns forms that every device compiles, for programs that run elsewhere."""
        return cls(
            matrix_products_for_1x1=True,
            matrix_products_for_strided_1x1=False,
            max_pool_by_shifts=True,
            kernel_gradient_by_taps=False,
        )

    @classmethod
    def plain(cls) -> ConvImplementation:
        """Returns XLA's own forms of everything, for comparison."""
        return cls(
            matrix_products_for_1x1=False,
            matrix_products_for_strided_1x1=False,
            max_pool_by_shifts=False,
            kernel_gradient_by_taps=False,
        )


@functools.cache
def _cpu_has_avx512() -> bool:
    """Whether NumPy has found AVX-512 on this CPU (newer releases of NumPy call it X86_V4)."""
    extensions = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return not {"X86_V4", "AVX512F"}.isdisjoint(extensions)


class Conv(nn.Module):
    """A square convolution without bias, because a norm follows.

    y[n, i, j, d] = sum_uvc K[u, v, c, d] x[n, i t + u, j t + v, c], with u and v from 0 to s - 1, stride t, and x
    padded by (s - 1) / 2 zeros on every side. The kernel K has size (s, s, c, d) and is float32.

    Attributes:
        features: output channels d.
        size: side s of the kernel, an odd number.
        stride: stride t, the same for rows and columns.
        implementation: the forms to compile.
        dtype: type of the arithmetic and of the output.
    """

    features: int
    size: int
    stride: int = 1
    implementation: ConvImplementation = dataclasses.field(default_factory=ConvImplementation.for_this_machine)
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n i j d"]:
        """Returns the convolved map; i and j are h and w divided by the stride and rounded up."""
        kernel = self.param("kernel", kaiming, (self.size, self.size, x.shape[-1], self.features), jnp.float32)
        return convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.implementation)


def convolve(
    x: Float[Array, "n h w c"], kernel: Float[Array, "s s c d"], stride: int, implementation: ConvImplementation
) -> Float[Array, "n i j d"]:
    """Convolves a map with a square kernel, padded by (s - 1) / 2 on every side.

    Args:
        x: the input map.
        kernel: the kernel, s odd, of the same type as x.
        stride: step of the kernel in both directions.
        implementation: the forms to compile.
    """
    by_product = implementation.matrix_products_for_1x1
    if stride > 1:
        by_product &= implementation.matrix_products_for_strided_1x1
    if len(kernel) == 1 and by_product:
        return jax.lax.dot_general(x[:, ::stride, ::stride], kernel[0, 0], (((3,), (0,)), ((), ())))
    if implementation.kernel_gradient_by_taps and x.shape[-1] >= MIN_CHANNELS_BY_TAPS:
        return _convolve_with_gradient_by_taps(x, kernel, stride)
    return _convolve_by_xla(x, kernel, stride)


def max_pool(x: Float[Array, "n h w c"], implementation: ConvImplementation) -> Float[Array, "n i j c"]:
    """Takes the maximum over 3x3 cells at stride 2, padded by 1 cell on every side.

    Args:
        x: the input map.
        implementation: the forms to compile.
    """
    if not implementation.max_pool_by_shifts:
        padding = ((0, 0), (1, 1), (1, 1), (0, 0))
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding)
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    size = [(side - 1) // 2 + 1 for side in x.shape[1:3]]
    return functools.reduce(jnp.maximum, _shifted_maps(padded, 3, 2, size))


def _convolve_by_xla(x: Array, kernel: Array, stride: int) -> Array:
    pad = (len(kernel) - 1) // 2
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve_with_gradient_by_taps(x: Array, kernel: Array, stride: int) -> Array:
    return _convolve_by_xla(x, kernel, stride)


def _forward(x: Array, kernel: Array, stride: int) -> tuple[Array, tuple[Array, Array]]:
    return _convolve_by_xla(x, kernel, stride), (x, kernel)


def _backward(stride: int, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    """Gradients with respect to the input (XLA's) and to the kernel (on a CPU: tap by tap)."""
    x, kernel = saved
    size = len(kernel)
    pad = (size - 1) // 2
    input_gradient = jax.vjp(lambda x: _convolve_by_xla(x, kernel, stride), x)[1](gradient)[0]

    def by_xla(x: Array, gradient: Array) -> Array:
        return jax.vjp(lambda kernel: _convolve_by_xla(x, kernel, stride), kernel)[1](gradient)[0]

    def by_taps(x: Array, gradient: Array) -> Array:
        padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        taps = [
            jax.lax.dot_general(shifted, gradient, (((0, 1, 2), (0, 1, 2)), ((), ())))
            for shifted in _shifted_maps(padded, size, stride, gradient.shape[1:3])
        ]
        return jnp.stack(taps).reshape(kernel.shape)

    return input_gradient, jax.lax.platform_dependent(x, gradient, cpu=by_taps, default=by_xla)


_convolve_with_gradient_by_taps.defvjp(_forward, _backward)


def _shifted_maps(padded: Array, window: int, stride: int, size: Sequence[int]) -> list[Array]:
    """What every position of a square window sees of a padded map, row by row of the window; `size` is the output's."""
    n, _, _, c = padded.shape
    rows, columns = ((side - 1) * stride + 1 for side in size)
    return [
        jax.lax.slice(padded, (0, u, v, 0), (n, u + rows, v + columns, c), (1, stride, stride, 1))
        for u in range(window)
        for v in range(window)
    ]
