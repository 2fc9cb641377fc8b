"""CPR (eq. 5-6) against explicit loops, and partners against brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoforge_jax.models.cpr import (
    Reforging,
    channel_attention,
    cosine_probability,
    find_partners,
    instance_norm,
    prototypes,
)
from tests.helpers.oracles import float32, random_variables

compiled_cosine_probability = jax.jit(cosine_probability, static_argnames="temperature")
compiled_find_partners = jax.jit(find_partners, static_argnames="exclude_self")


def channel_attention_oracle(q, k, v):
    """Eq. 5-6 of one frame, entry by entry. q, k, v (p, c)."""
    pixels, channels = q.shape
    scores = np.zeros((channels, channels))
    for i in range(channels):
        for j in range(channels):
            scores[i, j] = sum(q[p, i] * k[p, j] for p in range(pixels))
    scores = (scores - scores.mean()) / np.sqrt(scores.var() + 1e-5)
    out = np.zeros((pixels, channels))
    for i in range(channels):
        weights = np.exp(scores[i]) / np.exp(scores[i]).sum()
        for p in range(pixels):
            out[p, i] = sum(weights[j] * v[p, j] for j in range(channels))
    return out


def test_instance_norm_of_every_matrix():
    x = 5.0 + 3.0 * np.random.default_rng(0).standard_normal((2, 4, 6))
    x[1] *= 100.0
    got = np.asarray(instance_norm(float32(x)))
    for n in range(2):
        np.testing.assert_allclose(got[n], (x[n] - x[n].mean()) / x[n].std(), atol=1e-4)
    assert np.all(np.asarray(instance_norm(jnp.full((1, 3, 3), 4.0))) == 0.0)  # no variance: finite


def test_eq_5_and_6_against_loops():
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 7, 4)) for _ in range(3))
    got = jax.jit(channel_attention)(float32(q), float32(k), float32(v))
    for n in range(2):
        np.testing.assert_allclose(got[n], channel_attention_oracle(q[n], k[n], v[n]), atol=1e-4)


def test_reforging_layer_reads_q_from_the_partner_and_k_and_v_from_the_frame():
    rng = np.random.default_rng(0)
    labelled, unlabelled = rng.standard_normal((2, 3, 2, 4)), rng.standard_normal((2, 3, 2, 4))
    module = Reforging(4)
    variables = random_variables(module, float32(labelled), float32(unlabelled))
    got = jax.jit(module.apply)(variables, float32(labelled), float32(unlabelled))
    assert jax.tree.map(jnp.shape, variables) == {
        "params": {name: {"kernel": (4, 4)} for name in ("query", "key", "value")}
    }
    w = {name: np.asarray(variables["params"][name]["kernel"], np.float64) for name in ("query", "key", "value")}
    for n in range(2):
        f_l, f_u = labelled[n].reshape(6, 4), unlabelled[n].reshape(6, 4)
        expected = channel_attention_oracle(f_l @ w["query"], f_u @ w["key"], f_u @ w["value"])
        np.testing.assert_allclose(got[n], expected.reshape(3, 2, 4), atol=1e-4)


def test_reforging_layer_works_in_float32_on_bfloat16_features():
    labelled, unlabelled = jnp.ones((2, 1, 3, 2, 4), jnp.bfloat16)
    out = jax.eval_shape(Reforging(4).init_with_output, jax.random.key(0), labelled, unlabelled)[0]
    assert out.dtype == jnp.float32


def test_prototypes_are_means_under_the_ground_truth():
    rng = np.random.default_rng(0)
    features, mask = rng.standard_normal((2, 3, 4, 5)), rng.uniform(0.0, 1.0, (2, 3, 4))
    mask[1] = 0.0  # nothing is foreground: that prototype is zero
    got = np.asarray(jax.jit(prototypes)(float32(features), float32(mask)))
    for n in range(2):
        for k, m in enumerate((mask[n], 1.0 - mask[n])):
            total = sum(m[i, j] * features[n, i, j] for i in range(3) for j in range(4))
            np.testing.assert_allclose(got[n, k], total / max(m.sum(), 1e-6), atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_cosine_probability(temperature: float):
    """Softmax of the two cosine similarities, for every pixel."""
    rng = np.random.default_rng(0)
    features, vectors = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 2, 5))
    got = compiled_cosine_probability(float32(features), float32(vectors), temperature)
    for n, i, j in np.ndindex(2, 3, 4):
        f = features[n, i, j]
        e = [np.exp(f @ v / np.linalg.norm(f) / np.linalg.norm(v) / temperature) for v in vectors[n]]
        assert float(got[n, i, j]) == pytest.approx(e[0] / (e[0] + e[1]), abs=1e-4)


def test_cosine_probability_of_zero_features_is_finite_with_its_gradient():
    vectors = float32(np.random.default_rng(0).standard_normal((1, 2, 5)))
    value_and_gradient = jax.jit(jax.value_and_grad(lambda f: cosine_probability(f, vectors, 0.1).sum()))
    value, gradient = value_and_gradient(jnp.zeros((1, 2, 2, 5)))
    assert float(value) == pytest.approx(2.0)
    assert bool(jnp.isfinite(gradient).all())


def partner_oracle(clip, frame, labelled, view, record, exclude_self):
    """The flat index of a frame's partner by search, or None."""
    clips, frames = labelled.shape
    own = [t for t in range(frames) if labelled[clip, t] and not (exclude_self and t == frame)]
    if own:
        nearest = min(own, key=lambda t: (abs(t - frame), t))
        return clip * frames + nearest
    others = [
        (view[c] != view[clip], abs(t - frame), record[c], t, c)
        for c in range(clips)
        for t in range(frames)
        if c != clip and labelled[c, t]
    ]
    if not others:
        return None
    *_, t, c = min(others)
    return c * frames + t


@st.composite
def groups(draw):
    """Labels, views and distinct record ids of the clips of one device."""
    clips, frames = draw(st.sampled_from([(1, 1), (1, 5), (2, 3), (3, 4), (5, 2)]))
    cells = draw(st.lists(st.sampled_from([0, 0, 1]), min_size=clips * frames, max_size=clips * frames))
    view = draw(st.lists(st.integers(0, 1), min_size=clips, max_size=clips))
    record = draw(st.lists(st.integers(0, 10**6), min_size=clips, max_size=clips, unique=True))
    return np.array(cells).reshape(clips, frames), np.array(view), np.array(record)


@settings(max_examples=60, deadline=None, database=None)
@given(groups(), st.booleans())
def test_partners_against_brute_force(group, exclude_self: bool):
    labelled, view, record = group
    chosen = compiled_find_partners(
        float32(labelled), jnp.asarray(view, jnp.int32), jnp.asarray(record, jnp.int32), exclude_self=exclude_self
    )
    for clip, frame in np.ndindex(*labelled.shape):
        expected = partner_oracle(clip, frame, labelled, view, record, exclude_self)
        assert bool(chosen.exists[clip, frame]) is (expected is not None)
        if expected is not None:
            assert int(chosen.index[clip, frame]) == expected


def index_and_exists(labelled, view, record, exclude_self=False):
    chosen = compiled_find_partners(
        float32(labelled), jnp.asarray(view, jnp.int32), jnp.asarray(record, jnp.int32), exclude_self=exclude_self
    )
    return np.asarray(chosen.index).tolist(), np.asarray(chosen.exists).tolist()


def test_partner_is_the_nearest_labelled_frame_of_the_clip_and_ties_go_to_the_earlier():
    index, exists = index_and_exists([[1, 0, 0, 0, 1]], [0], [0])
    assert index == [[0, 0, 0, 4, 4]] and exists == [[True] * 5]


def test_partner_in_another_clip_has_the_same_view_then_the_nearest_time_then_the_lowest_record():
    labelled = [[0, 0], [0, 1], [1, 1], [1, 0]]
    assert index_and_exists(labelled, [1, 0, 1, 1], [9, 1, 5, 3])[0][0] == [6, 5]  # its view: records 3 and 5
    assert index_and_exists(labelled, [0, 1, 1, 1], [9, 1, 5, 3])[0][0] == [6, 3]  # no such view: records 3 and 1


def test_two_labelled_frames_of_a_clip_reforge_each_other_with_exclude_self():
    labelled = [[1, 0, 0, 1]]
    assert index_and_exists(labelled, [0], [0], exclude_self=True)[0] == [[3, 0, 3, 0]]
    assert index_and_exists(labelled, [0], [0])[0] == [[0, 0, 3, 3]]
    index, exists = index_and_exists([[0, 1, 0]], [0], [0], exclude_self=True)
    assert exists == [[True, False, True]] and index[0][0] == index[0][2] == 1


@pytest.mark.parametrize("exclude_self", [False, True])
def test_where_no_frame_is_labelled_no_partner_exists(exclude_self: bool):
    index, exists = index_and_exists([[0, 0], [0, 0]], [0, 1], [0, 1], exclude_self=exclude_self)
    assert not np.any(exists)
    assert all(0 <= i < 4 for row in index for i in row)  # still safe to gather with
