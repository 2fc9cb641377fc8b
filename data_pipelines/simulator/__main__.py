"""Writes a simulated cohort as a CAMUS tree: python -m data_pipelines.simulator --patients 40 --out DIR"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from data_pipelines.simulator.cohort import is_complete, write_cohort


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m data_pipelines.simulator", description=__doc__)
    parser.add_argument("--patients", type=int, required=True, help="number of patients, at least 3; two views each")
    parser.add_argument("--out", type=Path, required=True, help="folder; empty, absent, or this cohort unfinished")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=16, help="frames from end-diastole to end-systole")
    parser.add_argument("--size", type=int, default=256, help="height and width in pixels")
    parser.add_argument("--processes", type=int, default=1)
    return parser.parse_args(arguments)


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
    try:
        if is_complete(options.out, cohort):
            print(f"{options.out}: this cohort of {options.patients} patients is already complete")
            return 0
        write_cohort(options.out, **cohort, processes=options.processes, progress=progress_printer())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.out}: {options.patients} patients, {2 * options.patients} clips, complete")
    return 0


if __name__ == "__main__":
    sys.exit(main())
