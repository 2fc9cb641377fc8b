"""Which extremes of a smoothed area curve are end-diastoles and end-systoles, and which are notches or cut-off ends."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from jaxtyping import Float
from scipy import signal

from echoforge_jax.measurement.cycle import FEW_FRAMES_PER_BEAT, LEAST_CYCLES

LEAST_PROMINENCE = 0.25  # of the usual stroke: an early beat ejects less, a notch in diastole is shallower
LEAST_DISTANCE_SHARE = 0.4  # of the usual beat: the earliest ectopic beats come after about half of it
# A shallow minimum halfway between two others is a notch that the network draws while the mitral valve opens. An early
# beat is followed by a pause: the minima before and behind it lie two beats apart, not one.
NOTCH_STROKE, NOTCH_INTERVALS = 0.5, 1.3  # of the usual stroke; of the usual beat
EDGE_LEVEL = 0.2  # of the stroke: how far the level of an extreme at the edge may miss that of the others
EDGE_SLOPE = 0.5  # of the steepest slope: a curve that is cut at such a slope has less than 7 % of a limb left


@dataclasses.dataclass(frozen=True)
class Turns:
    """One beat's extremes, in steps of the curve; None where the curve does not show one.

    Attributes:
        ed: end-diastole.
        es: end-systole.
    """

    ed: int | None
    es: int | None


def usual_stroke(broad: Float[np.ndarray, " n"], cycle: float | None) -> float:
    """Returns the median over the beats of the range of the curve; a slow drift adds little to it.

    Args:
        broad: the much-smoothed area curve.
        cycle: the usual length of a beat in steps, or None where it is not known.
    """
    if cycle is None or len(broad) < LEAST_CYCLES * cycle:
        return float(np.ptp(broad))
    pieces = np.array_split(broad, max(1, round(len(broad) / cycle)))
    return float(np.median([np.ptp(piece) for piece in pieces]))


def find_turns(broad: Float[np.ndarray, " n"], stroke: float, cycle: float) -> list[Turns]:
    """Returns the extremes of every beat in the order of time; the last one has an end-diastole alone, or nothing.

    Args:
        broad: the much-smoothed area curve.
        stroke: how much the area changes in a usual beat.
        cycle: the usual length of a beat in steps.
    """
    wall = np.full(1, broad.max() + stroke)
    minima, _ = signal.find_peaks(
        -np.concatenate([wall, broad, wall]),
        prominence=LEAST_PROMINENCE * stroke,
        distance=max(1, round(LEAST_DISTANCE_SHARE * cycle)),
    )
    minima = _without_notches([int(step) - 1 for step in minima], broad, stroke, cycle)
    borders = [0, *minima, len(broad) - 1]
    maxima = [low + int(np.argmax(broad[low : high + 1])) for low, high in itertools.pairwise(borders)]
    last = len(broad) - 1
    inner_low = [broad[step] for step in minima if 0 < step < last]
    inner_high = [broad[step] for step in maxima[1:-1]]
    shown_minima = [step if _is_turn(broad, step, inner_low, stroke, sign=-1) else None for step in minima]
    shown_maxima = [
        step if step not in minima and _is_turn(broad, step, inner_high, stroke, sign=1) else None for step in maxima
    ]
    return [Turns(ed, es) for ed, es in zip(shown_maxima, [*shown_minima, None], strict=True)]


def _without_notches(minima: list[int], broad: Float[np.ndarray, " n"], stroke: float, cycle: float) -> list[int]:
    """Leaves out minima that are notches of one beat, the shallowest first."""
    kept = list(minima)
    cycle = min(cycle, float(np.median(np.diff(minima)))) if len(minima) > 2 else cycle
    while True:
        notches = [
            (min(broad[before:here].max(), broad[here:after].max()) - broad[here], here)
            for before, here, after in zip(kept, kept[1:], kept[2:], strict=False)
            if after - before < NOTCH_INTERVALS * cycle
        ]
        depth, shallowest = min(notches, default=(np.inf, -1))
        if depth >= NOTCH_STROKE * stroke:
            return kept
        kept.remove(shallowest)


def _is_turn(broad: Float[np.ndarray, " n"], step: int, others: list[float], stroke: float, *, sign: int) -> bool:
    """Tells whether an extreme is end-diastole (sign 1) or end-systole (-1), or only where the curve is cut off."""
    margin = max(1, len(broad) // 100)
    if margin <= step < len(broad) - margin:
        return True
    if others:
        return bool(sign * (np.median(others) - broad[step]) <= EDGE_LEVEL * stroke)
    if len(broad) < FEW_FRAMES_PER_BEAT:
        return True
    slope = np.abs(np.gradient(broad))
    return bool(slope[step] <= EDGE_SLOPE * slope.max())
