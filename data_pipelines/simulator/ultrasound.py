"""From a section of the heart to grey pixels.

Speckle weighted by the reflectivity of the tissue, then what an acquisition adds: uneven gain, shadows, haze, clutter
near the probe, noise; then log compression and scan conversion.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from jaxtyping import Bool, Complex64, Float, Float32, UInt8

from data_pipelines.simulator.motion import MaterialPoints, attach
from data_pipelines.simulator.section import Section, View
from data_pipelines.simulator.speckle import (
    GUARD,
    PointSpread,
    Polar,
    PolarGrid,
    depth_normalisation,
    point_spread,
    polar_grid,
    sample_scatterers,
    sum_echoes,
)
from data_pipelines.simulator.tissue import (
    Tissue,
    amplitude,
    reflectivity,
    sample_tissue,
    smooth_noise,
    smooth_step,
)

BLOOD_TURNOVER_RAD = 0.45  # how much of the blood's speckle is new in each frame
STILL_BELOW = 0.05  # points that follow the wall less than this are taken as still


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
    "Good": ImageQuality(0.4, 6.0, -13.5, -19.0, -34.0, 2.0),
    "Medium": ImageQuality(1.2, 9.0, -12.5, -16.0, -30.0, 3.0),
    "Poor": ImageQuality(2.6, 13.0, -11.5, -14.0, -26.0, 4.0),
}


@dataclasses.dataclass(frozen=True)
class Scan:
    """Everything about the acquisition of one view that does not change with time.

    `strength` and `second_strength` are two independent amplitudes of every moving scatterer: blood turns from one to
    the other, so that its speckle does not last; `still` is the field of the others. `gain`, `haze` and `noise` are
    intensities.
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
    deep_db = rng.uniform(7, 17) * smooth_step((share - rng.uniform(0.7, 0.85)) / 0.3)
    return (-11 + deep_db + 4 * _smooth_field(rng, grid, 9, 7)).astype(np.float32)


def _blood_db(rng: np.random.Generator, grid: PolarGrid, level_db: float) -> Polar:
    """Echo of the chambers: blood with slow variations (reverberation), filled in deep down by the wide beams."""
    share = np.linspace(0, 1, grid.ranges)[:, None]
    slope_db = rng.normal(0, 1.5) * (2 * share - 1) + rng.uniform(1, 5) * smooth_step((share - 0.72) / 0.2)
    return (level_db + slope_db + 1.6 * _smooth_field(rng, grid, 7, 6)).astype(np.float32)


def _gain(rng: np.random.Generator, grid: PolarGrid, levels: ImageQuality) -> Polar:
    """Gain along and across the beams: attenuation left over, uneven time gain, weak edges, rib and lung shadows."""
    angle, range_mm = grid.angle_rad / grid.half_angle_rad, grid.range_mm[:, None]
    across_db = -4 * np.clip((_off_centre(grid) - 0.8) / 0.2, 0, 1) ** 2
    for _ in range(rng.poisson(levels.shadows)):
        side = rng.choice([-1, 1]) * rng.uniform(0.3, 0.95)
        width, loss_db = rng.uniform(0.05, 0.14), rng.uniform(0.5, 1) * levels.shadow_db
        across_db = across_db - loss_db * np.exp(-0.5 * ((angle[None] - side) / width) ** 2)
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
    """A square picture of the sector: isotropic spacing, probe coordinates of the pixel centres (mm), what is seen.

    `row` and `column` are the places of the pixel centres on the polar grid, in its samples.
    """

    spacing_mm: float
    x_mm: Float32[np.ndarray, "h w"]
    z_mm: Float32[np.ndarray, "h w"]
    inside: Bool[np.ndarray, "h w"]
    row: Float32[np.ndarray, "h w"]
    column: Float32[np.ndarray, "h w"]


def pixel_grid(view: View, size: int, polar: PolarGrid) -> PixelGrid:
    """The smallest square that holds the sector."""
    width_mm = 2 * view.depth_mm * math.sin(view.half_angle_rad)
    spacing_mm = 1.01 * max(view.depth_mm, width_mm) / size
    centres_mm = ((np.arange(size) + 0.5) * spacing_mm).astype(np.float32)
    x_mm, z_mm = np.meshgrid(centres_mm - np.float32(size * spacing_mm / 2), centres_mm)
    distance_mm, angle_rad = np.hypot(x_mm, z_mm), np.arctan2(x_mm, z_mm)
    inside = (distance_mm < view.depth_mm) & (np.abs(angle_rad) < view.half_angle_rad)
    row = distance_mm / np.float32(polar.range_step_mm) - 0.5
    column = (angle_rad + polar.half_angle_rad) / np.float32(polar.angle_step_rad) - 0.5
    return PixelGrid(spacing_mm, x_mm, z_mm, inside, row, column)


def compress(level_db: Polar, gain_db: float) -> Polar:
    """Echo level (dB) to grey levels 0..255: a range of 55 dB, flatter in the dark as scanners' grey maps are."""
    share = np.clip((level_db + gain_db + 36.5) / 55, 0, 1)
    return 255 * share**1.6


def scan_convert(grey: Polar, pixels: PixelGrid) -> UInt8[np.ndarray, "h w"]:
    """Polar grey levels to the picture, bilinear; black outside the sector."""
    picture = cv2.remap(grey, pixels.column, pixels.row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(pixels.inside, np.rint(picture), 0).astype(np.uint8)
