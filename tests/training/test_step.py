"""The step: devices, gradients that must not flow, what the model may see, and that it can learn at all."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoforge_jax.config import Config, replace
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.training.losses import dice_percent
from echoforge_jax.training.program import Program
from echoforge_jax.training.state import inference_variables, refresh_frozen
from echoforge_jax.training.strategies import PseudoLabels
from tests.helpers.trainer import Trainer, disc_batch


def test_same_losses_on_any_mesh(semi_config: Config, one_device: Trainer):
    """One device, and two by two with large arrays split: batch statistics, losses and gradients are global. (Two and
    four devices of one axis: tests/multiprocess.)"""
    batch = disc_batch()
    _, expected = one_device.run(one_device.start(), batch, steps=3)
    trainer = Trainer(semi_config, 4, with_pseudo_labels=True, axes=(("data", 2), ("fsdp", 2)))
    trainer.initial = one_device.initial
    state, history = trainer.run(trainer.start(), batch, steps=3)
    for one, many in zip(expected, history, strict=True):
        assert many["loss"] == pytest.approx(one["loss"], abs=1e-5)
        assert many["confident_share"] == pytest.approx(one["confident_share"], abs=1e-3)
    split = [leaf for leaf in jax.tree.leaves(state) if not leaf.sharding.is_fully_replicated]
    assert len(split) > 40
    for leaf in split:
        assert 2 * leaf.addressable_shards[0].data.size == leaf.size and leaf.size >= 256


def test_accumulated_gradients_are_those_of_the_whole_batch(tiny_config: Config):
    """Group norm: a batch's parts then have nothing in common but the parameters. They differ in labelled frames and in
    clips that count."""
    changes = {
        "model.norm": "group",
        "model.anchor_recalibration": False,
        "model.temporal_fusion": False,
        "pseudo_labels.strategy": None,
    }
    whole, parts = (
        Trainer(replace(tiny_config, changes | {"training.accumulate": n}), 2, with_pseudo_labels=False) for n in (1, 2)
    )
    batch = disc_batch(clips=8)
    batch.valid[[2, 3, 6]] = 0  # of two devices with four clips each the second halves
    batch.may_train[7, 1:] = 0
    expected, (one,) = whole.run(whole.start(), batch)
    parts.initial = whole.initial
    found, (other,) = parts.run(parts.start(), batch)
    assert other["loss"] == pytest.approx(one["loss"], abs=1e-6)
    assert other["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-4)
    moments, others = (state.opt_state[0].mu["network"] for state in (expected, found))  # a tenth of the gradient
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), moments, others)


def test_rematerialised_parts_change_memory_and_nothing_else(tiny_config: Config):
    clip = jnp.asarray(disc_batch(clips=2, frames=6).image)
    variables, found = None, []
    for parts in ((), ("encoder", "anchor_recalibration", "temporal_fusion")):
        network = EchoForge(dataclasses.replace(tiny_config.model, norm="group", rematerialise=parts))
        variables = variables or jax.jit(network.init)(jax.random.key(0), clip)

        def loss(variables, network=network):
            return jnp.square(network.apply(variables, clip)[0].logits).mean()

        compiled = jax.jit(jax.grad(loss)).lower(variables).compile()
        found.append((compiled(variables), compiled.memory_analysis().temp_size_in_bytes))
    (plain, memory), (again, less) = found
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), plain, again)
    assert less < 0.8 * memory


def test_the_same_start_gives_the_same_bits(one_device: Trainer):
    batch = disc_batch()
    first, second = (one_device.run(one_device.start(), batch, steps=3)[0] for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_references_of_unlabelled_frames_change_nothing(one_device: Trainer):
    """Masks of the frames between ED and ES are there to monitor; noise in their place gives the same parameters."""
    batch = disc_batch()
    noise = batch._replace(cavity=batch.cavity.copy())
    noise.cavity[:, 1] = np.random.default_rng(1).integers(0, 2, noise.cavity[:, 1].shape)
    states = [one_device.run(one_device.start(), b, steps=2)[0] for b in (batch, noise)]
    jax.tree.map(np.testing.assert_array_equal, states[0].params, states[1].params)


def test_padding_clips_count_in_no_loss(one_device: Trainer):
    """A clip with valid = 0 may carry any mask: the parameters come out the same."""
    batch = disc_batch()
    batch.valid[-1] = 0
    other = batch._replace(cavity=batch.cavity.copy())
    other.cavity[-1] = 1 - other.cavity[-1]
    states = [one_device.run(one_device.start(), b)[0] for b in (batch, other)]
    jax.tree.map(np.testing.assert_array_equal, states[0].params, states[1].params)


@pytest.fixture(scope="module")
def loss_and_gradients(one_device: Trainer):
    """One compilation of the loss' gradients in everything it reads."""

    @jax.jit
    def run(params, frozen, state, batch, probability, exists):
        def loss(params, frozen, probability):
            labels = PseudoLabels(probability, exists)
            return one_device.program.objective(params, state.replace(frozen=frozen), batch, labels).total

        return jax.value_and_grad(loss, argnums=(0, 1, 2))(params, frozen, probability)

    return run


def _norm(tree) -> float:
    return float(sum(jnp.abs(leaf).sum() for leaf in jax.tree.leaves(tree)))


def test_no_gradient_into_pseudo_labels_or_the_frozen_copy(one_device: Trainer, loss_and_gradients):
    state, batch = one_device.start(), jax.tree.map(jnp.asarray, disc_batch())
    probability, exists = jnp.full(batch.image.shape, 0.9), jnp.ones(batch.may_train.shape)
    _, (params, frozen, pseudo) = loss_and_gradients(state.params, state.frozen, state, batch, probability, exists)
    assert _norm(params["network"]) > 0 and _norm(params["reforging"]) > 0
    assert _norm(frozen) == 0 and _norm(pseudo) == 0


def test_reforging_weights_learn_from_labelled_frames_alone(one_device: Trainer, loss_and_gradients):
    """Wq, Wk, Wv: pseudo-labels leave their gradient as it is; without any labelled frame they have none."""
    state, batch = one_device.start(), jax.tree.map(jnp.asarray, disc_batch())
    exists = jnp.ones(batch.may_train.shape)
    gradients = [
        loss_and_gradients(state.params, state.frozen, state, batch, jnp.full(batch.image.shape, p), exists)[1][0]
        for p in (0.9, 0.1)
    ]
    jax.tree.map(np.testing.assert_array_equal, gradients[0]["reforging"], gradients[1]["reforging"])
    assert _norm(jax.tree.map(lambda a, b: a - b, gradients[0]["network"], gradients[1]["network"])) > 0
    unlabelled = batch._replace(may_train=jnp.zeros_like(batch.may_train))
    probability = jnp.full(batch.image.shape, 0.9)
    value, (params, _, _) = loss_and_gradients(state.params, state.frozen, state, unlabelled, probability, exists)
    assert np.isfinite(float(value)) and _norm(params["reforging"]) == 0 and _norm(params["network"]) > 0


def test_a_batch_without_any_confident_pixel_is_finite(one_device: Trainer, loss_and_gradients):
    state, batch = one_device.start(), jax.tree.map(jnp.asarray, disc_batch())
    never = jnp.zeros(batch.may_train.shape)  # no frame has a partner: no pixel is confident
    probability = jnp.full(batch.image.shape, 0.9)
    value, (params, _, _) = loss_and_gradients(state.params, state.frozen, state, batch, probability, never)
    assert np.isfinite(float(value))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(params))


def test_bfloat16_arithmetic_has_nearly_the_loss_and_gradients_of_float32(one_device: Trainer):
    """Parameters, losses and statistics stay float32."""
    found = {}
    for dtype in ("float32", "bfloat16"):
        config = replace(one_device.config, {"model.dtype": dtype, "pseudo_labels.strategy": None})
        objective = Program.build(config, mesh=one_device.program.mesh).objective

        def total(params, state, batch, objective=objective):
            return objective(params, state, batch).total

        state = one_device.start()
        with jax.numpy_dtype_promotion("standard"):  # Flax's norms mix bfloat16 with their float32 statistics
            found[dtype] = jax.jit(jax.value_and_grad(total))(state.params, state, disc_batch())
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(found[dtype]))
    (loss, gradients), (loss16, gradients16) = found["float32"], found["bfloat16"]
    assert float(loss16) == pytest.approx(float(loss), rel=0.02)
    flat, flat16 = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(g)]) for g in (gradients, gradients16))
    assert flat @ flat16 / np.linalg.norm(flat) / np.linalg.norm(flat16) > 0.95


@pytest.mark.parametrize("dice_weight", [0.0, 0.3, 1.0])
def test_the_loss_is_the_weighted_sum_of_its_parts(one_device: Trainer, dice_weight: float):
    weights = {"loss.dice_weight": dice_weight, "loss.seed_weight": 0.5, "pseudo_labels.strategy": None}
    objective = Program.build(replace(one_device.config, weights), mesh=one_device.program.mesh).objective
    found = jax.jit(lambda s, b: objective(s.params, s, b).metrics)(one_device.start(), disc_batch())
    expected = found["bce"] + dice_weight * found["dice_loss"] + 0.5 * found["seed_bce"]
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)


def test_a_non_finite_step_leaves_the_state_alone(one_device: Trainer):
    state = one_device.start()
    before = jax.tree.map(np.asarray, state)
    batch = disc_batch()
    batch.image[0, 0, 0, 0] = np.nan
    after, history = one_device.run(state, batch)
    assert history[0]["finite"] == 0
    jax.tree.map(np.testing.assert_array_equal, before, after)


def test_the_frozen_copy_follows_at_the_epochs_end_only(one_device: Trainer):
    state = one_device.start()
    start = jax.tree.map(np.asarray, state.frozen)
    state, _ = one_device.run(state, disc_batch(), steps=2)
    jax.tree.map(np.testing.assert_array_equal, start, state.frozen)
    refreshed = refresh_frozen(state, from_average=False)
    jax.tree.map(np.testing.assert_array_equal, refreshed.frozen["params"], state.params)
    jax.tree.map(np.testing.assert_array_equal, refreshed.frozen["batch_stats"], state.batch_stats)
    averaged = refresh_frozen(state, from_average=True).frozen["params"]
    jax.tree.map(np.testing.assert_array_equal, averaged["network"], state.ema)
    jax.tree.map(np.testing.assert_array_equal, averaged["reforging"], state.params["reforging"])


def test_moving_average_of_the_parameters(one_device: Trainer):
    """ema <- 0.9 ema + 0.1 params after every step, from the initial parameters; prediction uses it."""
    state = one_device.start()
    expected = jax.tree.map(np.asarray, state.params["network"])
    for _ in range(2):
        state, _ = one_device.run(state, disc_batch())
        expected = jax.tree.map(lambda a, p: 0.9 * a + 0.1 * np.asarray(p), expected, state.params["network"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), expected, state.ema)
    assert inference_variables(state)["params"] is state.ema


def test_four_clips_can_be_overfitted(semi_config: Config):
    """Labelled frames above 0.97 Dice, in evaluation mode, and the frames between them (never labelled) above 0.9."""
    config = replace(semi_config, {"data.size": 64, "optimizer.learning_rate": 5e-3, "optimizer.ema_decay": None})
    trainer = Trainer(config, 1, with_pseudo_labels=False)
    batch = disc_batch(size=64)
    state, history = trainer.run(trainer.start(), batch, steps=150)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    outputs, _ = jax.jit(trainer.networks.network.apply)(inference_variables(state), batch.image)
    dice = dice_percent((outputs.logits > 0).astype(jnp.float32), jnp.asarray(batch.cavity, jnp.float32))
    assert float(dice[:, [0, -1]].mean()) > 97.0
    assert float(dice[:, 1].mean()) > 90.0
