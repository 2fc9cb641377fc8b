"""The simulated heart: volumes against thin discs, incompressible wall, the whole cycle, weak segments, placement."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from data_pipelines.records import VIEWS
from data_pipelines.simulator.coordinates import HeartPoints
from data_pipelines.simulator.heart import Heart, Ventricle, WeakSegment, contraction_at, ventricle_at
from data_pipelines.simulator.patient import Patient
from data_pipelines.simulator.placement import sample_placement
from data_pipelines.simulator.population import POPULATIONS
from data_pipelines.simulator.section import Section, section_at

SEEDS = range(12)
PHASES = np.linspace(0, 2.4, 17)  # over systole and most of diastole
WEAK = WeakSegment(azimuth_rad=0.4, level=0.55, reach=0.4, bulge=0.35)


def disc_sum_ml(ventricle: Ventricle, wall_mm: float = 0.0, apical_wall_mm: float = 0.0) -> float:
    """Volume inside the endocardium, or inside an ellipse further out, from thin discs cut into 360 sectors each."""
    discs, azimuth = 1000, np.arange(360) * 2 * math.pi / 360
    apex_mm = ventricle.widest_mm + apical_wall_mm
    height_mm = apex_mm + ventricle.base_mm
    along_mm = -apex_mm + (np.arange(discs) + 0.5) * height_mm / discs
    squared = 1 - (along_mm / apex_mm) ** 2
    stretch = np.ones((discs, 1))
    if ventricle.weak is not None and not wall_mm:
        level = (along_mm + ventricle.widest_mm) / ventricle.length_mm
        around = np.array([ventricle.weak.around(angle) for angle in azimuth])
        stretch = 1 + ventricle.bulge * ventricle.weak.along(level)[:, None] * around
    radii_mm2 = (ventricle.radius_4ch_mm + wall_mm) * (ventricle.radius_2ch_mm + wall_mm)
    area_mm2 = math.pi * radii_mm2 * squared * np.mean(stretch**2, axis=1)
    return float(np.sum(area_mm2) * height_mm / discs / 1000)


@pytest.mark.parametrize("seed", SEEDS)
def test_analytic_volume_is_the_sum_of_thin_discs(seed):
    heart = Patient(seed, 1).heart()
    for phase in PHASES:
        ventricle = ventricle_at(heart, float(phase))
        assert ventricle.volume_ml == pytest.approx(disc_sum_ml(ventricle), rel=0.005)


@pytest.mark.parametrize("seed", SEEDS)
def test_wall_volume_is_conserved(seed):
    heart = Patient(seed, 1).heart()
    rest_ml = ventricle_at(heart, 0.0).wall_volume_ml
    for phase in PHASES:
        ventricle = ventricle_at(heart, float(phase))
        outer_ml = disc_sum_ml(ventricle, ventricle.wall_mm, section_at(heart, "4CH", float(phase)).apical_wall_mm)
        assert outer_ml - disc_sum_ml(ventricle) == pytest.approx(rest_ml, rel=0.005)
    assert ventricle_at(heart, 1.0).wall_mm > heart.wall_mm


@pytest.mark.parametrize("seed", SEEDS)
def test_ejection_fraction_is_that_of_the_volumes(seed):
    heart = Patient(seed, 1).heart()
    edv_ml, esv_ml = ventricle_at(heart, 0.0).volume_ml, ventricle_at(heart, 1.0).volume_ml
    assert edv_ml == pytest.approx(heart.edv_ml)
    assert esv_ml == pytest.approx(heart.esv_ml)
    assert 100 * (edv_ml - esv_ml) / edv_ml == pytest.approx(heart.ef_percent)


def test_contraction_rises_from_0_to_1_during_ejection_and_never_falls():
    contraction = [contraction_at(float(phase)) for phase in np.linspace(0, 1, 101)]
    assert contraction[0] == 0 and contraction[-1] == 1
    assert np.all(np.diff(contraction) >= 0)


def test_filling_has_an_e_wave_and_an_a_wave_and_ends_at_end_diastole():
    beat = 2.7
    phase = np.linspace(1, beat, 400)
    contraction = np.array([contraction_at(float(p), beat) for p in phase])
    flow = -np.diff(contraction)
    assert contraction[0] == 1 and contraction[-1] == pytest.approx(0, abs=1e-9) and flow.min() >= 0
    early, rest, late = (float(flow[int(f * 399) : int(t * 399)].max()) for f, t in ((0, 0.5), (0.6, 0.7), (0.75, 1)))
    assert early > late > 2 * rest  # the E wave, diastasis, the A wave
    for share in (0.1, 0.7, 1.3):
        assert contraction_at(share, beat) == pytest.approx(contraction_at(share + 2 * beat, beat))


def with_weak_segment(seed: int) -> Heart:
    return dataclasses.replace(Patient(seed, 1).heart(), weak=WEAK)


@pytest.mark.parametrize("seed", range(4))
def test_a_weak_segment_moves_less_thickens_less_and_changes_no_volume(seed):
    weak, healthy = with_weak_segment(seed), dataclasses.replace(Patient(seed, 1).heart(), weak=None)
    end, end_healthy = ventricle_at(weak, 1.0), ventricle_at(healthy, 1.0)
    assert end.volume_ml == pytest.approx(end_healthy.volume_ml)
    assert disc_sum_ml(end) == pytest.approx(end.volume_ml, rel=0.001)
    section, healthy_section = section_at(weak, "4CH", 1.0), section_at(healthy, "4CH", 1.0)
    level = WEAK.level * section.length_mm

    def half_width_mm(of: Section, side: int) -> tuple[float, float]:
        """Distance of the endocardium and of the epicardium from the long axis."""
        v_mm = side * np.linspace(0.1, 60, 6000)
        inside = of.endocardial_radius(np.full_like(v_mm, level), v_mm) < 1
        outside = of.epicardial_radius(np.full_like(v_mm, level), v_mm) < 1
        return np.abs(v_mm[inside]).max(), np.abs(v_mm[outside]).max()

    (weak_in, weak_out), (in_, out) = half_width_mm(section, 1), half_width_mm(healthy_section, 1)
    assert weak_in > 1.1 * in_ and weak_out - weak_in < 0.85 * (out - in_)  # the lateral side, azimuth 0
    opposite_in, _ = half_width_mm(section, -1)
    assert opposite_in < in_  # the rest makes up for it
    rest = section_at(weak, "4CH", 0.0)
    assert np.all(rest.stretch_at(np.array([level]), np.array([1.0])) == 1)


def test_populations_have_the_ejection_fractions_of_camus_and_echonet():
    hearts = [Patient(0, number).heart() for number in range(400)]
    ef_percent = np.array([heart.ef_percent for heart in hearts])
    edv_ml = np.array([heart.edv_ml for heart in hearts])
    assert np.mean(ef_percent <= 45) == pytest.approx(0.49, abs=0.08)
    assert np.mean(ef_percent > 55) == pytest.approx(0.19, abs=0.07)
    assert 75 < np.median(edv_ml) < 130
    assert 0.2 < np.mean([heart.weak is not None for heart in hearts]) < 0.6
    echonet = np.array([Patient(0, number, "echonet").heart().ef_percent for number in range(400)])
    assert echonet.mean() == pytest.approx(55.8, abs=2) and echonet.std() == pytest.approx(12.4, abs=1.5)
    assert ef_percent.min() >= 14 and ef_percent.max() <= 72


@pytest.mark.parametrize("view", VIEWS)
def test_the_ventricle_lies_inside_the_sector(view):
    for seed in range(60):
        heart = Patient(seed, 2).heart()
        placement = sample_placement(np.random.default_rng(seed), heart, view, POPULATIONS["camus"])
        section = section_at(heart, view, 0.0)
        angle = np.linspace(-math.pi, math.pi, 200)
        u_mm = np.minimum(section.widest_mm * (1 - np.cos(angle)), section.length_mm)
        v_mm = section.radius_mm * np.sin(angle) + section.bend_at(u_mm)
        x_mm, z_mm = placement.to_probe(HeartPoints(u_mm, v_mm))
        assert np.abs(np.arctan2(x_mm, z_mm)).max() < placement.half_angle_rad
        assert np.hypot(x_mm, z_mm).max() < placement.depth_mm
