"""A trained network as a stream: one frame at a time, as a scanner would hand them over.

    python scripts/benchmark_streaming.py --checkpoint=FILE.safetensors [--frames=300] [--side=512]

Prints the percentiles of the time from a native frame to its mask at the network's size, resizing included, and the
frames a second of the median. Exit code 1 where the 95th percentile is above --wanted_ms.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import jax
import numpy as np

from echoforge_jax.console import FAILED, errors_as_messages
from echoforge_jax.inference import Predictor
from echoforge_jax.reproduction.speed import PERCENTILES, stream_latencies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="a .safetensors file or an inference folder")
    parser.add_argument("--frames", type=int, default=300, help="timed frames")
    parser.add_argument("--side", type=int, default=512, help="of a native frame, pixels")
    parser.add_argument("--wanted_ms", type=float, default=1000 / 30, help="a frame at video rate")
    arguments = parser.parse_args()
    with errors_as_messages():
        predictor, config, _ = Predictor.load(arguments.checkpoint)
        clip = np.random.default_rng(0).integers(0, 256, (16, arguments.side, arguments.side), np.uint8)
        (milliseconds,) = stream_latencies([predictor], clip, arguments.frames)
    shown = {p: float(np.percentile(milliseconds, p)) for p in PERCENTILES}
    text = ", ".join(f"p{p} {value:.1f} ms" for p, value in shown.items())
    size, device = config.data.size, jax.devices()[0].device_kind
    print(
        f"{arguments.checkpoint.name} at {size}x{size}, {device}: {text}; "
        f"{1000 / shown[50]:.0f} frames/s ({len(milliseconds)} frames of {arguments.side}x{arguments.side})"
    )
    sys.exit(FAILED if shown[95] > arguments.wanted_ms else 0)


if __name__ == "__main__":
    main()
