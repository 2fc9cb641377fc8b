"""What is in a data set, what is missing, what is suspicious: python -m data_pipelines.doctor PATH

Nothing is written but the files that --json and --sheet name. Exit codes: 0 healthy, 1 usable with warnings (something
is missing, unreadable or suspicious), 2 not usable or not recognised.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rich.console
import rich.progress
from jaxtyping import UInt8

from data_pipelines.doctor.checks import (
    MISSING,
    NOTE,
    SUSPICIOUS,
    UNREADABLE,
    Facts,
    Finding,
    counts_of,
    examine,
    findings_of,
)
from data_pipelines.doctor.layouts import Item, Tree, recognise
from data_pipelines.doctor.sheet import chosen, tile, write_sheet
from data_pipelines.records import Skipped, UnreadableRecord

HEALTHY, WARNINGS, UNUSABLE = 0, 1, 2
NAMES_SHOWN = 4


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What the doctor says of one data set.

    Attributes:
        read_of: records looked at, of so many.
        counts: `counts_of` the records that could be read.
        findings: by kind, the most serious first.
    """

    path: Path
    tree: Tree
    read_of: tuple[int, int]
    counts: dict[str, Any]
    findings: list[Finding]

    @property
    def exit_code(self) -> int:
        if not self.counts["records"]:
            return UNUSABLE
        return WARNINGS if any(f.kind != NOTE for f in self.findings) else HEALTHY


def diagnose(
    path: Path, *, scheme: str = "auto", limit: int = 0, threads: int = 2, sheet: Path | None = None
) -> Diagnosis:
    """Reads the data set at `path` (at most `limit` records spread evenly, if not 0); writes `sheet` if it is given.

    Raises:
        FileNotFoundError, NotRecognised, ValueError: there is nothing there that can be read.
    """
    tree = recognise(path, scheme)
    items = tree.items
    if limit and limit < len(items):
        items = [items[i] for i in np.linspace(0, len(items) - 1, limit).round().astype(int)]
    shown = chosen(len(items)) if sheet else set()
    facts: list[Facts] = []
    unreadable: list[Skipped] = []
    tiles: list[UInt8[np.ndarray, "h w 3"]] = []
    for found, picture in _read(items, shown, threads):
        if isinstance(found, Skipped):
            unreadable.append(found)
        else:
            facts.append(found)
        if picture is not None:
            tiles.append(picture)
    if sheet and tiles:
        write_sheet(tiles, sheet)
    findings = [
        *_by_reason(tree.skipped, MISSING),
        *_by_reason(unreadable, UNREADABLE),
        *tree.findings,
        *findings_of(facts, tree.splits),
    ]
    order = (UNREADABLE, MISSING, SUSPICIOUS, NOTE)
    findings.sort(key=lambda finding: order.index(finding.kind))
    return Diagnosis(path, tree, (len(items), len(tree.items)), counts_of(facts), findings)


def _read(
    items: Sequence[Item], shown: set[int], threads: int
) -> Iterator[tuple[Facts | Skipped, UInt8[np.ndarray, "h w 3"] | None]]:
    """Facts (or why there are none) and, for the places in `shown`, a tile of the contact sheet; clips are not kept."""

    def look(place: int) -> tuple[Facts | Skipped, UInt8[np.ndarray, "h w 3"] | None]:
        item = items[place]
        try:
            clip, titles = item.read()
            return examine(clip, titles), tile(clip) if place in shown else None
        except UnreadableRecord as fault:
            return Skipped(item.record_id, fault.reason, fault.detail), None
        except ImportError:
            raise
        except Exception as error:  # a reader's own fault on one file must not lose the report on the others
            return Skipped(item.record_id, "the reader failed", f"{type(error).__name__}: {error}"), None

    columns = (*rich.progress.Progress.get_default_columns(), rich.progress.MofNCompleteColumn())
    console = rich.console.Console(stderr=True)
    bar = rich.progress.Progress(*columns, console=console, disable=not console.is_terminal)
    with bar, ThreadPoolExecutor(max(threads, 1)) as pool:
        yield from bar.track(pool.map(look, range(len(items))), total=len(items), description="reading")


def _by_reason(skipped: Sequence[Skipped], kind: str) -> list[Finding]:
    """One finding a reason; the detail is the first record's."""
    reasons = Counter(s.reason for s in skipped)
    return [
        Finding(
            kind,
            reason,
            tuple(s.record_id for s in skipped if s.reason == reason),
            next(s.detail for s in skipped if s.reason == reason),
        )
        for reason, _ in reasons.most_common()
    ]


# ---- the report ----------------------------------------------------------------------------------------------------


def text_of(diagnosis: Diagnosis) -> str:
    """The report for people."""
    counts, tree = diagnosis.counts, diagnosis.tree
    looked, there = diagnosis.read_of
    lines = [f"{diagnosis.path}: {tree.layout}"]
    sample = "" if looked == there else f" (a sample of {looked} of {there})"
    lines.append(f"  {counts['records']} records of {counts['patients']} patients read{sample}")
    if tree.splits:
        split = ", ".join(f"{name} {len(patients)}" for name, patients in tree.splits.items())
        lines.append(f"  patients by split ({tree.scheme}): {split}")
    if counts["records"]:
        lines += _count_lines(counts)
    for kind, heading in (
        (UNREADABLE, "cannot be read"),
        (MISSING, "missing"),
        (SUSPICIOUS, "suspicious"),
        (NOTE, "notes"),
    ):
        if found := [f for f in diagnosis.findings if f.kind == kind]:
            lines += ["", heading, *(f"  {_finding_line(f)}" for f in found)]
    verdict = {HEALTHY: "healthy", WARNINGS: "usable, with warnings", UNUSABLE: "not usable: nothing can be read"}
    return "\n".join([*lines, "", verdict[diagnosis.exit_code]])


def _count_lines(counts: dict[str, Any]) -> list[str]:
    def tally(name: str, most: int = 6) -> str:
        shown = [f"{value} ({count})" for value, count in list(counts[name].items())[:most]]
        return ", ".join(shown) + (f", and {len(counts[name]) - most} more" if len(counts[name]) > most else "")

    def spread(name: str, unit: str) -> str:
        if (found := counts[name]) is None:
            return "unknown"
        known = "" if found["known"] == counts["records"] else f", known of {found['known']} records"
        same = found["min"] == found["max"]
        span = f"{found['min']}" if same else f"{found['min']} to {found['max']}, median {found['median']}"
        return f"{span}{unit}{known}"

    return [
        f"  views: {tally('views')}",
        f"  frames a clip: {spread('frames_per_clip', '')}; {counts['frames_with_mask']} of {counts['frames']} masked",
        f"  labels: {tally('label_sets')}",
        f"  sizes (rows x columns): {tally('sizes')}",
        f"  spacing: rows {spread('row_mm', ' mm')}; columns {spread('column_mm', ' mm')}",
        f"  frames a second: {spread('fps', '')}",
        f"  image quality: {tally('quality')}",
        f"  EF stated: {spread('ef_percent', ' %')}; of the masks, one plane: {spread('ef_of_masks_percent', ' %')}",
    ]


def _finding_line(finding: Finding) -> str:
    names = ", ".join(finding.records[:NAMES_SHOWN]) + (", ..." if len(finding.records) > NAMES_SHOWN else "")
    count = f"{len(finding.records)} x " if finding.records else ""
    return f"{count}{finding.title}{f': {names}' if names else ''} ({finding.detail})"


def json_of(diagnosis: Diagnosis) -> dict[str, Any]:
    """The report for programs: every record of every finding is named."""
    return {
        "path": str(diagnosis.path),
        "layout": diagnosis.tree.layout,
        "exit_code": diagnosis.exit_code,
        "records_read": diagnosis.read_of[0],
        "records_there": diagnosis.read_of[1],
        "split_scheme": diagnosis.tree.scheme,
        "splits": {name: list(patients) for name, patients in diagnosis.tree.splits.items()},
        "counts": diagnosis.counts,
        "findings": [dataclasses.asdict(f) for f in diagnosis.findings],
    }


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m data_pipelines.doctor", description=__doc__)
    parser.add_argument("path", type=Path, help="a data set's folder, a folder of cines, or one cine")
    parser.add_argument("--split_scheme", default="auto", help="as config.data.split_scheme; may be a path")
    parser.add_argument("--limit", type=int, default=0, help="look at so many records, spread evenly; 0: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the whole report to this file")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet (PNG, patients' images) to this file")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    options = parse_arguments(arguments)
    try:
        diagnosis = diagnose(
            options.path, scheme=options.split_scheme, limit=options.limit, threads=options.threads, sheet=options.sheet
        )
        if options.json:
            options.json.write_text(json.dumps(json_of(diagnosis), indent=1))
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    print(text_of(diagnosis))
    if options.sheet:
        print(f"contact sheet: {options.sheet}")
    return diagnosis.exit_code


if __name__ == "__main__":
    sys.exit(main())
