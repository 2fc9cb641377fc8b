"""Training step with 1x1 convolutions as matrix products against the same step in plain Linen, in one run.

    python scripts/benchmark_step.py [--rounds=5] [--size=128] [--frames=2] [--batch_clips=4]

Prints both times and their ratio: the median over interleaved rounds, so that a noisy machine disturbs both alike.
"""

from __future__ import annotations

import dataclasses
import statistics
import time

import jax
import numpy as np
from absl import app, flags

from echoforge_jax import parallel
from echoforge_jax.config import Config
from echoforge_jax.models.convolution import plain_convolutions
from echoforge_jax.training import flamerise
from echoforge_jax.training.state import initial_state, make_networks, make_optimiser
from echoforge_jax.training.step import make_step

_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed steps of each kind.")
_SIZE = flags.DEFINE_integer("size", 128, "Frame size, pixels.")
_FRAMES = flags.DEFINE_integer("frames", 2, "Frames a clip.")
_BATCH = flags.DEFINE_integer("batch_clips", 4, "Clips a batch.")


def main(_: list[str]) -> None:
    config = Config()
    data = dataclasses.replace(config.data, size=_SIZE.value, frames=_FRAMES.value, batch_clips=_BATCH.value)
    config = dataclasses.replace(config, data=data)
    mesh = parallel.make_mesh(config.training.mesh)
    optimiser, rate = make_optimiser(config.optimiser, 1000)
    schedules = flamerise.by_step(config.semi, 10, 100)
    clips = (data.batch_clips, data.frames)
    rng = np.random.default_rng(0)
    batch = parallel.put_batch(
        {
            "image": rng.random((*clips, data.size, data.size), np.float32),
            "mask": rng.integers(0, 2, (*clips, data.size, data.size), np.uint8),
            "labelled": np.ones(clips, np.float32), "annotated": np.ones(clips, np.float32),
            "valid": np.ones(clips[0], np.float32), "view": np.zeros(clips[0], np.int32),
            "record": np.arange(clips[0], dtype=np.int32),
        },
        mesh,
    )  # fmt: skip
    initialise = jax.jit(lambda key: initial_state(config, optimiser, key), out_shardings=parallel.replicated(mesh))
    states = [initialise(jax.random.key(0)) for _ in range(2)]

    def compiled(state):
        step = make_step(config, make_networks(config), optimiser, rate, schedules, mesh, with_pseudo_labels=False)
        return step.lower(state, batch).compile()

    ours = compiled(states[0])
    with plain_convolutions():
        plain = compiled(states[1])
    steps, seconds = (ours, plain), ([], [])
    for round_ in range(_ROUNDS.value + 1):
        for i, step in enumerate(steps):
            start = time.perf_counter()
            states[i], metrics = step(states[i], batch)
            jax.block_until_ready(metrics)
            if round_:  # the first is a warm-up
                seconds[i].append(time.perf_counter() - start)
    fast, slow = (statistics.median(s) for s in seconds)
    ratio = statistics.median(b / a for a, b in zip(*seconds, strict=True))
    print(f"{clips[0]} clips of {data.frames} frames of {data.size}x{data.size}, {jax.devices()[0].device_kind}")
    print(f"1x1 as matrix products: {fast:.3f} s a step; plain Linen: {slow:.3f} s; plain / ours {ratio:.2f}")


if __name__ == "__main__":
    app.run(main)
