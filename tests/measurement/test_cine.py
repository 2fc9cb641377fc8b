"""Measurements of cines of simulated hearts whose volumes are known beat by beat."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from data_pipelines.records import ENDOCARDIUM
from data_pipelines.simulator.patient import Patient
from data_pipelines.simulator.pixels import pixel_grid
from data_pipelines.simulator.placement import sample_placement
from data_pipelines.simulator.population import POPULATIONS
from data_pipelines.simulator.rhythm import Beat, Rhythm
from data_pipelines.simulator.section import contracted_section, label_map_at
from echoforge_jax.measurement.cine import (
    AREA_LENGTH,
    DISCS,
    NO_SYSTOLE,
    SINGLE_PLANE_METHODS,
    biplane_over_beats,
    measure_cine,
)
from echoforge_jax.measurement.frames import area_length

PATIENT = Patient(5, 2)
# A full beat, a weak early one and a full one again; the cine begins shortly before the first end-diastole.
RHYTHM = Rhythm((Beat(0.3, 0.8), Beat(0.28, 1.0, unfilled=0.2, emptied=0.75), Beat(0.3, 0.8)), start_s=2.4)
FPS, FRAMES = 20.0, 50


@functools.cache
def cine(view: str) -> tuple[np.ndarray, tuple[float, float]]:
    """Masks of the ventricle in every frame, and the spacing; no picture is rendered."""
    heart = PATIENT.heart()
    placement = sample_placement(PATIENT.clip_random(view), heart, view, POPULATIONS["camus"])
    grid = pixel_grid(placement, 128)
    points = placement.to_heart(grid.points)
    masks = []
    for frame in range(FRAMES):
        section = contracted_section(heart, view, RHYTHM.contraction_at(frame / FPS))
        masks.append((label_map_at(section, section.straightened(points)) == ENDOCARDIUM) & grid.inside)
    return np.array(masks), grid.spacing_mm


def measured(view: str, *, spaced: bool = True, **options):
    masks, spacing_mm = cine(view)
    return measure_cine(masks, view=view, spacing_mm=spacing_mm if spaced else None, fps=FPS, **options)


def true_percents() -> list[float]:
    beats = RHYTHM.true_beats(PATIENT.heart(), frames=FRAMES, fps=FPS)
    return [beat.ef_percent for beat in beats if beat.ed_frame >= 0 and beat.es_frame <= FRAMES - 1]


def test_every_beat_has_the_ejection_fraction_of_its_own_volumes():
    four, two = measured("4CH"), measured("2CH")
    biplane = biplane_over_beats(four, two)
    percents = [one.result.percent for one in biplane.beats]
    assert (biplane.method, biplane.volume_unit) == ("biplane_discs", "ml")
    assert len(percents) == len(true_percents()) == 3
    # both views were recorded in the same rhythm here, and every beat of one is paired with all of the other
    assert percents[1] < percents[0] - 5
    assert biplane.median_percent == pytest.approx(np.median(true_percents()), abs=4)
    assert biplane.range_percent[0] < biplane.median_percent < biplane.range_percent[1] + 1e-9
    single = four.ejection_fractions[0]
    assert single.method == DISCS and single.n_beats == len(single.used)
    for one, true in zip(single.beats, true_percents(), strict=True):
        assert one.result.percent == pytest.approx(true, abs=6)


def test_volumes_are_in_ml_with_the_spacing_and_ratios_without():
    scaled, plain = measured("4CH"), measured("4CH", spaced=False)
    assert scaled.ejection_fractions[0].volume_unit == "ml"
    assert plain.ejection_fractions[0].volume_unit == "px3_per_1000"
    edv = scaled.ejection_fractions[0].beats[0].result.edv
    assert edv == pytest.approx(PATIENT.heart().edv_ml, rel=0.3)
    assert "volume_discs_ml" in scaled.curve()[0] and "volume_discs_px3_per_1000" in plain.curve()[0]
    unscaled = biplane_over_beats(plain, measured("2CH"))
    assert (unscaled.method, unscaled.volume_unit) == ("biplane_discs_unscaled", "share_of_edv")
    assert unscaled.median_percent == pytest.approx(biplane_over_beats(scaled, measured("2CH")).median_percent, abs=2)


def test_the_curve_has_a_row_for_every_frame():
    rows = measured("4CH", confidence=np.linspace(0.9, 1, FRAMES)).curve()
    assert len(rows) == FRAMES
    assert rows[7]["time_s"] == pytest.approx(7 / FPS) and rows[0]["confidence"] == 0.9
    assert rows[7]["area_mm2"] > 500 and 40 < rows[7]["long_axis_mm"] < 120


def test_area_length_on_request():
    both = measured("4CH", methods=SINGLE_PLANE_METHODS)
    assert [ef.method for ef in both.ejection_fractions] == [DISCS, AREA_LENGTH]
    discs, by_area = (ef.median_percent for ef in both.ejection_fractions)
    assert by_area == pytest.approx(discs, abs=4)
    sphere_mm = 25.0
    sphere_ml = 4 / 3 * np.pi * sphere_mm**3 / 1000
    assert area_length(np.pi * sphere_mm**2, 2 * sphere_mm) == pytest.approx(sphere_ml)
    with pytest.raises(ValueError, match="there is no method 'simpson'"):
        measured("4CH", methods=("simpson",))


def test_empty_frames_are_flagged_and_counted():
    masks, spacing_mm = cine("4CH")
    masks = masks.copy()
    masks[[3, 20]] = False
    result = measure_cine(masks, spacing_mm=spacing_mm, fps=FPS)
    assert result.frames[3].flags == ("the mask is empty",) and np.isnan(result.frames[3].area)
    assert len(result.beats.beats) == len(measured("4CH").beats.beats)


def test_a_cine_without_beats_has_no_ejection_fraction():
    masks, _ = cine("4CH")
    still = measure_cine(np.repeat(masks[:1], 30, axis=0))
    (ef,) = still.ejection_fractions
    assert (ef.median_percent, ef.range_percent, ef.n_beats) == (None, None, 0)
    assert ef.undefined == {NO_SYSTOLE: 1} and still.beats.reason is not None
    assert biplane_over_beats(still, still).median_percent is None


def test_a_half_cycle_is_measured_and_said_to_touch_the_edges():
    masks, spacing_mm = cine("4CH")
    first = next(beat for beat in measured("4CH").beats.beats if beat.has_systole)
    half = measure_cine(masks[first.ed_frame : first.es_frame + 1], spacing_mm=spacing_mm, fps=FPS)
    assert half.ejection_fractions[0].n_beats == 1 and half.beats.beats[0].flags


def test_uneven_times_are_kept():
    masks, _ = cine("4CH")
    times = 5 + np.cumsum(np.full(FRAMES, 0.05))
    rows = measure_cine(masks, times_s=times).curve()
    assert rows[0]["time_s"] == 0 and rows[-1]["time_s"] == pytest.approx(0.05 * (FRAMES - 1))
