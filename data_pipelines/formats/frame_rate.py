"""The frame rates that echocardiography has."""

from __future__ import annotations

import math

FPS_LIMITS = (2.0, 1000.0)  # a frame rate outside of them is a default or an error of the writer, not echocardiography


def frame_rate(fps: float) -> float | None:
    """Returns `fps` if it is finite and possible in echocardiography (2 to 1000 frames per second), else None."""
    return float(fps) if math.isfinite(fps) and FPS_LIMITS[0] <= fps <= FPS_LIMITS[1] else None
