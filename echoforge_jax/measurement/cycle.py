"""The usual length of a beat in an area curve, in steps: by what repeats, or by counting deep minima."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import signal

from echoforge_jax.measurement.area_curve import EvenCurve, noise_sd, smooth, without_outliers

LOWEST_RATE_PER_MIN, HIGHEST_RATE_PER_MIN = 30.0, 220.0  # an adult's heart: block at rest, and 220 - age at exercise
LEAST_STEPS = 8  # fewer have no lag to compare at
LEAST_CYCLES = 1.5  # fewer have no second occurrence of most instants, so that no length can be compared
LEAST_CORRELATION = 0.25  # of the curve with itself one beat later; irregular rhythms have little
LEAST_SHORT_CORRELATION = 0.6  # the same for beats of few frames, where noise cannot be told from the beat otherwise
CORRELATION_SDS = 2.5  # the correlation of n steps of white noise has a standard deviation of 1 / sqrt(n)
FIRST_PEAK_SHARE = 0.75  # a peak as high as this share of the highest one comes first: two beats are not one
SEVERAL_BEATS = 1.6  # a curve that repeats after more than so many counted beats repeats after several of them
COUNTED_NOISE = 0.05  # of the range: what noise the curve may keep where its minima are counted
COUNTED_PROMINENCE = 0.4  # of the range, in which a drift and the largest beat are included
UNKNOWN_CYCLE_S = 0.8  # 75 beats a minute, where the curve is too short or too irregular to tell
SHORTEST_CYCLE_S = 60 / HIGHEST_RATE_PER_MIN
FEW_FRAMES_PER_BEAT = 8.0  # fewer put end-systole off by more than a frame's worth of a twelfth of the beat


@dataclasses.dataclass(frozen=True)
class Cycle:
    """The usual length of a beat.

    Attributes:
        steps: its length, or None where the curve is too short or too irregular to tell.
        repeats: whether the curve resembles itself one beat later.
        scale: a length for smoothing, which is known always: that of the beat, else of 75 beats a minute, else of the
            curve.
    """

    steps: float | None
    repeats: bool
    scale: float


def find_cycle(curve: EvenCurve, *, least_change: float) -> Cycle:
    """Finds the usual length of a beat.

    Args:
        curve: the area curve.
        least_change: a curve whose area changes less, as a share of the largest one, has no beats.
    """
    repeated, counted = _repeated(curve, least_change), _counted(curve)
    steps = counted if repeated is None or (counted is not None and repeated > SEVERAL_BEATS * counted) else repeated
    scale = steps or (min(UNKNOWN_CYCLE_S * curve.steps_per_s, 2.0 * len(curve)) if curve.steps_per_s else len(curve))
    return Cycle(steps, repeated is not None, float(scale))


def _repeated(curve: EvenCurve, least_change: float) -> float | None:
    """Returns the lag at which the autocorrelation has its first high peak, or None where none stands out."""
    area = curve.area
    centred = signal.detrend(area)
    n = len(centred)
    if n < LEAST_STEPS or np.ptp(centred) < least_change * np.abs(area).max():
        return None
    overlap = np.arange(n, 0, -1)
    correlation = signal.correlate(centred, centred)[n - 1 :] / overlap
    correlation = correlation / correlation[0]
    last = int(n / LEAST_CYCLES)
    first = 3
    if curve.steps_per_s is not None:
        first = max(first, int(SHORTEST_CYCLE_S * curve.steps_per_s))
        last = min(last, int(60 / LOWEST_RATE_PER_MIN * curve.steps_per_s) + 1)
    peaks, _ = signal.find_peaks(correlation[: last + 2], height=LEAST_CORRELATION)
    peaks = peaks[(peaks >= first) & (peaks <= last)]
    least = np.where(peaks < FEW_FRAMES_PER_BEAT, LEAST_SHORT_CORRELATION, CORRELATION_SDS / np.sqrt(overlap[peaks]))
    peaks = peaks[correlation[peaks] >= least]
    if not len(peaks):
        return None
    sure = correlation[peaks] * np.sqrt(overlap[peaks] / n)  # the more frames are compared, the surer the peak
    return float(peaks[np.argmax(sure >= FIRST_PEAK_SHARE * sure.max())])


def _counted(curve: EvenCurve) -> float | None:
    """Returns the median length of a beat where no length repeats, from deep minima; None for fewer than three.

    The window of the smoothing is as short as the noise allows.
    """
    clean = without_outliers(curve.area)
    spread = float(np.ptp(clean))
    if not spread:
        return None
    window = 9 / 4 * (noise_sd(clean) / (COUNTED_NOISE * spread)) ** 2
    smoothed = smooth(clean, min(max(window, 5.0), len(clean) / 4))
    minima, _ = signal.find_peaks(-smoothed, prominence=COUNTED_PROMINENCE * spread)
    return float(np.median(np.diff(minima))) if len(minima) > 2 else None
