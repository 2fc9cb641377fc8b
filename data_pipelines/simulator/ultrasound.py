"""From a section of the heart to grey pixels: a convolution model of B-mode imaging.

Scatterers that move with the tissue, weighted by its reflectivity, are summed on a polar grid with their round-trip phase
and blurred by a point spread whose width across the beam grows with depth (the COLE idea of Gao et al., IEEE TUFFC 2009).
Two looks are averaged, then come shadows, haze, clutter, noise, log compression and scan conversion.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import scipy.fft
from jaxtyping import Bool, Complex64, Float, Float32, UInt8

from data_pipelines.simulator.section import Section, View
from data_pipelines.simulator.tissue import MaterialPoints, Tissue, amplitude, attach, reflectivity, sample_tissue
from data_pipelines.simulator.tissue import smooth_noise, smooth_step

SPEED_OF_SOUND_MM_S, TRANSMIT_HZ = 1.54e6, 2.4e6
WAVENUMBER_PER_MM = 2 * 2 * math.pi * TRANSMIT_HZ / SPEED_OF_SOUND_MM_S  # there and back
AXIAL_FWHM_MM = 1.25
LATERAL_FWHM_MM, FOCUS_MM = 2.5, 80.0  # across the beam, at the focus
FWHM_PER_SIGMA = 2.355
GUARD = 1.06  # the polar grid is a little wider than the sector: transforms over the beams wrap around
BLOOD_TURNOVER_RAD = 0.45  # how much of the blood's speckle is new in each frame
STILL_BELOW = 0.05  # points that follow the wall less than this are taken as still

Polar = Float32[np.ndarray, "r b"]


@dataclasses.dataclass(frozen=True)
class ImageQuality:
    """How a class of image quality differs: counts, levels in dB relative to myocardium along the beam."""

    shadows: float
    shadow_db: float
    blood_db: float
    haze_db: float
    noise_db: float
    wall_roughness_db: float


QUALITY = {
    "Good": ImageQuality(0.4, 6, -14.5, -19, -34, 2.0),
    "Medium": ImageQuality(1.2, 9, -13, -16, -30, 3.0),
    "Poor": ImageQuality(2.6, 13, -11, -12.5, -25, 4.0),
}


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


def polar_grid(view: View, size: int) -> PolarGrid:
    """A grid fine enough for a picture of `size` pixels."""
    ranges, beams = (448, 160) if size >= 192 else (288, 120)
    return PolarGrid(view.depth_mm, GUARD * view.half_angle_rad, ranges, beams)


@dataclasses.dataclass(frozen=True)
class PointSpread:
    """Blur along the beam (`axial_sigma`, samples) and, for each look, the transfer across the beams, (look, r, b)."""

    axial_sigma: float
    lateral: Float32[np.ndarray, "look r b"]

    def blur(self, field: Complex64[np.ndarray, "r b"]) -> Complex64[np.ndarray, "look r b"]:
        taps = 2 * math.ceil(3 * self.axial_sigma) + 1
        parts = field.view(np.float32).reshape(*field.shape, 2)
        parts = cv2.GaussianBlur(parts, (1, taps), 1e-6, sigmaY=self.axial_sigma, borderType=cv2.BORDER_CONSTANT)
        spectrum = scipy.fft.fft(np.ascontiguousarray(parts).view(np.complex64)[..., 0], axis=1)
        return scipy.fft.ifft(spectrum * self.lateral, axis=-1, overwrite_x=True)

    def intensity(self, field: Complex64[np.ndarray, "r b"]) -> Polar:
        """Echo intensity, the mean over the looks."""
        looks = self.blur(field)
        return np.mean(np.square(looks.real) + np.square(looks.imag), axis=0)


def point_spread(grid: PolarGrid, looks: int = 2) -> PointSpread:
    """Gaussian blur, wider across the beam with depth, over a faint skirt (side lobes); looks see shifted spectra."""
    width_mm = LATERAL_FWHM_MM * np.sqrt(0.35 + 0.65 * (grid.range_mm / FOCUS_MM) ** 2)
    sigma_rad = width_mm / FWHM_PER_SIGMA / grid.range_mm
    bandwidth = (1 / (2 * math.pi * sigma_rad))[:, None]
    frequency = scipy.fft.fftfreq(grid.beams, grid.angle_step_rad)
    shifts, share = ((0.0,), 1.0) if looks == 1 else ((-0.9, 0.9), 0.75)
    skirt = 0.05 * np.exp(-0.5 * (5 * frequency / bandwidth) ** 2)
    lateral = [np.exp(-0.5 * ((frequency - shift * bandwidth) / (share * bandwidth)) ** 2) + skirt for shift in shifts]
    axial_sigma = AXIAL_FWHM_MM / FWHM_PER_SIGMA / grid.range_step_mm
    return PointSpread(axial_sigma, np.stack(lateral).astype(np.float32))


def sum_echoes(
    grid: PolarGrid, x_mm: Float[np.ndarray, " n"], z_mm: Float[np.ndarray, " n"], strength: Float[np.ndarray, " n"]
) -> Complex64[np.ndarray, "r b"]:
    """Sum of the scatterers in every cell, each with the phase of its own distance there and back."""
    x_mm, z_mm = x_mm.astype(np.float32), z_mm.astype(np.float32)
    distance_mm = np.sqrt(x_mm * x_mm + z_mm * z_mm)
    row = (distance_mm * (1 / grid.range_step_mm)).astype(np.int32)
    column = ((np.arctan2(x_mm, z_mm) + grid.half_angle_rad) * (1 / grid.angle_step_rad)).astype(np.int32)
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
    """Scatterers spread evenly over the sector, about 20 in a resolution cell: (x, z), mm."""
    per_mm2 = 6.0 if grid.ranges > 400 else 4.5
    count = int(per_mm2 * grid.half_angle_rad * grid.depth_mm**2)
    distance_mm = grid.depth_mm * np.sqrt(rng.random(count))
    angle_rad = (2 * rng.random(count) - 1) * grid.half_angle_rad
    return distance_mm * np.sin(angle_rad), distance_mm * np.cos(angle_rad)


def depth_normalisation(intensity: Polar) -> Float32[np.ndarray, "r 1"]:
    """Factor on the intensity that makes homogeneous tissue equally bright at every depth."""
    profile = np.convolve(np.pad(intensity.mean(axis=1), 20, "edge"), np.ones(41) / 41, "valid")
    return (1 / profile)[:, None].astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Scan:
    """Everything about the acquisition of one view that does not change with time.

    `strength` and `second_strength` are two independent amplitudes of every moving scatterer: blood turns from one to
    the other, so that its speckle does not last. `gain`, `haze`, `clutter`, `noise` are intensities, polar.
    """

    grid: PolarGrid
    spread: PointSpread
    tissue: Tissue
    moving: MaterialPoints
    strength: Float32[np.ndarray, " n"]
    second_strength: Float32[np.ndarray, " n"]
    still: Complex64[np.ndarray, "r b"]
    normalisation: Float32[np.ndarray, "r 1"]
    gain: Polar
    haze: Polar
    noise: Polar


def prepare_scan(rng: np.random.Generator, view: View, rest: Section, quality: str, size: int) -> Scan:
    """Draws the acquisition of one view; `rest` is its section at end-diastole."""
    grid, levels = polar_grid(view, size), QUALITY[quality]
    spread = point_spread(grid)
    x_mm, z_mm = sample_scatterers(rng, grid)
    strength, second = rng.standard_normal((2, len(x_mm))).astype(np.float32)
    points = attach(view, rest, x_mm, z_mm)
    moves = points.follows >= STILL_BELOW
    still = sum_echoes(grid, x_mm[~moves], z_mm[~moves], strength[~moves])
    homogeneous = spread.intensity(still + sum_echoes(grid, x_mm[moves], z_mm[moves], strength[moves]))

    coarse = grid.thinned(2)
    tissue = sample_tissue(
        rng, rest, view, *coarse.points_mm(), _surroundings_db(rng, coarse), _blood_db(rng, coarse, levels.blood_db),
        levels.wall_roughness_db,
    )  # fmt: skip
    return Scan(
        grid=grid, spread=spread, tissue=tissue, moving=points.only(moves), strength=strength[moves],
        second_strength=second[moves], still=still, normalisation=depth_normalisation(homogeneous),
        gain=_gain(rng, grid, levels), haze=_haze(rng, grid, spread, levels), noise=_noise(grid, levels),
    )  # fmt: skip


def scan_frame(scan: Scan, section: Section, frame: int, rng: np.random.Generator) -> Polar:
    """Echo level (dB, polar) of the instant of `section`; `frame` counts how far the blood has turned over."""
    grid, points = scan.grid, scan.moving
    turned = BLOOD_TURNOVER_RAD * frame
    crowding = math.sqrt(section.length_mm / points.rest.length_mm * section.radius_mm / points.rest.radius_mm)
    blood = crowding * (math.cos(turned) * scan.strength + math.sin(turned) * scan.second_strength)
    strength = np.where(points.in_cavity, blood, scan.strength)
    field = scan.still + sum_echoes(grid, *points.positions_mm(section), strength)
    echo_map = cv2.resize(reflectivity(scan.tissue, section), (grid.beams, grid.ranges), interpolation=cv2.INTER_LINEAR)
    intensity = scan.spread.intensity(field * echo_map) * scan.normalisation * scan.gain
    intensity += scan.haze + scan.noise * rng.standard_exponential(intensity.shape, dtype=np.float32)
    return 10 * np.log10(intensity + 1e-9)


# ---- what the acquisition adds -------------------------------------------------------------------------------------


def _smooth_field(rng: np.random.Generator, grid: PolarGrid, rows: int, columns: int) -> Polar:
    """Smooth noise of about unit deviation with `rows` x `columns` independent patches."""
    patches = rng.standard_normal((rows, columns)).astype(np.float32)
    return 1.3 * cv2.resize(patches, (grid.beams, grid.ranges), interpolation=cv2.INTER_CUBIC)


def _off_centre(grid: PolarGrid) -> Float[np.ndarray, "1 b"]:
    """0 in the middle of the sector, 1 at its edges."""
    return np.abs(grid.angle_rad[None] / grid.half_angle_rad * GUARD)


def _surroundings_db(rng: np.random.Generator, grid: PolarGrid) -> Polar:
    """Tissue around the heart: dark beside the apex, bright deep down."""
    share = grid.range_mm[:, None] / grid.depth_mm
    deep_db = rng.uniform(5, 14) * smooth_step((share - rng.uniform(0.7, 0.85)) / 0.3)
    return (-11 + deep_db + 4 * _smooth_field(rng, grid, 9, 7)).astype(np.float32)


def _blood_db(rng: np.random.Generator, grid: PolarGrid, level_db: float) -> Polar:
    """Echo of the chambers: blood with slow variations (reverberation, side lobes)."""
    slope_db = rng.normal(0, 1.5) * np.linspace(-1, 1, grid.ranges)[:, None]
    return (level_db + slope_db + 1.6 * _smooth_field(rng, grid, 7, 6)).astype(np.float32)


def _gain(rng: np.random.Generator, grid: PolarGrid, levels: ImageQuality) -> Polar:
    """Gain along and across the beams: attenuation left over, uneven time gain, weak edges, shadows of ribs and lung."""
    angle, range_mm = grid.angle_rad / grid.half_angle_rad, grid.range_mm[:, None]
    across_db = -4 * np.clip((_off_centre(grid) - 0.8) / 0.2, 0, 1) ** 2
    for _ in range(rng.poisson(levels.shadows)):
        side = rng.choice([-1, 1]) * rng.uniform(0.3, 0.95)
        width = rng.uniform(0.05, 0.14)
        across_db = across_db - rng.uniform(0.5, 1) * levels.shadow_db * np.exp(-0.5 * ((angle[None] - side) / width) ** 2)
    along_db = -0.012 * (range_mm - 70)
    for cycles in (1.0, 1.7):
        phase = 2 * math.pi * (cycles * range_mm / grid.depth_mm + rng.random())
        along_db = along_db + rng.normal(0, 1) * np.sin(phase)
    return amplitude(2 * (along_db + across_db)).astype(np.float32)


def _haze(rng: np.random.Generator, grid: PolarGrid, spread: PointSpread, levels: ImageQuality) -> Polar:
    """Static clutter: a veil over the whole sector and bright reverberations near the probe."""
    range_mm = grid.range_mm[:, None]
    real, imaginary = rng.standard_normal((2, grid.ranges, grid.beams)).astype(np.float32)
    texture = spread.intensity(real + 1j * imaginary)
    texture = texture * depth_normalisation(texture)
    veil_db = levels.haze_db - 0.02 * (range_mm - 70) + 2.5 * _smooth_field(rng, grid, 5, 4)
    near_db = rng.normal(6, 2) - rng.uniform(0.45, 0.65) * range_mm + 2 * smooth_noise(rng, grid.beams, 10)[None]
    return (amplitude(2 * veil_db) * (0.5 + 0.5 * texture) + amplitude(2 * near_db) * texture).astype(np.float32)


def _noise(grid: PolarGrid, levels: ImageQuality) -> Polar:
    """Mean intensity of the receiver's noise, which the time gain lifts with depth."""
    level_db = levels.noise_db + 0.07 * (grid.range_mm[:, None] - 80)
    return np.broadcast_to(amplitude(2 * level_db).astype(np.float32), (grid.ranges, grid.beams))


# ---- to pixels -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class PixelGrid:
    """A square picture of the sector: probe coordinates of the pixel centres (mm), isotropic spacing, what is inside."""

    spacing_mm: float
    x_mm: Float32[np.ndarray, "h w"]
    z_mm: Float32[np.ndarray, "h w"]
    inside: Bool[np.ndarray, "h w"]


def pixel_grid(view: View, size: int) -> PixelGrid:
    """The smallest square that holds the sector."""
    width_mm = 2 * view.depth_mm * math.sin(view.half_angle_rad)
    spacing_mm = 1.01 * max(view.depth_mm, width_mm) / size
    centres_mm = ((np.arange(size) + 0.5) * spacing_mm).astype(np.float32)
    x_mm, z_mm = np.meshgrid(centres_mm - np.float32(size * spacing_mm / 2), centres_mm)
    inside = (np.hypot(x_mm, z_mm) < view.depth_mm) & (np.abs(np.arctan2(x_mm, z_mm)) < view.half_angle_rad)
    return PixelGrid(spacing_mm, x_mm, z_mm, inside)


def compress(level_db: Polar, gain_db: float) -> Polar:
    """Echo level (dB) to grey levels 0..255: a range of 60 dB, flatter in the dark as scanners' grey maps are."""
    share = np.clip((level_db + gain_db + 40) / 60, 0, 1)
    return 255 * share**1.7


def scan_convert(grey: Polar, polar: PolarGrid, pixels: PixelGrid) -> UInt8[np.ndarray, "h w"]:
    """Polar grey levels to the picture, bilinear; black outside the sector."""
    row = np.hypot(pixels.x_mm, pixels.z_mm) / np.float32(polar.range_step_mm) - 0.5
    column = (np.arctan2(pixels.x_mm, pixels.z_mm) + polar.half_angle_rad) / np.float32(polar.angle_step_rad) - 0.5
    picture = cv2.remap(grey, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(pixels.inside, np.rint(picture), 0).astype(np.uint8)
