"""Table 2: parameters, FLOPs, frames a second and the latency of streaming, measured on the device at hand.

Weights are random: they change no time. Rows are timed in turns, so that a noisy machine disturbs all alike.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from echoforge_jax.config import Config
from echoforge_jax.inference import Predictor
from echoforge_jax.models.cost import count_cost
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.reproduction.study import CAMUS, Study, configured
from echoforge_jax.reproduction.tables import TABLES, Row

PERCENTILES = (50, 95, 99)
WARM_UP_FRAMES = 5
PAPER = {"parameters_m": 67, "gflops": 125, "frames_per_s": 46}  # Table 2, RTX 3090, 256x256
NOTE = (
    "Parameters and GFLOPs of inference (CPR belongs to training); GFLOPs a clip, 2 x multiply-adds, the compiler's "
    "count. Frames/s: whole clips, resizing left out, median over rounds; latency: one frame at a time, with resizing."
)


def measure_speed(
    study: Study,
    rounds: int,
    stream_frames: int,
    batch_clips: int,
    say: Callable[[str], None],
    rows: Sequence[Row] = TABLES["table3"][:-1],
) -> list[dict[str, Any]]:
    """A line for each row of Table 3 but the last, which is the same network at inference: CPR is left out."""
    without_file = {"model.pretrained": ""}
    configs = [configured(study.bases[CAMUS], row.changes | without_file) for row in rows]
    predictors = [_random_predictor(config) for config in configs]
    size, frames = configs[0].data.size, configs[0].data.frames
    clips = [np.random.default_rng(0).integers(0, 256, (frames, size, size), np.uint8)] * batch_clips
    image = jnp.asarray(np.stack(clips).astype(np.float32) / 255)
    seconds: list[list[float]] = [[] for _ in rows]
    for round_ in range(rounds + 1):
        for i, predictor in enumerate(predictors):
            start = time.perf_counter()
            jax.block_until_ready(predictor.forward(image))
            if round_:  # the first compiles
                seconds[i].append(time.perf_counter() - start)
        say(f"round {round_} of {rounds}: clips")
    latencies = stream_latencies(predictors, clips[0], stream_frames)
    device = jax.devices()[0].device_kind
    lines = []
    for row, config, times, latency in zip(rows, configs, seconds, latencies, strict=True):
        cost = count_cost(config.model, frames, size)
        label = "+ TSF + ARC (EchoForge)" if row is rows[-1] else row.label
        lines.append(
            {
                "row": label,
                "device": device,
                "batch_clips": batch_clips,
                "frames": frames,
                "size": size,
                "parameters_m": cost.parameters / 1e6,
                "gflops_per_clip": cost.gflops_per_clip,
                "frames_per_s": batch_clips * frames / statistics.median(times),
                "rounds": rounds,
                "streamed_frames": len(latency),
                **{f"latency_ms_p{p}": float(np.percentile(latency, p)) for p in PERCENTILES},
            }
        )
    return lines


def write_table2(study: Study, lines: Sequence[dict[str, Any]]) -> str:
    """table2.{md,json}; lines of other devices, batches or sizes stay. Returns the Markdown."""
    record = study.results / "table2.json"
    key = lambda line: tuple(line[k] for k in ("row", "device", "batch_clips", "frames", "size"))
    before = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else []
    fresh = {key(line) for line in lines}
    kept = [line for line in before if key(line) not in fresh] + list(lines)
    text = [
        f"# table2, scale {study.scale}",
        "",
        NOTE,
        "",
        "| row | device | clips x frames x size | parameters, M | GFLOPs | frames/s | latency p50 / p95 / p99, ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in kept:
        latency = " / ".join(f"{line[f'latency_ms_p{p}']:.1f}" for p in PERCENTILES)
        text.append(
            f"| {line['row']} | {line['device']} | {line['batch_clips']} x {line['frames']} x {line['size']} "
            f"| {line['parameters_m']:.2f} | {line['gflops_per_clip']:.1f} | {line['frames_per_s']:.1f} "
            f"| {latency} ({line['streamed_frames']} frames) |"
        )
    text.append(
        f"| the paper's EchoForge | RTX 3090 | ? x ? x 256 | {PAPER['parameters_m']} | {PAPER['gflops']} (not said "
        f"per what) | {PAPER['frames_per_s']} | n/a |"
    )
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    markdown = "\n".join(text) + "\n"
    record.with_suffix(".md").write_text(markdown, encoding="utf-8")
    return markdown


def _random_predictor(config: Config) -> Predictor:
    shape = (1, 1, config.data.size, config.data.size)
    network = EchoForge(config.model)
    variables = jax.jit(lambda key: network.init(key, jnp.zeros(shape, jnp.float32)))(jax.random.key(0))
    return Predictor(config.model, config.data.size, variables)


def stream_latencies(predictors: Sequence[Predictor], clip: np.ndarray, frames: int) -> list[list[float]]:
    """Milliseconds of each streamed frame after the first few, the predictors in turns."""
    memories = [predictor.start_stream() for predictor in predictors]
    found: list[list[float]] = [[] for _ in predictors]
    for t in range(frames + WARM_UP_FRAMES):
        for i, predictor in enumerate(predictors):
            start = time.perf_counter()
            memories[i], _ = predictor.stream_frame(memories[i], clip[None, t % len(clip)])
            if t >= WARM_UP_FRAMES:
                found[i].append(1000 * (time.perf_counter() - start))
    return found
