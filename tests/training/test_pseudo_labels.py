"""Where the labels of each strategy of Table 6 come from, and what its student sees."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.propagation import UNDECIDED
from echoforge_jax.config import default_config, read_config
from echoforge_jax.errors import ConfigError
from echoforge_jax.training import flamerise
from echoforge_jax.training.pseudo_labels import pseudo_labels, strong_view, student_view
from echoforge_jax.training.step import total_loss
from tests.helpers.trainer import Trainer, disc_batch


def labels_of(trainer: Trainer, strategy, state, batch):
    semi = dataclasses.replace(trainer.config.semi, pseudo_labels=strategy)
    return jax.jit(lambda s, b: pseudo_labels(trainer.networks, s, b, 1, semi))(state, batch)


def test_the_network_or_its_average_makes_the_labels(one_device: Trainer):
    state, batch = one_device.start(), disc_batch()
    other = jax.tree.map(lambda x: 1.5 * x, state.params["network"])
    state = state.replace(ema=other)
    for strategy, params in (("threshold", state.params["network"]), ("mean_teacher", other)):
        found = labels_of(one_device, strategy, state, batch)
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits = jax.jit(one_device.networks.network.apply)(variables, batch.image)[0].logits
        np.testing.assert_allclose(found.probability, jax.nn.sigmoid(logits), atol=1e-6)
        assert found.exists.all()


def test_carried_labels_count_where_they_are_decided(one_device: Trainer):
    state, batch = one_device.start(), disc_batch()
    batch.cavity[:, 1, :8] = UNDECIDED
    batch.has_reference[3, 1] = 0  # a clip without labels: nothing was carried
    found = labels_of(one_device, "deformation", state, batch)
    np.testing.assert_array_equal(found.probability[:, 1, :8], 0.5)
    np.testing.assert_array_equal(found.probability[:, 1, 8:], batch.cavity[:, 1, 8:])
    config = dataclasses.replace(
        one_device.config, semi=dataclasses.replace(one_device.config.semi, pseudo_labels="deformation", tau_end=0.75)
    )
    schedules = flamerise.by_step(config.semi, config.training.epochs, 10)
    _, (_, metrics) = jax.jit(lambda s, b, p: total_loss(s.params, s, b, p, one_device.networks, config, schedules, 1))(
        state, batch, found
    )
    assert float(metrics["confident_share"]) == pytest.approx(0.75)  # 24 of 32 rows; the fourth clip does not count
    assert "pseudo_dice_percent" not in metrics and np.isfinite(metrics["loss"])


def test_a_strong_view_is_one_draw_a_clip():
    clip = jnp.broadcast_to(jnp.linspace(0.1, 0.9, 64).reshape(1, 1, 8, 8), (3, 4, 8, 8))
    seen = strong_view(clip, jax.random.key(0))
    assert seen.shape == clip.shape and float(seen.min()) >= 0 and float(seen.max()) <= 1
    of_frames = np.asarray(seen).mean(axis=(2, 3))
    assert np.ptp(of_frames, axis=1).max() < 0.03 < np.ptp(of_frames[:, 0])
    np.testing.assert_array_equal(seen, strong_view(clip, jax.random.key(0)))
    assert not np.allclose(seen, strong_view(clip, jax.random.key(1)))


def test_clips_with_every_label_are_seen_as_they_are():
    batch = disc_batch()
    batch.may_train[1] = 1
    seen = np.asarray(student_view({name: jnp.asarray(values) for name, values in batch.items()}, jax.random.key(0)))
    changed = [not np.array_equal(seen[clip], batch.image[clip]) for clip in range(4)]
    assert changed == [True, False, True, True]


def test_the_frozen_copys_own_prediction_takes_its_share(one_device: Trainer):
    state, batch = one_device.start(), disc_batch()

    def labels(own: float):
        semi = dataclasses.replace(one_device.config.semi, own_weight=own)
        return jax.jit(lambda s, b: pseudo_labels(one_device.networks, s, b, 1, semi))(state, batch)

    variables = {"params": state.frozen["params"]["network"], "batch_stats": state.frozen["batch_stats"]}
    logits = jax.jit(one_device.networks.network.apply)(variables, batch.image)[0].logits
    expected = 0.25 * jax.nn.sigmoid(logits) + 0.75 * labels(0.0).probability
    np.testing.assert_allclose(labels(0.25).probability, expected, atol=1e-5)


def test_what_a_strategy_needs_is_asked_for():
    config = default_config()
    config.semi.pseudo_labels = "mean_teacher"
    with pytest.raises(ConfigError, match="ema_decay"):
        read_config(config)
    config.semi.pseudo_labels, config.semi.teacher = "reforging", "average"
    with pytest.raises(ConfigError, match="'average' needs"):
        read_config(config)
    config.semi.teacher, config.semi.own_weight = "last", 1.0
    with pytest.raises(ConfigError, match="own_weight"):
        read_config(config)
    config.semi.own_weight = 0.0
    config.semi.pseudo_labels, config.data.format, config.data.in_memory = "registration", "store", False
    with pytest.raises(ConfigError, match="in_memory"):
        read_config(config)
