"""How like real frames the simulated ones are: the same statistics, by the same code, on both sides.

    python -m data_pipelines.simulator.realism --real CAMUS [--simulated TREE | --patients 40] [--out DIR]

A statistic is compared over the views in which real frames have it. Exit code: 0 every simulated median lies between
the real quartiles, 1 some lie outside, 2 refused.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from data_pipelines.formats import camus
from data_pipelines.records import ENDOCARDIUM, QUALITIES, VIEWS, Clip, UnreadableRecord
from data_pipelines.simulator.clip import simulate_clip
from data_pipelines.simulator.frame_statistics import frames_of, statistics_of

# Grey statistics whose real 10-90 % range the simulated frames ought to cover: networks are trained on them alone.
MAIN = (
    "cavity mean",
    "wall mean",
    "atrium mean",
    "wall - cavity",
    "sector p5",
    "sector p50",
    "sector p95",
    "sector p99",
    "local std cavity",
    "local std wall",
    "local std sector",
    "residual skew",
    "border step",
    "border without edge",
    "speckle lateral wall",
    "speckle axial wall",
)
# What the pixels of a picture can tell: a difference below is none, however narrow the real quartiles are.
RESOLUTION = {"sector apex x %": 0.4, "sector apex y %": 1.0, "sector angle deg": 0.5}
PERCENTILES = (10, 25, 50, 75, 90)
NOTICE = (
    "The left half of every pair in sheet.png is a frame of the CAMUS data set (CC BY-NC-SA 4.0, non-commercial "
    "research, citation required): do not commit or publish this picture.\n"
)

# ---- two groups of frames ------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Measured:
    """Statistics of one frame, and where it is from."""

    record: str
    view: str
    quality: str | None
    instant: str
    values: dict[str, float]


def measure(clips: Iterable[Clip]) -> Iterator[Measured]:
    """Both instants of every clip; the change of the ventricle's area is put down with end-systole."""
    for clip in clips:
        ed, es = frames_of(clip)
        first, second = statistics_of(ed), statistics_of(es)
        if (before := (ed.labels == ENDOCARDIUM).sum()) and (after := (es.labels == ENDOCARDIUM).sum()):
            second["LV area change %"] = 100 * (1 - after / before)
        for instant, values in (("ED", first), ("ES", second)):
            yield Measured(clip.record_id, clip.view, clip.quality, instant, values)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One statistic on both sides at PERCENTILES; `covered` is the share of real frames within simulated 10-90 %."""

    name: str
    views: str
    real: tuple[float, ...]
    simulated: tuple[float, ...]
    covered: float

    @property
    def inside(self) -> bool:
        slack = RESOLUTION.get(self.name, 0.0)
        return self.real[1] - slack <= self.simulated[2] <= self.real[3] + slack


def compare(real: list[Measured], simulated: list[Measured]) -> list[Comparison]:
    """One row for every statistic that both sides have, over the views in which real frames have it."""
    rows = []
    for name in dict.fromkeys(name for frame in real for name in frame.values):
        views = sorted({frame.view for frame in real if name in frame.values})
        theirs, ours = (
            [frame.values[name] for frame in side if frame.view in views and name in frame.values]
            for side in (real, simulated)
        )
        if ours:
            truth, made = (tuple(np.percentile(values, PERCENTILES).tolist()) for values in (theirs, ours))
            covered = float(np.mean([made[0] <= value <= made[-1] for value in theirs]))
            rows.append(Comparison(name, "+".join(views), truth, made, covered))
    return rows


def table(rows: list[Comparison]) -> str:
    """Markdown: medians, real quartiles, inside or not, then the 10-90 % ranges of both sides; below, the counts."""
    head = "statistic | views | real median (25-75 %) | simulated | inside | real 10-90 % | simulated 10-90 % | covered"
    lines = [f"| {head} |", "|---" * (head.count("|") + 1) + "|"]
    number = lambda value: f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
    for row in rows:
        r10, r25, r50, r75, r90 = map(number, row.real)
        s10, _, s50, _, s90 = map(number, row.simulated)
        cells = [row.name, row.views, f"{r50} ({r25}..{r75})", s50, "yes" if row.inside else "NO"]
        cells += [f"{r10}..{r90}", f"{s10}..{s90}", f"{100 * row.covered:.0f} %"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"{sum(row.inside for row in rows)} of {len(rows)} medians lie inside."]
    if main := [row for row in rows if row.name in MAIN]:
        lines[-1] += (
            f" Of the {len(main)} main grey statistics {sum(row.inside for row in main)} do, and the simulated 10-90 % "
            f"ranges hold {100 * np.mean([row.covered for row in main]):.0f} % of the real frames (80 %: as wide)."
        )
    return "\n".join(lines)


# ---- the command ---------------------------------------------------------------------------------------------------


def read_clips(tree: Path, most: int | None) -> Iterator[Clip]:
    """End-diastole and end-systole of the patients of a CAMUS tree, `most` of them evenly spaced; skips are told."""
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
    """End-diastole and end-systole of both views of patients 1..n."""
    for patient in range(1, patients + 1):
        for view in VIEWS:
            yield simulate_clip(seed, patient, view, frames=2)


def told(name: str, clips: Iterable[Clip]) -> Iterator[Clip]:
    """The clips themselves, with a line on stderr now and then."""
    start, count = time.monotonic(), 0
    for count, clip in enumerate(clips, 1):
        yield clip
        if count % 50 == 0:
            print(f"{name}: {count} clips, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    print(f"{name}: {count} clips, {time.monotonic() - start:.0f} s, all", file=sys.stderr, flush=True)


def sheet(real: Iterable[Clip], simulated: Iterable[Clip], rows: int = 6) -> np.ndarray:
    """Pairs real | simulated, two pairs a row, ED and ES in turn, cut to the sector."""
    pairs = []
    for number, sides in enumerate(zip(real, simulated, strict=False)):
        tiles = [
            cv2.resize(frames_of(clip)[number % 2].grey, (360, 270), interpolation=cv2.INTER_CUBIC) for clip in sides
        ]
        pairs.append(np.pad(np.concatenate(tiles, axis=1), ((3, 3), (3, 9)), constant_values=90))
        if len(pairs) == 2 * rows:
            break
    pairs += [np.zeros_like(pairs[0])] * (len(pairs) % 2)
    lines = [np.concatenate(pairs[i : i + 2], axis=1) for i in range(0, len(pairs), 2)]
    return np.clip(np.rint(np.concatenate(lines)), 0, 255).astype(np.uint8)


def write_results(out: Path, rows: list[Comparison], sides: dict[str, list[Measured]], text: str) -> None:
    """realism.md and .json (the comparison) and frames.csv (every statistic of every frame)."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "realism.md").write_text(text + "\n")
    listed = [dataclasses.asdict(row) | {"inside": row.inside} for row in rows]
    (out / "realism.json").write_text(json.dumps({"percentiles": PERCENTILES, "rows": listed}, indent=1) + "\n")
    fields = ["side", "record", "view", "quality", "instant", *(row.name for row in rows)]
    with (out / "frames.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fields, extrasaction="ignore")
        writer.writeheader()
        for side, frames in sides.items():
            for frame in frames:
                place = {"record": frame.record, "view": frame.view, "quality": frame.quality, "instant": frame.instant}
                writer.writerow({"side": side} | place | {name: f"{value:.5g}" for name, value in frame.values.items()})


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.simulator.realism",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--real", type=Path, required=True, help="CAMUS tree with ED and ES frames and labels")
    parser.add_argument("--simulated", type=Path, help="simulated CAMUS tree; else patients are simulated here")
    parser.add_argument("--patients", type=int, default=40, help="patients to simulate")
    parser.add_argument("--seed", type=int, default=0, help="of the patients to simulate")
    parser.add_argument("--most", type=int, help="at most so many patients of every tree; all where not given")
    parser.add_argument(
        "--by-quality", type=Path, help="CAMUS tree with Info_*.cfg: compares within each image quality"
    )
    parser.add_argument("--out", type=Path, help="folder for realism.md, realism.json, frames.csv and sheet.png")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 every median inside, 1 some outside, 2 refused."""
    options = parse_arguments(arguments)
    ours = (
        (lambda: read_clips(options.simulated, options.most))
        if options.simulated
        else (lambda: simulated_clips(options.patients, options.seed))
    )
    try:
        if min(options.patients, options.most or 1) < 1:
            raise ValueError(f"patients {options.patients}, most {options.most}: expected at least 1 of both")
        real = list(measure(told("real", read_clips(options.real, options.most))))
        simulated = list(measure(told("simulated", ours())))
        rows = compare(real, simulated)
        if not rows:
            raise ValueError(
                f"{len(real)} real and {len(simulated)} simulated labelled frames have no statistic in "
                "common: give two trees with ED and ES frames and their labels"
            )
        text = table(rows)
        if options.by_quality:
            known = list(measure(read_clips(options.by_quality, options.most)))
            for quality in QUALITIES:
                pair = [[frame for frame in side if frame.quality == quality] for side in (known, simulated)]
                chosen = [row for row in compare(*pair) if row.name in MAIN]
                text += f"\n\n### {quality}: {len(pair[0])} real frames, {len(pair[1])} simulated\n\n"
                text += table(chosen) if chosen else "No real frame of this quality."
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(text)
    if options.out:
        write_results(options.out, rows, {"real": real, "simulated": simulated}, text)
        picture = sheet(read_clips(options.real, 9), ours())
        cv2.imwrite(str(options.out / "sheet.png"), picture)
        (options.out / "sheet_NOTICE.txt").write_text(NOTICE)
        print(f"{options.out}: written. {NOTICE}", file=sys.stderr)
    return 0 if all(row.inside for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
