"""What a reader of files has to say beside the data: where a value comes from, and which statements disagreed.

One rule holds for every reader: a statement of a file is checked against every other statement that the file, or a file
that belongs to it, makes. Where two disagree and the truth can be told, the reader takes it and adds a `Note`; where it
cannot be told, the reader refuses the record (`UnreadableRecord`) and names both statements.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

Severity = Literal["info", "warning"]


@dataclasses.dataclass(frozen=True)
class NoteKind:
    """One kind of note.

    Attributes:
        severity: "info" says where a value comes from, or what was handled: nothing is to be done. "warning" says that
            statements disagree or that a value is doubtful: somebody should look.
        meaning: what it means.
        advice: what to do; "" where nothing is to be done.
    """

    severity: Severity
    meaning: str
    advice: str = ""


NOTE_KINDS: dict[str, NoteKind] = {
    # every format
    "grey levels": NoteKind("info", "How the stored samples became grey levels 0..255."),
    "grey levels doubtful": NoteKind(
        "warning",
        "The samples may have another range than the one that was taken.",
        "Look at the picture; export it with grey levels 0..255.",
    ),
    "frame rate": NoteKind("info", "Which statement of the file the frame rate comes from."),
    "frame rate unknown": NoteKind(
        "info", "No statement of the file gives a frame rate.", "Times are counted in frames; no heart rate is given."
    ),
    "frame rate is one of display": NoteKind(
        "warning",
        "The file states only the rate at which the cine is to be shown, which need not be that of the recording.",
        "Look up the rate of the recording before times or heart rates are used.",
    ),
    "uneven frame times": NoteKind(
        "warning",
        "The frames are not evenly spaced in time; the frame rate is that of the median step.",
        "Do not read times off the frame number; export the cine with a constant frame rate where times matter.",
    ),
    "pixel spacing": NoteKind("info", "Which statement of the file the pixel spacing comes from."),
    "pixel spacing unknown": NoteKind(
        "info",
        "No statement of the file gives a pixel spacing.",
        "Lengths are in pixels; volumes in ml cannot be given.",
    ),
    "frames missing": NoteKind(
        "warning", "Fewer frames could be decoded than the file states.", "Fetch the file again, or export it again."
    ),
    "sector uncertain": NoteKind(
        "warning",
        "The ultrasound sector was not found with certainty, so that the picture may hold text or a second sector.",
        "Look at the picture: `python -m data_pipelines.doctor FILE --sheet sheet.png`.",
    ),
}
"""Every note that a reader can give, by its code."""


@dataclasses.dataclass(frozen=True)
class Note:
    """Something that a reader of one record found. It holds no personal data.

    Attributes:
        code: one of `NOTE_KINDS`, the same for every record with the same note, so that notes can be counted.
        text: one sentence on this record: the values found, and which was taken.
        severity: "info" or "warning", as in `NoteKind`.
    """

    code: str
    text: str
    severity: Severity


def note(code: str, text: str) -> Note:
    """Makes a note with the severity of its code.

    Args:
        code: one of `NOTE_KINDS`.
        text: one sentence on this record: the values found, and which was taken.

    Raises:
        KeyError: the code is not one of `NOTE_KINDS`: add it there, with its meaning and advice.
    """
    return Note(code, text, NOTE_KINDS[code].severity)


def warnings_of(notes: Sequence[Note]) -> tuple[Note, ...]:
    """Returns the notes that somebody should look at."""
    return tuple(one for one in notes if one.severity == "warning")
