"""Which part of the heart cycle a clip shows: the instant of every frame (as a phase) and the frame rate (1/s)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from data_pipelines.simulator.heart import Heart

CYCLES = ("ejection", "filling", "beats")


@dataclasses.dataclass(frozen=True)
class Timing:
    """The instants of a clip.

    Attributes:
        phases: phase of every frame: 0 end-diastole, 1 end-systole, (t,).
        ed_index: the frame of end-diastole.
        es_index: the frame of end-systole.
        fps: frames per second.
    """

    phases: Float[np.ndarray, " t"]
    ed_index: int
    es_index: int
    fps: float


def half_cycle_timing(heart: Heart, cycle: str, *, frames: int) -> Timing:
    """Divides one half of the heart cycle into equal steps.

    Args:
        heart: gives the duration of the half.
        cycle: "ejection", from end-diastole to end-systole; or "filling", from there to the next end-diastole.
        frames: number of frames.
    """
    if cycle == "ejection":
        return Timing(np.linspace(0, 1, frames), ed_index=0, es_index=frames - 1, fps=(frames - 1) / heart.systole_s)
    filling_s = heart.beat_s - heart.systole_s
    return Timing(np.linspace(1, heart.beat, frames), ed_index=frames - 1, es_index=0, fps=(frames - 1) / filling_s)


def beats_timing(heart: Heart, *, frames: int, fps: float, first_phase: float) -> Timing:
    """Lets a clip begin at any instant and run over as many beats as its frames cover.

    Args:
        heart: gives the duration of systole and of a beat.
        frames: number of frames.
        fps: frames per second.
        first_phase: phase of the first frame.

    Returns:
        the instants; end-diastole and end-systole are those of the first whole systole.

    Raises:
        ValueError: there are too few frames for a whole systole.
    """
    phases = first_phase + np.arange(frames) / (fps * heart.systole_s)
    ed_index = math.ceil((heart.beat - first_phase) * heart.systole_s * fps)
    es_index = ed_index + round(heart.systole_s * fps)
    if es_index >= frames:
        raise ValueError(
            f"{frames} frames at {fps} fps hold no whole systole; expected more than {es_index}: raise frames"
        )
    return Timing(phases, ed_index, es_index, fps)
