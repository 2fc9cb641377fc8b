"""echoforge_jax.weights.stablehlo."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from data_pipelines.files import write_atomically
from echoforge_jax.config import read_config
from echoforge_jax.errors import ConfigError
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.weights.trained import _without_folders

PLATFORMS = ("cpu", "cuda", "tpu")
PROGRAM = "echoforge.stablehlo"


def save_program(folder: Path, variables: dict[str, Any], card: dict[str, Any], frames: int) -> None:
    """Writes a program (weights inside) that runs without this package, for CPU, CUDA and TPU, and the card beside it.

    It takes grey levels 0..1, (any number of clips, `frames`, size, size) float32, and gives foreground probabilities
    of the same shape. JAX reads such files for six months after they were written: they are not an archive.

    Raises:
        ConfigError: flatbuffers, which JAX writes them with, is not installed.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise ConfigError("--format=stablehlo needs flatbuffers: pip install echoforge_jax[stablehlo]")
    config = read_config(card["config"])
    network, size = EchoForge(config.model), config.data.size
    (clips,) = jax.export.symbolic_shape("clips")
    probabilities = jax.jit(lambda image: jax.nn.sigmoid(network.apply(variables, image)[0].logits))
    image = jax.ShapeDtypeStruct((clips, frames, size, size), jnp.float32)
    program = jax.export.export(probabilities, platforms=PLATFORMS)(image)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / PROGRAM, bytes(program.serialize()))
    about = {"input": f"(clips, {frames}, {size}, {size}) float32, grey levels 0..1", "jax": jax.__version__}
    write_atomically(folder / "card.json", json.dumps(_without_folders(card) | about, indent=1).encode())
