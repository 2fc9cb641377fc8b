"""Eq. 9 against numpy, and what is left of it where nothing is labelled or confident."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoforge_jax.training import losses

SHAPE = (2, 3, 4, 5)


def f32(x) -> jax.Array:
    return jnp.asarray(np.asarray(x, np.float32))


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def bce_oracle(p, target):
    """Of each pixel."""
    return -(target * np.log(p) + (1.0 - target) * np.log(1.0 - p))


def dice_loss_oracle(p, target, pixels):
    """Of one frame, over the pixels that are True, one added above and below."""
    return 1.0 - (2.0 * (p[pixels] * target[pixels]).sum() + 1.0) / (p[pixels].sum() + target[pixels].sum() + 1.0)


@pytest.fixture(scope="module")
def maps():
    """Logits, 0/1 targets, labelled frames and confident pixels (none in frame (0, 1))."""
    rng = np.random.default_rng(0)
    confident = rng.integers(0, 2, SHAPE).astype(bool)
    confident[0, 1] = False
    return (
        2.0 * rng.standard_normal(SHAPE),
        rng.integers(0, 2, SHAPE).astype(float),
        np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]),
        confident,
    )


def test_weighted_mean():
    values, weights = f32([[1.0, 2.0], [3.0, 4.0]]), f32([[0.0, 1.0], [1.0, 2.0]])
    assert float(losses.weighted_mean(values, weights)) == pytest.approx((2 + 3 + 8) / 4)
    assert float(losses.weighted_mean(values, jnp.zeros_like(weights))) == 0.0


def test_cross_entropy_from_logits(maps):
    logits, target, _, _ = maps
    got = losses.cross_entropy_from_logits(f32(logits), f32(target))
    np.testing.assert_allclose(got, bce_oracle(sigmoid(logits), target), rtol=1e-4)


def test_cross_entropy_from_logits_stays_exact_far_from_zero():
    logits, target = f32([200.0, 200.0, -200.0, -200.0]), f32([0.0, 1.0, 0.0, 1.0])
    value, gradient = jax.value_and_grad(lambda x: losses.cross_entropy_from_logits(x, target).sum())(logits)
    assert float(value) == pytest.approx(400.0)
    np.testing.assert_allclose(gradient, [1.0, 0.0, 0.0, -1.0], atol=1e-6)


def test_cross_entropy_from_probability(maps):
    logits, target, _, _ = maps
    got = losses.cross_entropy_from_probability(f32(sigmoid(logits)), f32(target))
    np.testing.assert_allclose(got, bce_oracle(sigmoid(logits), target), rtol=1e-3, atol=1e-5)
    ends, gradient = jax.value_and_grad(lambda p: losses.cross_entropy_from_probability(p, f32([1.0, 0.0])).sum())(
        f32([0.0, 1.0])
    )
    assert 20.0 < float(ends) < 30.0 and bool(jnp.isfinite(gradient).all())


def test_soft_dice_loss(maps):
    logits, target, _, confident = maps
    p = sigmoid(logits)
    whole = losses.soft_dice_loss(f32(p), f32(target))
    part = losses.soft_dice_loss(f32(p), f32(target), f32(confident))
    for b, t in np.ndindex(2, 3):
        every = np.ones(SHAPE[2:], bool)
        assert float(whole[b, t]) == pytest.approx(dice_loss_oracle(p[b, t], target[b, t], every), abs=1e-5)
        expected = dice_loss_oracle(p[b, t], target[b, t], confident[b, t]) if confident[b, t].any() else 0.0
        assert float(part[b, t]) == pytest.approx(expected, abs=1e-5)


def test_soft_dice_loss_at_its_ends():
    """Perfect: 0; disjoint: near 1; both empty: 0."""
    mask = np.zeros((1, 1, 40, 40))
    mask[..., :20, :] = 1.0
    assert float(losses.soft_dice_loss(f32(mask), f32(mask))[0, 0]) == pytest.approx(0.0, abs=1e-6)
    assert float(losses.soft_dice_loss(f32(1.0 - mask), f32(mask))[0, 0]) > 0.99
    assert float(losses.soft_dice_loss(f32(0.0 * mask), f32(0.0 * mask))[0, 0]) == pytest.approx(0.0, abs=1e-6)


def test_supervised_is_the_mean_over_the_labelled_frames(maps):
    logits, target, labelled, _ = maps
    bce, dice = losses.supervised(f32(logits), f32(target), f32(labelled))
    p, frames = sigmoid(logits), [(0, 0), (0, 2), (1, 2)]
    assert float(bce) == pytest.approx(np.mean([bce_oracle(p[f], target[f]).mean() for f in frames]), rel=1e-4)
    every = np.ones(SHAPE[2:], bool)
    assert float(dice) == pytest.approx(np.mean([dice_loss_oracle(p[f], target[f], every) for f in frames]), rel=1e-4)


def test_supervised_probability_is_the_same_loss_of_a_probability(maps):
    logits, target, labelled, _ = maps
    got = losses.supervised_probability(f32(sigmoid(logits)), f32(target), f32(labelled))
    assert float(got) == pytest.approx(float(sum(losses.supervised(f32(logits), f32(target), f32(labelled)))), rel=1e-4)


def test_unsupervised_counts_confident_pixels_and_no_others(maps):
    """BCE is a mean over the confident pixels of all frames, Dice over the frames that have any."""
    logits, pseudo, _, confident = maps
    p = sigmoid(logits)
    frames = [f for f in np.ndindex(2, 3) if confident[f].any()]
    assert len(frames) == 5
    expected = bce_oracle(p, pseudo)[confident].mean() + np.mean(
        [dice_loss_oracle(p[f], pseudo[f], confident[f]) for f in frames]
    )
    assert float(losses.unsupervised(f32(logits), f32(pseudo), f32(confident))) == pytest.approx(expected, rel=1e-4)
    gradient = np.asarray(jax.grad(losses.unsupervised)(f32(logits), f32(pseudo), f32(confident)))
    assert np.all(gradient[~confident] == 0.0) and np.all(gradient[confident] != 0.0)


def test_unsupervised_has_no_gradient_into_pseudo_labels_or_confidence(maps):
    logits, pseudo, _, confident = maps
    for gradient in jax.grad(losses.unsupervised, argnums=(1, 2))(f32(logits), f32(pseudo), f32(confident)):
        assert np.all(np.asarray(gradient) == 0.0)


def test_no_confident_pixel_gives_zero_and_a_zero_gradient(maps):
    logits, pseudo, _, _ = maps
    value, gradient = jax.value_and_grad(losses.unsupervised)(f32(logits), f32(pseudo), jnp.zeros(SHAPE))
    assert float(value) == 0.0 and np.all(np.asarray(gradient) == 0.0)


def test_no_labelled_frame_gives_zero_and_a_zero_gradient(maps):
    logits, target, _, _ = maps
    none = jnp.zeros(SHAPE[:2])
    value, gradient = jax.value_and_grad(lambda x: sum(losses.supervised(x, f32(target), none)))(f32(logits))
    assert float(value) == 0.0 and np.all(np.asarray(gradient) == 0.0)
    value, gradient = jax.value_and_grad(lambda p: losses.supervised_probability(p, f32(target), none))(
        f32(sigmoid(logits))
    )
    assert float(value) == 0.0 and np.all(np.asarray(gradient) == 0.0)


def test_dice_percent(maps):
    logits, target, _, _ = maps
    prediction = (logits > 0).astype(float)
    prediction[1, 1], target = 0.0, target.copy()
    target[1, 1] = 0.0  # both empty
    target[1, 0], prediction[1, 0] = 0.0, 1.0  # nothing in common
    got = np.asarray(losses.dice_percent(f32(prediction), f32(target)))
    for b, t in np.ndindex(2, 3):
        size = prediction[b, t].sum() + target[b, t].sum()
        expected = 200.0 * (prediction[b, t] * target[b, t]).sum() / size if size else 100.0
        assert got[b, t] == pytest.approx(expected, abs=1e-3)
    assert got[1, 1] == 100.0 and got[1, 0] == 0.0
