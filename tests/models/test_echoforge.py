"""The assembled network: streaming, batches, sizes, every switch, its cost and its precision."""

import dataclasses
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoforge_jax.config import ModelConfig
from echoforge_jax.models.cost import count_cost
from echoforge_jax.models.echoforge import EchoForge, FrameMaps
from echoforge_jax.models.layers.normalization import make_norm
from tests.helpers.oracles import perturbed, sigmoid

BATCH, FRAMES, SIZE = 2, 5, 32  # more frames than the memory holds


@pytest.fixture(scope="module")
def clip() -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).uniform(0, 1, (BATCH, FRAMES, SIZE, SIZE)).astype(np.float32))


@pytest.fixture(scope="module")
def model(tiny_model: ModelConfig):
    """The network, perturbed parameters, and a compiled call that takes and returns the memory."""
    network = EchoForge(tiny_model)
    variables: Any = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 1, SIZE, SIZE)))
    variables = {**variables, "params": jax.tree.map(jnp.asarray, perturbed(variables["params"], scale=0.05))}
    return network, variables, jax.jit(lambda clip, memory: network.apply(variables, clip, memory))


@pytest.fixture(scope="module")
def whole(model, clip):
    """The whole clip at once."""
    network, _, apply = model
    return apply(clip, network.initial_memory(BATCH))


def promotion(config: ModelConfig):
    """Strict, but for bfloat16: Flax's norms mix it with their float32 statistics."""
    return jax.numpy_dtype_promotion("standard" if config.dtype == "bfloat16" else "strict")


def difference(a, b) -> float:
    return float(jnp.abs(a - b).max())


def test_outputs_are_alive(whole, clip, tiny_model: ModelConfig):
    """Shapes, float32, finite, and different for every frame and clip: what the tests below compare is no constant."""
    outputs, memory = whole
    assert outputs.logits.shape == clip.shape
    assert outputs.features.shape == (BATCH, FRAMES, SIZE // 4, SIZE // 4, tiny_model.channels)
    assert outputs.seed_logits.shape == (BATCH, FRAMES, SIZE // 8, SIZE // 8)
    assert outputs.uncertain_share.shape == (BATCH, FRAMES)
    assert memory.tokens.shape == (BATCH, tiny_model.memory_frames, 2, tiny_model.channels)
    assert bool(memory.filled.all())
    for leaf in jax.tree.leaves(outputs):
        assert leaf.dtype == jnp.float32 and bool(jnp.isfinite(leaf).all())
    frames = np.asarray(outputs.logits).reshape(BATCH * FRAMES, -1)
    assert min(np.abs(frames[i] - frames[j]).max() for i in range(len(frames)) for j in range(i)) > 1e-2


def test_frame_by_frame_is_the_whole_clip(model, whole, clip):
    """Streaming with the memory handed on: the same logits, features, seed masks and last memory."""
    network, _, apply = model
    memory, parts = network.initial_memory(BATCH), []
    for t in range(FRAMES):
        outputs, memory = apply(clip[:, t : t + 1], memory)
        parts.append(outputs)
    streamed = jax.tree.map(lambda *frames: jnp.concatenate(frames, axis=1), *parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), streamed, whole[0])
    np.testing.assert_allclose(memory.tokens, whole[1].tokens, atol=1e-5)


def test_memory_reaches_later_frames(model, whole, clip):
    """Without what earlier frames left, the last frame comes out otherwise; the first frame needs none."""
    network, _, apply = model
    forgotten = apply(clip[:, -1:], network.initial_memory(BATCH))[0].logits
    assert difference(forgotten, whole[0].logits[:, -1:]) > 1e-3


def test_a_permuted_batch_gives_permuted_outputs(model, whole, clip):
    network, _, apply = model
    outputs, memory = apply(clip[::-1], network.initial_memory(BATCH))
    turned = jax.tree.map(lambda x: x[::-1], whole)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), (outputs, memory), tuple(turned))


def test_a_frame_enters_the_memory_with_its_own_predicted_mask(model):
    """And reads the seed mask only while the memory is empty."""
    network, variables, _ = model
    rng = np.random.default_rng(1)
    c = network.config.channels
    x, e, e_hidden = (rng.standard_normal(s).astype(np.float32) for s in ((1, 2, 2, c), (1, 8, 8, c), (1, 8, 8, c)))
    fuse = jax.jit(
        lambda memory, seed: network.apply(
            variables, memory, FrameMaps(*map(jnp.asarray, (x, seed, e, e_hidden))), method="fuse_frame"
        )
    )
    seeds = [rng.uniform(0, 1, (1, 2, 2)).astype(np.float32) for _ in range(2)]
    empty = network.initial_memory(1)
    (memory, features), (_, otherwise) = (fuse(empty, seed) for seed in seeds)
    head = variables["params"]["head"]
    mask = sigmoid(np.asarray(features)[0] @ np.asarray(head["kernel"])[:, 0] + np.asarray(head["bias"])[0])
    cells = mask.reshape(2, 4, 2, 4).mean(axis=(1, 3))
    for token, m in enumerate((cells, 1.0 - cells)):
        expected = sum(m[i, j] * x[0, i, j] for i in range(2) for j in range(2)) / m.sum()
        np.testing.assert_allclose(memory.tokens[0, -1, token], expected, atol=1e-4)
    assert memory.filled.tolist() == [[False, False, True]]
    assert difference(features, otherwise) > 1e-4
    (_, first), (_, second) = (fuse(memory, seed) for seed in seeds)
    np.testing.assert_array_equal(first, second)


def test_anchor_recalibration_reaches_the_mask_without_temporal_fusion(tiny_model: ModelConfig, clip):
    """E is built after ARC: how hard patches are pulled to their anchor shows in every logit that reads E alone."""
    network = EchoForge(dataclasses.replace(tiny_model, temporal_fusion=False, uncertain_interval=(0.0, 1.0)))
    variables: Any = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 1, SIZE, SIZE)))

    @jax.jit
    def logits(beta):
        arc = {**variables["params"]["anchor_recalibration"], "beta": beta}
        params = {**variables["params"], "anchor_recalibration": arc}
        return network.apply({**variables, "params": params}, clip[:1, :1])[0].logits

    assert difference(logits(jnp.float32(-10.0)), logits(jnp.float32(10.0))) > 1e-2


@pytest.mark.parametrize(("stages", "size"), [(3, (40, 32)), (3, (32, 25)), (4, (32, 48))])
def test_sizes_that_do_not_fit_are_refused(tiny_model: ModelConfig, stages: int, size: tuple[int, int]):
    network = EchoForge(dataclasses.replace(tiny_model, encoder_stages=stages))
    message = f"{size[0]}x{size[1]}.*multiples of {2 ** (1 + stages)}"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 1, *size)))


SWITCHES = {
    "baseline": {"anchor_recalibration": False, "temporal_fusion": False},
    "TSF": {"anchor_recalibration": False},
    "ARC": {"temporal_fusion": False},
    "ARC and TSF": {},
    "1 anchor": {"anchors": 1},
    "3 anchors": {"anchors": 3},
    "4 anchors": {"anchors": 4},
    "4 stages": {"encoder_stages": 4},
    "group norm": {"norm": "group"},
    "frozen norm": {"norm": "frozen"},
    "narrow ResNet-50": {"encoder_depth": 50},
    "three input channels": {"input_mean": (0.4, 0.5, 0.6), "input_std": (0.2, 0.3, 0.4)},
    "bfloat16": {"dtype": "bfloat16"},
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_switch_initialises_and_runs(tiny_model: ModelConfig, switch: str):
    """Abstractly: shapes, float32 outputs, the parameters the switch asks for and no others."""
    config = dataclasses.replace(tiny_model, **SWITCHES[switch])
    network = EchoForge(config)
    clip = jax.ShapeDtypeStruct((2, 2, 64, 32), jnp.float32)
    with promotion(config):
        variables: Any = jax.eval_shape(network.init, jax.random.key(0), clip)
        (outputs, memory), updates = jax.eval_shape(
            lambda v, x: network.apply(v, x, train=True, mutable=["batch_stats"]), variables, clip
        )
    assert outputs.logits.shape == clip.shape and outputs.logits.dtype == jnp.float32
    assert outputs.features.shape == (2, 2, 16, 8, config.channels)
    seeded = config.anchor_recalibration or config.temporal_fusion
    assert (None if outputs.seed_logits is None else outputs.seed_logits.shape) == ((2, 2, 8, 4) if seeded else None)
    assert (outputs.uncertain_share is not None) is config.anchor_recalibration
    assert memory.filled.shape == (2, config.memory_frames)
    params = variables["params"]
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    expected = {"encoder", "coarse_pyramid", "fine_pyramid", "head"}
    if config.temporal_fusion:
        expected |= {"temporal_fusion", "e_hidden"}
    if config.anchor_recalibration:
        expected |= {"anchor_recalibration"}
        arc = params["anchor_recalibration"]
        assert arc["scores"]["kernel"].shape == (config.channels, config.anchors)
        assert ("single_bias" in arc) is (config.anchors == 1)
    elif config.temporal_fusion:
        expected |= {"seed_head"}
    assert set(params) == expected
    stages = {int(found[1]) for name in params["encoder"] if (found := re.match(r"layer(\d)_", name))}
    assert stages == set(range(1, config.encoder_stages + 1))
    assert ("conv3" in params["encoder"]["layer1_0"]) is (config.encoder_depth == 50)
    assert params["encoder"]["conv1"]["kernel"].shape == (7, 7, len(config.input_mean), config.encoder_width)
    if config.temporal_fusion:
        decoder = params["temporal_fusion"]["decoder_0"]
        assert "self_attention" in decoder
    assert jax.tree.map(jnp.shape, updates.get("batch_stats", {})) == jax.tree.map(
        jnp.shape, variables.get("batch_stats", {})
    )
    assert ("batch_stats" in variables) is (config.norm != "group")


@pytest.mark.parametrize(
    ("kind", "train", "moves"), [("batch", True, True), ("batch", False, False), ("frozen", True, False)]
)
def test_norms_keep_or_move_their_statistics(kind: str, train: bool, moves: bool):
    """`batch` uses and updates the batch's statistics in training; `frozen` never does."""
    x = jnp.asarray(5.0 + 2.0 * np.random.default_rng(0).standard_normal((2, 4, 4, 8)).astype(np.float32))
    norm = make_norm(kind, train, jnp.float32)(name="norm")
    variables = norm.init(jax.random.key(0), x)
    y, updates = norm.apply(variables, x, mutable=["batch_stats"])
    moved = difference(updates["batch_stats"]["mean"], variables["batch_stats"]["mean"]) > 0.1
    assert moved is moves
    assert (abs(float(y.mean())) < 1e-3) is moves  # running statistics still 0 and 1: the value passes through


def test_group_norm_reads_one_sample_alone():
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 16)).astype(np.float32)
    norm = make_norm("group", True, jnp.float32)(name="norm")
    variables = norm.init(jax.random.key(0), jnp.asarray(x))
    grouped = x.reshape(2, 16, 2, 8)
    expected = (grouped - grouped.mean((1, 3), keepdims=True)) / np.sqrt(grouped.var((1, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(norm.apply(variables, jnp.asarray(x)), expected.reshape(x.shape), atol=1e-4)


def test_bfloat16_gives_finite_float32_logits(model, whole, clip, tiny_model: ModelConfig):
    """Near those of float32, whose parameters it shares."""
    network = EchoForge(dataclasses.replace(tiny_model, dtype="bfloat16"))
    with promotion(network.config):
        outputs, memory = jax.jit(network.apply)(model[1], clip)
    assert outputs.logits.dtype == jnp.float32 and bool(jnp.isfinite(outputs.logits).all())
    assert memory.tokens.dtype == jnp.bfloat16
    correlation = np.corrcoef(np.asarray(outputs.logits).ravel(), np.asarray(whole[0].logits).ravel())[0, 1]
    assert correlation > 0.95
    assert difference(outputs.logits, whole[0].logits) > 0.0


def test_default_network_is_within_the_papers_budget():
    """Table 2 at 256x256: below 67 M parameters and 125 GFLOPs for the ten frames of a clip."""
    cost = count_cost(ModelConfig(), 10, 256)
    assert 8e6 < cost.parameters < 67e6
    assert 50.0 < cost.gflops_per_clip < 125.0


def test_cost_is_counted_by_the_cpu_whatever_the_default_device(monkeypatch, tiny_model: ModelConfig):
    """Accelerators' clients count compiled programs alone: a training on one of them must not ask them."""
    asked = []
    local_devices = jax.local_devices
    monkeypatch.setattr(jax, "local_devices", lambda *_, backend: asked.append(backend) or local_devices())
    assert count_cost(tiny_model, 2, 32).gflops_per_clip > 0.0
    assert asked == ["cpu"]

    def without_cpu(*_: object, backend: str) -> None:
        raise RuntimeError(f"Unknown backend {backend}")  # JAX_PLATFORMS=cuda

    monkeypatch.setattr(jax, "local_devices", without_cpu)
    cost = count_cost(tiny_model, 2, 32)
    assert cost.parameters > 0 and math.isnan(cost.gflops_per_clip)
