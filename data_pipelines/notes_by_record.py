"""The notes of a whole data set, by record: joined, grouped, summarised for a terminal, and kept as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.notes import Note, Severity


@dataclasses.dataclass(frozen=True)
class NoteGroup:
    """All notes of one code.

    Attributes:
        code: one of `NOTE_KINDS`.
        severity: "info" or "warning".
        records: the records that have it, each once.
        texts: the different texts, in the order of the records.
    """

    code: str
    severity: Severity
    records: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def example(self) -> str:
        """The first text, and how many others there are."""
        others = len(self.texts) - 1
        return self.texts[0] + (f" ({others} other text{'s' if others > 1 else ''}.)" if others else "")


def group_notes(notes: Mapping[str, Sequence[Note]]) -> list[NoteGroup]:
    """Groups notes by code: warnings first, then by the number of records.

    Args:
        notes: notes by record.
    """
    records: dict[str, dict[str, None]] = {}  # a dictionary keeps the order of what it holds, a set does not
    texts: dict[str, dict[str, None]] = {}
    severities: dict[str, Severity] = {}
    for record_id, own in notes.items():
        for one in own:
            records.setdefault(one.code, {})[record_id] = None
            texts.setdefault(one.code, {})[one.text] = None
            severities[one.code] = one.severity
    groups = [NoteGroup(code, severities[code], tuple(records[code]), tuple(texts[code])) for code in records]
    return sorted(groups, key=lambda group: (group.severity != "warning", -len(group.records)))


def summarise_notes(notes: Mapping[str, Sequence[Note]]) -> str:
    """Writes one line for each warning (count, code, first three records, first text); infos are only counted.

    Args:
        notes: notes by record.
    """
    groups = group_notes(notes)
    lines = []
    for group in (group for group in groups if group.severity == "warning"):
        names = ", ".join(group.records[:3]) + (", ..." if len(group.records) > 3 else "")
        lines.append(f"{len(group.records)} x {group.code}: {names}: {group.example}")
    if infos := [f"{group.code} ({len(group.records)})" for group in groups if group.severity == "info"]:
        lines.append(f"for information: {', '.join(infos)}")
    return "\n".join(lines)


def merge_notes(*parts: Mapping[str, Sequence[Note]]) -> dict[str, tuple[Note, ...]]:
    """Joins notes by record; a note that is there already is not repeated.

    Args:
        *parts: notes by record.
    """
    merged: dict[str, dict[Note, None]] = {}
    for part in parts:
        for record_id, own in part.items():
            merged.setdefault(record_id, {}).update(dict.fromkeys(own))
    return {record_id: tuple(own) for record_id, own in merged.items() if own}


def notes_as_json(notes: Mapping[str, Sequence[Note]]) -> dict[str, list[dict[str, str]]]:
    """Writes notes as JSON can hold them: record -> code, text and severity of each.

    Args:
        notes: notes by record.
    """
    return {record_id: [dataclasses.asdict(one) for one in own] for record_id, own in notes.items() if own}


def notes_from_json(stored: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, tuple[Note, ...]]:
    """Reads what `notes_as_json` wrote; codes that this version does not know are kept as they are.

    Args:
        stored: record -> code, text and severity of each.
    """
    return {record_id: tuple(Note(**fields) for fields in own) for record_id, own in stored.items()}
