"""The area of the ventricle in every frame, made ready for a search of beats: even in time, without gaps and outliers.

The area comes from masks that a network drew, so it is noisy, and single frames are wrong by far.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Real
from scipy import ndimage, signal

LEAST_CONFIDENCE = 0.5  # a frame whose mask is more likely wrong than right says nothing of the area
OUTLIER_RANGE_SHARE = 0.12  # of the range of the curve
OUTLIER_NOISE = 3.0  # standard deviations, as in the filter of Hampel (JASA 69(346), 1974)
OUTLIER_FRAMES_PER_BEAT = 10
MAD_TO_SD = 1.4826  # the standard deviation of a normal distribution in units of its median absolute deviation
LONGEST_GAPS = 20  # times the duration that the frames would have at their median step
UNEVEN_SHARE = 0.05  # frame times that differ from even ones by more than this share of a step are resampled


@dataclasses.dataclass(frozen=True)
class EvenCurve:
    """An area curve at equal steps of time, without gaps.

    Attributes:
        area: area in every step, in the unit it was given in, (n,).
        position: the frame (with fractions) that each step stands for, (n,).
        measured: whether a step stands for a frame with an area of its own, (n,).
        steps_per_s: steps per second, or None where the frame rate is not known.
    """

    area: Float[np.ndarray, " n"]
    position: Float[np.ndarray, " n"]
    measured: Bool[np.ndarray, " n"]
    steps_per_s: float | None

    def __len__(self) -> int:
        return len(self.area)


def even_curve(
    area: Real[np.ndarray, " t"],
    *,
    fps: float | None = None,
    times_s: Real[np.ndarray, " n"] | None = None,
    confidence: Real[np.ndarray, " m"] | None = None,
) -> EvenCurve | None:
    """Fills gaps by straight lines; frames at uneven times are resampled at their median step.

    Frames before the first measured one and behind the last are left out.

    Args:
        area: area in every frame, in any unit; one that is not finite is missing.
        fps: frames per second, or None.
        times_s: time of every frame, strictly rising; it takes the place of `fps`.
        confidence: how far each mask is to be trusted, 0..1; below `LEAST_CONFIDENCE` its area counts as missing.

    Returns:
        The curve, or None where no frame is measured.

    Raises:
        ValueError: shapes differ, times do not rise or have long gaps, or fps is not positive.
    """
    area = np.asarray(area, np.float64)
    if fps is not None and not 0 < fps < np.inf:
        raise ValueError(f"fps is {fps}; expected a positive number, or None where it is not known")
    known = np.isfinite(area)
    if confidence is not None:
        known &= _like(confidence, area, "confidence") >= LEAST_CONFIDENCE
    if not known.any():
        return None
    first, last = (int(frame) for frame in np.flatnonzero(known)[[0, -1]])
    frames = np.arange(first, last + 1)
    frame_at = frames.astype(np.float64)
    if times_s is not None and len(area) > 1:
        times = _like(times_s, area, "times_s")
        steps = np.diff(times)
        if not (np.isfinite(times).all() and (steps > 0).all()):
            raise ValueError("times_s does not rise from frame to frame; expected the time of every frame in s")
        step = float(np.median(steps))
        if times[last] - times[first] > LONGEST_GAPS * step * len(area):
            raise ValueError(
                f"times_s spans {times[last] - times[first]:.4g} s, but {len(area)} frames with a median step of "
                f"{step:.4g} s; expected one cine without long gaps: divide it at the gaps"
            )
        fps = 1 / step
        if np.abs(steps - step).max() > UNEVEN_SHARE * step:
            even_s = np.arange(float(times[first]), float(times[last]) + step / 2, step)
            frame_at = np.interp(even_s, times[first : last + 1], frame_at)
    filled = np.interp(frame_at, np.flatnonzero(known), area[known])
    near = np.clip(np.rint(frame_at).astype(int), first, last)
    return EvenCurve(filled, frame_at, known[near], fps)


def without_outliers(area: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Replaces single frames that stand out from both neighbours by the nearer of the two (median of three).

    A true end-systole is no outlier as long as a beat has `OUTLIER_FRAMES_PER_BEAT` frames: next to the lowest of ten
    frames there is one that is higher by less than a tenth of the stroke.

    Args:
        area: the curve, with at least that many frames a beat.
    """
    if len(area) < 3:
        return area
    middle = ndimage.median_filter(area, 3, mode="nearest")
    distance = np.abs(area - middle)
    limit = max(OUTLIER_RANGE_SHARE * float(np.ptp(np.quantile(area, [0.05, 0.95]))), OUTLIER_NOISE * noise_sd(area))
    return np.where(distance > limit, middle, area)


def noise_sd(area: Float[np.ndarray, " n"]) -> float:
    """Returns the standard deviation of noise that is independent from frame to frame.

    From the median absolute second difference, in which a smooth curve nearly vanishes; that of white noise has
    sqrt(6) times its standard deviation.
    """
    if len(area) < 3:
        return 0.0
    return float(MAD_TO_SD * np.median(np.abs(np.diff(area, 2))) / np.sqrt(6))


def smooth(area: Float[np.ndarray, " n"], frames: float) -> Float[np.ndarray, " n"]:
    """Smooths by parabolas over a window (Savitzky and Golay, Anal Chem 36(8), 1964), which keeps extremes in place.

    Args:
        area: the curve.
        frames: length of the window, made odd; below 5 a parabola smooths nothing and the curve is returned.
    """
    window = min(2 * round((frames - 1) / 2) + 1, len(area) - (len(area) + 1) % 2)
    return np.asarray(signal.savgol_filter(area, window, 2, mode="interp")) if window >= 5 else area


def _like(values: Real[np.ndarray, " n"], area: Float[np.ndarray, " t"], name: str) -> Float[np.ndarray, " t"]:
    values = np.asarray(values, np.float64)
    if values.shape != area.shape:
        raise ValueError(f"{name} has shape {values.shape}, area {area.shape}; expected one value for each frame")
    return values
