"""TSF's memory and the tokens of eq. 3 against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoforge_jax.models.memory import Memory, empty_memory, remember, seeded, semantic_tokens
from tests.helpers.oracles import float32


def frame_tokens(value: float, batch: int = 1, channels: int = 3) -> jax.Array:
    """Tokens of one frame, recognisable by their value."""
    return jnp.full((batch, 2, channels), value, jnp.float32)


def test_eq_3_semantic_tokens_are_masked_means():
    rng = np.random.default_rng(0)
    features, mask = rng.standard_normal((2, 3, 4, 5)), rng.uniform(0, 1, (2, 3, 4))
    got = np.asarray(semantic_tokens(float32(features), float32(mask)))
    for b in range(2):
        for k, m in enumerate((mask[b], 1.0 - mask[b])):
            total = sum(m[u, v] * features[b, u, v] for u in range(3) for v in range(4))
            np.testing.assert_allclose(got[b, k], total / m.sum(), atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_eq_3_an_empty_mask_gives_a_finite_token(value: float):
    """Foreground empty (0) or background empty (1): that token is zero, the other the plain mean; gradients finite."""
    features = float32(np.random.default_rng(0).standard_normal((1, 3, 4, 5)))
    mask = jnp.full((1, 3, 4), value, jnp.float32)
    tokens = np.asarray(semantic_tokens(features, mask))
    empty, full = (0, 1) if value == 0.0 else (1, 0)
    assert np.all(tokens[0, empty] == 0.0)
    np.testing.assert_allclose(tokens[0, full], np.asarray(features).mean(axis=(0, 1, 2)), atol=1e-5)
    gradient = jax.grad(lambda f: semantic_tokens(f, mask).sum())(features)
    np.testing.assert_allclose(gradient, 1.0 / 12.0, atol=1e-6)


def test_eq_3_has_no_gradient_into_the_mask():
    rng = np.random.default_rng(0)
    features, mask = float32(rng.standard_normal((1, 3, 4, 5))), float32(rng.uniform(0, 1, (1, 3, 4)))
    weights = float32(rng.standard_normal((1, 2, 5)))
    to_features, to_mask = jax.grad(lambda f, m: (semantic_tokens(f, m) * weights).sum(), argnums=(0, 1))(
        features, mask
    )
    assert np.all(np.asarray(to_mask) == 0.0)
    assert np.all(np.asarray(to_features) != 0.0)


def test_memory_is_ordered_oldest_to_newest():
    memory = empty_memory(1, 3, 3, jnp.dtype("float32"))
    assert not bool(memory.filled.any())
    for number in range(1, 6):
        memory = remember(memory, frame_tokens(number))
        held = list(range(1, number + 1))[-3:]
        empty = 3 - len(held)
        np.testing.assert_array_equal(memory.filled[0], [False] * empty + [True] * len(held))
        np.testing.assert_array_equal(np.asarray(memory.tokens)[0, empty:, 0, 0], held)


def test_memory_seed_stands_in_the_newest_slot_where_the_memory_is_empty():
    """Of two clips, one has a frame behind it and keeps its memory; the other reads its own tokens."""
    empty = empty_memory(2, 3, 3, jnp.dtype("float32"))
    one = remember(empty, frame_tokens(1.0, batch=2))
    mixed = Memory(jnp.stack([empty.tokens[0], one.tokens[1]]), jnp.stack([empty.filled[0], one.filled[1]]))
    read = seeded(mixed, frame_tokens(7.0, batch=2))
    np.testing.assert_array_equal(read.filled, [[False, False, True]] * 2)
    np.testing.assert_array_equal(np.asarray(read.tokens)[:, 2, 0, 0], [7.0, 1.0])
    assert not bool(mixed.filled[0].any())  # seeding is for reading alone
