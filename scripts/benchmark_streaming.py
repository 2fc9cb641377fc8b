"""A trained network as a stream: one frame at a time, as a scanner would deliver them.

    python scripts/benchmark_streaming.py --checkpoint=FILE.safetensors [--frames=300] [--side=512]

Prints the percentiles of the time from a native frame to its mask at the network's size, resizing included, and the
frames per second of the median. The exit code is 1 where the 95th percentile is above --wanted_ms.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from echoforge_jax.console import errors_as_messages
from echoforge_jax.errors import FAILED, OK
from echoforge_jax.inference import Predictor
from echoforge_jax.reproduction.speed import PERCENTILES, stream_latencies

CLIP_FRAMES = 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = parse(arguments)
    with errors_as_messages():
        predictor = Predictor.load(options.checkpoint)
        clip = np.random.default_rng(0).integers(0, 256, (CLIP_FRAMES, options.side, options.side), np.uint8)
        (milliseconds,) = stream_latencies([predictor], clip, options.frames)
    percentiles = {percent: float(np.percentile(milliseconds, percent)) for percent in PERCENTILES}
    text = ", ".join(f"p{percent} {value:.1f} ms" for percent, value in percentiles.items())
    size, device = predictor.size, jax.devices()[0].device_kind
    print(
        f"{options.checkpoint.name} at {size}x{size}, {device}: {text}; "
        f"{1000 / percentiles[50]:.0f} frames/s ({len(milliseconds)} frames of {options.side}x{options.side})"
    )
    return FAILED if percentiles[95] > options.wanted_ms else OK


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line; None takes that of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="Names the network: a .safetensors file or an inference folder."
    )
    parser.add_argument("--frames", type=int, default=300, help="Sets how many frames are timed (default: 300).")
    parser.add_argument(
        "--side", type=int, default=512, help="Sets the side of a native frame in pixels (default: 512)."
    )
    parser.add_argument(
        "--wanted_ms",
        type=float,
        default=1000 / 30,
        help="Sets the 95th percentile that is still fast enough (default: 33.3, a frame at video rate).",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
