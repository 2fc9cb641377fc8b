"""The training step as it is against the same step in plain Linen (`ConvImplementation.plain`), in one run.

    python scripts/benchmark_step.py [--rounds=5] [--size=128] [--frames=2] [--batch_clips=8] [--plain_pyramid] \
        [--dtype=float32,bfloat16]

For each kind of arithmetic prints both times, their ratio (the median over interleaved rounds, so that a noisy machine
disturbs both alike), minutes an epoch, and the share of what one large matrix product reaches on this machine.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax.sharding import Mesh

from data_pipelines.batches import Batch
from echoforge_jax.config import Config, DataConfig
from echoforge_jax.distributed import sharding
from echoforge_jax.models.cost import count_cost
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.models.layers.convolution import ConvImplementation
from echoforge_jax.training import flamerise
from echoforge_jax.training.state import Networks, initial_state, make_networks, make_optimizer
from echoforge_jax.training.step import make_step

_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed steps of each kind.")
_SIZE = flags.DEFINE_integer("size", 128, "Frame size, pixels.")
_FRAMES = flags.DEFINE_integer("frames", 2, "Frames a clip.")
_BATCH = flags.DEFINE_integer("batch_clips", 8, "Clips a batch.")
_CLIPS = flags.DEFINE_integer("clips", 699, "Clips of an epoch, for the minutes.")
_PLAIN = flags.DEFINE_bool("plain_pyramid", False, "Without ARC and TSF.")
_DTYPES = flags.DEFINE_list("dtype", ["float32"], "Of the arithmetic, as config.model.dtype; several: one by one.")
SIDES = {"cpu": 2048, "gpu": 8192, "tpu": 8192}  # of the matrix product that stands for the machine's peak


def peak_gflops(side: int, dtype: str) -> float:
    """Billions of operations a second of a matrix product of random numbers, the best of a few."""
    square = jax.random.normal(jax.random.key(0), (side, side), jnp.dtype(dtype))
    multiply = jax.jit(jnp.matmul)
    multiply(square, square).block_until_ready()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        multiply(square, square).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds) / 1e9


Programs = list[tuple[Any, Any]]


def main(_: list[str]) -> None:
    configs = [configured(dtype) for dtype in _DTYPES.value]
    mesh = sharding.make_mesh(configs[0].training.mesh)
    batch = sharding.put_batch(random_batch(configs[0].data), mesh)
    programs = [program for config in configs for program in lowered(config, batch, mesh)]
    with ThreadPoolExecutor() as pool:
        steps = list(pool.map(lambda program: (program[0], program[1].compile()), programs))
    for place, config in enumerate(configs):
        compare(config, steps[2 * place : 2 * place + 2], batch)


def configured(dtype: str) -> Config:
    """The defaults of the method, supervised, as the flags say."""
    config = Config()
    data = dataclasses.replace(config.data, size=_SIZE.value, frames=_FRAMES.value, batch_clips=_BATCH.value)
    model = dataclasses.replace(config.model, dtype=dtype)
    if _PLAIN.value:
        model = dataclasses.replace(model, anchor_recalibration=False, temporal_fusion=False)
    return dataclasses.replace(
        config, data=data, model=model, semi=dataclasses.replace(config.semi, pseudo_labels="none")
    )


def random_batch(data: DataConfig) -> Batch:
    clips = (data.batch_clips, data.frames)
    rng = np.random.default_rng(0)
    return {
        "image": rng.random((*clips, data.size, data.size), np.float32),
        "cavity": rng.integers(0, 2, (*clips, data.size, data.size), np.uint8),
        "may_train": np.ones(clips, np.float32),
        "has_reference": np.ones(clips, np.float32),
        "valid": np.ones(clips[0], np.float32),
        "view": np.zeros(clips[0], np.int32),
        "record": np.arange(clips[0], dtype=np.int32),
    }


def lowered(config: Config, batch: Batch, mesh: Mesh) -> Programs:
    """A state and the step that takes it, of this project and of plain Linen."""
    optimizer, rate = make_optimizer(config.optimizer, 1000)
    schedules = flamerise.by_step(config.semi, 10, 100)
    initialise = jax.jit(lambda key: initial_state(config, optimizer, key), out_shardings=sharding.replicated(mesh))

    def program(networks: Networks) -> tuple[Any, Any]:
        step: Any = make_step(config, networks, optimizer, rate, schedules, mesh, with_pseudo_labels=False)
        state = initialise(jax.random.key(0))
        return state, step.lower(state, batch)

    networks = make_networks(config)
    plain = networks._replace(network=EchoForge(config.model, ConvImplementation.plain()))
    return [program(networks), program(plain)]


def compare(config: Config, steps: Programs, batch: Batch) -> None:
    """Times both in turn, and prints."""
    data, seconds = config.data, ([], [])
    states = [state for state, _ in steps]
    for round_ in range(_ROUNDS.value + 1):
        for i, (_, step) in enumerate(steps):
            start = time.perf_counter()
            states[i], metrics = step(states[i], batch)
            jax.block_until_ready(metrics)
            if round_:  # the first is a warm-up
                seconds[i].append(time.perf_counter() - start)
    fast, slow = (statistics.median(s) for s in seconds)
    ratio = statistics.median(b / a for a, b in zip(*seconds, strict=True))
    clips = data.batch_clips
    gflops = 3 * clips * count_cost(config.model, data.frames, data.size).gflops_per_clip  # backward: twice forward
    side = SIDES[jax.default_backend()]
    peak = peak_gflops(side, config.model.dtype)
    network = "plain pyramid" if _PLAIN.value else "TSF and ARC"
    device = jax.devices()[0].device_kind
    print(
        f"{network}, {clips} clips of {data.frames} frames of {data.size}x{data.size}, {config.model.dtype}, {device}"
    )
    print(f"ours {fast:.4f} s a step, plain Linen {slow:.4f} s; plain / ours {ratio:.2f}")
    print(f"{fast * _CLIPS.value / clips / 60:.3f} min an epoch of {_CLIPS.value} clips, without validation")
    print(
        f"{gflops:.0f} GFLOPs a step (3 x forward) = {gflops / fast:.0f} GFLOP/s, {100 * gflops / fast / peak:.0f} % "
        f"of the {peak:.0f} of a {side}x{side} matrix product",
        flush=True,
    )


if __name__ == "__main__":
    app.run(main)
