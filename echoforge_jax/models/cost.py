"""What a configuration costs, counted by the compiler before anything runs.

The cost analysis counts a scan's body once. All other work of a clip is proportional to its frames, so a clip of t
frames costs t times a clip of one, whose scan has length one. FLOPs are 2 x multiply-adds, forward pass.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from echoforge_jax.config import ModelConfig
from echoforge_jax.models.echoforge import EchoForge


class Cost(NamedTuple):
    parameters: int
    gflops_per_clip: float


def count_cost(config: ModelConfig, frames: int, size: int) -> Cost:
    """Parameters of the network (without CPR, which inference does not have) and GFLOPs of one clip's forward pass.

    The CPU's client counts, on whatever device the program will run: those of accelerators count compiled programs
    alone. The GFLOPs are nan where JAX_PLATFORMS leaves the CPU out.
    """
    network = EchoForge(config)
    clip = jax.ShapeDtypeStruct((1, 1, size, size), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), clip)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    try:
        host = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return Cost(parameters, math.nan)
    with jax.default_device(host):
        lowered = jax.jit(lambda v, x: network.apply(v, x)[0].logits).lower(variables, clip)
        analysis: Any = lowered.cost_analysis()
    return Cost(parameters, frames * analysis["flops"] / 1e9)
