"""What the decoders of DICOM, video, NIfTI and PNG folders return: whole grey frames, frame rate and spacing.

`clips` crops a `Recording` and turns it into a `Clip`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import UInt8

from data_pipelines.notes import Note, note

NO_RATE = note("frame rate unknown", "The file states none.")
NO_SPACING = note("pixel spacing unknown", "The file states none.")


@dataclasses.dataclass(frozen=True)
class Recording:
    """Grey frames of a file, whole pictures.

    Attributes:
        frames: grey levels 0..255, (t, h, w); row 0 is the top of the picture.
        fps: frames per second, or None where it is not known.
        spacing_mm: (row_mm, column_mm), or None where the file does not say.
        view: "2CH", "4CH" or "".
        limit: (rows, columns) that the file gives as the region of ultrasound, or None.
        notes: where grey levels, frame rate and spacing come from, and which statements disagreed; no personal data.
    """

    frames: UInt8[np.ndarray, "t h w"]
    fps: float | None = None
    spacing_mm: tuple[float, float] | None = None
    view: str = ""
    limit: tuple[slice, slice] | None = None
    notes: tuple[Note, ...] = ()
