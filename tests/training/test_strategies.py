"""Where the labels of each strategy of Table 6 come from, and what its student sees."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoforge_jax.config import Config, replace
from echoforge_jax.errors import ConfigError
from echoforge_jax.training.program import Program
from echoforge_jax.training.strategies import Labeller
from echoforge_jax.training.strong_view import strong_view, student_view
from tests.helpers.trainer import Trainer, disc_batch


def labels_of(trainer: Trainer, state, batch, **fields):
    config = dataclasses.replace(trainer.config.pseudo_labels, **fields)
    return jax.jit(Labeller(trainer.networks, config, num_groups=1).label)(state, batch)


def test_the_network_or_its_average_makes_the_labels(one_device: Trainer):
    state, batch = one_device.start(), disc_batch()
    other = jax.tree.map(lambda x: 1.5 * x, state.params["network"])
    state = state.replace(ema=other)
    for strategy, params in (("threshold", state.params["network"]), ("mean_teacher", other)):
        found = labels_of(one_device, state, batch, strategy=strategy)
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits = jax.jit(one_device.networks.network.apply)(variables, batch.image)[0].logits
        np.testing.assert_allclose(found.probability, jax.nn.sigmoid(logits), atol=1e-6)
        assert found.exists.all()


def test_carried_labels_count_where_they_are_decided(one_device: Trainer):
    state, batch = one_device.start(), disc_batch()
    batch = batch._replace(decided=np.ones_like(batch.cavity))
    batch.decided[:, 1, :8] = 0
    batch.has_reference[3, 1] = 0  # a clip without labels: nothing was carried
    found = labels_of(one_device, state, batch, strategy="deformation")
    np.testing.assert_array_equal(found.probability[:, 1, :8], 0.5)
    np.testing.assert_array_equal(found.probability[:, 1, 8:], batch.cavity[:, 1, 8:])
    config = replace(one_device.config, {"pseudo_labels.strategy": "deformation", "flamerise.tau_end": 0.75})
    objective = Program.build(config, mesh=one_device.program.mesh).objective
    metrics = jax.jit(lambda s, b, labels: objective(s.params, s, b, labels).metrics)(state, batch, found)
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
    seen = np.asarray(student_view(jax.tree.map(jnp.asarray, batch), jax.random.key(0)))
    changed = [not np.array_equal(seen[clip], batch.image[clip]) for clip in range(4)]
    assert changed == [True, False, True, True]


def test_the_frozen_copys_own_prediction_takes_its_share(one_device: Trainer):
    state, batch = one_device.start(), disc_batch()

    def labels(own: float):
        return labels_of(one_device, state, batch, own_weight=own)

    variables = {"params": state.frozen["params"]["network"], "batch_stats": state.frozen["batch_stats"]}
    logits = jax.jit(one_device.networks.network.apply)(variables, batch.image)[0].logits
    expected = 0.25 * jax.nn.sigmoid(logits) + 0.75 * labels(0.0).probability
    np.testing.assert_allclose(labels(0.25).probability, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pseudo_labels.strategy": "mean_teacher"}, "ema_decay"),
        ({"pseudo_labels.teacher": "average"}, "'average' needs"),
        ({"pseudo_labels.own_weight": 1.0}, "own_weight"),
        ({"pseudo_labels.strategy": None, "pseudo_labels.strong_student": True}, "needs pseudo-labels"),
        ({"pseudo_labels.strategy": "registration", "data.format": "store", "data.in_memory": False}, "in_memory"),
    ],
)
def test_what_a_strategy_needs_is_asked_for(changes: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        replace(Config(), changes)
