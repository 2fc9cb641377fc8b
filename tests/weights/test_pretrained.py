"""Pretrained encoders: torchvision's layout, both preprocessings, and files that do not fit."""

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file
from skimage import data as pictures

from echoforge_jax.config import ModelConfig
from echoforge_jax.errors import ConfigError
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.models.layers.resnet import ResNet
from echoforge_jax.weights.pretrained import TORCHVISION_MEAN, TORCHVISION_STD, load_encoder, with_preprocessing

WIDTH = 8
V1 = {"stride": "v1: in the first 1x1 convolution", "input": "BGR, 0..255, minus [103.939,116.779,123.68]"}


def torchvision_resnet50() -> dict[str, np.ndarray]:
    """Random tensors under every key of torchvision's ResNet-50, a width of 8 in place of 64."""
    rng = np.random.default_rng(0)
    out: dict[str, np.ndarray] = {}

    def conv(key: str, outputs: int, inputs: int, size: int) -> None:
        out[f"{key}.weight"] = rng.standard_normal((outputs, inputs, size, size)).astype(np.float32)

    def norm(key: str, channels: int) -> None:
        for name in ("weight", "bias", "running_mean"):
            out[f"{key}.{name}"] = rng.standard_normal(channels).astype(np.float32)
        out[f"{key}.running_var"] = rng.uniform(0.5, 2.0, channels).astype(np.float32)
        out[f"{key}.num_batches_tracked"] = np.array([1], np.int64)

    conv("conv1", WIDTH, 3, 7)
    norm("bn1", WIDTH)
    inputs = WIDTH
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        inner = WIDTH * 2 ** (stage - 1)
        for block in range(blocks):
            key = f"layer{stage}.{block}"
            for i, (a, b, size) in enumerate([(inputs, inner, 1), (inner, inner, 3), (inner, 4 * inner, 1)], 1):
                conv(f"{key}.conv{i}", b, a, size)
                norm(f"{key}.bn{i}", b)
            if block == 0:
                conv(f"{key}.downsample.0", 4 * inner, inputs, 1)
                norm(f"{key}.downsample.1", 4 * inner)
            inputs = 4 * inner
    out["fc.weight"] = rng.standard_normal((10, inputs)).astype(np.float32)
    out["fc.bias"] = rng.standard_normal(10).astype(np.float32)
    return out


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return torchvision_resnet50()


@pytest.fixture(scope="module")
def weights(tensors, tmp_path_factory) -> Path:
    """The tensors as torchvision would hold them, without metadata: v1.5."""
    path = tmp_path_factory.mktemp("weights") / "resnet50.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def config(tiny_model: ModelConfig, weights: Path) -> ModelConfig:
    return dataclasses.replace(
        tiny_model,
        encoder_depth=50,
        encoder_width=WIDTH,
        pretrained=str(weights),
        input_mean=TORCHVISION_MEAN,
        input_std=TORCHVISION_STD,
    )


def variables_of(config: ModelConfig) -> dict[str, Any]:
    """What `init` would return, filled with zeros; nothing is compiled."""
    shapes = jax.eval_shape(EchoForge(config).init, jax.random.key(0), jnp.zeros((1, 1, 32, 32)))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), dict(shapes))


def leaf_of(encoder: dict[str, Any], module: str) -> dict[str, Any]:
    """'layer2.0.downsample.1' -> the module of that name."""
    parts = module.split(".")
    if parts[0].startswith("layer"):
        encoder = encoder[f"{parts[0]}_{parts[1]}"]
        parts = parts[2:]
    return encoder["_".join(parts)]


@pytest.mark.parametrize("stages", [3, 4])
def test_every_tensor_lands_where_it_belongs(config: ModelConfig, tensors, stages: int):
    """Kernels OIHW -> HWIO, scales, biases and statistics; layer4 only if asked for, fc never; the rest untouched."""
    config = dataclasses.replace(config, encoder_stages=stages)
    before = variables_of(config)
    after = load_encoder(before, config)
    params, stats = after["params"]["encoder"], after["batch_stats"]["encoder"]
    wanted = [key for key in tensors if not key.startswith(("fc.", *(f"layer{s}." for s in range(stages + 1, 5))))]
    placed = 0
    for key in wanted:
        module, name = key.rsplit(".", 1)
        if name == "num_batches_tracked":
            continue
        if name == "weight" and tensors[key].ndim == 4:
            found, expected = leaf_of(params, module)["kernel"], np.einsum("oihw->hwio", tensors[key])
        elif name in ("weight", "bias"):
            found, expected = leaf_of(params, module)[{"weight": "scale", "bias": "bias"}[name]], tensors[key]
        else:
            found = leaf_of(stats, module)[{"running_mean": "mean", "running_var": "var"}[name]]
            expected = tensors[key]
        np.testing.assert_array_equal(found, expected)
        placed += 1
    assert placed == len(jax.tree.leaves((params, stats)))
    for collection in ("params", "batch_stats"):
        assert set(after[collection]) == set(before[collection])
        for name in set(before[collection]) - {"encoder"}:
            jax.tree.map(np.testing.assert_array_equal, after[collection][name], before[collection][name])
    assert not np.any(before["params"]["encoder"]["conv1"]["kernel"])  # the input is left as it was


def test_without_metadata_the_preprocessing_is_torchvisions(config: ModelConfig):
    other = dataclasses.replace(config, stride_in_first_1x1=True, input_mean=(0.5,), input_std=(0.5,))
    found = with_preprocessing(other)
    assert found == dataclasses.replace(
        config, stride_in_first_1x1=False, input_mean=(0.485, 0.456, 0.406), input_std=(0.229, 0.224, 0.225)
    )


def test_v1_metadata_switches_strides_and_preprocessing(config: ModelConfig, tensors, tmp_path: Path):
    """(grey - mean) / std is then 255 grey minus the file's mean, blue first."""
    path = tmp_path / "v1.safetensors"
    save_file(tensors, path, metadata=V1)
    found = with_preprocessing(dataclasses.replace(config, pretrained=str(path)))
    assert found.stride_in_first_1x1
    grey = np.array([0.0, 0.3, 1.0])[:, None]
    np.testing.assert_allclose(
        (grey - np.array(found.input_mean)) / np.array(found.input_std),
        255.0 * grey - np.array([103.939, 116.779, 123.68]),
        atol=1e-4,
    )


def test_v1_metadata_without_a_readable_mean_is_refused(config: ModelConfig, tensors, tmp_path: Path):
    path = tmp_path / "v1.safetensors"
    save_file(tensors, path, metadata={**V1, "input": "RGB, 0..1"})
    with pytest.raises(ConfigError, match=r"v1\.safetensors.*RGB, 0\.\.1.*BGR"):
        with_preprocessing(dataclasses.replace(config, pretrained=str(path)))


def test_no_pretrained_file_leaves_the_configuration(tiny_model: ModelConfig):
    assert with_preprocessing(tiny_model) is tiny_model


def test_strides_follow_the_switch():
    """v1 strides in the first 1x1 convolution of a stage, v1.5 in its 3x3; the maps have the same shapes."""
    image = jnp.zeros((1, 32, 32, 3))
    for first in (False, True):
        network = ResNet(depth=50, width=8, stages=2, stride_in_first_1x1=first)
        _, seen = jax.eval_shape(
            lambda x, network=network: network.init_with_output(
                jax.random.key(0), x, False, capture_intermediates=True, mutable=True
            ),
            image,
        )
        block = seen["intermediates"]["layer2_0"]
        sides = [block[f"conv{i}"]["__call__"][0].shape[1] for i in (1, 2, 3)]
        assert sides == ([4, 4, 4] if first else [8, 4, 4])


def without(tensors, key: str):
    return {name: value for name, value in tensors.items() if name != key}


@pytest.mark.parametrize("key", ["layer2.1.conv2.weight", "layer3.0.downsample.1.running_var", "bn1.bias"])
def test_a_missing_key_is_named(config: ModelConfig, tensors, tmp_path: Path, key: str):
    path = tmp_path / "short.safetensors"
    save_file(without(tensors, key), path)
    with pytest.raises(ConfigError, match=rf"short\.safetensors has no {key.replace('.', '[.]')}"):
        load_encoder(variables_of(config), dataclasses.replace(config, pretrained=str(path)))


def test_a_file_that_stops_at_layer3_says_so_to_four_stages(config: ModelConfig, tensors, tmp_path: Path):
    path = tmp_path / "layer3.safetensors"
    save_file({k: v for k, v in tensors.items() if not k.startswith(("layer4", "fc"))}, path)
    config = dataclasses.replace(config, pretrained=str(path))
    load_encoder(variables_of(config), config)
    four = dataclasses.replace(config, encoder_stages=4)
    with pytest.raises(ConfigError, match=r"has no layer4.*holds layer1, layer2, layer3.*4 stages"):
        load_encoder(variables_of(four), four)


@pytest.mark.parametrize("change", [{"encoder_width": 16}, {"input_mean": (0.2,), "input_std": (0.2,)}])
def test_a_wrong_shape_is_named(config: ModelConfig, change):
    """Another width, or grey images for a kernel that reads three channels."""
    config = dataclasses.replace(config, **change)
    with pytest.raises(ConfigError, match=r"resnet50\.safetensors: .*(conv|bn|layer)\S* is \(.*the model needs \("):
        load_encoder(variables_of(config), config)


@pytest.mark.parametrize("reader", [with_preprocessing, lambda c: load_encoder(variables_of(c), c)])
def test_files_that_are_not_safetensors_are_refused(config: ModelConfig, tensors, tmp_path: Path, reader):
    """A pickle is not read; a missing file is named."""
    path = tmp_path / "resnet50.pth"
    path.write_bytes(pickle.dumps(tensors["conv1.weight"]))
    with pytest.raises(ConfigError, match=r"resnet50\.pth is not a safetensors file.*converted"):
        reader(dataclasses.replace(config, pretrained=str(path)))
    with pytest.raises(ConfigError, match=r"nowhere\.safetensors.*not a file"):
        reader(dataclasses.replace(config, pretrained=str(tmp_path / "nowhere.safetensors")))


def test_group_norm_cannot_take_batch_statistics(config: ModelConfig):
    config = dataclasses.replace(config, norm="group")
    with pytest.raises(ConfigError, match=r"norm.*'batch' or 'frozen'"):
        load_encoder(variables_of(config), config)


@pytest.fixture(scope="module")
def real_weights(real_data: Path) -> Path:
    file = real_data.parent / "weights" / "resnet50_imagenet_conv1_layer3.safetensors"
    if not file.is_file():
        pytest.skip("no weights/resnet50_imagenet_conv1_layer3.safetensors beside the real data")
    return file


def test_real_weights_see_photographs_as_they_did_in_training(real_weights: Path):
    """What enters layer3's norms spreads as the running statistics say, averaged over four photographs: a wrong scale
    or v1.5 strides do not come as near."""
    config = with_preprocessing(ModelConfig(pretrained=str(real_weights)))
    assert config.stride_in_first_1x1
    variables = load_encoder(variables_of(config), config)
    variables = {name: variables[name]["encoder"] for name in ("params", "batch_stats")}
    photos = [picture() for picture in (pictures.astronaut, pictures.coffee, pictures.chelsea, pictures.rocket)]
    photos[0] = photos[0][::2, ::2]
    corners = [((p.shape[0] - 256) // 2, (p.shape[1] - 256) // 2) for p in photos]
    photos = [p[i : i + 256, j : j + 256, ::-1] for p, (i, j) in zip(photos, corners, strict=True)]  # blue first
    images = (np.stack(photos) / 255.0 - np.array(config.input_mean)) / np.array(config.input_std)

    def spread(stride_in_first_1x1: bool) -> float:
        network = ResNet(stride_in_first_1x1=stride_in_first_1x1)
        maps, seen = jax.jit(
            lambda v, x: network.apply(v, x, False, mutable=["intermediates"], capture_intermediates=True)
        )(variables, jnp.asarray(images, jnp.float32))
        assert [m.shape[1:] for m in maps] == [(64, 64, 256), (32, 32, 512), (16, 16, 1024)]
        assert 0.5 < float(maps[-1].std()) < 1.5
        normalised = []
        for block in range(6):
            for i in (1, 2, 3):
                before = np.asarray(seen["intermediates"][f"layer3_{block}"][f"conv{i}"]["__call__"][0])
                stats = variables["batch_stats"][f"layer3_{block}"][f"bn{i}"]
                normalised.append(((before - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)).std(axis=(1, 2, 3)))
        return float(np.mean(normalised))

    assert spread(True) == pytest.approx(1.0, abs=0.06)
    assert spread(False) < 0.94
