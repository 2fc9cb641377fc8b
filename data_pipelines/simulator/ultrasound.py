"""From a section of the heart to grey pixels.

Speckle weighted by the reflectivity of the tissue, then what an acquisition adds: uneven gain, shadows, haze, clutter
near the probe, noise; then log compression and scan conversion.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from jaxtyping import Bool, Complex64, Float32, UInt8

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
    wall_gain,
)

BLOOD_TURNOVER_RAD = 0.45  # how much of the blood's speckle is new in each frame
STRONG_SHARE, STRONG_FACTORS = 0.012, (3.0, 9.5)  # small bright reflectors among the scatterers of tissue
DARKEST_DB, GREY_STEPS, STEP_DB = -42.2, 2048, 1.5 * 55 / 2047  # the grey map: where it starts, how finely it is held
STILL_BELOW = 0.05  # points that follow the wall less than this are taken as still


@dataclasses.dataclass(frozen=True)
class ImageQuality:
    """How a class of image quality differs: counts, and levels in dB relative to myocardium facing the beam."""

    shadows: float
    shadow_db: float
    blood_db: float
    haze_db: float
    noise_db: float
    wall_roughness_db: float
    apex_loss_db: float
    right_loss_db: float


QUALITY = {
    "Good": ImageQuality(0.5, 7.0, -18.5, -23.5, -36.0, 2.3, 11.0, 4.0),
    "Medium": ImageQuality(1.4, 9.5, -17.0, -20.5, -33.0, 2.9, 12.0, 5.0),
    "Poor": ImageQuality(2.6, 12.5, -15.5, -17.5, -28.0, 3.7, 12.5, 6.0),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the scanner was set and what it does with the picture.

    `stretch` spreads the levels (dB) around that of myocardium, `offset_db` lifts them all; `sharpening` adds fine
    detail, or where negative takes it away; `compounding` is the share of the echo without speckle; `axial` and
    `lateral` stretch the point spread.
    """

    stretch: float
    offset_db: float
    sharpening: float
    compounding: float
    axial: float
    lateral: float


def sample_settings(rng: np.random.Generator) -> Settings:
    """Draws the settings of one view: they differ more between examinations than the quality does."""
    return Settings(
        stretch=float(np.clip(rng.normal(1.12, 0.18), 0.85, 1.65)),
        offset_db=float(rng.normal(-1.1, 2.8)),
        sharpening=float(rng.choice([0.0, rng.uniform(-1, 0), rng.uniform(0, 0.8)], p=[0.42, 0.35, 0.23])),
        compounding=float(rng.uniform(0.0, 0.18)),
        axial=float(np.clip(np.exp(rng.normal(0.3, 0.14)), 0.85, 1.8)),
        lateral=float(np.clip(np.exp(rng.normal(0.0, 0.26)), 0.7, 1.6)),
    )


@dataclasses.dataclass(frozen=True)
class Scan:
    """Everything about the acquisition of one view that does not change with time.

    `strength` and `second_strength` are two independent amplitudes of every moving scatterer: blood turns from one to
    the other, so that its speckle does not last; `still` is the field of the others. `gain`, `haze` and `noise` are
    intensities.
    """

    grid: PolarGrid
    settings: Settings
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
    grid, levels, settings = polar_grid(view, size), QUALITY[quality], sample_settings(rng)
    spread = point_spread(grid, axial=settings.axial, lateral=settings.lateral)
    x_mm, z_mm = sample_scatterers(rng, grid)
    strength, second = rng.standard_normal((2, len(x_mm))).astype(np.float32)
    points = attach(view, rest, x_mm, z_mm)
    strength[(rng.random(len(x_mm)) < STRONG_SHARE) & ~points.in_cavity] *= rng.uniform(*STRONG_FACTORS)
    moves = points.follows >= STILL_BELOW
    still = sum_echoes(grid, x_mm[~moves], z_mm[~moves], strength[~moves])
    homogeneous = spread.intensity(still + sum_echoes(grid, x_mm[moves], z_mm[moves], strength[moves]))

    coarse = grid.thinned(2)
    tissue = sample_tissue(
        rng,
        rest,
        view,
        *coarse.points_mm(),
        _surroundings_db(rng, coarse),
        _blood_db(rng, coarse, levels.blood_db),
        wall_gain(rng, levels.wall_roughness_db, levels.apex_loss_db, levels.right_loss_db),
    )
    return Scan(
        grid=grid,
        settings=settings,
        spread=spread,
        tissue=tissue,
        moving=points.only(moves),
        strength=strength[moves],
        second_strength=second[moves],
        still=still,
        normalisation=depth_normalisation(homogeneous),
        gain=_gain(rng, grid, levels),
        haze=_haze(rng, grid, spread, levels),
        noise=_noise(grid, levels),
    )


def scan_frame(scan: Scan, section: Section, frame: int, rng: np.random.Generator) -> Polar:
    """Echo level (dB, polar) as the scanner sets it, at the instant `section`; `frame` turns the blood over."""
    grid, points = scan.grid, scan.moving
    turned = BLOOD_TURNOVER_RAD * frame
    crowding = math.sqrt(section.length_mm / points.rest.length_mm * section.radius_mm / points.rest.radius_mm)
    blood = crowding * (math.cos(turned) * scan.strength + math.sin(turned) * scan.second_strength)
    strength = np.where(points.in_cavity, blood, scan.strength)
    field = scan.still + sum_echoes(grid, *points.positions_mm(section), strength)
    echo_map = cv2.resize(reflectivity(scan.tissue, section), (grid.beams, grid.ranges), interpolation=cv2.INTER_LINEAR)
    compounding = scan.settings.compounding
    speckle = scan.spread.intensity(field * echo_map) * ((1 - compounding) * scan.normalisation)
    intensity = (speckle + compounding * echo_map * echo_map) * scan.gain
    intensity += scan.haze + scan.noise * rng.standard_exponential(intensity.shape, dtype=np.float32)
    level_db = np.float32(10 / math.log(10)) * np.log(intensity + np.float32(1e-9))
    if scan.settings.sharpening:
        smooth = cv2.GaussianBlur(level_db, (5, 7), 0.8, sigmaY=1.6)
        level_db += scan.settings.sharpening * (level_db - smooth)
    return scan.settings.stretch * level_db + scan.settings.offset_db


# ---- what the acquisition adds -------------------------------------------------------------------------------------


def _smooth_field(rng: np.random.Generator, grid: PolarGrid, rows: int, columns: int) -> Polar:
    """Smooth noise of about unit deviation with `rows` x `columns` independent patches."""
    patches = rng.standard_normal((rows, columns)).astype(np.float32)
    return 1.3 * cv2.resize(patches, (grid.beams, grid.ranges), interpolation=cv2.INTER_CUBIC)


def _surroundings_db(rng: np.random.Generator, grid: PolarGrid) -> Polar:
    """Tissue around the heart: dark beside the apex, bright deep down, with bright arcs (diaphragm, pericardium)."""
    range_mm, share = grid.range_mm[:, None], grid.range_mm[:, None] / grid.depth_mm
    angle = grid.angle_rad[None] / grid.half_angle_rad
    deep_db = rng.uniform(3, 16) * smooth_step((share - rng.uniform(0.7, 0.9)) / 0.3)
    level_db = rng.normal(-10, 1.5) + rng.normal(-1, 3) * angle + deep_db + 4.5 * _smooth_field(rng, grid, 9, 7)
    for _ in range(rng.integers(1, 7)):
        where, width = rng.uniform(-1, 1), rng.uniform(0.06, 0.3)
        at_mm = grid.depth_mm * rng.uniform(0.45, 1.0) + rng.normal(0, 10) * (angle - where)
        arc = np.exp(-(((range_mm - at_mm) / rng.uniform(1.2, 4)) ** 2) - ((angle - where) / width) ** 2)
        level_db = level_db + rng.uniform(7, 21) * arc
    return level_db.astype(np.float32)


def _blood_db(rng: np.random.Generator, grid: PolarGrid, level_db: float) -> Polar:
    """Echo of the chambers: blood with slow variations (reverberation), filled in deep down by the wide beams."""
    share = np.linspace(0, 1, grid.ranges)[:, None]
    slope_db = rng.normal(0, 2) * (2 * share - 1) + rng.uniform(2, 7) * smooth_step((share - 0.68) / 0.2)
    return (level_db + rng.normal(0, 1.5) + slope_db + 1.6 * _smooth_field(rng, grid, 7, 6)).astype(np.float32)


def _gain(rng: np.random.Generator, grid: PolarGrid, levels: ImageQuality) -> Polar:
    """Gain along and across the beams: attenuation left over, uneven time gain, weak edges, rib and lung shadows."""
    angle, range_mm = grid.angle_rad / grid.half_angle_rad * GUARD, grid.range_mm[:, None]
    across_db = rng.normal(-1.6, 1.8) * angle[None]
    for side in (-1, 1):
        loss_db, start = levels.shadow_db * rng.uniform(0, 1) ** 2, rng.uniform(0.3, 0.9)
        across_db = across_db - loss_db * smooth_step((side * angle[None] - start) / 0.3)
    for _ in range(rng.poisson(levels.shadows)):
        side = rng.choice([-1, 1]) * rng.uniform(0.3, 0.95)
        width, loss_db = rng.uniform(0.05, 0.14), rng.uniform(0.5, 1) * levels.shadow_db
        across_db = across_db - loss_db * np.exp(-0.5 * ((angle[None] - side) / width) ** 2)
    along_db = rng.normal(-0.02, 0.035) * (range_mm - 70)
    for cycles in (1.0, 1.7):
        phase = 2 * math.pi * (cycles * range_mm / grid.depth_mm + rng.random())
        along_db = along_db + rng.normal(0, 1) * np.sin(phase)
    uneven_db = 2 * _smooth_field(rng, grid, 4, 4)
    return amplitude(2 * (along_db + across_db + uneven_db)).astype(np.float32)


def _haze(rng: np.random.Generator, grid: PolarGrid, spread: PointSpread, levels: ImageQuality) -> Polar:
    """Static clutter: a veil over the whole sector, bright near the probe in a few bands (reverberation)."""
    range_mm = grid.range_mm[:, None]
    real, imaginary = rng.standard_normal((2, grid.ranges, grid.beams)).astype(np.float32)
    texture = spread.intensity(real + 1j * imaginary)
    texture = texture * depth_normalisation(texture)
    veil_db = levels.haze_db + rng.normal(0, 1.6) - 0.03 * (range_mm - 70) + 2.5 * _smooth_field(rng, grid, 5, 4)
    near_db = rng.normal(-4.5, 3.5) - rng.uniform(0.06, 0.32) * range_mm + 1.0 * smooth_noise(rng, grid.beams, 24)[None]
    near_db = near_db - 12 * np.exp(-range_mm / rng.uniform(1, 5))  # the pulse itself hides the first millimetres
    spacing_mm, first_mm = rng.uniform(2.5, 6), rng.uniform(5, 14)
    for ring in range(rng.integers(1, 5)):
        at_mm, thick_mm = first_mm + ring * spacing_mm, rng.uniform(0.6, 2)
        near_db = near_db + rng.uniform(3, 13) * np.exp(-(((range_mm - at_mm) / thick_mm) ** 2))
    haze = amplitude(2 * veil_db) * (0.3 + 0.7 * texture) + amplitude(2 * near_db) * (0.35 + 0.65 * texture)
    return haze.astype(np.float32)


def _noise(grid: PolarGrid, levels: ImageQuality) -> Polar:
    """Mean intensity of the receiver's noise, which the time gain lifts with depth."""
    level_db = levels.noise_db - 1 + 0.05 * (grid.range_mm[:, None] - 80)
    return np.broadcast_to(amplitude(2 * level_db).astype(np.float32), (grid.ranges, grid.beams))


# ---- to pixels -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class PixelGrid:
    """A picture that the sector fills from side to side: spacing, probe coordinates of the pixel centres (mm), what is
    seen. Rows and columns are equally many, so the spacing differs between them, as in the CAMUS release.

    `row` and `column` are the places of the pixel centres on the polar grid, in its samples.
    """

    spacing_mm: tuple[float, float]  # (row, column)
    x_mm: Float32[np.ndarray, "h w"]
    z_mm: Float32[np.ndarray, "h w"]
    inside: Bool[np.ndarray, "h w"]
    row: Float32[np.ndarray, "h w"]
    column: Float32[np.ndarray, "h w"]


def pixel_grid(view: View, size: int, polar: PolarGrid) -> PixelGrid:
    """The smallest rectangle that holds the sector, in size x size pixels."""
    row_mm = 1.005 * view.depth_mm / size
    column_mm = 1.005 * 2 * view.depth_mm * math.sin(view.half_angle_rad) / size
    centres = (np.arange(size) + 0.5).astype(np.float32)
    x_mm, z_mm = np.meshgrid((centres - np.float32(size / 2)) * np.float32(column_mm), centres * np.float32(row_mm))
    row, column = polar.places(x_mm, z_mm)
    return PixelGrid((row_mm, column_mm), x_mm, z_mm, in_sector(view, x_mm, z_mm), row, column)


def in_sector(
    view: View, x_mm: Float32[np.ndarray, "h w"], z_mm: Float32[np.ndarray, "h w"]
) -> Bool[np.ndarray, "h w"]:
    """What the probe sees of points in probe coordinates."""
    return (np.hypot(x_mm, z_mm) < view.depth_mm) & (np.abs(np.arctan2(x_mm, z_mm)) < view.half_angle_rad)


def _grey_map() -> Float32[np.ndarray, " n"]:
    """Grey levels over DARKEST_DB..: a range of about 55 dB, flatter in the dark, with a soft shoulder below white."""
    share = np.linspace(0, 1.5, GREY_STEPS, dtype=np.float32) ** 2
    return 255 * share / (1 + share**10) ** 0.1


GREY_MAP = _grey_map()


def compress(level_db: Polar, gain_db: float) -> Polar:
    """Echo level (dB) to grey levels 0..255."""
    step = (level_db + (gain_db - DARKEST_DB)) * (1 / STEP_DB)
    return GREY_MAP[np.clip(step, 0, GREY_STEPS - 1).astype(np.int32)]


def scan_convert(grey: Polar, pixels: PixelGrid) -> UInt8[np.ndarray, "h w"]:
    """Polar grey levels to the picture, bilinear; black outside the sector."""
    picture = cv2.remap(grey, pixels.column, pixels.row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(pixels.inside, np.rint(picture), 0).astype(np.uint8)
