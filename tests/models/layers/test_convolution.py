"""The forms that stand in for XLA's convolution and pooling give its values and gradients."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoforge_jax.models.layers.convolution import Conv, ConvImplementation, convolve, max_pool
from tests.helpers.oracles import float32

PLAIN, ANY_DEVICE = ConvImplementation.plain(), ConvImplementation.for_any_device()
IMPLEMENTATIONS = [
    dataclasses.replace(ANY_DEVICE, matrix_products_for_strided_1x1=True, kernel_gradient_by_taps=by_taps)
    for by_taps in (False, True)
]


def test_this_machine_gets_one_of_the_tested_implementations():
    assert ConvImplementation.for_this_machine() in IMPLEMENTATIONS


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=["XLA's kernel gradient", "by taps"])
@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize(
    ("size", "stride", "channels"), [(3, 1, 64), (3, 2, 64), (3, 1, 4), (7, 2, 3), (1, 1, 16), (1, 2, 16)]
)
def test_convolution_and_its_gradients_equal_xla(
    size: int, stride: int, channels: int, side: int, implementation: ConvImplementation
):
    rng = np.random.default_rng(size * side + stride)
    x = float32(rng.standard_normal((2, side, side, channels)))
    kernel = float32(rng.standard_normal((size, size, channels, 5)) / np.sqrt(size * size * channels))
    cotangent = float32(rng.standard_normal((2, -(-side // stride), -(-side // stride), 5)))

    def value_and_gradients(kernel, x, implementation):
        y, back = jax.vjp(lambda kernel, x: convolve(x, kernel, stride, implementation), kernel, x)
        return y, back(cotangent)

    ours, xla = jax.jit(lambda *args: [value_and_gradients(*args, i) for i in (implementation, PLAIN)])(kernel, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), ours, xla)


@pytest.mark.parametrize(
    ("implementation", "form"), [(IMPLEMENTATIONS[0], "dot_general"), (ANY_DEVICE, "conv_general")]
)
def test_a_strided_1x1_convolution_is_a_product_on_a_cpu_alone(implementation: ConvImplementation, form: str):
    """XLA's compiler for GPUs ends the process where it fuses a strided slice into a matrix product."""
    x, kernel = float32(np.ones((1, 8, 8, 4))), float32(np.ones((1, 1, 4, 3)))
    program = str(jax.make_jaxpr(lambda x, kernel: convolve(x, kernel, 2, implementation))(x, kernel))
    assert form in program and ("slice" in program) == (form == "dot_general")


@pytest.mark.parametrize("side", [6, 7])
def test_max_pooling_equals_xla_where_nothing_ties(side: int):
    values = np.random.default_rng(0).permutation(2 * side * side * 3).reshape(2, side, side, 3)

    def value_and_gradient(x, implementation):
        y, back = jax.vjp(lambda x: max_pool(x, implementation), x)
        return y, back(jnp.cos(y))[0]

    ours, xla = jax.jit(lambda x: [value_and_gradient(x, i) for i in (IMPLEMENTATIONS[0], PLAIN)])(
        float32(values) - 50.0
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), ours, xla)


def test_a_layer_multiplies_in_its_type_and_keeps_its_kernel_in_float32():
    for implementation, size in itertools.product((IMPLEMENTATIONS[0], PLAIN), (1, 3)):
        layer = Conv(8, size, 2, implementation=implementation, dtype=jnp.bfloat16)
        y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), jnp.ones((1, 5, 6, 4)))
        assert y.shape == (1, 3, 3, 8) and y.dtype == jnp.bfloat16
        kernel = variables["params"]["kernel"]
        assert kernel.shape == (size, size, 4, 8) and kernel.dtype == jnp.float32
