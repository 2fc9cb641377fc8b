"""End-diastole and end-systole to the frame: both ends of the limb on which the ventricle empties.

At both instants the area hardly changes, so that noise moves the largest and the smallest frame freely over several
frames (and in diastasis over many). The limb between them is steep, and its place is sure. The frame that is chosen
is near the limb's end and nearly as large, or as small, as the extreme.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Float

# The limb is measured between these shares of the stroke: noise of 10 % of the stroke does not reach across them.
LIMB_TOP, LIMB_BOTTOM = 0.85, 0.15
# The limb goes on above and below by this share of its length. On a raised cosine both parts are 0.51 of it; the pause
# in which all valves are closed (about a tenth of systole at either end) makes it 0.6.
BEYOND_LIMB = 0.6
# How far the extrapolated end may be wrong, as a share of the limb: filling and emptying differ from heart to heart.
LIMB_SPREAD = 0.15
LEAST_AREA_SPREAD = 0.05  # share of the stroke; a frame that differs by less is nearly as good as the extreme
LEAST_LINE_STEPS = 4  # steps of the limb
LEAST_TIME_SPREAD = 0.3  # steps; the standard deviation of rounding to whole frames


@dataclasses.dataclass(frozen=True)
class Systole:
    """One systole in an even curve.

    Attributes:
        ed: step of end-diastole.
        es: step of end-systole.
    """

    ed: int
    es: int


@dataclasses.dataclass(frozen=True)
class Window:
    """Where the ends of a systole may be.

    Attributes:
        earliest: first step that end-diastole may have.
        latest: last step that end-systole may have.
        reach: how far, in steps, the ends may lie outside of the extremes of the much-smoothed curve.
        noise: standard deviation of the noise of the little-smoothed curve.
    """

    earliest: int
    latest: int
    reach: int
    noise: float


def refine(fine: Float[np.ndarray, " n"], coarse: Systole, window: Window) -> Systole:
    """Places both ends of a systole.

    A step t is chosen that makes ((area(t) - extreme) / area_spread)^2 + ((t - end of the limb) / time_spread)^2
    smallest.

    Args:
        fine: the little-smoothed area curve.
        coarse: the systole as found on the much-smoothed curve.
        window: where its ends may be, and the noise of `fine`.

    Returns:
        The systole; `coarse` itself where the curve has no limb between the two.
    """
    top, bottom = fine[coarse.ed], fine[coarse.es]
    stroke = top - bottom
    if coarse.es - coarse.ed < 2 or stroke <= 0:
        return coarse
    upper, lower = _limb(fine, coarse, stroke)
    limb = lower - upper
    if limb <= 0:
        return coarse
    area_spread = max(window.noise, LEAST_AREA_SPREAD * stroke)
    time_spread = max(LIMB_SPREAD * limb, LEAST_TIME_SPREAD)

    def choose(signed: Float[np.ndarray, " n"], end: float, first: int, last: int) -> int:
        steps = np.arange(first, max(last, first) + 1)
        missing = signed[steps].max() - signed[steps]
        late = steps - np.clip(end, steps[0], steps[-1])
        return int(steps[np.argmin((missing / area_spread) ** 2 + (late / time_spread) ** 2)])

    first = min(max(window.earliest, coarse.ed - window.reach), coarse.ed)
    last = max(min(window.latest, coarse.es + window.reach), coarse.es)
    highest = min(max(math.floor(upper), coarse.ed), coarse.es - 1)
    ed = choose(fine, upper - BEYOND_LIMB * limb, first, highest)
    es = choose(-fine, lower + BEYOND_LIMB * limb, max(min(math.ceil(lower), coarse.es), ed + 1), last)
    return Systole(ed, es)


def _limb(fine: Float[np.ndarray, " n"], coarse: Systole, stroke: float) -> tuple[float, float]:
    """Returns where the last fall before end-systole passes `LIMB_TOP` and `LIMB_BOTTOM` of the stroke.

    Where it has enough steps, a straight line is fitted to it, which is surer than two crossings.
    """
    bottom = fine[coarse.es]
    middle = coarse.es
    while middle > coarse.ed and fine[middle] < bottom + stroke / 2:
        middle -= 1
    upper = _crossing(fine, middle, coarse.ed, bottom + LIMB_TOP * stroke)
    lower = _crossing(fine, middle, coarse.es, bottom + LIMB_BOTTOM * stroke)
    steps = np.arange(np.ceil(upper), np.floor(lower) + 1).astype(int)
    if len(steps) >= LEAST_LINE_STEPS:
        slope, offset = np.polyfit(steps, (fine[steps] - bottom) / stroke, 1)
        if slope < 0:
            return (LIMB_TOP - offset) / slope, (LIMB_BOTTOM - offset) / slope
    return upper, lower


def _crossing(area: Float[np.ndarray, " n"], start: int, stop: int, level: float) -> float:
    """Walks from `start` towards `stop` until the curve reaches the level; returns the place between two steps."""
    direction = 1 if stop >= start else -1
    falling = direction > 0  # forwards in time the limb falls below the level, backwards it rises above it
    for step in range(start, stop, direction):
        here, there = area[step], area[step + direction]
        if (there <= level) if falling else (there >= level):
            return step + direction * float(np.clip((level - here) / (there - here), 0, 1)) if there != here else step
    return float(stop)
