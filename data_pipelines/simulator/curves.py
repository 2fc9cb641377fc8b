"""Small functions from which outlines and brightness are built: soft edges, thin lines, decibels, smooth noise."""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import Float32

from data_pipelines.simulator.coordinates import Points


def smooth_step(distance: Points) -> Points:
    """Rises smoothly from 0 (at -1 and below) to 1 (at 1 and above)."""
    clipped = np.clip(distance, -1, 1)
    return 0.5 + clipped * (0.75 - 0.25 * clipped * clipped)


def ridge(distance: Points) -> Points:
    """Draws the profile of a thin line: 1 at distance 0, a Gaussian on both sides."""
    return np.exp(-distance * distance)


def amplitude(level_db: Points) -> Points:
    """Converts a level in dB to an amplitude: 0 dB is 1, 20 dB is 10."""
    return np.exp(level_db * (math.log(10) / 20))


def elliptic_radius(across: Points, along: Points) -> Points:
    """Returns the distance from the centre in units of the ellipse: 1 lies on it.

    Args:
        across: distance from the centre across the axis, divided by the half width.
        along: distance from the centre along the axis, divided by the half length.
    """
    return np.sqrt(across * across + along * along)  # np.hypot guards against overflow and is slower


def smooth_noise(rng: np.random.Generator, count: int, width: int) -> Float32[np.ndarray, " n"]:
    """Draws noise of mean 0 and standard deviation 1 that changes slowly along one axis.

    Args:
        rng: the random generator.
        count: number of samples.
        width: samples within about this distance are alike.
    """
    rough = rng.standard_normal(count + 4 * width)
    smooth = np.convolve(rough, np.hanning(2 * width + 1), "same")[2 * width : -2 * width]
    return ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, int], patches: tuple[int, int]
) -> Float32[np.ndarray, "h w"]:
    """Draws noise of mean 0 and a standard deviation of about 1 that changes slowly over an area.

    Args:
        rng: the random generator.
        shape: (rows, columns) of the result.
        patches: (rows, columns) of the independent values from which the result is interpolated.
    """
    values = rng.standard_normal(patches).astype(np.float32)
    return 1.3 * cv2.resize(values, shape[::-1], interpolation=cv2.INTER_CUBIC)
