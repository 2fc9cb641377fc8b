"""One small network, compiled once for all tests of the models."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoforge_jax.config import ModelConfig
from echoforge_jax.models.echoforge import EchoForge, Outputs
from echoforge_jax.models.memory import Memory
from tests.helpers.oracles import random_variables


@dataclasses.dataclass(frozen=True)
class TinyNetwork:
    """The small network with random parameters, and its results for one batch of clips.

    Attributes:
        network: the module.
        variables: its parameters and running statistics.
        apply: the compiled network: clip and memory to results and memory.
        clip: two clips of five frames of 32x32 pixels; the memory holds three.
        outputs: the results for the whole clips.
        memory: the memory after them.
    """

    network: EchoForge
    variables: dict[str, Any]
    apply: Callable[[jax.Array, Memory], tuple[Outputs, Memory]]
    clip: jax.Array
    outputs: Outputs
    memory: Memory


@pytest.fixture(scope="session")
def tiny_network(tiny_model: ModelConfig) -> TinyNetwork:
    network = EchoForge(tiny_model)
    clip = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (2, 5, 32, 32)).astype(np.float32))
    variables = random_variables(network, clip[:1, :1], noise=0.05)
    apply = jax.jit(lambda clip, memory: network.apply(variables, clip, memory))
    outputs, memory = apply(clip, network.initial_memory(2))
    return TinyNetwork(network, variables, apply, clip, outputs, memory)
