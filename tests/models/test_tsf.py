"""TSF of one frame (eq. 4) against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoforge_jax.models.layers.attention import sine_position_encoding
from echoforge_jax.models.memory import Memory
from echoforge_jax.models.tsf import DecoderLayer, InContextFusion, TemporalFusion, open_blocked_rows, semantic_maps
from tests.helpers.oracles import (
    as_float64,
    attention,
    dense,
    feed_forward,
    float32,
    layer_norm,
    random_variables,
    sigmoid,
    softmax,
)

# --- masks ------------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None, database=None)
@given(st.integers(0, 2**24 - 1))
def test_open_blocked_rows(bits: int):
    """Rows that are all False become all True, the others stay."""
    mask = np.array([bits >> i & 1 for i in range(24)], bool).reshape(2, 4, 3)
    got = np.asarray(open_blocked_rows(jnp.asarray(mask)))
    for b in range(2):
        for n in range(4):
            np.testing.assert_array_equal(got[b, n], mask[b, n] if any(mask[b, n]) else [True] * 3)


def test_semantic_maps_sum_over_the_tokens_that_exist():
    rng = np.random.default_rng(0)
    logits, masks = rng.standard_normal((2, 4, 2)), rng.standard_normal((2, 4, 3, 5))
    filled = np.array([[False, True, True, True], [False, False, False, True]])
    got = np.asarray(semantic_maps(float32(logits), float32(masks), jnp.asarray(filled)))
    for b in range(2):
        expected = np.zeros((3, 5, 2))
        for n in range(4):
            if filled[b, n]:
                expected += sigmoid(masks[b, n])[..., None] * softmax(logits[b, n])
        np.testing.assert_allclose(got[b], expected, atol=1e-5)
    changed = semantic_maps(
        float32(np.where(filled[..., None], logits, 50.0)),
        float32(np.where(filled[..., None, None], masks, 50.0)),
        jnp.asarray(filled),
    )
    np.testing.assert_array_equal(changed, got)


# --- eq. 4 ------------------------------------------------------------------------------------------------------------

CHANNELS, HEADS, TOKENS, CELLS = 8, 2, 6, 12
FILLED = np.array([[False, False, False, False, True, True], [True] * 6])


def read_oracle(x, context, p, own=None, seen=None):
    """Self-attention, cross-attention to the normalised context, feed-forward, of one sample."""
    x = attention(x, p["self_attention"], may_attend=own)
    x = attention(x, p["cross_attention"], layer_norm(context, p["context_norm"]), may_attend=seen)
    return feed_forward(x, p["feed_forward"])


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return {
        "tokens": rng.standard_normal((2, TOKENS, CHANNELS)).astype(np.float32),
        "frame": rng.standard_normal((2, CELLS, CHANNELS)).astype(np.float32),
        "queries": rng.standard_normal((2, TOKENS, CHANNELS)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def in_context(inputs):
    module = InContextFusion(HEADS)
    tokens, frame, filled = jnp.asarray(inputs["tokens"]), jnp.asarray(inputs["frame"]), jnp.asarray(FILLED)
    params = random_variables(module, tokens, frame, filled)["params"]
    return params, jax.jit(lambda tokens, frame: module.apply({"params": params}, tokens, frame, filled))


def test_eq_4_in_context_fusion_against_numpy(in_context, inputs):
    """One set of weights, both ways, each side reading the other's old values."""
    params, apply = in_context
    p_sem, f_t = apply(jnp.asarray(inputs["tokens"]), jnp.asarray(inputs["frame"]))
    p = as_float64(params)
    assert set(p) == {"self_attention", "cross_attention", "feed_forward", "context_norm"}
    for b in range(2):
        tokens, frame = (inputs[name][b].astype(np.float64) for name in ("tokens", "frame"))
        exists = FILLED[b][None]
        np.testing.assert_allclose(
            np.asarray(p_sem)[b][FILLED[b]], read_oracle(tokens, frame, p, own=exists)[FILLED[b]], atol=1e-4
        )
        np.testing.assert_allclose(f_t[b], read_oracle(frame, tokens, p, seen=exists), atol=1e-4)


def test_eq_4_empty_slots_have_no_influence(in_context, inputs):
    _, apply = in_context
    frame = jnp.asarray(inputs["frame"])
    p_sem, f_t = apply(jnp.asarray(inputs["tokens"]), frame)
    other_p, other_f = apply(jnp.asarray(np.where(FILLED[..., None], inputs["tokens"], 9.0)), frame)
    np.testing.assert_array_equal(f_t, other_f)
    np.testing.assert_array_equal(np.asarray(p_sem)[FILLED], np.asarray(other_p)[FILLED])


# --- decoder ----------------------------------------------------------------------------------------------------------


def decoder_oracle(queries, prototypes, frame, position, filled, p):
    """One decoder layer of one sample."""
    gate = prototypes @ frame.T > 0
    for row in gate:
        if not row.any():
            row[:] = True
    joint = np.concatenate([queries, prototypes])
    joint = attention(joint, p["self_attention"], may_attend=np.concatenate([filled, filled])[None])
    queries, prototypes = joint[: len(queries)], joint[len(queries) :]
    values = layer_norm(frame, p["frame_norm"])
    queries = attention(queries, p["cross_attention"], values + position, values, gate)
    return feed_forward(queries, p["query_feed_forward"]), feed_forward(prototypes, p["prototype_feed_forward"])


def test_decoder_layer_against_numpy(inputs):
    """Shared self-attention, then cross-attention gated by P . F > 0, a fully blocked query opened."""
    module = DecoderLayer(HEADS)
    inputs = dict(inputs, tokens=inputs["tokens"].copy(), frame=np.abs(inputs["frame"]))
    inputs["tokens"][1, 2] = -1.0  # below every (positive) frame cell: a row that is fully blocked
    position = sine_position_encoding(3, 4, CHANNELS)
    arguments = [jnp.asarray(a) for a in (inputs["queries"], inputs["tokens"], inputs["frame"], position, FILLED)]
    params = random_variables(module, *arguments)["params"]
    queries, prototypes = jax.jit(module.apply)({"params": params}, *arguments)
    for b in range(2):
        expected = decoder_oracle(
            *(inputs[name][b].astype(np.float64) for name in ("queries", "tokens", "frame")),
            position.astype(np.float64),
            FILLED[b],
            as_float64(params),
        )
        np.testing.assert_allclose(np.asarray(queries)[b][FILLED[b]], expected[0][FILLED[b]], atol=1e-4)
        np.testing.assert_allclose(np.asarray(prototypes)[b][FILLED[b]], expected[1][FILLED[b]], atol=1e-4)


# --- the whole frame --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fusion():
    """One frame of TSF, perturbed parameters; the memories of the two clips hold one frame and three."""
    module = TemporalFusion(CHANNELS, HEADS, layers=2, memory_frames=3)
    rng = np.random.default_rng(1)
    memory = Memory(float32(rng.standard_normal((2, 3, 2, CHANNELS))), jnp.asarray(FILLED[:, ::2]))
    maps = [float32(rng.standard_normal(s)) for s in ((2, 2, 2, CHANNELS), (2, 8, 8, CHANNELS), (2, 8, 8, CHANNELS))]
    params = random_variables(module, memory, *maps, noise=0.2)["params"]
    return params, jax.jit(lambda memory, *maps: module.apply({"params": params}, memory, *maps)), memory, maps


def fusion_oracle(tokens, filled, x, e, e_hidden, p):
    """One frame of one sample: in-context fusion, two decoder layers, masks and the mask head's hidden layer."""
    exists = np.repeat(filled, 2)
    tokens = tokens.reshape(-1, CHANNELS) + p["slot_embedding"]
    frame = x.reshape(-1, CHANNELS)
    fused = p["in_context_fusion"]
    prototypes = read_oracle(tokens, frame, fused, own=exists[None])
    frame = read_oracle(frame, tokens, fused, seen=exists[None])
    queries, position = p["queries"], sine_position_encoding(*x.shape[:2], CHANNELS).astype(np.float64)
    for layer in ("decoder_0", "decoder_1"):
        queries, prototypes = decoder_oracle(queries, prototypes, frame, position, exists, p[layer])
    classes = softmax(dense(layer_norm(queries, p["class_norm"]), p["class_head"]))
    embedded = dense(layer_norm(prototypes, p["mask_norm"]), p["mask_embedding"])
    semantic = np.zeros((*e.shape[:2], 2))
    for n in range(len(exists)):
        if exists[n]:
            semantic += sigmoid(e @ embedded[n] / np.sqrt(CHANNELS))[..., None] * classes[n]
    upsampled = np.asarray(jax.image.resize(float32(frame.reshape(x.shape)), e.shape, "bilinear"), np.float64)
    hidden = e_hidden + dense(upsampled, p["frame_hidden"]) + dense(semantic, p["semantic_hidden"])
    return np.maximum(hidden, 0.0)


def test_whole_frame_against_numpy(fusion):
    params, apply, memory, maps = fusion
    got = apply(memory, *maps)
    for b in range(2):
        tokens, filled = np.asarray(memory.tokens, np.float64)[b], np.asarray(memory.filled)[b]
        expected = fusion_oracle(tokens, filled, *(np.asarray(m, np.float64)[b] for m in maps), as_float64(params))
        np.testing.assert_allclose(got[b], expected, atol=2e-4)
    assert 0.1 < float((got > 0).mean()) < 0.9


def test_empty_slots_have_no_influence_on_a_frame(fusion):
    _, apply, memory, maps = fusion
    expected = np.asarray(apply(memory, *maps))
    filled = memory.filled[..., None, None]
    noise = Memory(jnp.where(filled, memory.tokens, 9.0), memory.filled)
    np.testing.assert_array_equal(apply(noise, *maps), expected)
    older = Memory(jnp.where(filled, 2.0 * memory.tokens, memory.tokens), memory.filled)
    assert np.abs(np.asarray(apply(older, *maps)) - expected).max() > 1e-3


def test_the_order_of_the_memory_frames_matters(fusion):
    """The same three frames remembered in another order give another map: slots know their age."""
    _, apply, memory, maps = fusion
    turned = Memory(memory.tokens[:, ::-1], memory.filled)
    difference = np.abs(np.asarray(apply(turned, *maps)) - np.asarray(apply(memory, *maps)))
    assert difference[1].max() > 1e-3


def test_eq_4_has_one_set_of_weights_for_both_directions():
    """There are as many parameters as one direction needs."""
    shapes = jax.eval_shape(
        InContextFusion(HEADS).init,
        jax.random.key(0),
        jnp.zeros((1, 2, CHANNELS)),
        jnp.zeros((1, 4, CHANNELS)),
        jnp.ones((1, 2), bool),
    )
    c = CHANNELS
    attention_size = 4 * (c * c + c) + 2 * c  # query, key, value, out and the norm before
    feed_forward_size = 2 * 4 * c * c + 4 * c + c + 2 * c
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 2 * attention_size + feed_forward_size + 2 * c
