"""Simulated clips: labels in their places, whole beats, drift, and speckle that is Rayleigh and follows the tissue."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import pytest

from data_pipelines.records import ATRIUM, BACKGROUND, ENDOCARDIUM, MYOCARDIUM, VIEWS, Clip
from data_pipelines.simulator.clip import Drift, heart_of, simulate_clip
from data_pipelines.simulator.heart import WeakSegment, ventricle_at
from data_pipelines.simulator.motion import attach
from data_pipelines.simulator.section import sample_view, section_at
from data_pipelines.simulator.speckle import (
    depth_normalisation,
    point_spread,
    polar_grid,
    sample_scatterers,
    sum_echoes,
)
from data_pipelines.simulator.ultrasound import prepare_scan, scan_frame


@functools.cache
def clip_of(seed: int, view: str, quality: str | None = None) -> Clip:
    return simulate_clip(seed, 1, view, frames=4, size=96, quality=quality)


def test_same_arguments_same_bytes():
    again = simulate_clip(3, 1, "4CH", frames=4, size=96)
    first = clip_of(3, "4CH")
    assert np.array_equal(first.frames, again.frames) and np.array_equal(first.label_map, again.label_map)
    fields = [field.name for field in dataclasses.fields(Clip) if field.name not in ("frames", "masks", "labelled")]
    assert all(getattr(first, name) == getattr(again, name) for name in fields)


def test_other_seed_patient_or_view_is_another_clip():
    reference = clip_of(3, "4CH").frames
    others = [clip_of(4, "4CH"), simulate_clip(3, 2, "4CH", frames=4, size=96), clip_of(3, "2CH")]
    assert not any(np.array_equal(reference, other.frames) for other in others)


def test_two_views_show_one_heart():
    two, four = clip_of(3, "2CH"), clip_of(3, "4CH")
    assert (two.volumes_ml, two.ef_percent, two.fps) == (four.volumes_ml, four.ef_percent, four.fps)


def test_quality_changes_the_picture_not_the_heart():
    good, poor = clip_of(5, "4CH", "Good"), clip_of(5, "4CH", "Poor")
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
    clip = clip_of(seed, view)
    assert (clip.ed_index, clip.es_index) == (0, 3) and clip.has_reference.all()
    assert (clip.label_map[0] == ENDOCARDIUM).sum() > (clip.label_map[-1] == ENDOCARDIUM).sum()
    for mask in clip.label_map:
        assert set(np.unique(mask)) == {BACKGROUND, ENDOCARDIUM, MYOCARDIUM, ATRIUM}
        row = {label: np.nonzero(mask == label)[0].mean() for label in (ENDOCARDIUM, ATRIUM)}
        assert row[ATRIUM] > row[ENDOCARDIUM]
        cavity_rows = np.nonzero((mask == ENDOCARDIUM).any(axis=1))[0]
        assert mask[cavity_rows[0] - 1, (mask[cavity_rows[0]] == ENDOCARDIUM).argmax()] == MYOCARDIUM
        for level in cavity_rows[: int(0.6 * len(cavity_rows))]:
            columns = np.nonzero(mask[level] == ENDOCARDIUM)[0]
            assert mask[level, columns[0] - 1] == MYOCARDIUM and mask[level, columns[-1] + 1] == MYOCARDIUM


@pytest.mark.parametrize("seed", range(4))
def test_mask_area_is_that_of_the_outline(seed):
    clip, ventricle = clip_of(seed, "4CH"), ventricle_at(heart_of(seed, 1), 0.0)
    level = np.linspace(-1, ventricle.base_mm / ventricle.widest_mm, 4001)
    outline_mm2 = np.trapezoid(2 * ventricle.radius_4ch_mm * np.sqrt(1 - level**2), level * ventricle.widest_mm)
    mask_mm2 = (clip.label_map[0] == ENDOCARDIUM).sum() * clip.spacing_mm[0] * clip.spacing_mm[1]
    assert mask_mm2 == pytest.approx(outline_mm2, rel=0.03)


def test_picture_is_dark_outside_the_sector_and_varied_inside():
    clip = clip_of(1, "2CH")
    assert clip.frames[:, 0, 0].max() == 0 and clip.frames[:, -1, -1].max() == 0
    assert 8 < clip.frames[clip.label_map > 0].std() < 70


def test_beats_begin_anywhere_and_repeat_without_a_jump():
    clip = simulate_clip(2, 3, "4CH", frames=130, size=48, cycle="beats")
    heart = heart_of(2, 3)
    area = (clip.label_map == ENDOCARDIUM).sum(axis=(1, 2)).astype(float)
    beat = round(heart.beat_s * clip.fps)
    assert clip.es_index - clip.ed_index == round(heart.systole_s * clip.fps)
    assert area[clip.ed_index] > 0.95 * area.max() and area[clip.es_index] < 1.08 * area.min()
    assert np.abs(np.diff(area)).max() < 0.09 * area.max()
    assert np.corrcoef(area[:-beat], area[beat:])[0, 1] > 0.97
    with pytest.raises(ValueError, match="hold no whole systole"):
        simulate_clip(2, 3, "4CH", frames=10, size=48, cycle="beats")


def test_filling_is_the_way_back():
    clip = simulate_clip(3, 1, "4CH", frames=6, size=64, cycle="filling")
    area = (clip.label_map == ENDOCARDIUM).sum(axis=(1, 2))
    assert (clip.es_index, clip.ed_index) == (0, 5) and area[0] == area.min() and area[-1] > 0.97 * area.max()


def test_ejection_fraction_follows_from_the_masks():
    """Area-length volumes of the four-chamber view rank the hearts as their true ejection fractions do."""
    stated, measured = [], []
    for patient in range(1, 13):
        clip = simulate_clip(0, patient, "4CH", frames=2, size=64)
        area = (clip.label_map == ENDOCARDIUM).sum(axis=(1, 2)).astype(float)
        rows = (clip.label_map == ENDOCARDIUM).any(axis=2).sum(axis=1)
        volume = area**2 / rows
        stated.append(clip.ef_percent)
        measured.append(100 * (1 - volume[1] / volume[0]))
    assert np.corrcoef(stated, measured)[0, 1] > 0.8


def test_the_probe_drifts_slowly_and_picture_and_mask_go_together():
    view = sample_view(np.random.default_rng(0), heart_of(0, 1), "4CH")
    drift = Drift(sideways_mm=2.0, depth_mm=-1.0, rotation_rad=0.0, start=0.0)
    x_mm, z_mm = (np.full((1, 1), value, np.float32) for value in (5.0, 60.0))
    np.testing.assert_allclose(drift.undone(x_mm, z_mm, 0.0, view), (x_mm, z_mm), atol=1e-4)
    moved_x, moved_z = drift.undone(x_mm, z_mm, 1.0, view)  # a quarter of the breath
    assert float(moved_x[0, 0]) == pytest.approx(3.0, abs=1e-4) and float(moved_z[0, 0]) == pytest.approx(
        61.0, abs=1e-4
    )
    turned = dataclasses.replace(drift, sideways_mm=0.0, depth_mm=0.0, rotation_rad=0.1)
    turned_x, turned_z = turned.undone(x_mm, z_mm, 1.0, view)
    middle = view.depth_mm / 2
    assert math.hypot(turned_x[0, 0], turned_z[0, 0] - middle) == pytest.approx(math.hypot(5, 60 - middle), abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"view": "3CH"}, "view is '3CH'"),
        ({"view": "4CH", "quality": "good"}, "quality is 'good'"),
        ({"view": "4CH", "frames": 1}, "frames is 1"),
        ({"view": "4CH", "cycle": "twice"}, "cycle is 'twice'"),
        ({"view": "4CH", "population": "mars"}, "population is 'mars'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate_clip(0, 1, **arguments)


# ---- speckle -------------------------------------------------------------------------------------------------------


def homogeneous_envelope(seed: int) -> np.ndarray:
    """One look at scatterers without a heart, no log, no gain, (ranges, beams)."""
    view = sample_view(np.random.default_rng(seed), heart_of(seed, 1), "4CH")
    grid, rng = polar_grid(view, 256), np.random.default_rng(seed)
    x_mm, z_mm = sample_scatterers(rng, grid)
    field = sum_echoes(grid, x_mm, z_mm, rng.standard_normal(len(x_mm)))
    intensity = point_spread(grid, looks=1).intensity(field)
    return np.sqrt(intensity * depth_normalisation(intensity))


@pytest.mark.parametrize("seed", range(2))
def test_homogeneous_speckle_is_nearly_rayleigh(seed):
    envelope = homogeneous_envelope(seed)[90:-20, 10:-10]
    assert 1.75 < envelope.mean() / envelope.std() < 1.95


def test_points_start_where_they_were_attached():
    heart = heart_of(2, 1)
    view = sample_view(np.random.default_rng(0), heart, "4CH")
    rest = section_at(heart, "4CH", 0.0)
    x_mm, z_mm = sample_scatterers(np.random.default_rng(1), polar_grid(view, 96))
    again_x, again_z = attach(view, rest, x_mm, z_mm).positions_mm(rest)
    assert np.hypot(again_x - x_mm, again_z - z_mm).max() < 1e-3


def test_wall_points_stay_in_the_wall():
    heart = heart_of(2, 1)
    view = sample_view(np.random.default_rng(0), heart, "4CH")
    rest, end = section_at(heart, "4CH", 0.0), section_at(heart, "4CH", 1.0)
    x_mm, z_mm = sample_scatterers(np.random.default_rng(1), polar_grid(view, 96))

    def in_wall(section, x, z):
        u_mm, v_mm = view.to_heart(x, z)
        v_mm = v_mm - section.bend_at(u_mm)
        inner, outer = section.endocardial_radius(u_mm, v_mm), section.epicardial_radius(u_mm, v_mm)
        return (inner > 1) & (outer < 1) & (u_mm < 0.95 * section.length_mm)

    chosen = in_wall(rest, x_mm, z_mm)
    moved_x, moved_z = attach(view, rest, x_mm[chosen], z_mm[chosen]).positions_mm(end)
    u_mm, v_mm = view.to_heart(moved_x, moved_z)
    v_mm = v_mm - end.bend_at(u_mm)
    assert end.endocardial_radius(u_mm, v_mm).min() > 0.999
    assert end.epicardial_radius(u_mm, v_mm).max() < 1.001


def block(scan, picture, x_mm, z_mm):
    """Levels within 4 x 4 mm of a point, along and across the beam, nearest sample."""
    offset_mm = np.arange(-4, 4.01, 0.5)
    distance_mm, angle = np.hypot(x_mm, z_mm) + offset_mm[:, None], np.arctan2(x_mm, z_mm)
    angle = angle + offset_mm / np.hypot(x_mm, z_mm)
    row = np.rint(distance_mm / scan.grid.range_step_mm - 0.5).astype(int)
    column = np.rint((angle + scan.grid.half_angle_rad) / scan.grid.angle_step_rad - 0.5).astype(int)
    return picture[row.clip(0, scan.grid.ranges - 1), column.clip(0, scan.grid.beams - 1)].ravel()


@pytest.mark.parametrize("weak", [None, WeakSegment(azimuth_rad=0.0, level=0.5, reach=0.4, bulge=0.35)])
def test_speckle_follows_the_wall(weak):
    """Block matching from one frame to another finds the wall where it truly went."""
    errors_mm, still_mm = [], []
    for seed in range(2):
        heart = dataclasses.replace(heart_of(seed, 1), ef_percent=60.0, shortening=0.17, weak=weak)
        view = sample_view(np.random.default_rng(seed), heart, "4CH")
        rest, later = section_at(heart, "4CH", 0.0), section_at(heart, "4CH", 0.45)
        scan = prepare_scan(np.random.default_rng(seed), view, rest, "Good", 256)
        first, second = (scan_frame(scan, s, k, np.random.default_rng(k)) for k, s in enumerate((rest, later)))
        level = np.linspace(0.7, 1.9, 10)
        angle = np.concatenate([level, -level])
        u_mm = rest.widest_mm - (rest.widest_mm + 0.5 * rest.apical_wall_mm) * np.cos(angle)
        v_mm = (rest.radius_mm + 0.5 * rest.wall_mm) * np.sin(angle) + rest.bend_at(u_mm)
        x_mm, z_mm = view.to_probe(u_mm, v_mm)
        moved_x, moved_z = attach(view, rest, x_mm, z_mm).positions_mm(later)
        shift = np.arange(-6, 6.01, 0.5)
        for x, z, to_x, to_z in zip(x_mm, z_mm, moved_x, moved_z, strict=True):
            if abs(math.atan2(x, z)) > 0.9 * view.half_angle_rad or z < 45:
                continue  # at the edge of the sector, or in the clutter near the probe
            before = block(scan, first, x, z)
            likeness = [
                (np.corrcoef(before, block(scan, second, x + dx, z + dz))[0, 1], dx, dz) for dx in shift for dz in shift
            ]
            _, dx, dz = max(likeness)
            errors_mm.append(math.hypot(x + dx - to_x, z + dz - to_z))
            still_mm.append(math.hypot(x - to_x, z - to_z))
    assert len(errors_mm) > 20 and np.median(still_mm) > 1.5
    assert np.median(errors_mm) < 0.5 * np.median(still_mm)
