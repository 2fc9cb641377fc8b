"""Findings between the clips of a data set: axes, splits, duplicates; and counts over all of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.doctor.checks import ClipFacts
from data_pipelines.doctor.findings import CLIP_FINDINGS, NOTE, SUSPICIOUS, Finding
from data_pipelines.notes import NOTE_KINDS, Note
from data_pipelines.notes_by_record import group_notes
from data_pipelines.records import ATRIUM

CLEAR_OFFSET = 0.01  # share of the sector's box: a smaller offset of its centroid does not tell where the apex is


def collect_findings(
    facts: Sequence[ClipFacts], splits: Mapping[str, Sequence[str]], notes: Mapping[str, Sequence[Note]]
) -> list[Finding]:
    """Collects the findings on every clip by title, those of the readers' notes, then those that show between clips.

    Args:
        facts: the clips that were examined.
        splits: patients by split; empty where they are not known.
        notes: what the readers said, by record.
    """
    findings = []
    for title, (kind, detail) in CLIP_FINDINGS.items():
        if records := tuple(clip.record_id for clip in facts if title in clip.titles):
            findings.append(Finding(kind, title, records, detail))
    return [
        *findings,
        *findings_of_notes(notes),
        *_check_axes(facts),
        *_check_splits(splits),
        *_find_duplicates(facts, splits),
    ]


def findings_of_notes(notes: Mapping[str, Sequence[Note]]) -> list[Finding]:
    """Makes one finding for each code of the readers' notes, warnings first; its detail is the first text.

    Args:
        notes: notes by record.
    """
    return [
        Finding(
            SUSPICIOUS if group.severity == "warning" else NOTE,
            group.code,
            group.records,
            " ".join(filter(None, [group.example, _advice(group.code)])),
        )
        for group in group_notes(notes)
    ]


def _advice(code: str) -> str:
    """What to do; "" also for a code that a store of another version brings."""
    return NOTE_KINDS[code].advice if code in NOTE_KINDS else ""


def count_facts(facts: Sequence[ClipFacts]) -> dict[str, Any]:
    """Counts and summarises the clips for the report; every value can be written as JSON."""
    return {
        "patients": len({clip.patient_id for clip in facts}),
        "records": len(facts),
        "views": _tally(clip.view or "unknown" for clip in facts),
        "frames": sum(clip.frames for clip in facts),
        "frames_per_clip": _spread(clip.frames for clip in facts),
        "frames_with_mask": sum(clip.frames_with_mask for clip in facts),
        "label_sets": _tally(",".join(map(str, sorted(clip.labels))) or "none" for clip in facts),
        "sizes": _tally(f"{clip.size[0]}x{clip.size[1]}" for clip in facts),
        "row_mm": _spread(clip.spacing_mm and clip.spacing_mm[0] for clip in facts),
        "column_mm": _spread(clip.spacing_mm and clip.spacing_mm[1] for clip in facts),
        "fps": _spread((clip.fps for clip in facts), digits=1),
        "quality": _tally(clip.quality or "unknown" for clip in facts),
        "ef_percent": _spread((clip.ef_percent for clip in facts), digits=1),
        "ef_of_masks_percent": _spread((clip.ef_of_masks_percent for clip in facts), digits=1),
    }


def _spread(values: Iterable[float | int | None], digits: int = 3) -> dict[str, int | float] | None:
    """Summarises the known values; None where none is known."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, middle, high = (round(float(value), digits) for value in (min(known), np.median(known), max(known)))
    return {"known": len(known), "min": low, "median": middle, "max": high}


def _tally(values: Iterable[str]) -> dict[str, int]:
    """Counts values, the most frequent first."""
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _check_axes(facts: Sequence[ClipFacts]) -> list[Finding]:
    """Looks at the axes of records without an atrium, whose anatomy nothing checks. It never gives more than a hint."""
    unchecked = [clip for clip in facts if ATRIUM not in clip.labels]
    doubts, good_signs = [], []
    offsets = [clip.sector_offset for clip in unchecked if clip.sector_offset]
    if offsets := [offset for offset in offsets if max(map(abs, offset)) > CLEAR_OFFSET]:
        down, right = np.median(np.array(offsets), axis=0)
        if down > abs(right):
            good_signs.append(f"the sector's apex is on top in the median of {len(offsets)}")
        else:
            side = "at the bottom" if -down > abs(right) else "at the left" if right > 0 else "at the right"
            doubts.append(f"the sector's apex is {side} in the median of {len(offsets)} records, expected on top")
    if ratios := [clip.lv_height_to_width for clip in unchecked if clip.lv_height_to_width]:
        ratio = float(np.median(ratios))
        shape = f"the LV is {ratio:.2f} times as tall as wide in the median of {len(ratios)}"
        if ratio > 1:
            good_signs.append(shape)
        else:
            doubts.append(f"{shape}, expected taller")
    if doubts:
        return [Finding(SUSPICIOUS, "axes may be transposed or upside down", (), "; ".join(doubts))]
    if good_signs:
        return [Finding(NOTE, "axes look right where no atrium tells", (), "; ".join(good_signs))]
    return []


def _check_splits(splits: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Finds patients that are in two splits."""
    holders = defaultdict(set)
    for split, patients in splits.items():
        for patient in patients:
            holders[patient].add(split)
    twice = tuple(sorted(patient for patient, names in holders.items() if len(names) > 1))
    detail = "scores on the later split are not of unseen patients"
    return [Finding(SUSPICIOUS, "patient in two splits", twice, detail)] if twice else []


def _find_duplicates(facts: Sequence[ClipFacts], splits: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Finds identical frames of different patients; those in different splits are a finding of their own."""
    patient_split = {patient: split for split, patients in splits.items() for patient in patients}
    owners: dict[bytes, list[ClipFacts]] = defaultdict(list)
    for clip in facts:
        for frame_hash in clip.frame_hashes:
            owners[frame_hash].append(clip)
    across, within = set(), set()
    for group in owners.values():
        if len({clip.patient_id for clip in group}) > 1:
            holders = {patient_split.get(clip.patient_id, "") for clip in group} - {""}
            (across if len(holders) > 1 else within).update(clip.record_id for clip in group)
    findings = []
    if across:
        detail = "the splits share pictures: scores are not of unseen patients"
        findings.append(Finding(SUSPICIOUS, "identical frames in two splits", tuple(sorted(across)), detail))
    if within:
        detail = "one patient under two names, or a file copied by mistake"
        findings.append(Finding(SUSPICIOUS, "identical frames of two patients", tuple(sorted(within)), detail))
    return findings
