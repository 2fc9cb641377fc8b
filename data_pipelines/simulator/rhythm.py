"""Rhythms of several beats: when each beat begins (s), how long it lasts, and how much the ventricle empties and fills.

A rhythm is what a cine shows: which beats follow one another, and where the first frame lies. End-diastole and
end-systole of every beat follow from it, so that a program that looks for them can be checked.
"""

from __future__ import annotations

import dataclasses
from itertools import accumulate

import numpy as np

from data_pipelines.simulator.heart import Heart, ejected_share, filled_share

RHYTHMS = ("regular", "varying", "ectopic", "irregular")
# Respiration changes the time from beat to beat by 5 to 10 % in a resting adult (Task Force on heart rate variability,
# Circulation 93(5), 1996: SDNN of five minutes about 50 ms of 850 ms, more in the young).
VARYING_DURATION, VARYING_STROKE = 0.07, 0.05
# An early beat at 55 to 75 % of the usual time, followed by a compensatory pause, so that both together last two beats.
ECTOPIC_SHARE, ECTOPIC_EARLY = 0.2, (0.55, 0.75)
# Atrial fibrillation: the coefficient of variation of the RR interval is about 0.2 to 0.25 (Tateno and Glass, Med Biol
# Eng Comput 39, 2001), and there is no filling by the atrium.
IRREGULAR_DURATION = 0.22
LARGEST_SYSTOLE_SHARE = 0.55  # of a beat; the filling needs the rest
LEAST_STROKE = 0.3  # share of a full stroke that even an early beat ejects


@dataclasses.dataclass(frozen=True)
class Beat:
    """One beat of a rhythm, from its end-diastole to the next.

    Attributes:
        systole_s: time from end-diastole to end-systole.
        duration_s: time to the next end-diastole.
        unfilled: contraction at end-diastole, as a share of the heart's stroke volume: 0 is a full ventricle.
        emptied: contraction at end-systole: 1 is as empty as the heart gets.

    Raises:
        ValueError: the two times are not 0 < systole < duration, or the shares not 0 <= unfilled < emptied <= 1.
    """

    systole_s: float
    duration_s: float
    unfilled: float = 0.0
    emptied: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.systole_s < self.duration_s < np.inf:
            raise ValueError(
                f"systole_s is {self.systole_s}, duration_s is {self.duration_s}; expected 0 < systole_s < duration_s"
            )
        if not 0 <= self.unfilled < self.emptied <= 1:
            raise ValueError(
                f"unfilled is {self.unfilled}, emptied is {self.emptied}; expected 0 <= unfilled < emptied <= 1"
            )


@dataclasses.dataclass(frozen=True)
class TrueBeat:
    """When one beat happens in a cine. Instants are in frames: 2.5 lies in the middle between frames 2 and 3.

    A beat that the cine shows in part has instants before its first frame or behind its last one.

    Attributes:
        ed_frame: end-diastole.
        es_frame: end-systole.
        next_ed_frame: the end-diastole of the next beat.
        edv_ml: volume at end-diastole.
        esv_ml: volume at end-systole.
    """

    ed_frame: float
    es_frame: float
    next_ed_frame: float
    edv_ml: float
    esv_ml: float

    @property
    def ef_percent(self) -> float:
        """The ejection fraction of this beat."""
        return 100 * (self.edv_ml - self.esv_ml) / self.edv_ml


@dataclasses.dataclass(frozen=True)
class Rhythm:
    """Beats that follow one another; after the last one the first comes again.

    Attributes:
        beats: the beats, at least one.
        start_s: time of a cine's first frame, counted from the end-diastole of the first beat.

    Raises:
        ValueError: there is no beat.
    """

    beats: tuple[Beat, ...]
    start_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.beats:
            raise ValueError("a rhythm has no beat; expected at least one")

    @property
    def period_s(self) -> float:
        """Time after which the beats repeat."""
        return sum(beat.duration_s for beat in self.beats)

    def contraction_at(self, time_s: float) -> float:
        """Returns the share of the heart's stroke volume that has left the ventricle.

        Args:
            time_s: time since the first frame of the cine.
        """
        left_s = (time_s + self.start_s) % self.period_s
        number = 0
        while left_s >= self.beats[number].duration_s and number < len(self.beats) - 1:
            left_s -= self.beats[number].duration_s
            number += 1
        beat, following = self.beats[number], self.beats[(number + 1) % len(self.beats)]
        if left_s <= beat.systole_s:
            return beat.unfilled + (beat.emptied - beat.unfilled) * ejected_share(left_s / beat.systole_s)
        diastole = (left_s - beat.systole_s) / (beat.duration_s - beat.systole_s)
        return beat.emptied - (beat.emptied - following.unfilled) * filled_share(diastole)

    def true_beats(self, heart: Heart, *, frames: int, fps: float) -> tuple[TrueBeat, ...]:
        """Returns every beat that a cine shows wholly or in part, in the order of time.

        Args:
            heart: gives the volumes.
            frames: number of frames of the cine.
            fps: frames per second of the cine.
        """
        starts_s = [0.0, *accumulate(beat.duration_s for beat in self.beats)][:-1]
        rounds = int(((frames - 1) / fps + self.start_s) // self.period_s) + 1
        found = []
        for first in range(int(self.start_s // self.period_s), rounds):
            for beat, start_s in zip(self.beats, starts_s, strict=True):
                ed_s = first * self.period_s + start_s - self.start_s
                true = TrueBeat(
                    ed_frame=ed_s * fps,
                    es_frame=(ed_s + beat.systole_s) * fps,
                    next_ed_frame=(ed_s + beat.duration_s) * fps,
                    edv_ml=_volume_ml(heart, beat.unfilled),
                    esv_ml=_volume_ml(heart, beat.emptied),
                )
                if true.next_ed_frame >= 0 and true.ed_frame <= frames - 1:
                    found.append(true)
        return tuple(found)


def sample_rhythm(rng: np.random.Generator, heart: Heart, kind: str, *, beats: int) -> Rhythm:
    """Draws a rhythm that begins at any instant.

    Args:
        rng: the random generator.
        heart: gives the usual length of a systole and of a beat.
        kind: "regular": all beats alike. "varying": length and stroke change a little from beat to beat. "ectopic":
            also early beats with a smaller stroke, each followed by a pause. "irregular": as in atrial fibrillation,
            every beat has another length and the stroke follows the time of filling before it.
        beats: number of beats before the first comes again.

    Raises:
        ValueError: there is no such kind, or no beat.
    """
    if kind not in RHYTHMS:
        raise ValueError(f"kind is {kind!r}; expected one of {', '.join(RHYTHMS)}: choose one of these")
    lengths = _lengths(rng, kind, beats)
    unfilled, emptied = _strokes(rng, kind, lengths)
    drawn = tuple(
        Beat(
            systole_s=min(heart.systole_s * float(length) ** 0.3, LARGEST_SYSTOLE_SHARE * heart.beat_s * float(length)),
            duration_s=heart.beat_s * float(length),
            unfilled=float(full),
            emptied=float(empty),
        )
        for length, full, empty in zip(lengths, unfilled, emptied, strict=True)
    )
    period_s = sum(beat.duration_s for beat in drawn)
    return Rhythm(drawn, start_s=float(rng.uniform(0, period_s)))


def _lengths(rng: np.random.Generator, kind: str, beats: int) -> np.ndarray:
    """Draws the lengths of the beats, as shares of the usual one."""
    lengths = np.ones(beats)
    if kind == "irregular":
        return np.clip(np.exp(rng.normal(0, IRREGULAR_DURATION, beats)), 0.5, 1.9)
    if kind in ("varying", "ectopic"):
        lengths = np.clip(rng.normal(1, VARYING_DURATION, beats), 0.7, 1.3)
    if kind == "ectopic":
        number = int(rng.integers(0, 2))
        while number + 1 < beats:
            early = rng.uniform(*ECTOPIC_EARLY)
            lengths[number : number + 2] = early, 2 - early
            number += 2 + int(rng.geometric(ECTOPIC_SHARE))
    return lengths


def _strokes(rng: np.random.Generator, kind: str, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draws the contraction at end-diastole and at end-systole of every beat.

    A ventricle that had less time to fill is less full, and then also ejects to a smaller part.
    """
    if kind == "regular":
        return np.zeros_like(lengths), np.ones_like(lengths)
    unfilled, emptied = (np.abs(rng.normal(0, VARYING_STROKE, len(lengths))) for _ in range(2))
    missing = np.clip(1 - np.roll(lengths, 1), 0, 0.5)  # of the time before the beat
    unfilled = np.clip(unfilled + 0.6 * missing, 0, 0.4)
    emptied = 1 - np.clip(emptied + 0.8 * missing, 0, 0.6)
    return unfilled, np.clip(emptied, unfilled + LEAST_STROKE, 1)


def _volume_ml(heart: Heart, contraction: float) -> float:
    return heart.edv_ml * (1 - heart.ef_percent / 100 * contraction)
