"""Fully developed speckle: the echoes of many small scatterers, summed with their phases and blurred by the probe.

The convolution model of Gao et al. (COLE, IEEE TUFFC 2009): the blur (the point spread) acts separately along and
across the beam. Its width across the beam (mm) grows with depth, which is one multiplication per sample after a Fourier
transform over the beams.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import scipy.fft
from jaxtyping import Complex64, Float, Float32

from data_pipelines.simulator.coordinates import ProbePoints
from data_pipelines.simulator.polar_grid import Polar, PolarGrid, beam_angle_rad

SPEED_OF_SOUND_MM_S, TRANSMIT_HZ = 1.54e6, 2.4e6
WAVENUMBER_PER_MM = 2 * 2 * math.pi * TRANSMIT_HZ / SPEED_OF_SOUND_MM_S  # there and back
FWHM_PER_SIGMA = 2.355  # full width at half maximum of a Gaussian, in standard deviations
AXIAL_FWHM_MM = 1.25  # width of the pulse along the beam
DEEP_PULSE = 1.1  # second blur at the bottom, relative to the first: tissue absorbs the high frequencies of the pulse
LATERAL_FWHM_MM, FOCUS_MM = 2.45, 75.0  # width of the beam at the focus, and the depth of the focus
WIDENING = 1.35  # power of the depth with which the beam widens behind the focus (1 in an ideal medium)
SCATTERERS_PER_MM2 = 4.5  # about 15 in a resolution cell


@dataclasses.dataclass(frozen=True)
class PointSpread:
    """The blur of a point: Gaussian along the beam, a filter of the beams' spectrum across it.

    A "look" sees one part of the spectrum. Several looks have different speckle, and their mean has less of it.

    Attributes:
        axial_sigma: standard deviation along the beam in samples; it holds for the upper half and grows below.
        lateral: transfer function across the beams, (look, range, beam frequency).
    """

    axial_sigma: float
    lateral: Float32[np.ndarray, "look r b"]

    def blur(self, field: Complex64[np.ndarray, "r b"]) -> Complex64[np.ndarray, "look r b"]:
        """Blurs a field of echoes: one result for each look."""
        parts = field.view(np.float32).reshape(*field.shape, 2)
        parts, below = _blur_along_beams(parts, self.axial_sigma), len(parts) // 2
        share = np.linspace(0, 1, len(parts) - below, dtype=np.float32)[:, None, None]
        parts[below:] += share * (_blur_along_beams(parts[below:], DEEP_PULSE * self.axial_sigma) - parts[below:])
        spectrum = scipy.fft.fft(np.ascontiguousarray(parts).view(np.complex64)[..., 0], axis=1)
        return np.asarray(scipy.fft.ifft(spectrum * self.lateral, axis=-1))

    def intensity(self, field: Complex64[np.ndarray, "r b"]) -> Polar:
        """Returns the echo intensity of a field, the mean over the looks."""
        looks = self.blur(field)
        return np.mean(np.square(np.real(looks)) + np.square(np.imag(looks)), axis=0)


def _blur_along_beams(parts: Float32[np.ndarray, "r b 2"], sigma: float) -> Float32[np.ndarray, "r b 2"]:
    taps = 2 * math.ceil(3 * sigma) + 1
    return cv2.GaussianBlur(parts, (1, taps), 1e-6, sigmaY=sigma, borderType=cv2.BORDER_CONSTANT)


def point_spread(
    grid: PolarGrid, *, looks: int = 2, axial_stretch: float = 1.0, lateral_stretch: float = 1.0
) -> PointSpread:
    """Returns the point spread of the probe: a Gaussian that widens with depth, over a faint skirt (side lobes).

    Args:
        grid: the samples that it will blur.
        looks: 1, or 2 looks at shifted parts of the spectrum.
        axial_stretch: factor on the width along the beam; a longer pulse.
        lateral_stretch: factor on the width across the beam; a smaller aperture.
    """
    width_mm = lateral_stretch * LATERAL_FWHM_MM * np.sqrt(0.35 + 0.65 * (grid.range_mm / FOCUS_MM) ** (2 * WIDENING))
    sigma_rad = width_mm / FWHM_PER_SIGMA / grid.range_mm
    bandwidth = (1 / (2 * math.pi * sigma_rad))[:, None]
    frequency = np.fft.fftfreq(grid.beams, grid.angle_step_rad)
    shifts, share = ((0.0,), 1.0) if looks == 1 else ((-0.9, 0.9), 0.75)
    skirt = 0.05 * np.exp(-0.5 * (5 * frequency / bandwidth) ** 2)
    transfer = [np.exp(-0.5 * ((frequency - shift * bandwidth) / (share * bandwidth)) ** 2) + skirt for shift in shifts]
    axial_sigma = axial_stretch * AXIAL_FWHM_MM / FWHM_PER_SIGMA / grid.range_step_mm
    return PointSpread(axial_sigma, np.stack(transfer).astype(np.float32))


def sum_echoes(grid: PolarGrid, points: ProbePoints, strength: Float[np.ndarray, " n"]) -> Complex64[np.ndarray, "r b"]:
    """Sums the echoes of the scatterers in every cell, each with the phase of its own way to the probe and back.

    Args:
        grid: the cells; scatterers outside are left out.
        points: places of the scatterers, (n,).
        strength: amplitudes of their echoes, (n,).
    """
    points = ProbePoints(points.x_mm.astype(np.float32), points.z_mm.astype(np.float32))
    distance_mm = np.sqrt(points.x_mm * points.x_mm + points.z_mm * points.z_mm)
    row = (distance_mm * (1 / grid.range_step_mm)).astype(np.int32)
    column = ((beam_angle_rad(points) + grid.half_angle_rad) * (1 / grid.angle_step_rad)).astype(np.int32)
    seen = (row < grid.ranges) & (column >= 0) & (column < grid.beams)
    strength = np.where(seen, strength, 0)
    cell = np.where(seen, row * grid.beams + column, 0)
    phase = distance_mm * WAVENUMBER_PER_MM
    count = grid.ranges * grid.beams
    field = np.empty(count, np.complex64)
    field.real = np.bincount(cell, strength * np.cos(phase), count)
    field.imag = -np.bincount(cell, strength * np.sin(phase), count)
    return field.reshape(grid.shape)


def sample_scatterers(rng: np.random.Generator, grid: PolarGrid) -> ProbePoints:
    """Draws scatterers that are spread evenly over the sector.

    Args:
        rng: the random generator.
        grid: gives the depth and the angle of the sector.
    """
    count = int(SCATTERERS_PER_MM2 * grid.half_angle_rad * grid.depth_mm**2)
    distance_mm = grid.depth_mm * np.sqrt(rng.random(count))
    angle_rad = (2 * rng.random(count) - 1) * grid.half_angle_rad
    return ProbePoints(distance_mm * np.sin(angle_rad), distance_mm * np.cos(angle_rad))


def depth_normalisation(intensity: Polar) -> Float32[np.ndarray, "r 1"]:
    """Returns the factor on the intensity that makes homogeneous tissue equally bright at every depth."""
    profile = np.convolve(np.pad(intensity.mean(axis=1), 20, "edge"), np.ones(41) / 41, "valid")
    return (1 / profile)[:, None].astype(np.float32)
