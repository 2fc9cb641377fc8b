"""The shared operations against plain NumPy."""

import jax
import numpy as np

from echoforge_jax.models.pooling import masked_mean, pool_to_cells, unit_vector
from tests.helpers.oracles import float32


def test_eq_3_masked_mean_of_foreground_and_background():
    rng = np.random.default_rng(0)
    features, mask = rng.standard_normal((2, 3, 4, 5)), rng.uniform(0.0, 1.0, (2, 3, 4))
    got = jax.jit(masked_mean)(float32(features), float32(mask))
    for n in range(2):
        for k, m in enumerate((mask[n], 1.0 - mask[n])):
            np.testing.assert_allclose(got[n, k], (m[..., None] * features[n]).sum((0, 1)) / m.sum(), atol=1e-5)


def test_unit_vectors_have_length_one_and_zero_stays_zero():
    x = np.random.default_rng(0).standard_normal((2, 3, 5))
    x[0, 0] = 0.0
    got = np.asarray(jax.jit(unit_vector)(float32(x)))
    np.testing.assert_array_equal(got[0, 0], 0.0)
    np.testing.assert_allclose(got[1], x[1] / np.linalg.norm(x[1], axis=-1, keepdims=True), atol=1e-5)


def test_pool_to_cells_is_the_share_of_foreground_in_each_cell():
    mask = np.random.default_rng(0).integers(0, 2, (2, 3, 8, 12))
    got = pool_to_cells(float32(mask), 2)
    assert got.shape == (2, 3, 2, 3)
    np.testing.assert_allclose(got, mask.reshape(2, 3, 2, 4, 3, 4).mean(axis=(3, 5)), atol=1e-6)
