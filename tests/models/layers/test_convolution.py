"""The forms that stand in for XLA's convolution and pooling give its values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoforge_jax.models.layers import convolution


@pytest.mark.parametrize(("size", "stride", "channels"), [(3, 1, 64), (3, 2, 64), (3, 1, 4), (7, 2, 3), (1, 1, 16)])
@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("taps", [True, False])
def test_convolution_and_its_gradients_equal_xla(
    monkeypatch: pytest.MonkeyPatch, size: int, stride: int, channels: int, side: int, taps: bool
):
    monkeypatch.setattr(convolution, "KERNEL_GRADIENT_BY_TAPS", taps)
    keys = jax.random.split(jax.random.key(size * side + stride), 3)
    x = jax.random.normal(keys[0], (2, side, side, channels))
    layer = convolution.conv(5, size, stride)
    kernel = layer.init(keys[1], x)

    def value_and_gradients(kernel, x):
        y, back = jax.vjp(layer.apply, kernel, x)
        return y, back(jax.random.normal(keys[2], y.shape))

    ours = jax.jit(value_and_gradients)(kernel, x)
    with convolution.plain_convolutions():
        xla = jax.jit(lambda k, x: value_and_gradients(k, x))(kernel, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), ours, xla)


@pytest.mark.parametrize("side", [6, 7])
def test_max_pooling_equals_xla_where_nothing_ties(side: int):
    values = np.random.default_rng(0).permutation(2 * side * side * 3).reshape(2, side, side, 3)
    x = jnp.asarray(values, jnp.float32) - 50.0

    def value_and_gradient(x):
        y, back = jax.vjp(convolution.max_pool, x)
        return y, back(jnp.cos(y))[0]

    ours = value_and_gradient(x)
    with convolution.plain_convolutions():
        xla = value_and_gradient(x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), ours, xla)
