"""Heart beats in an area curve: end-diastole and end-systole of every beat, and the heart rate where the rate is known.

How they are found, step by step:

1. Frames without an area are bridged, uneven times made even, single outliers replaced (`area_curve`).
2. The autocorrelation gives the usual length of a beat, where the curve holds at least one and a half of them and they
   are alike; else it is the median distance of deep minima (`cycle`).
3. The curve is smoothed over a sixth of a beat (Savitzky-Golay). Its minima whose prominence is a good part of the
   usual stroke are end-systoles; the maxima between them are end-diastoles.
4. An extreme at either end of the curve counts only if it is as deep (or as high) as the others; where there are no
   others, if the curve is flat there. Else the beat is cut off, and the instant is None (`turns`).
5. Both ends of each systole are placed on a less smoothed curve (`limbs`).

A curve without beats has none: a still heart, noise, too few frames.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from jaxtyping import Float, Real

from echoforge_jax.measurement import limbs
from echoforge_jax.measurement.area_curve import (
    OUTLIER_FRAMES_PER_BEAT,
    EvenCurve,
    even_curve,
    noise_sd,
    smooth,
    without_outliers,
)
from echoforge_jax.measurement.cycle import FEW_FRAMES_PER_BEAT, HIGHEST_RATE_PER_MIN, LOWEST_RATE_PER_MIN, find_cycle
from echoforge_jax.measurement.turns import Turns, find_turns, usual_stroke

LEAST_FRAMES = 4  # fewer hold no turn of the curve
SMOOTHING_CYCLE_SHARE = 1 / 6  # half of the fastest phase, the rapid filling (about 0.15 s of 0.9 s)
FINE_CYCLE_SHARE = 1 / 8
REACH = 0.08  # of a beat: half the time in which the area stays at its extreme (the relaxation lasts about 80 ms)
LEAST_AREA_CHANGE = 0.05  # of the area; a ventricle with an EF of 10 % still changes its area by about 7 %
LARGEST_AREA_CHANGE = 0.85  # of the area; an EF of 90 % takes away about 75 %
LEAST_STROKE_TO_NOISE = 3.0  # smoothed white noise alone has a range of about twice its standard deviation

TOO_FEW_FRAMES = "too few frames"
NO_AREA = "no frame has an area"
STILL = "the area does not change"
IMPLAUSIBLE = "the area changes more than a ventricle's"
ONLY_NOISE = "the area changes no more than by noise"
NO_TURN = "the area neither reaches end-diastole nor end-systole"

FEW_FRAMES_FLAG = "few frames a beat"
RATE_FLAG = "heart rate outside 30 to 220 per minute"
IRREGULAR_FLAG = "irregular rhythm"
EDGE_FLAG = "an instant is the first or the last frame"
MISSED_BEAT = 0.5  # of the median interval: an interval that is longer by more holds a beat that was not found
IRREGULAR_SHARE = 0.15  # of the median interval; SD of RR in sinus rhythm is 5 to 10 %, in atrial fibrillation 20 to 25


@dataclasses.dataclass(frozen=True)
class Beat:
    """One beat, from end-diastole to the next. An instant that the cine does not show is None.

    Attributes:
        ed_frame: end-diastole, or None.
        es_frame: end-systole, or None.
        next_ed_frame: end-diastole of the next beat, or None.
        flags: what is to be said of this beat: short fixed phrases.
    """

    ed_frame: int | None
    es_frame: int | None
    next_ed_frame: int | None
    flags: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the cine shows the beat from end-diastole to end-diastole."""
        return None not in (self.ed_frame, self.es_frame, self.next_ed_frame)

    @property
    def has_systole(self) -> bool:
        """Whether end-diastole and end-systole are both in the cine, so that there is an ejection fraction."""
        return self.ed_frame is not None and self.es_frame is not None


@dataclasses.dataclass(frozen=True)
class Beats:
    """The beats of a cine.

    Attributes:
        beats: every beat that is shown wholly or in part, in the order of time.
        heart_rate_per_min: from the mean time between equal instants of neighbouring beats; None where the frame rate
            is not known or no two such instants are shown.
        frames_per_beat: the mean of that time in frames, or None.
        area_change: largest minus smallest area of a usual beat, as a share of the largest one; nan where there is no
            curve.
        reason: why there is no beat: a short fixed phrase; None where there is one.
        flags: what is to be said of all beats: short fixed phrases.
    """

    beats: tuple[Beat, ...]
    heart_rate_per_min: float | None
    frames_per_beat: float | None
    area_change: float
    reason: str | None = None
    flags: tuple[str, ...] = ()


def find_beats(
    area: Real[np.ndarray, " t"],
    *,
    fps: float | None = None,
    times_s: Real[np.ndarray, " n"] | None = None,
    confidence: Real[np.ndarray, " m"] | None = None,
) -> Beats:
    """Finds the beats in the area of the left ventricle in every frame of a cine.

    >>> import numpy as np
    >>> area = 10 + 3 * np.cos(2 * np.pi * np.arange(60) / 30)
    >>> [(beat.ed_frame, beat.es_frame, beat.next_ed_frame) for beat in find_beats(area).beats]
    [(0, 15, 30), (30, 45, None)]

    Args:
        area: area (or volume) in every frame, in any unit, (t,); one that is not finite is missing.
        fps: frames per second, or None where it is not known.
        times_s: time of every frame, where they are not even; it takes the place of `fps`.
        confidence: how far each mask is to be trusted, 0..1; below one half its area counts as missing.

    Returns:
        The beats, or the reason why there are none.

    Raises:
        ValueError: shapes differ, times do not rise or have long gaps, or fps is not positive.
    """
    curve = even_curve(area, fps=fps, times_s=times_s, confidence=confidence)
    if curve is None:
        return _none(NO_AREA)
    if len(curve) < LEAST_FRAMES:
        return _none(TOO_FEW_FRAMES)
    largest = float(curve.area.max())
    if largest <= 0:
        return _none(NO_AREA)
    return _beats_of(dataclasses.replace(curve, area=curve.area / largest))


def _none(reason: str, area_change: float = np.nan) -> Beats:
    return Beats((), None, None, area_change, reason=reason)


def _beats_of(curve: EvenCurve) -> Beats:
    cycle = find_cycle(curve, least_change=LEAST_AREA_CHANGE)
    clean = without_outliers(curve.area) if cycle.scale >= OUTLIER_FRAMES_PER_BEAT else curve.area
    broad = smooth(clean, SMOOTHING_CYCLE_SHARE * cycle.scale)
    stroke = usual_stroke(broad, cycle.steps)
    change = stroke / max(float(np.quantile(clean, 0.95)), float(np.finfo(np.float32).tiny))
    if not change >= LEAST_AREA_CHANGE:
        return _none(STILL, change)
    if change > LARGEST_AREA_CHANGE:
        return _none(IMPLAUSIBLE, change)
    # Where a beat has few frames, it is itself rough; that it repeats then shows that it is no noise.
    noise = 0.0 if cycle.repeats and cycle.scale < FEW_FRAMES_PER_BEAT else noise_sd(clean)
    if stroke < LEAST_STROKE_TO_NOISE * noise:
        return _none(ONLY_NOISE, change)
    window = FINE_CYCLE_SHARE * cycle.scale
    placed = _place(
        smooth(clean, window),
        find_turns(broad, stroke, cycle.scale),
        noise=noise * min(1.0, 1.5 / np.sqrt(max(window, 1.0))),  # what a parabola over the window keeps of it
        reach=round(REACH * cycle.scale),
    )
    beats = _as_beats(placed, curve)
    return _with_rate(beats, curve, change) if beats else _none(NO_TURN, change)


def _place(fine: Float[np.ndarray, " n"], turns: list[Turns], *, noise: float, reach: int) -> list[Turns]:
    """Places both ends of every systole that is shown."""
    placed: list[Turns] = []
    for number, beat in enumerate(turns):
        if beat.ed is None or beat.es is None:
            placed.append(beat)
            continue
        before = [step for other in placed for step in (other.ed, other.es) if step is not None]
        behind = [step for other in turns[number + 1 :] for step in (other.ed, other.es) if step is not None]
        window = limbs.Window(
            earliest=max(before, default=-1) + 1, latest=min(behind, default=len(fine)) - 1, reach=reach, noise=noise
        )
        found = limbs.refine(fine, limbs.Systole(beat.ed, beat.es), window)
        placed.append(Turns(found.ed, found.es))
    return placed


def _as_beats(placed: list[Turns], curve: EvenCurve) -> tuple[Beat, ...]:
    """Makes the records. An end-diastole without end-systole is the end of the beat before it, where there is one."""

    instants = _in_frames([step for turns in placed for step in (turns.ed, turns.es)], curve)
    pairs = list(zip(instants[::2], instants[1::2], strict=True))
    edges = {round(float(curve.position[step])) for step in (0, -1)}
    following = [ed for ed, _ in pairs[1:]] + [None]
    beats: list[Beat] = []
    for (ed, es), after in zip(pairs, following, strict=True):
        stated = bool(beats) and beats[-1].next_ed_frame is not None
        if es is not None or (ed is not None and not stated):
            beats.append(Beat(ed, es, after, flags=(EDGE_FLAG,) if edges & {ed, es, after} else ()))
    return tuple(beats)


def _in_frames(steps: list[int | None], curve: EvenCurve) -> list[int | None]:
    """Returns the frame of every step; a step in a gap, whose nearest frame an earlier instant has, gets None."""
    frames: list[int | None] = []
    last = -1
    for step in steps:
        frame = None if step is None else round(float(curve.position[step]))
        frames.append(None if frame is None or frame <= last else frame)
        last = last if frames[-1] is None else frames[-1]
    return frames


def _with_rate(beats: tuple[Beat, ...], curve: EvenCurve, change: float) -> Beats:
    starts = [beat.ed_frame for beat in beats] + [beats[-1].next_ed_frame]
    ends = [beat.es_frame for beat in beats]
    intervals = [
        later - earlier
        for instants in (starts, ends)
        for earlier, later in itertools.pairwise(instants)
        if earlier is not None and later is not None
    ]
    median = np.median(intervals) if intervals else 0.0
    usual = [interval for interval in intervals if abs(interval - median) <= MISSED_BEAT * median]
    frames_per_beat = float(np.mean(usual)) if usual else None
    rate = None
    flags = []
    if frames_per_beat is not None:
        if frames_per_beat < FEW_FRAMES_PER_BEAT:
            flags.append(FEW_FRAMES_FLAG)
        if len(intervals) > 2 and np.std(intervals) > IRREGULAR_SHARE * frames_per_beat:
            flags.append(IRREGULAR_FLAG)
        if curve.steps_per_s is not None:
            # frames and steps differ where times are uneven, so the rate is taken in steps
            rate = 60 * curve.steps_per_s / _in_steps(frames_per_beat, curve)
            if not LOWEST_RATE_PER_MIN <= rate <= HIGHEST_RATE_PER_MIN:
                flags.append(RATE_FLAG)
    return Beats(beats, rate, frames_per_beat, change, flags=tuple(flags))


def _in_steps(frames: float, curve: EvenCurve) -> float:
    return frames * (len(curve) - 1) / max(curve.position[-1] - curve.position[0], 1)
