"""Writes a simulated cohort as a CAMUS or EchoNet tree: python -m data_pipelines.simulator --patients 40 --out DIR"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from data_pipelines.simulator.cohort import FORMATS, is_complete, write_cohort

DEFAULTS = {"camus": (16, 256), "echonet": (150, 112)}  # frames, size


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m data_pipelines.simulator", description=__doc__)
    parser.add_argument("--patients", type=int, required=True, help="at least 3; both views of each (camus)")
    parser.add_argument("--out", type=Path, required=True, help="folder; empty, absent, or this cohort unfinished")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=tuple(FORMATS), default="camus", help="the tree, and its population")
    parser.add_argument("--frames", type=int, help="camus: of half a cycle, 16; echonet: at 50 a second, 150")
    parser.add_argument("--size", type=int, help="height and width in pixels; camus: 256, echonet: 112")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args(arguments)
    frames, size = DEFAULTS[options.format]
    options.frames, options.size = options.frames or frames, options.size or size
    return options


def progress_printer() -> Callable[[int, int], None]:
    """Prints finished patients and the time left; the first call sets the clock."""
    start: list[tuple[float, int]] = []

    def show(finished: int, patients: int) -> None:
        if not start:
            start.append((time.monotonic(), finished))
            found = "going on, " if finished else ""
            print(f"{found}{finished} of {patients} patients there", flush=True)
            return
        began, found = start[0]
        seconds_each = (time.monotonic() - began) / (finished - found)
        left_s = seconds_each * (patients - finished)
        print(f"{finished} of {patients} patients, {seconds_each:.1f} s each, {left_s:.0f} s left", flush=True)

    return show


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 written or already complete, 2 refused."""
    options = parse_arguments(arguments)
    cohort = {"patients": options.patients, "seed": options.seed, "frames": options.frames, "size": options.size}
    cohort["tree"] = options.format
    try:
        if is_complete(options.out, cohort):
            print(f"{options.out}: this cohort of {options.patients} patients is already complete")
            return 0
        write_cohort(options.out, **cohort, processes=options.processes, progress=progress_printer())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    clips = len(FORMATS[options.format]) * options.patients
    print(f"{options.out}: {options.patients} patients, {clips} clips, complete")
    return 0


if __name__ == "__main__":
    sys.exit(main())
