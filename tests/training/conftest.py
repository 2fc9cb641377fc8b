"""Small batches and one compiled step for the tests of the training."""

import pytest

from echoforge_jax.config import Config, replace
from tests.helpers.trainer import Trainer


@pytest.fixture(scope="session")
def semi_config(tiny_config: Config) -> Config:
    """Pseudo-labels from the first epoch, and a threshold low enough for an untrained model to pass."""
    return replace(
        tiny_config,
        {
            "flamerise.enabled": False,
            "flamerise.tau_end": 0.5,
            "optimizer.learning_rate": 1e-3,
            "optimizer.ema_decay": 0.9,
        },
    )


@pytest.fixture(scope="session")
def one_device(semi_config: Config) -> Trainer:
    return Trainer(semi_config, 1, with_pseudo_labels=True)
