"""Fully developed speckle: scatterers summed with their phase on a polar grid, blurred by the probe's point spread.

The convolution model of Gao et al. (COLE, IEEE TUFFC 2009): the point spread is separable, and its width across the
beam grows with depth, which is one multiplication per sample after a Fourier transform over the beams.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import scipy.fft
from jaxtyping import Complex64, Float, Float32

from data_pipelines.simulator.section import View

SPEED_OF_SOUND_MM_S, TRANSMIT_HZ = 1.54e6, 2.4e6
WAVENUMBER_PER_MM = 2 * 2 * math.pi * TRANSMIT_HZ / SPEED_OF_SOUND_MM_S  # there and back
AXIAL_FWHM_MM = 1.25
DEEP_PULSE = 1.1  # second blur at the bottom, of the first: tissue swallows the high frequencies, the pulse grows
LATERAL_FWHM_MM, FOCUS_MM = 2.45, 75.0  # across the beam, at the focus
WIDENING = 1.35  # power of the depth with which the beam widens behind the focus: tissue is no ideal medium
FWHM_PER_SIGMA = 2.355
GUARD = 1.06  # the polar grid is a little wider than the sector: transforms over the beams wrap around

Polar = Float32[np.ndarray, "r b"]


Plane = Float32[np.ndarray, "h w"]


@dataclasses.dataclass(frozen=True)
class PolarGrid:
    """Samples along (`range_mm`) and across (`angle_rad`) the beams."""

    depth_mm: float
    half_angle_rad: float
    ranges: int
    beams: int

    @property
    def range_step_mm(self) -> float:
        return self.depth_mm / self.ranges

    @property
    def angle_step_rad(self) -> float:
        return 2 * self.half_angle_rad / self.beams

    @property
    def range_mm(self) -> Float[np.ndarray, " r"]:
        return (np.arange(self.ranges) + 0.5) * self.range_step_mm

    @property
    def angle_rad(self) -> Float[np.ndarray, " b"]:
        return (np.arange(self.beams) + 0.5) * self.angle_step_rad - self.half_angle_rad

    def thinned(self, factor: int) -> PolarGrid:
        """The same sector with fewer samples along the beams."""
        return dataclasses.replace(self, ranges=self.ranges // factor)

    def points_mm(self) -> tuple[Polar, Polar]:
        """Probe coordinates (x, z) of every sample, mm."""
        x_mm = self.range_mm[:, None] * np.sin(self.angle_rad)
        return x_mm.astype(np.float32), (self.range_mm[:, None] * np.cos(self.angle_rad)).astype(np.float32)

    def places(self, x_mm: Plane, z_mm: Plane) -> tuple[Plane, Plane]:
        """Where points in probe coordinates (mm) lie among the samples: (range, beam), counted from 0."""
        range_place = np.hypot(x_mm, z_mm) / np.float32(self.range_step_mm) - np.float32(0.5)
        beam = (beam_angle_rad(x_mm, z_mm) + np.float32(self.half_angle_rad)) / np.float32(self.angle_step_rad)
        return range_place, beam - np.float32(0.5)


def beam_angle_rad(x_mm: Float32[np.ndarray, "*s"], z_mm: Float32[np.ndarray, "*s"]) -> Float32[np.ndarray, "*s"]:
    """Angle of points in front of the probe; a third of the time of np.arctan2, which also knows what is behind."""
    return np.arctan(x_mm / np.maximum(z_mm, np.float32(1e-3)))


def polar_grid(view: View, size: int) -> PolarGrid:
    """A grid fine enough for a picture of `size` pixels."""
    ranges, beams = (448, 160) if size >= 192 else (288, 120)
    return PolarGrid(view.depth_mm, GUARD * view.half_angle_rad, ranges, beams)


@dataclasses.dataclass(frozen=True)
class PointSpread:
    """Blur along the beam, and across it by the transfer of each look, (look, r, b).

    `axial_sigma` is in samples and holds for the upper half; the blur grows below.
    """

    axial_sigma: float
    lateral: Float32[np.ndarray, "look r b"]

    def blur(self, field: Complex64[np.ndarray, "r b"]) -> Complex64[np.ndarray, "look r b"]:
        parts = field.view(np.float32).reshape(*field.shape, 2)
        parts, below = _along(parts, self.axial_sigma), len(parts) // 2
        share = np.linspace(0, 1, len(parts) - below, dtype=np.float32)[:, None, None]
        parts[below:] += share * (_along(parts[below:], DEEP_PULSE * self.axial_sigma) - parts[below:])
        spectrum = scipy.fft.fft(np.ascontiguousarray(parts).view(np.complex64)[..., 0], axis=1)
        return np.asarray(scipy.fft.ifft(spectrum * self.lateral, axis=-1))

    def intensity(self, field: Complex64[np.ndarray, "r b"]) -> Polar:
        """Echo intensity, the mean over the looks."""
        looks = self.blur(field)
        return np.mean(np.square(np.real(looks)) + np.square(np.imag(looks)), axis=0)


def _along(parts: Float32[np.ndarray, "r b 2"], sigma: float) -> Float32[np.ndarray, "r b 2"]:
    """Gaussian blur along the beams."""
    taps = 2 * math.ceil(3 * sigma) + 1
    return cv2.GaussianBlur(parts, (1, taps), 1e-6, sigmaY=sigma, borderType=cv2.BORDER_CONSTANT)


def point_spread(grid: PolarGrid, looks: int = 2, axial: float = 1.0, lateral: float = 1.0) -> PointSpread:
    """Gaussian blur, wider across the beam with depth, over a faint skirt (side lobes); looks see shifted spectra.

    `axial` and `lateral` stretch it: a longer pulse, a smaller aperture.
    """
    width_mm = lateral * LATERAL_FWHM_MM * np.sqrt(0.35 + 0.65 * (grid.range_mm / FOCUS_MM) ** (2 * WIDENING))
    sigma_rad = width_mm / FWHM_PER_SIGMA / grid.range_mm
    bandwidth = (1 / (2 * math.pi * sigma_rad))[:, None]
    frequency = np.fft.fftfreq(grid.beams, grid.angle_step_rad)
    shifts, share = ((0.0,), 1.0) if looks == 1 else ((-0.9, 0.9), 0.75)
    skirt = 0.05 * np.exp(-0.5 * (5 * frequency / bandwidth) ** 2)
    transfer = [np.exp(-0.5 * ((frequency - shift * bandwidth) / (share * bandwidth)) ** 2) + skirt for shift in shifts]
    axial_sigma = axial * AXIAL_FWHM_MM / FWHM_PER_SIGMA / grid.range_step_mm
    return PointSpread(axial_sigma, np.stack(transfer).astype(np.float32))


def sum_echoes(
    grid: PolarGrid, x_mm: Float[np.ndarray, " n"], z_mm: Float[np.ndarray, " n"], strength: Float[np.ndarray, " n"]
) -> Complex64[np.ndarray, "r b"]:
    """Sum of the scatterers in every cell, each with the phase of its own distance there and back."""
    x_mm, z_mm = x_mm.astype(np.float32), z_mm.astype(np.float32)
    distance_mm = np.sqrt(x_mm * x_mm + z_mm * z_mm)
    row = (distance_mm * (1 / grid.range_step_mm)).astype(np.int32)
    column = ((beam_angle_rad(x_mm, z_mm) + grid.half_angle_rad) * (1 / grid.angle_step_rad)).astype(np.int32)
    cell = row * grid.beams + column
    seen = (row < grid.ranges) & (column >= 0) & (column < grid.beams)
    strength = np.where(seen, strength, 0)
    cell = np.where(seen, cell, 0)
    phase = distance_mm * WAVENUMBER_PER_MM
    count = grid.ranges * grid.beams
    field = np.empty(count, np.complex64)
    field.real = np.bincount(cell, strength * np.cos(phase), count)
    field.imag = -np.bincount(cell, strength * np.sin(phase), count)
    return field.reshape(grid.ranges, grid.beams)


def sample_scatterers(rng: np.random.Generator, grid: PolarGrid) -> tuple[np.ndarray, np.ndarray]:
    """Scatterers spread evenly over the sector, about 15 in a resolution cell: (x, z), mm."""
    per_mm2 = 4.5
    count = int(per_mm2 * grid.half_angle_rad * grid.depth_mm**2)
    distance_mm = grid.depth_mm * np.sqrt(rng.random(count))
    angle_rad = (2 * rng.random(count) - 1) * grid.half_angle_rad
    return distance_mm * np.sin(angle_rad), distance_mm * np.cos(angle_rad)


def depth_normalisation(intensity: Polar) -> Float32[np.ndarray, "r 1"]:
    """Factor on the intensity that makes homogeneous tissue equally bright at every depth."""
    profile = np.convolve(np.pad(intensity.mean(axis=1), 20, "edge"), np.ones(41) / 41, "valid")
    return (1 / profile)[:, None].astype(np.float32)
