"""What the acquisition adds to the echoes, drawn once for a view: uneven gain, static clutter, noise (intensities)."""

from __future__ import annotations

import math

import numpy as np

from data_pipelines.simulator.curves import amplitude, smooth_field, smooth_noise, smooth_step
from data_pipelines.simulator.polar_grid import GUARD, Polar, PolarGrid
from data_pipelines.simulator.quality import ImageQuality
from data_pipelines.simulator.speckle import PointSpread, depth_normalisation


def sample_gain(rng: np.random.Generator, grid: PolarGrid, quality: ImageQuality) -> Polar:
    """Draws the gain along and across the beams: attenuation, uneven time gain, weak edges, shadows of rib and lung.

    Args:
        rng: the random generator.
        grid: the samples.
        quality: number and depth of the shadows.

    Returns:
        a factor on the intensity.
    """
    angle, range_mm = grid.angle_rad / grid.half_angle_rad * GUARD, grid.range_mm[:, None]
    across_db = rng.normal(-1.6, 1.8) * angle[None]
    for side in (-1, 1):
        loss_db, start = quality.shadow_db * rng.uniform(0, 1) ** 2, rng.uniform(0.3, 0.9)
        across_db = across_db - loss_db * smooth_step((side * angle[None] - start) / 0.3)
    for _ in range(rng.poisson(quality.shadows)):
        side = rng.choice([-1, 1]) * rng.uniform(0.3, 0.95)
        width, loss_db = rng.uniform(0.05, 0.14), rng.uniform(0.5, 1) * quality.shadow_db
        across_db = across_db - loss_db * np.exp(-0.5 * ((angle[None] - side) / width) ** 2)
    along_db = rng.normal(-0.02, 0.035) * (range_mm - 70)
    for cycles in (1.0, 1.7):
        phase = 2 * math.pi * (cycles * range_mm / grid.depth_mm + rng.random())
        along_db = along_db + rng.normal(0, 1) * np.sin(phase)
    uneven_db = 2 * smooth_field(rng, grid.shape, (4, 4))
    return amplitude(2 * (along_db + across_db + uneven_db)).astype(np.float32)


def sample_haze(rng: np.random.Generator, grid: PolarGrid, *, spread: PointSpread, quality: ImageQuality) -> Polar:
    """Draws the static clutter: a veil over the whole sector, and a few bright bands near the probe (reverberation).

    Args:
        rng: the random generator.
        grid: the samples.
        spread: gives the clutter its speckle.
        quality: level of the veil.

    Returns:
        an intensity that is added to the echoes.
    """
    range_mm = grid.range_mm[:, None]
    real, imaginary = rng.standard_normal((2, *grid.shape)).astype(np.float32)
    texture = spread.intensity(real + 1j * imaginary)
    texture = texture * depth_normalisation(texture)
    veil_db = quality.haze_db + rng.normal(0, 1.6) - 0.03 * (range_mm - 70)
    veil_db = veil_db + 2.5 * smooth_field(rng, grid.shape, (5, 4))
    near_db = rng.normal(-4.5, 3.5) - rng.uniform(0.06, 0.32) * range_mm + 1.0 * smooth_noise(rng, grid.beams, 24)[None]
    near_db = near_db - 12 * np.exp(-range_mm / rng.uniform(1, 5))  # the pulse itself hides the first millimetres
    spacing_mm, first_mm = rng.uniform(2.5, 6), rng.uniform(5, 14)
    for ring in range(rng.integers(1, 5)):
        at_mm, thick_mm = first_mm + ring * spacing_mm, rng.uniform(0.6, 2)
        near_db = near_db + rng.uniform(3, 13) * np.exp(-(((range_mm - at_mm) / thick_mm) ** 2))
    haze = amplitude(2 * veil_db) * (0.3 + 0.7 * texture) + amplitude(2 * near_db) * (0.35 + 0.65 * texture)
    return haze.astype(np.float32)


def noise_intensity(grid: PolarGrid, quality: ImageQuality) -> Polar:
    """Returns the mean intensity of the receiver's noise, which the time gain lifts with depth.

    Args:
        grid: the samples.
        quality: level of the noise.
    """
    level_db = quality.noise_db - 1 + 0.05 * (grid.range_mm[:, None] - 80)
    return np.broadcast_to(amplitude(2 * level_db).astype(np.float32), grid.shape)
