"""One-file networks: there and back bit for bit, names as torch has them, half precision for kernels alone."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from echoforge_jax.config import Config, replace
from echoforge_jax.errors import ConfigError
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.training.program import Program
from echoforge_jax.weights.safetensors_file import read_card, read_weights, weights_bytes
from echoforge_jax.weights.trained import Trained, initial_weights, variable_shapes


@pytest.fixture(scope="module")
def variables(tiny_config: Config):
    made = jax.jit(EchoForge(tiny_config.model).init)(jax.random.key(3), jnp.zeros((1, 1, 32, 32)))

    def with_noise(x):
        return np.asarray(x + jnp.linspace(0.01, 0.02, x.size, dtype=x.dtype).reshape(x.shape))

    return jax.tree.map(with_noise, made)


def test_there_and_back_is_bit_equal(variables, tiny_config: Config, tmp_path):
    file = tmp_path / "n.safetensors"
    file.write_bytes(weights_bytes(variables, {"config": {"answer": [4, 2]}}))
    assert read_card(file) == {"config": {"answer": [4, 2]}}
    back = read_weights(file, variable_shapes(tiny_config.model))
    assert jax.tree.structure(back) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    with safe_open(str(file), "numpy") as opened:
        stem = opened.get_tensor("encoder.layer2.0.downsample.0.weight")
        assert stem.shape[2:] == (1, 1)
        np.testing.assert_array_equal(
            stem.transpose(2, 3, 1, 0), variables["params"]["encoder"]["layer2_0"]["downsample_0"]["kernel"]
        )
        assert "encoder.bn1.running_var" in set(opened.keys())
        head = opened.get_tensor("head.weight")
    np.testing.assert_array_equal(head, variables["params"]["head"]["kernel"].T)


def test_half_precision_rounds_kernels_and_spares_variances(variables, tiny_config: Config, tmp_path):
    large = jax.tree.map(np.copy, variables)
    large["batch_stats"]["encoder"]["bn1"]["var"][:] = 3e5  # beyond float16
    file = tmp_path / "n.safetensors"
    file.write_bytes(weights_bytes(large, {}, "float16"))
    back = read_weights(file, variable_shapes(tiny_config.model))
    jax.tree.map(np.testing.assert_array_equal, back["batch_stats"], large["batch_stats"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), back["params"], large["params"])
    assert file.stat().st_size < 0.75 * len(weights_bytes(large, {}))


def test_what_does_not_fit_is_named(variables, tiny_config: Config, tmp_path):
    file, other = tmp_path / "n.safetensors", dataclasses.replace(tiny_config.model, encoder_width=16)
    file.write_bytes(weights_bytes(variables, {"config": dataclasses.asdict(tiny_config)}))
    with pytest.raises(ConfigError, match="encoder"):
        read_weights(file, variable_shapes(other))
    with pytest.raises(ConfigError, match="tensors that the network does not have"):
        read_weights(file, variable_shapes(dataclasses.replace(tiny_config.model, temporal_fusion=False)))
    save_file({"conv1.weight": np.zeros(3, np.float32)}, tmp_path / "encoder.safetensors")
    (tmp_path / "garbage.safetensors").write_bytes(b"garbage")
    faults = {"encoder": "no trained EchoForge", "garbage": "not a safetensors", "none": "not a file"}
    for name, message in faults.items():
        with pytest.raises(ConfigError, match=message):
            Trained.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(ConfigError, match=r"start_from.*encoder"):
        initial_weights(replace(tiny_config, {"model.encoder_width": 16, "training.start_from": str(file)}))


def test_a_training_starts_from_a_network_of_the_same_parts_and_no_other(variables, tiny_config: Config, tmp_path):
    file = tmp_path / "n.safetensors"
    file.write_bytes(weights_bytes(variables, {"config": dataclasses.asdict(tiny_config)}))
    config = replace(tiny_config, {"training.start_from": str(file)})
    start = initial_weights(config)
    state = Program.build(start.config, trained_variables=start.variables).init()
    jax.tree.map(np.testing.assert_array_equal, state.params["network"], variables["params"])
    with pytest.raises(ConfigError, match=r"missing here"):
        initial_weights(replace(config, {"model.anchor_recalibration": False}))


def test_a_released_file_tells_no_folder_and_a_training_starts_from_it(variables, tiny_config: Config, tmp_path):
    file = tmp_path / "n.safetensors"
    used = replace(
        tiny_config,
        {
            "data.root": "/somewhere/private",
            "model.pretrained": "/somewhere/private/r.safetensors",
            "model.input_mean": (0.3,),
            "training.start_from": "/somewhere/private/run",
        },
    )
    Trained(variables, used, {"epoch": 3}).save(file)
    assert "private/" not in json.dumps(read_card(file)) and "r.safetensors" in json.dumps(read_card(file))
    trained = Trained.load(file)
    assert trained.card["epoch"] == 3 and trained.config.model.input_mean == (0.3,)
    jax.tree.map(np.testing.assert_array_equal, trained.variables, variables)
    start = initial_weights(replace(tiny_config, {"training.start_from": str(file)}))
    assert start.config.model.input_mean == (0.3,) and start.config.model.pretrained is None
    jax.tree.map(np.testing.assert_array_equal, start.variables, variables)
    anew = initial_weights(tiny_config)
    assert anew.config == tiny_config and anew.variables is None
