"""Speckle: its grey levels are Rayleigh distributed, and it moves with the tissue."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from data_pipelines.simulator.coordinates import HeartPoints, ProbePoints
from data_pipelines.simulator.heart import Heart, WeakSegment
from data_pipelines.simulator.motion import attach
from data_pipelines.simulator.patient import Patient
from data_pipelines.simulator.placement import Placement, sample_placement
from data_pipelines.simulator.polar_grid import Polar, PolarGrid, polar_grid
from data_pipelines.simulator.population import POPULATIONS
from data_pipelines.simulator.scan import prepare_scan, scan_frame
from data_pipelines.simulator.section import Section, section_at
from data_pipelines.simulator.speckle import depth_normalisation, point_spread, sample_scatterers, sum_echoes


def four_chamber_placement(heart: Heart, seed: int = 0) -> Placement:
    return sample_placement(np.random.default_rng(seed), heart, "4CH", POPULATIONS["camus"])


@pytest.mark.parametrize("seed", range(2))
def test_homogeneous_speckle_is_nearly_rayleigh_distributed(seed):
    """Scatterers without a heart, one look, no log compression, no gain."""
    grid, rng = polar_grid(four_chamber_placement(Patient(seed, 1).heart(), seed), 256), np.random.default_rng(seed)
    points = sample_scatterers(rng, grid)
    field = sum_echoes(grid, points, rng.standard_normal(len(points.x_mm)))
    intensity = point_spread(grid, looks=1).intensity(field)
    envelope = np.sqrt(intensity * depth_normalisation(intensity))[90:-20, 10:-10]
    assert 1.75 < envelope.mean() / envelope.std() < 1.95


@pytest.fixture(scope="module")
def heart() -> Heart:
    return Patient(2, 1).heart()


@pytest.fixture(scope="module")
def placement(heart) -> Placement:
    return four_chamber_placement(heart)


@pytest.fixture(scope="module")
def scatterers(placement) -> ProbePoints:
    return sample_scatterers(np.random.default_rng(1), polar_grid(placement, 96))


def test_points_start_where_they_were_attached(heart, placement, scatterers):
    rest = section_at(heart, "4CH", 0.0)
    again = attach(scatterers, placement=placement, rest=rest).positions(rest)
    assert np.hypot(again.x_mm - scatterers.x_mm, again.z_mm - scatterers.z_mm).max() < 1e-3


def test_points_of_the_wall_stay_in_the_wall(heart, placement, scatterers):
    rest, end = section_at(heart, "4CH", 0.0), section_at(heart, "4CH", 1.0)
    start = rest.straightened(placement.to_heart(scatterers))
    in_wall = (rest.endocardial_radius(*start) > 1) & (rest.epicardial_radius(*start) < 1)
    in_wall &= start.u_mm < 0.95 * rest.length_mm
    chosen = ProbePoints(scatterers.x_mm[in_wall], scatterers.z_mm[in_wall])
    moved = attach(chosen, placement=placement, rest=rest).positions(end)
    points = end.straightened(placement.to_heart(moved))
    assert end.endocardial_radius(*points).min() > 0.999
    assert end.epicardial_radius(*points).max() < 1.001


@pytest.mark.parametrize("weak", [None, WeakSegment(azimuth_rad=0.0, level=0.5, reach=0.4, bulge=0.35)])
def test_block_matching_finds_the_wall_where_it_truly_went(weak):
    errors_mm, displacements_mm = [], []
    for seed in range(2):
        heart = dataclasses.replace(Patient(seed, 1).heart(), ef_percent=60.0, shortening=0.17, weak=weak)
        placement = four_chamber_placement(heart, seed)
        rest, later = section_at(heart, "4CH", 0.0), section_at(heart, "4CH", 0.45)
        scan = prepare_scan(np.random.default_rng(seed), placement, rest, quality="Good", size=256)
        first, second = (
            scan_frame(scan, section, frame=frame, rng=np.random.default_rng(frame))
            for frame, section in enumerate((rest, later))
        )
        start = placement.to_probe(points_in_the_middle_of_the_wall(rest))
        end = attach(start, placement=placement, rest=rest).positions(later)
        for x, z, to_x, to_z in zip(*start, *end, strict=True):
            at_the_edge, in_the_near_field = abs(math.atan2(x, z)) > 0.9 * placement.half_angle_rad, z < 45
            if at_the_edge or in_the_near_field:
                continue
            dx, dz = best_shift_mm(scan.grid, first, second, x, z)
            errors_mm.append(math.hypot(x + dx - to_x, z + dz - to_z))
            displacements_mm.append(math.hypot(x - to_x, z - to_z))
    assert len(errors_mm) > 20 and np.median(displacements_mm) > 1.5
    assert np.median(errors_mm) < 0.5 * np.median(displacements_mm)


def points_in_the_middle_of_the_wall(section: Section) -> HeartPoints:
    level = np.linspace(0.7, 1.9, 10)
    angle = np.concatenate([level, -level])
    u_mm = section.widest_mm - (section.widest_mm + 0.5 * section.apical_wall_mm) * np.cos(angle)
    v_mm = (section.radius_mm + 0.5 * section.wall_mm) * np.sin(angle) + section.bend_at(u_mm)
    return HeartPoints(u_mm, v_mm)


def best_shift_mm(grid: PolarGrid, first: Polar, second: Polar, x_mm: float, z_mm: float) -> tuple[float, float]:
    """The shift within 6 mm at which the block around a point looks most alike in the second frame."""
    before, shifts_mm = block(grid, first, x_mm, z_mm), np.arange(-6, 6.01, 0.5)
    likeness = [
        (np.corrcoef(before, block(grid, second, x_mm + dx, z_mm + dz))[0, 1], dx, dz)
        for dx in shifts_mm
        for dz in shifts_mm
    ]
    return max(likeness)[1:]


def block(grid: PolarGrid, level_db: Polar, x_mm: float, z_mm: float) -> np.ndarray:
    """Levels up to 4 mm from a point, along and across the beam, at the nearest samples."""
    offset_mm = np.arange(-4, 4.01, 0.5)
    distance_mm, angle = np.hypot(x_mm, z_mm) + offset_mm[:, None], np.arctan2(x_mm, z_mm)
    angle = angle + offset_mm / np.hypot(x_mm, z_mm)
    row = np.rint(distance_mm / grid.range_step_mm - 0.5).astype(int)
    column = np.rint((angle + grid.half_angle_rad) / grid.angle_step_rad - 0.5).astype(int)
    return level_db[row.clip(0, grid.ranges - 1), column.clip(0, grid.beams - 1)].ravel()
