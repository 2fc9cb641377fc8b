"""Table 2: parameters, FLOPs, frames per second and the latency of streaming, measured on the device at hand.

Weights are random, because they change no time. Rows are timed in turns, so that a noisy machine disturbs all alike.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from data_pipelines.preprocessing import to_unit_range
from echoforge_jax.config import Config
from echoforge_jax.inference import Predictor
from echoforge_jax.models.cost import count_cost
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.reproduction.reading import named, read_json
from echoforge_jax.reproduction.rows import CAMUS, TABLES, Row
from echoforge_jax.reproduction.study import Study, configured
from echoforge_jax.weights.trained import Trained

PERCENTILES = (50, 95, 99)
WARM_UP_FRAMES = 5
NOTE = (
    "Parameters and GFLOPs of inference (CPR belongs to training); GFLOPs a clip, 2 x multiply-adds, the compiler's "
    "count. Frames/s: whole clips, resizing left out, median over rounds; latency: one frame at a time, with resizing."
)
HEAD = (
    "| row | device | clips x frames x size | parameters, M | GFLOPs | frames/s | latency p50 / p95 / p99, ms |",
    "|---|---|---|---|---|---|---|",
)
PAPER_LINE = "| the paper's EchoForge | RTX 3090 | ? x ? x 256 | 67 | 125 (not said per what) | 46 | n/a |"


@dataclasses.dataclass(frozen=True)
class SpeedLine:
    """One line of Table 2. The names of the attributes are those of its JSON.

    Attributes:
        row: the network.
        device: kind of the device.
        batch_clips: clips of a timed pass.
        frames: frames of a clip.
        size: side of a frame in pixels.
        parameters_m: parameters, in millions.
        gflops_per_clip: the compiler's count for one clip, in billions.
        frames_per_s: frames per second of whole clips, median over the rounds.
        rounds: timed passes.
        streamed_frames: frames that were timed one by one.
        latency_ms_p50: median time of one frame, in milliseconds.
        latency_ms_p95: 95th percentile of that time.
        latency_ms_p99: 99th percentile of that time.
    """

    row: str
    device: str
    batch_clips: int
    frames: int
    size: int
    parameters_m: float
    gflops_per_clip: float
    frames_per_s: float
    rounds: int
    streamed_frames: int
    latency_ms_p50: float
    latency_ms_p95: float
    latency_ms_p99: float

    @property
    def conditions(self) -> tuple[str | int, ...]:
        """What was measured and where: a new line replaces an older one with the same conditions."""
        return self.row, self.device, self.batch_clips, self.frames, self.size


def measure_speed(
    study: Study,
    *,
    rounds: int,
    stream_frames: int,
    batch_clips: int,
    say: Callable[[str], None],
    rows: Sequence[Row] = TABLES["table3"][:-1],
) -> list[SpeedLine]:
    """Measures one line for each row on this device.

    Args:
        study: gives the base configuration for CAMUS.
        rounds: timed passes over a batch of clips.
        stream_frames: frames that are timed one by one.
        batch_clips: clips of a batch.
        say: is called with a line of progress after every round.
        rows: the networks. The default leaves out the last row of Table 3, whose network is that of the row before
            it: CPR belongs to training.
    """
    configs = [configured(study.bases[CAMUS], {**row.changes, "model.pretrained": None}) for row in rows]
    predictors = [_random_predictor(config) for config in configs]
    size, frames = configs[0].data.size, configs[0].data.frames
    clip = np.random.default_rng(0).integers(0, 256, (frames, size, size), np.uint8)
    seconds = _seconds_of_passes(predictors, clip, rounds=rounds, batch_clips=batch_clips, say=say)
    latencies = stream_latencies(predictors, clip, stream_frames)
    lines = []
    for row, config, times, latency in zip(rows, configs, seconds, latencies, strict=True):
        cost = count_cost(config.model, frames, size)
        low, high, highest = (float(np.percentile(latency, percent)) for percent in PERCENTILES)
        lines.append(
            SpeedLine(
                row="+ TSF + ARC (EchoForge)" if row is rows[-1] else row.label,
                device=jax.devices()[0].device_kind,
                batch_clips=batch_clips,
                frames=frames,
                size=size,
                parameters_m=cost.parameters / 1e6,
                gflops_per_clip=cost.gflops_per_clip,
                frames_per_s=batch_clips * frames / statistics.median(times),
                rounds=rounds,
                streamed_frames=len(latency),
                latency_ms_p50=low,
                latency_ms_p95=high,
                latency_ms_p99=highest,
            )
        )
    return lines


def stream_latencies(
    predictors: Sequence[Predictor], clip: UInt8[np.ndarray, "t h w"], frames: int
) -> list[list[float]]:
    """Times streamed frames one by one, after the first few, the predictors in turns.

    Args:
        predictors: the networks.
        clip: native grey frames, which are streamed again and again.
        frames: timed frames.

    Returns:
        Milliseconds of every timed frame, for each predictor.
    """
    memories = [predictor.start_stream() for predictor in predictors]
    milliseconds: list[list[float]] = [[] for _ in predictors]
    for t in range(frames + WARM_UP_FRAMES):
        for i, predictor in enumerate(predictors):
            start = time.perf_counter()
            memories[i], _ = predictor.stream_frame(memories[i], clip[None, t % len(clip)])
            if t >= WARM_UP_FRAMES:
                milliseconds[i].append(1000 * (time.perf_counter() - start))
    return milliseconds


def write_table2(study: Study, lines: Sequence[SpeedLine]) -> str:
    """Writes table2.md and table2.json; lines that were measured under other conditions stay.

    Args:
        study: the study, whose results folder gets the files.
        lines: new lines.

    Returns:
        The Markdown.
    """
    fresh = {line.conditions for line in lines}
    kept = [line for line in read_table2(study) if line.conditions not in fresh] + list(lines)
    text = [f"# table2, scale {study.scale}", "", NOTE, "", *HEAD, *map(_markdown, kept), PAPER_LINE]
    markdown, record = "\n".join(text) + "\n", study.results / "table2.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps([dataclasses.asdict(line) for line in kept], indent=1) + "\n", encoding="utf-8")
    record.with_suffix(".md").write_text(markdown, encoding="utf-8")
    return markdown


def read_table2(study: Study) -> list[SpeedLine]:
    """Reads the lines of table2.json; there are none where nothing was measured."""
    record = study.results / "table2.json"
    lines: list[dict[str, Any]] = read_json(record) if record.is_file() else []
    with named(record):
        return [SpeedLine(**line) for line in lines]


def _seconds_of_passes(
    predictors: Sequence[Predictor],
    clip: UInt8[np.ndarray, "t h w"],
    *,
    rounds: int,
    batch_clips: int,
    say: Callable[[str], None],
) -> list[list[float]]:
    """Seconds of every timed pass over a batch of copies of the clip, for each predictor."""
    image = jnp.asarray(to_unit_range(np.stack([clip] * batch_clips)))
    seconds: list[list[float]] = [[] for _ in predictors]
    for round_number in range(rounds + 1):
        for i, predictor in enumerate(predictors):
            start = time.perf_counter()
            jax.block_until_ready(predictor.forward(image))
            if round_number:  # the first pass compiles
                seconds[i].append(time.perf_counter() - start)
        say(f"round {round_number} of {rounds}: clips")
    return seconds


def _random_predictor(config: Config) -> Predictor:
    network = EchoForge(config.model)
    image = jnp.zeros((1, 1, config.data.size, config.data.size), jnp.float32)
    variables = jax.jit(network.init)(jax.random.key(0), image)
    return Predictor(Trained(variables, config, {}))


def _markdown(line: SpeedLine) -> str:
    latencies = (line.latency_ms_p50, line.latency_ms_p95, line.latency_ms_p99)
    return (
        f"| {line.row} | {line.device} | {line.batch_clips} x {line.frames} x {line.size} | {line.parameters_m:.2f} "
        f"| {line.gflops_per_clip:.1f} | {line.frames_per_s:.1f} "
        f"| {' / '.join(f'{latency:.1f}' for latency in latencies)} ({line.streamed_frames} frames) |"
    )
