"""Trained networks: reading one from a file, an inference folder or a run, writing one file, and starting from one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from data_pipelines.files import write_atomically
from echoforge_jax.config import Config, ModelConfig, read_config, replace, stored_form
from echoforge_jax.errors import ConfigError
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.weights.pretrained import with_preprocessing
from echoforge_jax.weights.safetensors_file import DType, read_card, read_weights, weights_bytes


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained network.

    Attributes:
        variables: {"params": ..., "batch_stats": ...}.
        config: The configuration that it was trained with.
        card: What its file says of it: configuration, step, epoch, validation score.
    """

    variables: dict[str, Any]
    config: Config
    card: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> Trained:
        """Reads a trained network.

        Args:
            path: a .safetensors file, an inference folder, or the folder of a run.

        Raises:
            ConfigError: a folder without a trained network, a file that is none, or one of another kind.
        """
        if path.is_file() or path.suffix == ".safetensors":
            card = read_card(path)
            config = read_config(card["config"])
            return cls(read_weights(path, variable_shapes(config.model)), config, card)
        from echoforge_jax.weights.inference_folder import CARD, load_inference  # Orbax is heavy, and only needed here

        inside = path / "inference"
        saved = load_inference(inside if (inside / CARD).is_file() else path)
        return cls(saved.variables, read_config(saved.card["config"]), saved.card)

    def with_config(self, config: Config) -> Trained:
        """Returns the same network with another configuration, also in its card."""
        return Trained(self.variables, config, self.card | {"config": stored_form(config)})

    def save(self, path: Path, dtype: DType = "float32") -> None:
        """Writes one safetensors file. Names of this machine's folders are left out of its card.

        Args:
            path: of the file.
            dtype: type of the kernels in it.
        """
        write_atomically(path, weights_bytes(self.variables, self.public_card(), dtype))

    def public_card(self) -> dict[str, Any]:
        """Returns the card without the names of this machine's folders."""
        config = self.config
        public = replace(
            config,
            {
                "data.root": None,
                "data.split_scheme": None,
                "data.mix": tuple(dataclasses.replace(mix, root=Path(mix.root).name) for mix in config.data.mix),
                "model.pretrained": _file_name(config.model.pretrained),
                "training.start_from": _file_name(config.training.start_from),
            },
        )
        return self.card | {"config": stored_form(public)}


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """Where a training starts.

    Attributes:
        config: The configuration, with the preprocessing that the starting weights need.
        variables: Variables of the trained network to start from. None starts from the encoder that the configuration
            names, or from Kaiming initialisation.
    """

    config: Config
    variables: dict[str, Any] | None


def variable_shapes(model: ModelConfig) -> dict[str, Any]:
    """Returns shapes and types of a network's variables, without making any."""
    clip = jnp.zeros((1, 1, 2 * model.stride, 2 * model.stride), jnp.float32)
    shapes: Any = jax.eval_shape(EchoForge(model).init, jax.random.key(0), clip)
    return shapes


def initial_weights(config: Config) -> Start:
    """Finds the weights that a configuration starts from, and the preprocessing that they need.

    Raises:
        ConfigError: a file is missing or of another kind, or the network to start from is of another configuration (the
            array is named).
        CheckpointError: a folder without a trained network.
    """
    if config.training.start_from is None:
        return Start(dataclasses.replace(config, model=with_preprocessing(config.model)), None)
    if not Path(config.training.start_from).exists():
        raise ConfigError(
            f"config.training.start_from={config.training.start_from!r}: no such file or folder; expected a run, an "
            "inference folder or a .safetensors file"
        )
    trained = Trained.load(Path(config.training.start_from))
    start = replace(
        config,
        {
            "model.stride_in_first_1x1": trained.config.model.stride_in_first_1x1,
            "model.input_mean": trained.config.model.input_mean,
            "model.input_std": trained.config.model.input_std,
            "model.pretrained": None,
        },
    )
    wanted, given = _shapes_by_name(variable_shapes(start.model)), _shapes_by_name(trained.variables)
    for name in sorted(wanted.keys() | given.keys()):
        if wanted.get(name) != given.get(name):
            raise ConfigError(
                f"config.training.start_from={config.training.start_from!r} does not fit config.model: {name} is "
                f"{given.get(name, 'missing')} there, {wanted.get(name, 'missing')} here"
            )
    return Start(start, trained.variables)


def _shapes_by_name(tree: Any) -> dict[str, tuple[int, ...]]:
    return {jax.tree_util.keystr(path): tuple(leaf.shape) for path, leaf in jax.tree.leaves_with_path(tree)}


def _file_name(path: str | None) -> str | None:
    return None if path is None else Path(path).name
