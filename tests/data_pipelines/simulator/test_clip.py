"""Simulated clips: equal arguments give equal bytes, labels lie in their places, beats are whole, the probe drifts."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from data_pipelines.records import ATRIUM, BACKGROUND, ENDOCARDIUM, MYOCARDIUM, VIEWS, Clip
from data_pipelines.simulator.clip import ClipSettings, simulate_clip
from data_pipelines.simulator.coordinates import ProbePoints
from data_pipelines.simulator.drift import Drift
from data_pipelines.simulator.heart import ventricle_at
from data_pipelines.simulator.patient import Patient
from tests.helpers.simulated import simulated_clip

SMALL = ClipSettings(frames=4, size=96)


def small_clip(seed: int, view: str, quality: str | None = None) -> Clip:
    return simulated_clip(Patient(seed, 1), view, dataclasses.replace(SMALL, quality=quality))


def cavity_area(clip: Clip) -> np.ndarray:
    """Pixels of the cavity in every frame."""
    return (clip.label_map == ENDOCARDIUM).sum(axis=(1, 2))


def test_equal_arguments_give_equal_bytes():
    again = simulate_clip(Patient(3, 1), "4CH", SMALL)
    first = small_clip(3, "4CH")
    for field in dataclasses.fields(Clip):
        assert np.array_equal(getattr(first, field.name), getattr(again, field.name)), field.name


def test_another_seed_patient_or_view_gives_another_clip():
    reference = small_clip(3, "4CH").frames
    others = [small_clip(4, "4CH"), simulated_clip(Patient(3, 2), "4CH", SMALL), small_clip(3, "2CH")]
    assert not any(np.array_equal(reference, other.frames) for other in others)


def test_both_views_of_a_patient_have_the_same_volumes_and_frame_rate():
    two, four = small_clip(3, "2CH"), small_clip(3, "4CH")
    assert (two.volumes_ml, two.ef_percent, two.fps) == (four.volumes_ml, four.ef_percent, four.fps)


def test_poor_quality_lowers_the_contrast_and_leaves_the_labels():
    good, poor = small_clip(5, "4CH", "Good"), small_clip(5, "4CH", "Poor")
    assert (good.quality, poor.quality) == ("Good", "Poor")
    assert np.array_equal(good.label_map, poor.label_map)
    contrast = [
        np.median(clip.frames[clip.label_map == MYOCARDIUM]) - np.median(clip.frames[clip.label_map == ENDOCARDIUM])
        for clip in (good, poor)
    ]
    assert contrast[0] > contrast[1] + 10


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("seed", range(4))
def test_labels_match_the_anatomy(seed, view):
    clip = small_clip(seed, view)
    assert (clip.ed_index, clip.es_index) == (0, 3) and clip.has_reference.all()
    assert cavity_area(clip)[0] > cavity_area(clip)[-1]
    for labels in clip.label_map:
        assert set(np.unique(labels)) == {BACKGROUND, ENDOCARDIUM, MYOCARDIUM, ATRIUM}
        mean_row = {label: np.nonzero(labels == label)[0].mean() for label in (ENDOCARDIUM, ATRIUM)}
        assert mean_row[ATRIUM] > mean_row[ENDOCARDIUM]
        cavity_rows = np.nonzero((labels == ENDOCARDIUM).any(axis=1))[0]
        assert labels[cavity_rows[0] - 1, (labels[cavity_rows[0]] == ENDOCARDIUM).argmax()] == MYOCARDIUM
        for row in cavity_rows[: int(0.6 * len(cavity_rows))]:
            columns = np.nonzero(labels[row] == ENDOCARDIUM)[0]
            assert labels[row, columns[0] - 1] == MYOCARDIUM and labels[row, columns[-1] + 1] == MYOCARDIUM


@pytest.mark.parametrize("seed", range(4))
def test_cavity_has_the_area_of_the_ventricle_s_outline(seed):
    clip, ventricle = small_clip(seed, "4CH"), ventricle_at(Patient(seed, 1).heart(), 0.0)
    level = np.linspace(-1, ventricle.base_mm / ventricle.widest_mm, 4001)
    outline_mm2 = np.trapezoid(2 * ventricle.radius_4ch_mm * np.sqrt(1 - level**2), level * ventricle.widest_mm)
    cavity_mm2 = cavity_area(clip)[0] * clip.spacing_mm[0] * clip.spacing_mm[1]
    assert cavity_mm2 == pytest.approx(outline_mm2, rel=0.03)


def test_picture_is_dark_outside_the_sector_and_varied_inside():
    clip = small_clip(1, "2CH")
    assert clip.frames[:, 0, 0].max() == 0 and clip.frames[:, -1, -1].max() == 0
    assert 8 < clip.frames[clip.label_map > 0].std() < 70


def test_beats_begin_anywhere_and_repeat_without_a_jump():
    patient = Patient(2, 3)
    clip = simulated_clip(patient, "4CH", ClipSettings(frames=130, size=48, cycle="beats"))
    heart, area = patient.heart(), cavity_area(clip).astype(float)
    beat = round(heart.beat_s * clip.fps)
    assert clip.es_index - clip.ed_index == round(heart.systole_s * clip.fps)
    assert area[clip.ed_index] > 0.95 * area.max() and area[clip.es_index] < 1.08 * area.min()
    assert np.abs(np.diff(area)).max() < 0.09 * area.max()
    assert np.corrcoef(area[:-beat], area[beat:])[0, 1] > 0.97


def test_too_few_frames_for_a_whole_systole_are_refused():
    with pytest.raises(ValueError, match="hold no whole systole"):
        simulate_clip(Patient(2, 3), "4CH", ClipSettings(frames=10, size=48, cycle="beats"))


def test_filling_runs_from_end_systole_to_end_diastole():
    clip = simulated_clip(Patient(3, 1), "4CH", ClipSettings(frames=6, size=64, cycle="filling"))
    area = cavity_area(clip)
    assert (clip.es_index, clip.ed_index) == (0, 5) and area[0] == area.min() and area[-1] > 0.97 * area.max()


def test_ejection_fraction_follows_from_the_label_maps():
    """Area-length volumes of the four-chamber view rank the hearts as their true ejection fractions do."""
    stated, measured = [], []
    for number in range(1, 13):
        clip = simulated_clip(Patient(0, number), "4CH", ClipSettings(frames=2, size=64))
        rows = (clip.label_map == ENDOCARDIUM).any(axis=2).sum(axis=1)
        volume = cavity_area(clip).astype(float) ** 2 / rows
        stated.append(clip.ef_percent)
        measured.append(100 * (1 - volume[1] / volume[0]))
    assert np.corrcoef(stated, measured)[0, 1] > 0.8


def test_drift_shifts_the_heart_back_and_turns_it_about_the_middle_of_the_sector():
    depth_mm, quarter_breath_s = 140.0, 1.0
    points = ProbePoints(*(np.full((1, 1), value, np.float32) for value in (5.0, 60.0)))
    shift = Drift(sideways_mm=2.0, depth_mm=-1.0, rotation_rad=0.0, start_rad=0.0)
    np.testing.assert_allclose(shift.undone(points, time_s=0.0, depth_mm=depth_mm), points, atol=1e-4)
    shifted = shift.undone(points, time_s=quarter_breath_s, depth_mm=depth_mm)
    np.testing.assert_allclose(np.ravel(shifted), (3.0, 61.0), atol=1e-4)
    turn = Drift(sideways_mm=0.0, depth_mm=0.0, rotation_rad=0.1, start_rad=0.0)
    turned_x, turned_z = np.ravel(turn.undone(points, time_s=quarter_breath_s, depth_mm=depth_mm))
    middle_mm = depth_mm / 2
    assert (turned_x, turned_z) != pytest.approx((5.0, 60.0), abs=0.1)
    assert math.hypot(turned_x, turned_z - middle_mm) == pytest.approx(math.hypot(5, 60 - middle_mm), abs=1e-3)


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: simulate_clip(Patient(0, 1), "3CH"), "view is '3CH'"),
        (lambda: ClipSettings(quality="good"), "quality is 'good'"),
        (lambda: ClipSettings(frames=1), "frames is 1"),
        (lambda: ClipSettings(cycle="twice"), "cycle is 'twice'"),
        (lambda: Patient(0, 1, population="mars"), "population is 'mars'"),
    ],
)
def test_arguments_out_of_range_are_refused(refused, message):
    with pytest.raises(ValueError, match=message):
        refused()
