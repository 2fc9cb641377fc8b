"""Trained networks on disk: an Orbax inference folder of a run, one safetensors file, or a program in StableHLO."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from data_pipelines.files import write_atomically
from echoforge_jax.config import Config, ModelConfig, read_config
from echoforge_jax.errors import ConfigError
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.weights.inference_folder import load_inference
from echoforge_jax.weights.pretrained import with_preprocessing
from echoforge_jax.weights.safetensors_file import read_card, read_weights, weights_bytes


def load_trained(path: Path) -> tuple[dict[str, Any], Config, dict[str, Any]]:
    """Variables, configuration and card of a trained network.

    Args:
        path: a .safetensors file, an inference folder, or the folder of a run.

    Raises:
        CheckpointError: a folder without a trained network.
        ConfigError: a file that is none, or one of another kind.
    """
    if path.is_file() or path.suffix == ".safetensors":
        card = read_card(path)
        config = read_config(card["config"])
        return read_weights(path, variable_shapes(config.model)), config, card
    inside = path / "inference"
    variables, card = load_inference(inside if (inside / "card.json").is_file() else path)
    return variables, read_config(card["config"]), card


def variable_shapes(model: ModelConfig) -> dict[str, Any]:
    """The structure of a network's variables, without making any."""
    stride = 2 ** (1 + model.encoder_stages)
    clip = jnp.zeros((1, 1, 2 * stride, 2 * stride), jnp.float32)
    shapes: Any = jax.eval_shape(EchoForge(model).init, jax.random.key(0), clip)
    return shapes


def save_released(path: Path, variables: dict[str, Any], card: dict[str, Any], dtype: str) -> None:
    """Writes the single-file form. What names this machine's folders is left out of the card."""
    write_atomically(path, weights_bytes(variables, _without_folders(card), dtype))


def _without_folders(card: dict[str, Any]) -> dict[str, Any]:
    config = read_config(card["config"])
    data = dataclasses.replace(
        config.data,
        root="",
        split_scheme="auto",
        mix=tuple(dataclasses.replace(mix, root=Path(mix.root).name) for mix in config.data.mix),
    )
    model = dataclasses.replace(config.model, pretrained=Path(config.model.pretrained).name)
    training = dataclasses.replace(config.training, start_from=Path(config.training.start_from).name)
    config = dataclasses.replace(config, data=data, model=model, training=training)
    return card | {"config": dataclasses.asdict(config)}


def initial_weights(config: Config) -> tuple[Config, dict[str, Any] | None]:
    """The configuration with the preprocessing that its starting weights need, and the trained network to start from
    (None: an encoder of `config.model.pretrained`, or Kaiming). Heads for the surroundings may be missing there.

    Raises:
        ConfigError: the network to start from is of another configuration; the tensor is named.
        CheckpointError, ConfigError: as `load_trained` and `with_preprocessing`.
    """
    if not config.training.start_from:
        return dataclasses.replace(config, model=with_preprocessing(config.model)), None
    variables, trained, _ = load_trained(Path(config.training.start_from))
    model = dataclasses.replace(
        config.model,
        stride_in_first_1x1=trained.model.stride_in_first_1x1,
        input_mean=trained.model.input_mean,
        input_std=trained.model.input_std,
        pretrained="",
    )
    wanted, found = (
        {jax.tree_util.keystr(path): tuple(leaf.shape) for path, leaf in jax.tree.leaves_with_path(tree)}
        for tree in (variable_shapes(model), variables)
    )
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name) and not (name not in found and "'surroundings_head'" in name):
            raise ConfigError(
                f"config.training.start_from={config.training.start_from!r} does not fit config.model: {name} is "
                f"{found.get(name, 'missing')} there, {wanted.get(name, 'missing')} here"
            )
    return dataclasses.replace(config, model=model), variables
