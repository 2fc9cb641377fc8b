"""Times the training step against the same step in plain Linen (`ConvImplementation.plain`), in one run.

    python scripts/benchmark_step.py [--rounds=5] [--size=128] [--frames=2] [--batch_clips=8] [--plain_pyramid] \
        [--dtype float32 bfloat16]

For each type of arithmetic it prints both times, their ratio (the median over interleaved rounds, so that a noisy
machine disturbs both alike), minutes an epoch, and the share of what one large matrix product reaches on this machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from data_pipelines.batch import Batch
from echoforge_jax.config import Config, replace
from echoforge_jax.distributed import sharding
from echoforge_jax.errors import OK
from echoforge_jax.models.cost import count_cost
from echoforge_jax.models.layers.convolution import ConvImplementation
from echoforge_jax.training.program import Program

SIDES = {"cpu": 2048, "gpu": 8192, "tpu": 8192}  # of the matrix product that stands for the machine's peak
PRODUCTS = 5


@dataclasses.dataclass
class Candidate:
    """One of the steps that are compared.

    Attributes:
        step: the lowered or compiled step.
        state: the state of its training.
        seconds: the time of every round.
    """

    step: Any
    state: Any
    seconds: list[float] = dataclasses.field(default_factory=list)

    def run(self, batch: Batch) -> float:
        """Takes one step; returns its seconds."""
        start = time.perf_counter()
        self.state, metrics = self.step(self.state, batch)
        jax.block_until_ready(metrics)
        return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = parse(arguments)
    configs = [configured(options, dtype) for dtype in options.dtype]
    mesh = sharding.make_mesh(configs[0].training.mesh)
    batch = sharding.put_batch(random_batch(Program.build(configs[0], mesh=mesh)), mesh)
    pairs = [lower_both(config, batch, mesh) for config in configs]
    with ThreadPoolExecutor() as pool:
        for candidate, compiled in [
            (candidate, pool.submit(candidate.step.compile)) for pair in pairs for candidate in pair
        ]:
            candidate.step = compiled.result()
    for config, (ours, plain) in zip(configs, pairs, strict=True):
        for round_number in range(options.rounds + 1):
            for candidate in (ours, plain):
                seconds = candidate.run(batch)
                if round_number:  # the first is a warm-up
                    candidate.seconds.append(seconds)
        report(config, ours.seconds, plain.seconds, epoch_clips=options.clips)
    return OK


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line; None takes that of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, default, text in (
        ("--rounds", 5, "Sets how many steps of each kind are timed"),
        ("--size", 128, "Sets the side of a frame in pixels"),
        ("--frames", 2, "Sets the frames of a clip"),
        ("--batch_clips", 8, "Sets the clips of a batch"),
        ("--clips", 699, "Sets the clips of an epoch, for the minutes that an epoch takes"),
    ):
        parser.add_argument(flag, type=int, default=default, help=f"{text} (default: {default}).")
    parser.add_argument("--plain_pyramid", action="store_true", help="Leaves out ARC and TSF.")
    parser.add_argument(
        "--dtype",
        nargs="+",
        choices=("float32", "bfloat16"),
        default=["float32"],
        help="Chooses the types of the arithmetic that are timed, one after the other (default: float32).",
    )
    return parser.parse_args(arguments)


def configured(options: argparse.Namespace, dtype: str) -> Config:
    """Returns the defaults of the method without pseudo-labels, as the flags say.

    Args:
        options: the command line.
        dtype: type of the arithmetic.
    """
    return replace(
        Config(),
        {
            "data.size": options.size,
            "data.frames": options.frames,
            "data.batch_clips": options.batch_clips,
            "model.dtype": dtype,
            "model.anchor_recalibration": not options.plain_pyramid,
            "model.temporal_fusion": not options.plain_pyramid,
            "pseudo_labels.strategy": None,
        },
    )


def random_batch(program: Program) -> Batch:
    """Makes a batch of noise in which every frame is labelled."""
    rng, shapes = np.random.default_rng(0), program.batch_shapes()
    ones = {
        name: np.ones(shape.shape, shape.dtype)
        for name, shape in shapes._asdict().items()
        if name in ("may_train", "has_reference", "valid")
    }
    return shapes._replace(
        image=rng.random(shapes.image.shape, shapes.image.dtype),
        cavity=rng.integers(0, 2, shapes.cavity.shape, shapes.cavity.dtype),
        view=np.zeros(shapes.view.shape, shapes.view.dtype),
        record=np.arange(len(ones["valid"]), dtype=shapes.record.dtype),
        **ones,
    )


def lower_both(config: Config, batch: Batch, mesh: Mesh) -> tuple[Candidate, Candidate]:
    """Lowers this project's step and that of plain Linen, each with a state of its own.

    Args:
        config: the configuration of the step.
        batch: the batch that both take.
        mesh: the device mesh.
    """

    def candidate(convolutions: ConvImplementation) -> Candidate:
        program = Program.build(config, mesh=mesh, steps_per_epoch=100, convolutions=convolutions)
        step: Any = program.step(with_pseudo_labels=False)
        state = program.init()
        return Candidate(step.lower(state, batch), state)

    return candidate(ConvImplementation.for_this_machine()), candidate(ConvImplementation.plain())


def report(config: Config, ours: Sequence[float], plain: Sequence[float], *, epoch_clips: int) -> None:
    """Prints what was measured.

    Args:
        config: the configuration of the step.
        ours: seconds of each round of this project's step.
        plain: seconds of each round of plain Linen's step.
        epoch_clips: clips of an epoch.
    """
    data, seconds = config.data, statistics.median(ours)
    ratio = statistics.median(b / a for a, b in zip(ours, plain, strict=True))
    # The backward pass costs twice the forward pass.
    gflops = 3 * data.batch_clips * count_cost(config.model, data.frames, data.size).gflops_per_clip
    side = SIDES[jax.default_backend()]
    peak = peak_gflops(side, config.model.dtype)
    print(
        f"{'TSF and ARC' if config.model.temporal_fusion else 'plain pyramid'}, {data.batch_clips} clips of "
        f"{data.frames} frames of {data.size}x{data.size}, {config.model.dtype}, {jax.devices()[0].device_kind}"
    )
    print(
        f"ours {seconds:.4f} s a step, plain Linen {statistics.median(plain):.4f} s; plain / ours {ratio:.2f}\n"
        f"{seconds * epoch_clips / data.batch_clips / 60:.3f} min an epoch of {epoch_clips} clips, without validation\n"
        f"{gflops:.0f} GFLOPs a step (3 x forward) = {gflops / seconds:.0f} GFLOP/s, "
        f"{100 * gflops / seconds / peak:.0f} % of the {peak:.0f} of a {side}x{side} matrix product",
        flush=True,
    )


def peak_gflops(side: int, dtype: str) -> float:
    """Measures billions of operations per second of a product of two random matrices, the best of a few.

    Args:
        side: rows and columns of the matrices.
        dtype: their type.
    """
    square = jax.random.normal(jax.random.key(0), (side, side), jnp.dtype(dtype))
    multiply = jax.jit(jnp.matmul)
    multiply(square, square).block_until_ready()
    seconds = []
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        multiply(square, square).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds) / 1e9


if __name__ == "__main__":
    sys.exit(main())
