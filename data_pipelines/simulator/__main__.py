"""Writes a simulated data set: python -m data_pipelines.simulator --patients 40 --out DIR

The folder is a CAMUS tree or an EchoNet-Dynamic tree. The same command continues after an interruption. Exit codes:
0 written or already complete, 2 refused.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from data_pipelines.local_path import path_argument
from data_pipelines.simulator.cohort import Cohort, is_complete, write_cohort
from data_pipelines.simulator.trees import TREES


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; None reads that of the process."""
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.simulator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--patients", type=int, required=True, help="The number of patients, at least 3.")
    parser.add_argument(
        "--out",
        type=path_argument,
        required=True,
        help="The folder to write to. It must be absent, empty, or hold an unfinished data set with the same flags.",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="The seed of the patients; the same seed gives the same files. Default: 0."
    )
    parser.add_argument(
        "--format",
        choices=tuple(TREES),
        default="camus",
        help="The data set that is imitated. camus: both apical views of every patient, each over half a heart cycle. "
        "echonet: videos of the four-chamber view at 50 frames per second. Default: camus.",
    )
    parser.add_argument(
        "--frames", type=int, help="The number of frames of every clip. Default: 16 for camus, 150 for echonet."
    )
    parser.add_argument(
        "--size", type=int, help="The height and width of a frame in pixels. Default: 256 for camus, 112 for echonet."
    )
    parser.add_argument(
        "--processes", type=int, default=1, help="The number of processes that simulate patients. Default: 1."
    )
    return parser.parse_args(arguments)


class ProgressPrinter:
    """Prints how many patients are finished and how much time is left. The first call starts the clock."""

    def __init__(self) -> None:
        self._start_s: float | None = None
        self._finished_at_start = 0

    def __call__(self, finished: int, patients: int) -> None:
        """Prints one line.

        Args:
            finished: number of finished patients.
            patients: number of all patients.
        """
        if self._start_s is None:
            self._start_s, self._finished_at_start = time.monotonic(), finished
            print(f"{finished} of {patients} patients are already written", flush=True)
            return
        seconds_each = (time.monotonic() - self._start_s) / (finished - self._finished_at_start)
        left_s = seconds_each * (patients - finished)
        print(f"{finished} of {patients} patients, {seconds_each:.1f} s each, {left_s:.0f} s left", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0 written or already complete, 2 refused."""
    options = parse_arguments(arguments)
    tree = TREES[options.format]
    cohort = Cohort(
        patients=options.patients,
        seed=options.seed,
        frames=options.frames or tree.default_frames,
        size=options.size or tree.default_size,
        tree=tree.name,
    )
    try:
        if is_complete(options.out, cohort):
            print(f"{options.out}: this cohort of {cohort.patients} patients is already complete")
            return 0
        write_cohort(options.out, cohort, processes=options.processes, progress=ProgressPrinter())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.out}: {cohort.patients} patients, {len(tree.views) * cohort.patients} clips, complete")
    return 0


if __name__ == "__main__":
    sys.exit(main())
