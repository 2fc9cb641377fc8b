"""The forms that stand in for XLA's convolution and pooling give its values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoforge_jax.models.layers.convolution import ConvImplementation, convolve, max_pool

BY_SHIFTS = ConvImplementation(matrix_products_for_1x1=True, max_pool_by_shifts=True, kernel_gradient_by_taps=False)


@pytest.mark.parametrize(("size", "stride", "channels"), [(3, 1, 64), (3, 2, 64), (3, 1, 4), (7, 2, 3), (1, 1, 16)])
@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("taps", [True, False])
def test_convolution_and_its_gradients_equal_xla(size: int, stride: int, channels: int, side: int, taps: bool):
    fast = ConvImplementation(matrix_products_for_1x1=True, max_pool_by_shifts=True, kernel_gradient_by_taps=taps)
    keys = jax.random.split(jax.random.key(size * side + stride), 3)
    x = jax.random.normal(keys[0], (2, side, side, channels))
    kernel = jax.random.normal(keys[1], (size, size, channels, 5)) / size

    def value_and_gradients(implementation: ConvImplementation):
        y, back = jax.vjp(lambda kernel, x: convolve(x, kernel, stride, implementation), kernel, x)
        return y, back(jax.random.normal(keys[2], y.shape))

    ours, xla = jax.jit(lambda: (value_and_gradients(fast), value_and_gradients(ConvImplementation.plain())))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), ours, xla)


@pytest.mark.parametrize("side", [6, 7])
def test_max_pooling_equals_xla_where_nothing_ties(side: int):
    values = np.random.default_rng(0).permutation(2 * side * side * 3).reshape(2, side, side, 3)
    x = jnp.asarray(values, jnp.float32) - 50.0

    def value_and_gradient(implementation: ConvImplementation):
        y, back = jax.vjp(lambda x: max_pool(x, implementation), x)
        return y, back(jnp.cos(y))[0]

    ours, xla = jax.jit(lambda: (value_and_gradient(BY_SHIFTS), value_and_gradient(ConvImplementation.plain())))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), ours, xla)
