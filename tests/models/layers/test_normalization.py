"""Which statistics each norm uses."""

import jax.numpy as jnp
import numpy as np
import pytest

from echoforge_jax.models.layers.normalization import make_norm
from tests.helpers.oracles import float32, random_variables


@pytest.mark.parametrize(
    ("kind", "train", "moves"), [("batch", True, True), ("batch", False, False), ("frozen", True, False)]
)
def test_norms_keep_or_move_their_statistics(kind: str, train: bool, moves: bool):
    """`batch` uses and updates the batch's statistics in training; `frozen` never does."""
    x = float32(5.0 + 2.0 * np.random.default_rng(0).standard_normal((2, 4, 4, 8)))
    norm = make_norm(kind, train, jnp.float32)(name="norm")
    variables = random_variables(norm, x, noise=0.0)
    y, updates = norm.apply(variables, x, mutable=["batch_stats"])
    moved = np.abs(updates["batch_stats"]["mean"] - variables["batch_stats"]["mean"]).max() > 0.1
    assert bool(moved) is moves
    assert (abs(float(y.mean())) < 1e-3) is moves  # running statistics still 0 and 1: the value passes through


def test_group_norm_reads_one_image_and_eight_channels():
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 16)).astype(np.float32)
    norm = make_norm("group", True, jnp.float32)(name="norm")
    variables = random_variables(norm, jnp.asarray(x), noise=0.0)
    grouped = x.reshape(2, 16, 2, 8)
    expected = (grouped - grouped.mean((1, 3), keepdims=True)) / np.sqrt(grouped.var((1, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(norm.apply(variables, jnp.asarray(x)), expected.reshape(x.shape), atol=1e-4)
