"""Reports what is in a data set, what is missing and what is suspicious: python -m data_pipelines.doctor PATH

The command reads the data set and writes nothing but the files that --json and --sheet name. It exits with 0 (healthy),
1 (usable with warnings: something is missing, unreadable or suspicious) or 2 (not usable or not recognised).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

from data_pipelines.doctor.diagnosis import HEALTHY, UNUSABLE, WARNINGS, Diagnosis, diagnose
from data_pipelines.doctor.findings import MISSING, NOTE, SUSPICIOUS, UNREADABLE, Finding
from data_pipelines.local_path import path_argument, path_text
from data_pipelines.notes_by_record import group_notes, notes_as_json

NAMES_SHOWN = 4
VALUES_SHOWN = 6
HEADINGS = {UNREADABLE: "cannot be read", MISSING: "missing", SUSPICIOUS: "suspicious", NOTE: "notes"}
VERDICTS = {HEALTHY: "healthy", WARNINGS: "usable, with warnings", UNUSABLE: "not usable: nothing can be read"}


def as_text(diagnosis: Diagnosis) -> str:
    """Writes the report for people."""
    counts, tree = diagnosis.counts, diagnosis.tree
    total = len(tree.items)
    lines = [f"{diagnosis.path}: {tree.layout}"]
    sample = "" if diagnosis.records_read == total else f" (a sample of {diagnosis.records_read} of {total})"
    lines.append(f"  {counts['records']} records of {counts['patients']} patients read{sample}")
    if tree.splits:
        split = ", ".join(f"{name} {len(patients)}" for name, patients in tree.splits.items())
        lines.append(f"  patients by split ({tree.scheme}): {split}")
    if counts["records"]:
        lines += _count_lines(counts)
    for kind, heading in HEADINGS.items():
        if findings := [finding for finding in diagnosis.findings if finding.kind == kind]:
            lines += [
                "",
                heading,
                *(line for finding in findings for line in _finding_lines(finding, counts["records"])),
            ]
    if any(len(group.texts) > 1 for group in group_notes(diagnosis.notes)):
        lines += ["", "--json FILE writes every text of every record."]
    return "\n".join([*lines, "", VERDICTS[diagnosis.exit_code]])


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Makes the report for programs: every record of every finding, and every text on every record."""
    return {
        "path": str(diagnosis.path),
        "layout": diagnosis.tree.layout,
        "exit_code": diagnosis.exit_code,
        "records_read": diagnosis.records_read,
        "records_there": len(diagnosis.tree.items),
        "split_scheme": diagnosis.tree.scheme,
        "splits": {name: list(patients) for name, patients in diagnosis.tree.splits.items()},
        "counts": diagnosis.counts,
        "findings": [dataclasses.asdict(finding) for finding in diagnosis.findings],
        "left_out": [dataclasses.asdict(record) for record in diagnosis.left_out],
        "notes": notes_as_json(diagnosis.notes),
    }


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the command line; None takes that of the process. Wrong arguments end the process with status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.doctor",
        description="Reports what is in a data set, what is missing and what is suspicious. "
        + str(__doc__).partition("\n\n")[2],
    )
    parser.add_argument("path", type=path_argument, help="Folder of a data set, folder of cines, or a single cine.")
    reading = parser.add_argument_group("what to read")
    reading.add_argument(
        "--split_scheme",
        type=path_text,
        default="auto",
        metavar="SCHEME",
        help="How patients are assigned to splits: auto, official, number, ratio, or the path of a split file.",
    )
    reading.add_argument(
        "--limit", type=int, default=0, help="Largest number of records to read, spread evenly; 0 reads all of them."
    )
    reading.add_argument("--threads", type=int, default=2, help="Number of records that are read at a time.")
    output = parser.add_argument_group("what to write")
    output.add_argument(
        "--json", type=path_argument, metavar="FILE", help="Write the whole report as JSON to this file."
    )
    output.add_argument(
        "--sheet",
        type=path_argument,
        metavar="FILE",
        help="Write a contact sheet as PNG to this file; it shows images of patients.",
    )
    options = parser.parse_args(arguments)
    if options.limit < 0 or options.threads < 1:
        parser.error(f"--limit is {options.limit}, --threads is {options.threads}; expected 0 or more, and 1 or more")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    Args:
        arguments: the command line without the name of the program; None takes that of the process.

    Returns:
        0 healthy, 1 usable with warnings, 2 not usable or not recognised.
    """
    options = parse_arguments(arguments)
    try:
        diagnosis = diagnose(
            options.path, scheme=options.split_scheme, limit=options.limit, threads=options.threads, sheet=options.sheet
        )
        if options.json:
            options.json.write_text(json.dumps(as_json(diagnosis), indent=1))
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    print(as_text(diagnosis))
    if options.sheet:
        print(f"contact sheet: {options.sheet}")
    return diagnosis.exit_code


def _count_lines(counts: dict[str, Any]) -> list[str]:
    """Writes the counts, one line for each quantity."""

    def tally(name: str) -> str:
        shown = [f"{value} ({count})" for value, count in list(counts[name].items())[:VALUES_SHOWN]]
        more = len(counts[name]) - len(shown)
        return ", ".join(shown) + (f", and {more} more" if more else "")

    def spread(name: str, unit: str = "") -> str:
        if (values := counts[name]) is None:
            return "unknown"
        known = "" if values["known"] == counts["records"] else f", known of {values['known']} of {counts['records']}"
        low, middle, high = (f"{values[key]:g}" for key in ("min", "median", "max"))
        span = low if low == high else f"{low} to {high}, median {middle}"
        return f"{span}{unit}{known}"

    return [
        f"  views: {tally('views')}",
        f"  frames a clip: {spread('frames_per_clip')}; {counts['frames_with_mask']} of {counts['frames']} masked",
        f"  labels: {tally('label_sets')}",
        f"  sizes (rows x columns): {tally('sizes')}",
        f"  spacing: rows {spread('row_mm', ' mm')}; columns {spread('column_mm', ' mm')}",
        f"  frames a second: {spread('fps')}",
        f"  image quality: {tally('quality')}",
        f"  EF stated: {spread('ef_percent', ' %')}; of the masks, one plane: {spread('ef_of_masks_percent', ' %')}",
    ]


def _finding_lines(finding: Finding, records: int) -> list[str]:
    """Writes what was found and where, and below it what it means.

    Args:
        finding: the finding.
        records: how many records were read.
    """
    found = len(finding.records)
    if found == records > NAMES_SHOWN:
        where = ": all records"
    else:
        where = f": {', '.join(finding.records[:NAMES_SHOWN])}{', ...' if found > NAMES_SHOWN else ''}" if found else ""
    return [f"  {f'{found} x ' if found else ''}{finding.title}{where}", f"      {finding.detail}"]


if __name__ == "__main__":
    sys.exit(main())
