"""ARC (eq. 1-2, Fig. 2-3) against brute force and plain loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoforge_jax.models import arc
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

IS_FOREGROUND = {1: [1], 2: [1, 0], 3: [1, 0, 0], 4: [1, 1, 0, 0]}  # Table 4, by the number of anchors
ANCHORS = (1, 2, 3, 4)
WIDE = arc.PatchRule(interval=(0.25, 0.75))  # moves some patches, whatever the number of anchors

topk_neighbours = jax.jit(arc.topk_neighbours, static_argnames="k")
patch_probabilities = jax.jit(arc.patch_probabilities, static_argnames="temperature")
recalibrate = jax.jit(arc.recalibrate, static_argnames="rule")


def weights_oracle(scores):
    """Eq. 1 of one frame, (p, a)."""
    return sigmoid(scores) if scores.shape[1] == 1 else softmax(scores)


def probability_oracle(patch_mean, anchors, temperature, bias):
    """s_fg of one patch, and its share of every anchor."""
    cosine = [patch_mean @ a / np.linalg.norm(patch_mean) / np.linalg.norm(a) / temperature for a in anchors]
    if len(anchors) == 1:
        return float(sigmoid(cosine[0] - bias)), np.ones(1)
    share = softmax(np.array(cosine))
    return sum(s for s, foreground in zip(share, IS_FOREGROUND[len(anchors)], strict=True) if foreground), share


def recalibrate_oracle(x, anchors, alpha, beta, patch=2, temperature=1.0, interval=(0.4, 0.6), bias=0.0):
    """One frame, patch by patch. Returns the map, s_fg and which patches moved, both (rows, columns)."""
    out = x.copy()
    rows, columns = x.shape[0] // patch, x.shape[1] // patch
    probability, moved = np.zeros((rows, columns)), np.zeros((rows, columns), bool)
    for i in range(rows):
        for j in range(columns):
            cells = (slice(i * patch, (i + 1) * patch), slice(j * patch, (j + 1) * patch))
            s_fg, share = probability_oracle(x[cells].mean(axis=(0, 1)), anchors, temperature, bias)
            probability[i, j] = s_fg
            if not interval[0] <= s_fg <= interval[1] or (len(anchors) == 1 and s_fg < 0.5):
                continue
            moved[i, j] = True
            w = sigmoid(alpha * abs(s_fg - (1.0 - s_fg)) + beta)
            of_class = [i for i, fg in enumerate(arc.FOREGROUND_ANCHORS[len(anchors)]) if fg == (s_fg >= 0.5)]
            likelier = max(of_class, key=lambda i: share[i])
            out[cells] = (1.0 - w) * x[cells] + w * anchors[likelier]
    return out, probability, moved


@pytest.mark.parametrize("anchors", ANCHORS)
def test_eq_1_softmax_over_anchors_at_every_cell(anchors: int):
    scores = 3.0 * np.random.default_rng(anchors).standard_normal((2, 6, anchors))
    got = np.asarray(arc.anchor_weights(float32(scores)))
    for n in range(2):
        for p in range(6):
            e = np.exp(scores[n, p])
            expected = e / (1.0 + e) if anchors == 1 else e / e.sum()
            np.testing.assert_allclose(got[n, p], expected, rtol=1e-5)


def test_eq_2_weighted_mean_of_the_features():
    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal((2, 6, 5)), rng.uniform(0.0, 1.0, (2, 6, 3))
    got = np.asarray(arc.pool_anchors(float32(x), float32(weights)))
    for n in range(2):
        for a in range(3):
            expected = sum(weights[n, p, a] * x[n, p] for p in range(6)) / sum(weights[n, p, a] for p in range(6))
            np.testing.assert_allclose(got[n, a], expected, atol=1e-5)


def test_eq_2_an_anchor_without_weight_is_finite():
    assert np.all(np.asarray(arc.pool_anchors(jnp.ones((1, 4, 3)), jnp.zeros((1, 4, 2)))) == 0.0)


@pytest.mark.parametrize("anchors", ANCHORS)
def test_foreground_logits_are_the_log_odds_of_eq_1(anchors: int):
    scores = 2.0 * np.random.default_rng(anchors).standard_normal((2, 6, anchors))
    weights = weights_oracle(scores.reshape(-1, anchors)).reshape(scores.shape)
    expected = (weights * np.array(IS_FOREGROUND[anchors])).sum(-1)
    np.testing.assert_allclose(sigmoid(arc.foreground_logits(float32(scores))), expected, rtol=1e-4)


@settings(max_examples=40, deadline=None, database=None)
@given(
    shape=st.sampled_from([(1, 1, 1, 1), (5, 3, 2, 5), (12, 4, 3, 4), (16, 1, 1, 16), (40, 2, 4, 7), (64, 8, 2, 16)]),
    high=st.integers(0, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_topk_neighbours_equals_brute_force(shape: tuple[int, int, int, int], high: int, seed: int):
    """Integer features: distances are exact and ties many; the oracle is a stable sort of all distances."""
    cells, channels, anchors, k = shape
    rng = np.random.default_rng(seed)
    x, a = rng.integers(-high, high + 1, (cells, channels)), rng.integers(-high, high + 1, (anchors, channels))
    got = topk_neighbours(float32(x), float32(a), k)
    distance = ((x[None] - a[:, None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(got, np.argsort(distance, axis=1, kind="stable")[:, :k])


def test_topk_neighbours_gradient_goes_through_the_gathered_features_only():
    """Sum of coefficient x gathered feature: each cell's gradient is its coefficients, the anchors' is zero."""
    rng = np.random.default_rng(0)
    x, anchors, coefficients = (rng.standard_normal(s) for s in ((9, 3), (2, 3), (2, 4, 3)))

    def loss(x, anchors):
        return (x[topk_neighbours(x, anchors, 4)] * float32(coefficients)).sum()

    index = np.asarray(topk_neighbours(float32(x), float32(anchors), 4))
    expected = np.zeros((9, 3))
    for a in range(2):
        for k in range(4):
            expected[index[a, k]] += coefficients[a, k]
    to_x, to_anchors = jax.grad(loss, argnums=(0, 1))(float32(x), float32(anchors))
    np.testing.assert_allclose(to_x, expected, atol=1e-6)
    assert np.all(np.asarray(to_anchors) == 0.0)


@pytest.mark.parametrize("anchors", ANCHORS)
def test_patch_probabilities(anchors: int):
    rng = np.random.default_rng(anchors)
    patches, vectors = rng.standard_normal((2, 5, 6)), rng.standard_normal((2, anchors, 6))
    bias = jnp.asarray(0.2, jnp.float32) if anchors == 1 else None
    for temperature in (1.0, 0.3):
        s_fg, share = patch_probabilities(float32(patches), float32(vectors), temperature, bias)
        for n in range(2):
            for p in range(5):
                expected = probability_oracle(patches[n, p], vectors[n], temperature, 0.2)
                np.testing.assert_allclose(s_fg[n, p], expected[0], atol=1e-5)
                if anchors > 1:
                    np.testing.assert_allclose(share[n, p], expected[1], atol=1e-5)


@pytest.mark.parametrize("anchors", ANCHORS)
@pytest.mark.parametrize("patch", [1, 2])
def test_recalibration_moves_uncertain_patches_and_no_others(anchors: int, patch: int):
    """Against the loop oracle; patches outside [0.4, 0.6] come back bit for bit."""
    rng = np.random.default_rng(10 * anchors + patch)
    x, vectors = rng.standard_normal((2, 8, 6, 4)).astype(np.float32), rng.standard_normal((2, anchors, 4))
    alpha, beta, bias = 1.7, -0.4, 0.1
    scalars = arc.PullScalars(float32(alpha), float32(beta), float32(bias) if anchors == 1 else None)
    out, uncertain = recalibrate(float32(x), float32(vectors), scalars, arc.PatchRule(patch=patch))
    out = np.asarray(out)
    share_moved = []
    for n in range(2):
        expected, probability, moved = recalibrate_oracle(
            x[n].astype(np.float64), vectors[n], alpha, beta, patch=patch, bias=bias
        )
        assert np.abs(probability[..., None] - [0.4, 0.5, 0.6]).min() > 1e-5  # else rounding decides
        np.testing.assert_array_equal(np.asarray(uncertain)[n], moved.reshape(-1))
        np.testing.assert_allclose(out[n], expected, atol=1e-5)
        cells = np.repeat(np.repeat(moved, patch, axis=0), patch, axis=1)
        np.testing.assert_array_equal(out[n][~cells], x[n][~cells])
        assert np.abs(out[n][cells] - x[n][cells]).max(axis=-1).min() > 1e-3
        share_moved.append(moved.mean())
    assert 0.05 < np.mean(share_moved) < 0.95


def test_recalibration_interval_includes_its_ends_and_nothing_beyond():
    """Two opposite anchors, a patch as far from both (s_fg = 0.5 exactly), and intervals around 0.5."""
    x, anchors = float32(np.full((1, 2, 2, 2), [0.0, 1.0])), float32([[[1.0, 0.0], [-1.0, 0.0]]])
    scalars = arc.PullScalars(float32(1.0), float32(0.0))
    for interval, expected in (((0.5, 0.6), True), ((0.4, 0.5), True), ((0.51, 0.6), False), ((0.4, 0.49), False)):
        _, uncertain = recalibrate(x, anchors, scalars, arc.PatchRule(interval=interval))
        assert bool(uncertain[0, 0]) is expected


@pytest.fixture(scope="module", params=ANCHORS)
def layer(request):
    """ARC with random parameters, a small input, and the compiled layer."""
    module = arc.AnchorRecalibration(anchors=request.param, neighbours=5, heads=2, rule=WIDE)
    x = np.random.default_rng(request.param).standard_normal((2, 4, 6, 8)).astype(np.float32)
    variables = random_variables(module, jnp.asarray(x), seed=request.param)
    return module, variables["params"], x, jax.jit(module.apply)(variables, jnp.asarray(x))


def anchors_oracle(cells, p, k):
    """Eq. 1, eq. 2, the k nearest cells and Feature Fusion of one frame: scores and new anchors."""
    scores = dense(cells, p["scores"])
    weights = weights_oracle(scores)
    initial = weights.T @ cells / weights.sum(axis=0)[:, None]
    new = []
    for a in initial:
        nearest = np.argsort(((cells - a) ** 2).sum(axis=1), kind="stable")[:k]
        neighbours = attention(cells[nearest], p["feature_fusion"]["neighbours_read_anchor"], a[None])
        fused = attention(a[None], p["feature_fusion"]["anchor_reads_neighbours"], neighbours)
        fused = feed_forward(fused, p["feature_fusion"]["feed_forward"])
        new.append(layer_norm(fused, p["feature_fusion"]["norm"])[0])
    return scores, np.stack(new)


def test_whole_layer_against_numpy(layer):
    """Scores, anchors, neighbours, fusion, recalibration and ARC's own mask."""
    module, params, x, got = layer
    p = as_float64(params)
    for n in range(2):
        frame, bias = x[n].astype(np.float64), p.get("single_bias", 0.0)
        scores, anchors = anchors_oracle(frame.reshape(24, 8), p, 5)
        expected, _, moved = recalibrate_oracle(
            frame, anchors, p["alpha"], p["beta"], interval=WIDE.interval, bias=bias
        )
        np.testing.assert_allclose(got.features[n], expected, atol=1e-4)
        np.testing.assert_allclose(got.uncertain_share[n], moved.mean(), atol=1e-6)
        foreground = (weights_oracle(scores) * np.array(IS_FOREGROUND[module.anchors])).sum(-1)
        np.testing.assert_allclose(sigmoid(got.mask_logits[n]), foreground.reshape(4, 6), atol=1e-5)
    assert float(got.uncertain_share.max()) > 0.0


@functools.cache
def initial_scalars(*, one_anchor: bool) -> arc.PullScalars:
    """alpha, beta and, with one anchor, b, as the layer initialises them."""
    module = arc.AnchorRecalibration(anchors=1 if one_anchor else 2, neighbours=5, heads=2)

    def initialise(x: jax.Array) -> arc.PullScalars:
        params = module.init(jax.random.key(0), x)["params"]
        return arc.PullScalars(params["alpha"], params["beta"], params.get("single_bias"))

    return jax.jit(initialise)(jnp.ones((1, 4, 4, 8)))


@pytest.mark.parametrize("anchors", ANCHORS)
def test_pull_is_near_one_half_at_the_start(anchors: int):
    """w as read off the moved patches, with the initial alpha and beta."""
    rng = np.random.default_rng(anchors)
    x, vectors = rng.standard_normal((2, 4, 6, 8)).astype(np.float32), rng.standard_normal((2, anchors, 8))
    vectors = vectors.astype(np.float32)
    scalars = initial_scalars(one_anchor=anchors == 1)
    out, uncertain = recalibrate(jnp.asarray(x), jnp.asarray(vectors), scalars, rule=arc.PatchRule())
    assert bool(uncertain.any())
    s_fg, share = patch_probabilities(
        float32(x.reshape(2, 2, 2, 3, 2, 8).mean(axis=(2, 4)).reshape(2, 6, 8)),
        jnp.asarray(vectors),
        1.0,
        scalars.single_bias,
    )
    for n, p in np.argwhere(np.asarray(uncertain)):
        cell = (n, 2 * (p // 3), 2 * (p % 3))
        of_class = np.array(arc.FOREGROUND_ANCHORS[anchors]) == bool(s_fg[n, p] >= 0.5)
        way = vectors[n, int(np.where(of_class, np.asarray(share)[n, p], -1.0).argmax())] - x[cell]
        w = (np.asarray(out)[cell] - x[cell]) @ way / (way @ way)
        assert 0.45 < w < 0.55


def test_gradient_of_the_layer_against_finite_differences():
    """Down to the input, every patch uncertain, by a step that changes no neighbour; and every gradient finite."""
    module = arc.AnchorRecalibration(anchors=2, neighbours=5, heads=2, rule=arc.PatchRule(interval=(0.0, 1.0)))
    rng = np.random.default_rng(0)
    x, direction = (rng.standard_normal((1, 4, 4, 8)).astype(np.float32) for _ in range(2))
    params = random_variables(module, jnp.asarray(x), noise=0.0)
    out = rng.standard_normal(x.shape).astype(np.float32)

    @jax.jit
    def loss(params, x):
        return (module.apply(params, x).features * jnp.asarray(out)).sum()

    to_params, to_x = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, jnp.asarray(x))
    step = 1e-3
    ahead, behind = (float(loss(params, jnp.asarray(x + s * step * direction))) for s in (1, -1))
    expected = (ahead - behind) / (2 * step)
    assert float((to_x * jnp.asarray(direction)).sum()) == pytest.approx(expected, rel=0.02)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(to_params))
    fusion = to_params["params"]["feature_fusion"]["anchor_reads_neighbours"]["attention"]["value"]["kernel"]
    assert float(jnp.abs(fusion).max()) > 0.0
