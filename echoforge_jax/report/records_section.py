"""What the report says of the records: those left out, by reason, and the notes of the readers, by code."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from data_pipelines.notes import NOTE_KINDS, Note
from data_pipelines.notes_by_record import NoteGroup, group_notes
from data_pipelines.reasons import REASONS
from data_pipelines.records import Skipped


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """The records that were left out for one reason.

    Attributes:
        reason: one of `REASONS`.
        meaning: what it means.
        advice: what to do.
        records: the records, each once.
    """

    reason: str
    meaning: str
    advice: str
    records: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class NoteLine:
    """The notes of one code.

    Attributes:
        group: the notes.
        advice: what to do; "" where nothing is to be done.
    """

    group: NoteGroup
    advice: str


def left_out(skipped: Iterable[Skipped]) -> list[LeftOut]:
    """Groups records by reason, the most frequent first."""
    records: dict[str, dict[str, None]] = {}
    for record in skipped:
        records.setdefault(record.reason, {})[record.record_id] = None
    lines = []
    for reason, ids in sorted(records.items(), key=lambda item: -len(item[1])):
        known = REASONS.get(reason)  # a store of another version may bring a reason that is not in the table
        lines.append(LeftOut(reason, known.meaning if known else "", known.advice if known else "", tuple(ids)))
    return lines


def note_lines(notes: Mapping[str, Sequence[Note]]) -> list[NoteLine]:
    """Groups notes by code, warnings first.

    Args:
        notes: notes by record.
    """
    return [
        NoteLine(group, NOTE_KINDS[group.code].advice if group.code in NOTE_KINDS else "")
        for group in group_notes(notes)
    ]


def every_warning(notes: Mapping[str, Sequence[Note]]) -> list[tuple[str, str, str]]:
    """Lists record, code and text of every warning, in the order of the records.

    Args:
        notes: notes by record.
    """
    return [
        (record, one.code, one.text) for record in sorted(notes) for one in notes[record] if one.severity == "warning"
    ]
