"""Finds the frame rate from the times of the frames, which are the truth, and compares it with the header's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from data_pipelines.formats.frame_rate import FPS_LIMITS, frame_rate
from data_pipelines.notes import Note, note

JITTER = 0.1  # share of the median step: steps that differ by less are even
PAUSE = 0.5  # share of the median step: steps that differ by more hold pauses, which would spoil their mean
SAME_RATE = 0.01  # rates that differ by less are one rate
HIGHEST_PLAUSIBLE_FPS = 250.0  # faster two-dimensional cines exist in research alone
QUICKTIME_CLOCK = 600.0  # ticks a second where nobody chose: one tick a frame is no frame rate


@dataclasses.dataclass(frozen=True)
class Timing:
    """When the frames of a video were shown.

    Attributes:
        times_s: seconds from the first frame, (t,); None where the file does not give a time for every frame.
        fps: frames per second: that of the header where the times agree, else that of the times; None if not known.
        notes: where the rate comes from, and which statements disagreed.
    """

    times_s: Float[np.ndarray, " t"] | None
    fps: float | None
    notes: tuple[Note, ...]


@dataclasses.dataclass(frozen=True)
class StatedRate:
    """What a container says of its frame rate apart from the times of the frames.

    Attributes:
        fps: frames per second, or None.
        tick_s: the unit of its times, seconds.
        has_times: whether its times are more than a count of frames at a rate that is a default, or wrong.
    """

    fps: float | None
    tick_s: float
    has_times: bool = True


def find_timing(times: Sequence[float | None], stated: StatedRate) -> Timing:
    """Finds the frame rate.

    Args:
        times: time of each frame in seconds, in the order of the frames; None where the file gives none.
        stated: what the container says otherwise.
    """
    if not stated.has_times:
        return Timing(None, *_judge(stated.fps, stated, []))
    known = np.array([time for time in times if time is not None])
    steps = np.diff(known)
    forward = steps[steps > 0]
    notes: list[Note] = []
    if len(known) < len(times):
        notes.append(note("frame times doubtful", f"{len(times) - len(known)} of {len(times)} frames have no time."))
    if len(forward) < len(steps):
        text = (
            f"{len(steps) - len(forward)} of {len(times)} frames have the time of the frame before, or an earlier one."
        )
        notes.append(note("frame times doubtful", text))
    whole = (known - known[0]) if 0 < len(known) == len(times) else None
    if 2 * len(forward) < len(steps) or not len(forward):  # most of the times are useless
        return Timing(whole, *_judge(stated.fps, stated, notes))
    middle = float(np.median(forward))
    tolerance = max(JITTER * middle, min(2.1 * stated.tick_s, 0.4 * middle))
    said = f"the header states {stated.fps:g} frames/s" if stated.fps else "the header states no rate"
    mean = float(forward.mean())
    if np.ptp(forward) > tolerance:
        step, kind = (middle, "median") if np.ptp(forward) > PAUSE * middle else (mean, "mean")
        text = (
            f"Steps of {_ms(forward.min())} to {_ms(forward.max())} ms between frames; the {kind}, {_ms(step)} ms, "
            f"gives {1 / step:.4g} frames/s, {said}."
        )
        notes.append(note("uneven frame times", text))
        return Timing(whole, *_judge(1 / step, stated, notes))
    measured = 1 / mean
    slack = SAME_RATE * len(forward) + (stated.fps or 0.0) * stated.tick_s
    if stated.fps is None or abs(stated.fps / measured - 1) * len(forward) > slack:
        if stated.fps is not None:
            text = f"The times of the frames give {measured:.4g} frames/s, {said}: the times are taken."
            notes.append(note("frame rate disputed", text))
        return Timing(whole, *_judge(measured, stated, notes))
    return Timing(whole, *_judge(stated.fps, stated, notes))


def _judge(fps: float | None, stated: StatedRate, notes: list[Note]) -> tuple[float | None, tuple[Note, ...]]:
    """Refuses a rate that cannot be one of echocardiography, and says where the rate comes from."""
    if not fps:
        return None, (*notes, note("frame rate unknown", "The file states none that is its own."))
    if abs(fps * stated.tick_s - 1) < SAME_RATE and abs(fps / QUICKTIME_CLOCK - 1) < SAME_RATE:
        text = f"One tick of the container's clock for each frame ({fps:g} frames/s) is no frame rate: it is not used."
        return None, (*notes, note("frame rate impossible", text))
    if frame_rate(fps) is None or fps >= FPS_LIMITS[1]:
        text = f"{fps:g} frames/s is no frame rate of echocardiography: it is not used."
        return None, (*notes, note("frame rate impossible", text))
    if fps > HIGHEST_PLAUSIBLE_FPS:
        notes = [*notes, note("frame rate implausible", f"The file gives {fps:g} frames/s.")]
    if any(one.code in ("uneven frame times", "frame rate disputed") for one in notes):
        return fps, tuple(notes)
    return fps, (*notes, note("frame rate", "From the container."))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.4g}"
