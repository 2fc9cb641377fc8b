"""The scan of one view: what is drawn once (scanner, tissue, scatterers), and the echo levels (dB) of each frame."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from jaxtyping import Complex64, Float32

from data_pipelines.simulator.acquisition import noise_intensity, sample_gain, sample_haze
from data_pipelines.simulator.coordinates import ProbePoints
from data_pipelines.simulator.motion import MaterialPoints, attach
from data_pipelines.simulator.placement import Placement
from data_pipelines.simulator.polar_grid import Polar, PolarGrid, polar_grid
from data_pipelines.simulator.quality import IMAGE_QUALITIES
from data_pipelines.simulator.reflectivity import reflectivity
from data_pipelines.simulator.section import Section
from data_pipelines.simulator.speckle import (
    PointSpread,
    depth_normalisation,
    point_spread,
    sample_scatterers,
    sum_echoes,
)
from data_pipelines.simulator.tissue import Tissue, sample_tissue

BLOOD_TURNOVER_RAD = 0.45  # how far the blood's speckle turns over from frame to frame; pi / 2 makes all of it new
STRONG_SHARE, STRONG_FACTORS = 0.012, (3.0, 9.5)  # a few scatterers of tissue are much stronger than the others
STILL_BELOW = 0.05  # a point that follows the wall less than this is taken as still


@dataclasses.dataclass(frozen=True)
class ScannerSettings:
    """How the scanner was set and what it does with the picture.

    Attributes:
        contrast: factor on the levels in dB, around the level of myocardium.
        offset_db: added to all levels.
        sharpening: strength of the filter that adds fine detail, or takes it away where negative.
        compounding: share of the echo that has no speckle.
        axial_stretch: factor on the width of the point spread along the beam.
        lateral_stretch: factor on its width across the beam.
    """

    contrast: float
    offset_db: float
    sharpening: float
    compounding: float
    axial_stretch: float
    lateral_stretch: float


def sample_scanner_settings(rng: np.random.Generator) -> ScannerSettings:
    """Draws the settings of one view; they differ more between examinations than the image quality does."""
    return ScannerSettings(
        contrast=float(np.clip(rng.normal(1.12, 0.18), 0.85, 1.65)),
        offset_db=float(rng.normal(-1.1, 2.8)),
        sharpening=float(rng.choice([0.0, rng.uniform(-1, 0), rng.uniform(0, 0.8)], p=[0.42, 0.35, 0.23])),
        compounding=float(rng.uniform(0.0, 0.18)),
        axial_stretch=float(np.clip(np.exp(rng.normal(0.3, 0.14)), 0.85, 1.8)),
        lateral_stretch=float(np.clip(np.exp(rng.normal(0.0, 0.26)), 0.7, 1.6)),
    )


@dataclasses.dataclass(frozen=True)
class Scan:
    """Everything about the scan of one view that does not change with time.

    Attributes:
        grid: the samples at which echoes are computed.
        settings: how the scanner was set.
        spread: the blur of the probe.
        tissue: what the probe looks at, on a grid with half as many samples along the beams.
        moving: the n scatterers that move with the heart.
        strength: amplitude of each moving scatterer.
        second_strength: another, independent amplitude. Blood turns from one to the other and back, so that its speckle
            does not last.
        still: summed echoes of all other scatterers.
        normalisation: factor on the intensity that makes homogeneous tissue equally bright at every depth.
        gain: factor on the intensity.
        haze: intensity of the static clutter.
        noise: mean intensity of the noise.
    """

    grid: PolarGrid
    settings: ScannerSettings
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


def prepare_scan(rng: np.random.Generator, placement: Placement, rest: Section, *, quality: str, size: int) -> Scan:
    """Draws the scan of one view.

    Args:
        rng: the random generator.
        placement: where the heart lies in front of the probe.
        rest: the section at end-diastole.
        quality: "Good", "Medium" or "Poor".
        size: height and width of the picture in pixels.
    """
    grid, levels, settings = polar_grid(placement, size), IMAGE_QUALITIES[quality], sample_scanner_settings(rng)
    spread = point_spread(grid, axial_stretch=settings.axial_stretch, lateral_stretch=settings.lateral_stretch)
    scatterers = sample_scatterers(rng, grid)
    count = len(scatterers.x_mm)
    strength, second_strength = rng.standard_normal((2, count)).astype(np.float32)
    points = attach(scatterers, placement=placement, rest=rest)
    strength[(rng.random(count) < STRONG_SHARE) & ~points.in_cavity] *= rng.uniform(*STRONG_FACTORS)
    moves = points.follows >= STILL_BELOW
    still = sum_echoes(grid, _only(scatterers, ~moves), strength[~moves])
    homogeneous = spread.intensity(still + sum_echoes(grid, _only(scatterers, moves), strength[moves]))
    tissue = sample_tissue(rng, grid.thinned(2), placement=placement, rest=rest, quality=levels)
    return Scan(
        grid=grid,
        settings=settings,
        spread=spread,
        tissue=tissue,
        moving=points.only(moves),
        strength=strength[moves],
        second_strength=second_strength[moves],
        still=still,
        normalisation=depth_normalisation(homogeneous),
        gain=sample_gain(rng, grid, levels),
        haze=sample_haze(rng, grid, spread=spread, quality=levels),
        noise=noise_intensity(grid, levels),
    )


def _only(points: ProbePoints, chosen: np.ndarray) -> ProbePoints:
    return ProbePoints(points.x_mm[chosen], points.z_mm[chosen])


def scan_frame(scan: Scan, section: Section, *, frame: int, rng: np.random.Generator) -> Polar:
    """Returns the echo level of every sample (dB) as the scanner shows it, (ranges, beams).

    Args:
        scan: the scan of the view.
        section: the heart at the instant of the frame.
        frame: number of the frame, which turns the speckle of the blood over.
        rng: draws the noise of the frame.
    """
    grid, rest, settings = scan.grid, scan.moving.rest, scan.settings
    turned = BLOOD_TURNOVER_RAD * frame
    # Scatterers crowd together where the cavity shrinks: weaker ones keep the blood equally bright.
    crowding = math.sqrt(section.length_mm / rest.length_mm * section.radius_mm / rest.radius_mm)
    blood = crowding * (math.cos(turned) * scan.strength + math.sin(turned) * scan.second_strength)
    strength = np.where(scan.moving.in_cavity, blood, scan.strength)
    field = scan.still + sum_echoes(grid, scan.moving.positions(section), strength)
    echo_map = cv2.resize(reflectivity(scan.tissue, section), (grid.beams, grid.ranges), interpolation=cv2.INTER_LINEAR)
    speckle = scan.spread.intensity(field * echo_map) * ((1 - settings.compounding) * scan.normalisation)
    intensity = (speckle + settings.compounding * echo_map * echo_map) * scan.gain
    intensity += scan.haze + scan.noise * rng.standard_exponential(intensity.shape, dtype=np.float32)
    level_db = np.float32(10 / math.log(10)) * np.log(intensity + np.float32(1e-9))
    if settings.sharpening:
        smooth = cv2.GaussianBlur(level_db, (5, 7), 0.8, sigmaY=1.6)
        level_db += settings.sharpening * (level_db - smooth)
    return settings.contrast * level_db + settings.offset_db
