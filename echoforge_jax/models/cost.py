"""The size and the arithmetic of a network, counted by the compiler without running it.

The compiler counts the body of a scan once. All other work of a clip is proportional to its number of frames. So a clip
of t frames costs t times a clip of one frame, whose scan has length one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from echoforge_jax.config import ModelConfig
from echoforge_jax.models.echoforge import EchoForge


class Cost(NamedTuple):
    """What a network costs.

    Attributes:
        parameters: number of trained numbers in the network, without CPR, which prediction does not need.
        gflops_per_clip: 10^9 floating-point operations of one clip's forward pass; a multiply-add counts as two. NaN
            where they could not be counted.
    """

    parameters: int
    gflops_per_clip: float


def count_cost(config: ModelConfig, frames: int, size: int) -> Cost:
    """Counts the parameters of a network and the operations of its forward pass.

    The CPU's compiler counts, whatever device the network will run on, because those of accelerators count compiled
    programs only. The GFLOPs are NaN where JAX_PLATFORMS leaves the CPU out.

    Args:
        config: the network.
        frames: frames of a clip.
        size: side of the square frames, pixels.
    """
    network = EchoForge(config)
    clip = jax.ShapeDtypeStruct((1, 1, size, size), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), clip)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return Cost(parameters, math.nan)
    with jax.default_device(cpu):
        lowered = jax.jit(lambda variables, clip: network.apply(variables, clip)[0].logits).lower(variables, clip)
        analysis = lowered.cost_analysis() or {}
    return Cost(parameters, frames * analysis.get("flops", math.nan) / 1e9)
