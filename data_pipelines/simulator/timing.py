"""Which part of the heart cycle a clip shows: the contraction in every frame, and the frame rate (1/s)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from data_pipelines.simulator.heart import Heart, contraction_at
from data_pipelines.simulator.rhythm import Rhythm

CYCLES = ("ejection", "filling", "beats")


@dataclasses.dataclass(frozen=True)
class Timing:
    """The instants of a clip.

    Attributes:
        contractions: share of the stroke volume that has left the ventricle in every frame: 0 at end-diastole, 1 at
            end-systole, (t,).
        ed_index: the frame of end-diastole, or None where the clip shows no whole systole.
        es_index: the frame of end-systole, or None where the clip shows no whole systole.
        fps: frames per second.
    """

    contractions: Float[np.ndarray, " t"]
    ed_index: int | None
    es_index: int | None
    fps: float


def half_cycle_timing(heart: Heart, cycle: str, *, frames: int) -> Timing:
    """Divides one half of the heart cycle into equal steps.

    Args:
        heart: gives the duration of the half.
        cycle: "ejection", from end-diastole to end-systole; or "filling", from there to the next end-diastole.
        frames: number of frames.
    """
    if cycle == "ejection":
        contractions = _contractions(heart, np.linspace(0, 1, frames))
        return Timing(contractions, ed_index=0, es_index=frames - 1, fps=(frames - 1) / heart.systole_s)
    filling_s = heart.beat_s - heart.systole_s
    contractions = _contractions(heart, np.linspace(1, heart.beat, frames))
    return Timing(contractions, ed_index=frames - 1, es_index=0, fps=(frames - 1) / filling_s)


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
    return Timing(_contractions(heart, phases), ed_index, es_index, fps)


def rhythm_timing(rhythm: Rhythm, heart: Heart, *, frames: int, fps: float) -> Timing:
    """Lets a clip show a rhythm of several beats.

    Args:
        rhythm: the beats, and where the first frame lies.
        heart: the heart that beats in it.
        frames: number of frames.
        fps: frames per second.

    Returns:
        the instants; end-diastole and end-systole are those of the first whole systole, rounded to frames.
    """
    contractions = np.array([rhythm.contraction_at(frame / fps) for frame in range(frames)])
    for beat in rhythm.true_beats(heart, frames=frames, fps=fps):
        ed_index, es_index = round(beat.ed_frame), round(beat.es_frame)
        if 0 <= ed_index < es_index < frames:
            return Timing(contractions, ed_index, es_index, fps)
    return Timing(contractions, None, None, fps)


def _contractions(heart: Heart, phases: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    return np.array([contraction_at(float(phase), heart.beat) for phase in phases])
