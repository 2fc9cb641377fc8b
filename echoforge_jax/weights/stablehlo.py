"""A trained network as a program in StableHLO, with the weights inside, that runs without this package."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
from jaxtyping import Array, Float

from data_pipelines.files import write_atomically
from echoforge_jax.errors import ConfigError
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.models.layers.convolution import ConvImplementation
from echoforge_jax.weights.trained import Trained

PLATFORMS = ("cpu", "cuda", "tpu")
PROGRAM = "echoforge.stablehlo"


def save_program(folder: Path, trained: Trained, *, frames: int) -> None:
    """Writes a program for CPU, CUDA and TPU, and the card beside it.

    The program takes grey levels 0..1, (any number of clips, `frames`, size, size) float32, and gives foreground
    probabilities of the same shape. JAX reads such files for six months after they were written: they are no archive.

    Args:
        folder: where the two files are written.
        trained: the network.
        frames: frames of a clip.

    Raises:
        ConfigError: flatbuffers, which JAX writes such files with, is not installed.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise ConfigError("--format=stablehlo needs flatbuffers: pip install echoforge_jax[stablehlo]")
    network = EchoForge(trained.config.model, ConvImplementation.for_any_device())
    size = trained.config.data.size
    (clips,) = jax.export.symbolic_shape("clips")

    def probabilities(image: Float[Array, "b t h w"]) -> Float[Array, "b t h w"]:
        return jax.nn.sigmoid(network.apply(trained.variables, image)[0].logits)

    image = jax.ShapeDtypeStruct((clips, frames, size, size), jnp.float32)
    program = jax.export.export(jax.jit(probabilities), platforms=PLATFORMS)(image)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / PROGRAM, bytes(program.serialize()))
    card = trained.public_card() | {
        "input": f"(clips, {frames}, {size}, {size}) float32, grey levels 0..1",
        "jax": jax.__version__,
    }
    write_atomically(folder / "card.json", json.dumps(card, indent=1).encode())
