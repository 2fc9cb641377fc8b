"""The assembled network: streaming, batches, sizes, every switch and its precision."""

import dataclasses
import functools
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoforge_jax.config import ModelConfig
from echoforge_jax.models.echoforge import EchoForge, FrameMaps, Outputs
from echoforge_jax.models.layers.convolution import ConvImplementation
from echoforge_jax.models.memory import Memory
from tests.helpers.configs import TINY_MODEL
from tests.helpers.oracles import random_variables, sigmoid
from tests.models.conftest import TinyNetwork


def promotion(config: ModelConfig):
    """Strict, but for bfloat16: Flax's norms mix it with their float32 statistics."""
    return jax.numpy_dtype_promotion("standard" if config.dtype == "bfloat16" else "strict")


def difference(a, b) -> float:
    return float(jnp.abs(a - b).max())


def assert_close(tree, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), tree, expected)


def test_results_have_their_shapes_and_memory_is_filled(tiny_network: TinyNetwork):
    outputs, memory, config = tiny_network.outputs, tiny_network.memory, tiny_network.network.config
    assert outputs.logits.shape == (2, 5, 32, 32)
    assert outputs.features.shape == (2, 5, 8, 8, config.channels)
    assert outputs.seed_logits.shape == (2, 5, 4, 4)
    assert outputs.uncertain_share.shape == (2, 5)
    assert memory.tokens.shape == (2, config.memory_frames, 2, config.channels)
    assert bool(memory.filled.all())


def test_results_are_finite_and_differ_between_frames_and_clips(tiny_network: TinyNetwork):
    """So what the tests below compare is no constant."""
    for leaf in jax.tree.leaves(tiny_network.outputs):
        assert leaf.dtype == jnp.float32 and bool(jnp.isfinite(leaf).all())
    frames = np.asarray(tiny_network.outputs.logits).reshape(10, -1)
    assert min(np.abs(frames[i] - frames[j]).max() for i in range(len(frames)) for j in range(i)) > 1e-2


def test_frame_by_frame_is_the_whole_clip(tiny_network: TinyNetwork):
    """Streaming with the memory handed on: the same logits, features, seed masks and last memory."""
    memory, parts = tiny_network.network.initial_memory(2), []
    for t in range(5):
        outputs, memory = tiny_network.apply(tiny_network.clip[:, t : t + 1], memory)
        parts.append(outputs)
    streamed = jax.tree.map(lambda *frames: np.concatenate(frames, axis=1), *parts)
    assert_close(streamed, tiny_network.outputs)
    assert_close(memory.tokens, tiny_network.memory.tokens)


def test_memory_reaches_later_frames(tiny_network: TinyNetwork):
    """Without what earlier frames left, the last frame comes out otherwise."""
    empty = tiny_network.network.initial_memory(2)
    without = tiny_network.apply(tiny_network.clip[:, -1:], empty)[0].logits
    assert difference(without, tiny_network.outputs.logits[:, -1:]) > 1e-3


def test_a_permuted_batch_gives_permuted_outputs(tiny_network: TinyNetwork):
    results = tiny_network.apply(tiny_network.clip[::-1], tiny_network.network.initial_memory(2))
    expected = (tiny_network.outputs, tiny_network.memory)
    assert_close(results, jax.tree.map(lambda x: np.asarray(x)[::-1], expected))


def test_xlas_own_convolutions_give_the_same_results(tiny_network: TinyNetwork):
    plain = EchoForge(tiny_network.network.config, ConvImplementation.plain())
    outputs, _ = jax.jit(plain.apply)(tiny_network.variables, tiny_network.clip[:, :1])
    np.testing.assert_allclose(outputs.logits, tiny_network.outputs.logits[:, :1], atol=1e-4)


@pytest.fixture(scope="module")
def fuse(tiny_network: TinyNetwork):
    """A frame's stride-16 features, and the compiled fusion of it: memory and seed mask to memory and F."""
    rng = np.random.default_rng(1)
    c = tiny_network.network.config.channels
    x, e, e_hidden = (rng.standard_normal(s).astype(np.float32) for s in ((1, 2, 2, c), (1, 8, 8, c), (1, 8, 8, c)))

    @jax.jit
    def apply(memory: Memory, seed_mask: jax.Array):
        maps = FrameMaps(*map(jnp.asarray, (x, seed_mask, e, e_hidden)))
        return tiny_network.network.apply(tiny_network.variables, memory, maps, method="fuse_frame")

    return x, apply


def test_a_frame_enters_the_memory_with_its_own_predicted_mask(tiny_network: TinyNetwork, fuse):
    x, apply = fuse
    memory, features = apply(tiny_network.network.initial_memory(1), jnp.full((1, 2, 2), 0.3, jnp.float32))
    head = tiny_network.variables["params"]["head"]
    mask = sigmoid(np.asarray(features)[0] @ np.asarray(head["kernel"])[:, 0] + np.asarray(head["bias"])[0])
    cells = mask.reshape(2, 4, 2, 4).mean(axis=(1, 3))
    for token, m in enumerate((cells, 1.0 - cells)):
        expected = sum(m[i, j] * x[0, i, j] for i in range(2) for j in range(2)) / m.sum()
        np.testing.assert_allclose(memory.tokens[0, -1, token], expected, atol=1e-4)
    assert memory.filled.tolist() == [[False, False, True]]


def test_the_seed_mask_is_read_only_while_the_memory_is_empty(tiny_network: TinyNetwork, fuse):
    _, apply = fuse
    rng = np.random.default_rng(2)
    seeds = [jnp.asarray(rng.uniform(0, 1, (1, 2, 2)).astype(np.float32)) for _ in range(2)]
    (memory, first), (_, second) = (apply(tiny_network.network.initial_memory(1), seed) for seed in seeds)
    assert difference(first, second) > 1e-4
    (_, first), (_, second) = (apply(memory, seed) for seed in seeds)
    np.testing.assert_array_equal(first, second)


def test_anchor_recalibration_reaches_the_mask_without_temporal_fusion(tiny_network: TinyNetwork):
    """E is built after ARC: how hard patches are pulled to their anchor shows in every logit that reads E alone."""
    config = dataclasses.replace(TINY_MODEL, temporal_fusion=False, uncertain_interval=(0.0, 1.0))
    network, clip = EchoForge(config), tiny_network.clip[:1, :1]
    variables = random_variables(network, clip, noise=0.05)

    @jax.jit
    def logits(beta):
        arc = {**variables["params"]["anchor_recalibration"], "beta": beta}
        params = {**variables["params"], "anchor_recalibration": arc}
        return network.apply({**variables, "params": params}, clip)[0].logits

    assert difference(logits(jnp.float32(-10.0)), logits(jnp.float32(10.0))) > 1e-2


@pytest.mark.parametrize(("stages", "size"), [(3, (40, 32)), (3, (32, 25)), (4, (32, 48))])
def test_sizes_that_do_not_fit_are_refused(stages: int, size: tuple[int, int]):
    network = EchoForge(dataclasses.replace(TINY_MODEL, encoder_stages=stages))
    message = f"{size[0]}x{size[1]}.*multiples of {2 ** (1 + stages)}"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 1, *size)))


def test_bfloat16_gives_finite_float32_logits_near_those_of_float32(tiny_network: TinyNetwork):
    """With the parameters of the float32 network."""
    network = EchoForge(dataclasses.replace(TINY_MODEL, dtype="bfloat16"))
    with promotion(network.config):
        outputs, memory = jax.jit(network.apply)(tiny_network.variables, tiny_network.clip)
    assert outputs.logits.dtype == jnp.float32 and bool(jnp.isfinite(outputs.logits).all())
    assert memory.tokens.dtype == jnp.bfloat16
    expected = tiny_network.outputs.logits
    assert np.corrcoef(np.asarray(outputs.logits).ravel(), np.asarray(expected).ravel())[0, 1] > 0.95
    assert difference(outputs.logits, expected) > 0.0


# --- switches: shapes only, nothing is compiled ---------------------------------------------------------------------

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
CLIP = jax.ShapeDtypeStruct((2, 2, 64, 32), jnp.float32)


class Traced(NamedTuple):
    """The shapes of a training pass on two clips of two frames of 64x32 pixels."""

    config: ModelConfig
    outputs: Outputs
    memory: Memory
    variables: dict[str, Any]


@functools.cache
def traced(switch: str) -> Traced:
    """Traces the initialisation and the pass of a switch once for all tests."""
    config = dataclasses.replace(TINY_MODEL, **SWITCHES[switch])
    initialise = functools.partial(EchoForge(config).init_with_output, train=True)
    with promotion(config):
        (outputs, memory), variables = jax.eval_shape(initialise, jax.random.key(0), CLIP)
    return Traced(config, outputs, memory, variables)


every_switch = pytest.mark.parametrize("switch", SWITCHES)


@every_switch
def test_results_of_a_switch_have_their_shapes_in_float32(switch: str):
    config, outputs, memory, _ = traced(switch)
    assert outputs.logits.shape == CLIP.shape and outputs.logits.dtype == jnp.float32
    assert outputs.features.shape == (2, 2, 16, 8, config.channels)
    has_seed = config.anchor_recalibration or config.temporal_fusion
    assert (None if outputs.seed_logits is None else outputs.seed_logits.shape) == ((2, 2, 8, 4) if has_seed else None)
    assert (outputs.uncertain_share is not None) is config.anchor_recalibration
    assert memory.filled.shape == (2, config.memory_frames)


@every_switch
def test_a_switch_has_the_parts_it_asks_for_and_no_others(switch: str):
    config, _, _, variables = traced(switch)
    params = variables["params"]
    expected = {"encoder", "coarse_pyramid", "fine_pyramid", "head"}
    if config.temporal_fusion:
        expected |= {"temporal_fusion", "e_hidden"}
    if config.anchor_recalibration:
        expected |= {"anchor_recalibration"}
    elif config.temporal_fusion:
        expected |= {"seed_head"}
    assert set(params) == expected
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    assert ("batch_stats" in variables) is (config.norm != "group")


@every_switch
def test_the_encoder_has_the_stages_blocks_and_input_channels_of_its_switch(switch: str):
    config, _, _, variables = traced(switch)
    encoder = variables["params"]["encoder"]
    stages = {int(match[1]) for name in encoder if (match := re.match(r"layer(\d)_", name))}
    assert stages == set(range(1, config.encoder_stages + 1))
    assert ("conv3" in encoder["layer1_0"]) is (config.encoder_depth == 50)
    assert encoder["conv1"]["kernel"].shape == (7, 7, len(config.input_mean), config.encoder_width)


@pytest.mark.parametrize("switch", ["1 anchor", "ARC", "3 anchors", "4 anchors"])
def test_arc_scores_its_anchors_and_has_a_bias_with_one_anchor(switch: str):
    config, _, _, variables = traced(switch)
    arc = variables["params"]["anchor_recalibration"]
    assert arc["scores"]["kernel"].shape == (config.channels, config.anchors)
    assert ("single_bias" in arc) is (config.anchors == 1)


@pytest.mark.parametrize("switch", ["ARC and TSF", "group norm", "frozen norm"])
def test_a_training_pass_updates_the_statistics_that_there_are(switch: str):
    config, _, _, variables = traced(switch)
    network = EchoForge(config)
    _, updates = jax.eval_shape(lambda v, x: network.apply(v, x, train=True, mutable=["batch_stats"]), variables, CLIP)
    shapes, expected = (jax.tree.map(jnp.shape, tree.get("batch_stats", {})) for tree in (updates, variables))
    assert shapes == expected
