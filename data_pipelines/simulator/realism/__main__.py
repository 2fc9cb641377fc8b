"""Compares simulated frames with real ones.

    python -m data_pipelines.simulator.realism --real CAMUS [--simulated TREE | --patients 40] [--out DIR]

A statistic is compared over the views in which real frames have it. Exit codes: 0 every simulated median lies between
the real quartiles, 1 some lie outside, 2 refused.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from data_pipelines.formats import camus
from data_pipelines.local_path import path_argument
from data_pipelines.records import QUALITIES, VIEWS, Clip, UnreadableRecord
from data_pipelines.simulator.clip import ClipSettings, simulate_clip
from data_pipelines.simulator.patient import Patient
from data_pipelines.simulator.realism.comparison import MAIN_STATISTICS, MeasuredFrame, as_table, compare, measure
from data_pipelines.simulator.realism.results import NOTICE, contact_sheet, write_results, write_sheet

SHEET_PATIENTS = 9


def read_clips(tree: Path, most: int | None) -> Iterator[Clip]:
    """Reads end-diastole and end-systole from a CAMUS tree; says on stderr which records cannot be read.

    Args:
        tree: the tree.
        most: at most so many patients, evenly spaced; None reads all.
    """
    entries = camus.index(tree, "all", scheme="number").entries
    patients = sorted({entry.patient_id for entry in entries})
    if most is not None and most < len(patients):
        patients = [patients[i * len(patients) // most] for i in range(most)]
    for entry in entries:
        if entry.patient_id in patients:
            try:
                clip = camus.read(entry, sequence=False)
            except UnreadableRecord as error:
                print(f"left out: {error}", file=sys.stderr)
                continue
            if clip.has_reference.all():
                yield clip


def simulated_clips(patients: int, seed: int) -> Iterator[Clip]:
    """Simulates end-diastole and end-systole of both views of patients 1..n.

    Args:
        patients: their number n.
        seed: seed of the population.
    """
    for number in range(1, patients + 1):
        for view in VIEWS:
            yield simulate_clip(Patient(seed, number), view, ClipSettings(frames=2))


def with_progress(name: str, clips: Iterable[Clip]) -> Iterator[Clip]:
    """Passes clips on, and prints a line on stderr after every 50 of them and at the end.

    Args:
        name: what the lines call them.
        clips: the clips.
    """
    start_s, count = time.monotonic(), 0
    for count, clip in enumerate(clips, 1):
        yield clip
        if count % 50 == 0:
            print(f"{name}: {count} clips, {time.monotonic() - start_s:.0f} s", file=sys.stderr, flush=True)
    print(f"{name}: {count} clips, {time.monotonic() - start_s:.0f} s, all", file=sys.stderr, flush=True)


def quality_tables(real: Sequence[MeasuredFrame], simulated: Sequence[MeasuredFrame]) -> str:
    """Returns one table of the main statistics for each image quality.

    Args:
        real: real frames whose image quality is known.
        simulated: the simulated frames.
    """
    text = ""
    for quality in QUALITIES:
        real_frames, simulated_frames = (
            [frame for frame in side if frame.quality == quality] for side in (real, simulated)
        )
        rows = [row for row in compare(real_frames, simulated_frames) if row.name in MAIN_STATISTICS]
        text += f"\n\n### {quality}: {len(real_frames)} real frames, {len(simulated_frames)} simulated\n\n"
        text += as_table(rows) if rows else "No real frame of this quality."
    return text


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; None reads that of the process."""
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.simulator.realism",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--real",
        type=path_argument,
        required=True,
        help="The CAMUS tree with the real end-diastolic and end-systolic frames.",
    )
    parser.add_argument(
        "--simulated",
        type=path_argument,
        help="A simulated CAMUS tree. Without it, patients are simulated by this command.",
    )
    parser.add_argument(
        "--patients",
        type=int,
        default=40,
        help="The number of patients that this command simulates; --simulated replaces them. Default: 40.",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="The seed of the patients that this command simulates. Default: 0."
    )
    parser.add_argument(
        "--most",
        type=int,
        help="The largest number of patients that are read from every tree, evenly spaced. Default: all patients.",
    )
    parser.add_argument(
        "--by-quality",
        type=path_argument,
        help="A CAMUS tree with Info_*.cfg files. The frames are then also compared within each image quality.",
    )
    parser.add_argument(
        "--out",
        type=path_argument,
        help="The folder for realism.md, realism.json, frames.csv and sheet.png. Default: no files.",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0 every median inside, 1 some outside, 2 refused."""
    options = parse_arguments(arguments)

    def chosen_simulated_clips() -> Iterator[Clip]:
        if options.simulated:
            return read_clips(options.simulated, options.most)
        return simulated_clips(options.patients, options.seed)

    try:
        if min(options.patients, options.most or 1) < 1:
            raise ValueError(f"patients {options.patients}, most {options.most}: expected at least 1 of both")
        real = list(measure(with_progress("real", read_clips(options.real, options.most))))
        simulated = list(measure(with_progress("simulated", chosen_simulated_clips())))
        rows = compare(real, simulated)
        if not rows:
            raise ValueError(
                f"{len(real)} real and {len(simulated)} simulated labelled frames have no statistic in "
                "common: give two trees with ED and ES frames and their labels"
            )
        table = as_table(rows)
        if options.by_quality:
            table += quality_tables(list(measure(read_clips(options.by_quality, options.most))), simulated)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table)
    if options.out:
        write_results(options.out, rows, {"real": real, "simulated": simulated}, table=table)
        write_sheet(options.out, contact_sheet(read_clips(options.real, SHEET_PATIENTS), chosen_simulated_clips()))
        print(f"{options.out}: written. {NOTICE}", file=sys.stderr)
    return 0 if all(row.inside for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
