"""Examines a data set: recognises its layout, reads its records in parallel, collects what was found."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rich.console
import rich.progress
from jaxtyping import UInt8

from data_pipelines.doctor.checks import ClipFacts, examine
from data_pipelines.doctor.comparison import collect_findings, count_facts
from data_pipelines.doctor.findings import KINDS, MISSING, NOTE, UNREADABLE, Finding
from data_pipelines.doctor.layouts import Item, Tree, recognise
from data_pipelines.doctor.sheet import choose_records, draw_tile, write_sheet
from data_pipelines.notes import Note
from data_pipelines.notes_by_record import merge_notes
from data_pipelines.records import Skipped, UnreadableRecord

HEALTHY, WARNINGS, UNUSABLE = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What the doctor says of one data set.

    Attributes:
        path: the data set.
        tree: its layout, splits and records.
        records_read: how many records were examined.
        counts: `count_facts` of the records that could be read.
        findings: what was found, by kind, the most serious first.
        left_out: every record that cannot be read or is missing, and why.
        notes: every note of the readers, by record.
    """

    path: Path
    tree: Tree
    records_read: int
    counts: dict[str, Any]
    findings: list[Finding]
    left_out: list[Skipped]
    notes: dict[str, tuple[Note, ...]]

    @property
    def exit_code(self) -> int:
        """0 healthy, 1 usable with warnings, 2 not usable."""
        if not self.counts["records"]:
            return UNUSABLE
        return WARNINGS if any(finding.kind != NOTE for finding in self.findings) else HEALTHY


@dataclasses.dataclass(frozen=True)
class _Examined:
    """One record after its examination.

    Attributes:
        facts: what is kept of it, or why it cannot be read.
        tile: its picture for the contact sheet, or None.
    """

    facts: ClipFacts | Skipped
    tile: UInt8[np.ndarray, "h w 3"] | None = None


def diagnose(
    path: Path, *, scheme: str = "auto", limit: int | None = None, threads: int = 2, sheet: Path | None = None
) -> Diagnosis:
    """Examines the data set at a path.

    Args:
        path: a folder, or one cine.
        scheme: how CAMUS and EchoNet-Dynamic are split, as for their `patient_splits`.
        limit: read at most so many records, spread evenly; None (or 0) reads all.
        threads: how many records are read at a time.
        sheet: write a contact sheet (PNG) to this file; None writes none.

    Raises:
        FileNotFoundError, NotRecognised, ValueError: there is nothing there that can be read.
    """
    tree = recognise(path, scheme)
    items = tree.items
    if limit and limit < len(items):
        items = [items[i] for i in np.linspace(0, len(items) - 1, limit).round().astype(int)]
    shown = choose_records(len(items)) if sheet else frozenset()
    facts: list[ClipFacts] = []
    unreadable: list[Skipped] = []
    tiles: list[UInt8[np.ndarray, "h w 3"]] = []
    for examined in _examine_all(items, shown, threads):
        if isinstance(examined.facts, Skipped):
            unreadable.append(examined.facts)
        else:
            facts.append(examined.facts)
        if examined.tile is not None:
            tiles.append(examined.tile)
    if sheet and tiles:
        write_sheet(tiles, sheet)
    notes = merge_notes(tree.notes, *({clip.record_id: clip.notes} for clip in facts))
    findings = [
        *_group_by_reason(tree.skipped, MISSING),
        *_group_by_reason(unreadable, UNREADABLE),
        *tree.findings,
        *collect_findings(facts, tree.splits, notes),
    ]
    findings.sort(key=lambda finding: KINDS.index(finding.kind))
    return Diagnosis(path, tree, len(items), count_facts(facts), findings, [*tree.skipped, *unreadable], notes)


def _examine_all(items: Sequence[Item], shown: frozenset[int], threads: int) -> Iterator[_Examined]:
    """Examines records in parallel and draws tiles of those with an index in `shown`; no clip is kept."""

    def look(index: int) -> _Examined:
        item = items[index]
        try:
            read = item.read()
            return _Examined(examine(read.clip, read.titles), draw_tile(read.clip) if index in shown else None)
        except UnreadableRecord as fault:
            return _Examined(Skipped(item.record_id, fault.reason, fault.detail))
        except ImportError:
            raise
        except Exception as error:  # a reader's own fault on one file must not lose the report on the others
            return _Examined(Skipped(item.record_id, "the reader failed", f"{type(error).__name__}: {error}"))

    columns = (*rich.progress.Progress.get_default_columns(), rich.progress.MofNCompleteColumn())
    console = rich.console.Console(stderr=True)
    bar = rich.progress.Progress(*columns, console=console, disable=not console.is_terminal)
    with bar, ThreadPoolExecutor(max(threads, 1)) as pool:
        yield from bar.track(pool.map(look, range(len(items))), total=len(items), description="reading")


def _group_by_reason(skipped: Sequence[Skipped], kind: str) -> list[Finding]:
    """Makes one finding for each reason; its detail is that of the first record."""
    findings = []
    for reason, _ in Counter(record.reason for record in skipped).most_common():
        records = [record for record in skipped if record.reason == reason]
        findings.append(Finding(kind, reason, tuple(record.record_id for record in records), records[0].detail))
    return findings
