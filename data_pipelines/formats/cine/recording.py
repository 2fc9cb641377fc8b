"""What a file of moving pictures gives before it is cropped: grey frames and what its header says of time and size.

The readers of DICOM, video, NIfTI and PNG folders return a `Recording`; `cine` turns it into a `Clip`.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import UInt8

FPS_LIMITS = (2.0, 1000.0)  # outside of them a frame rate is a default or an error of the writer, not echocardiography


@dataclasses.dataclass(frozen=True)
class Recording:
    """Grey frames of a file, whole pictures.

    Attributes:
        frames: grey levels 0..255, (t, h, w); row 0 is the top of the picture.
        fps: frames per second, or None.
        spacing_mm: (row_mm, column_mm), or None where the file does not say.
        view: "2CH", "4CH" or "".
        limit: (rows, columns) outside of which the file says there is no ultrasound, or None.
        notes: where grey levels, fps and spacing come from, and what is odd about the file. No personal data.
    """

    frames: UInt8[np.ndarray, "t h w"]
    fps: float | None = None
    spacing_mm: tuple[float, float] | None = None
    view: str = ""
    limit: tuple[slice, slice] | None = None
    notes: tuple[str, ...] = ()


def frame_rate(fps: float) -> float | None:
    """`fps` if it is finite and possible in echocardiography (2 to 1000 a second), else None."""
    return float(fps) if math.isfinite(fps) and FPS_LIMITS[0] <= fps <= FPS_LIMITS[1] else None
