"""The optimizer's parts touch what they name and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoforge_jax.config import OptimizerConfig
from echoforge_jax.training.optimizer import make_optimizer

PARAMS = {
    "network": {
        "encoder": {
            "conv1": {"kernel": np.full((2, 2), 2.0, np.float32)},
            "bn1": {"scale": np.full(2, 2.0, np.float32)},
        },
        "head": {"kernel": np.full((2, 1), 2.0, np.float32), "bias": np.full(1, 2.0, np.float32)},
    }
}


def first_update(config: OptimizerConfig, gradient: float):
    optimizer = make_optimizer(config, 10).transformation
    params = jax.tree.map(jnp.asarray, PARAMS)
    gradients = jax.tree.map(lambda p: jnp.full_like(p, gradient), params)
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    return updates["network"]


def test_the_encoder_has_a_rate_of_its_own():
    plain, slow = (first_update(OptimizerConfig(1e-2, encoder_rate=rate), 0.5) for rate in (1.0, 0.25))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(0.25 * a, b, rtol=1e-6), plain["encoder"], slow["encoder"])
    jax.tree.map(np.testing.assert_array_equal, plain["head"], slow["head"])


def test_weight_decay_shrinks_kernels_alone():
    updates = first_update(OptimizerConfig(1e-2, weight_decay=0.1), 0.0)
    assert updates["head"]["kernel"] == pytest.approx(-1e-2 * 0.1 * 2)
    assert updates["encoder"]["conv1"]["kernel"] == pytest.approx(-1e-2 * 0.1 * 2)
    assert not np.any(updates["head"]["bias"]) and not np.any(updates["encoder"]["bn1"]["scale"])
