"""The simulator: volumes against thin discs, incompressible wall, labels in their places, speckle, cohorts."""

from __future__ import annotations

import csv
import dataclasses
import functools
import math

import numpy as np
import pytest

from data_pipelines.formats import camus
from data_pipelines.records import ATRIUM, BACKGROUND, ENDOCARDIUM, MYOCARDIUM, QUALITIES, VIEWS, Clip
from data_pipelines.simulator import __main__ as command
from data_pipelines.simulator.cohort import (
    STATE_FILE,
    TRUTH_FILE,
    heart_of,
    simulate_clip,
    split_by_number,
    write_cohort,
)
from data_pipelines.simulator.heart import Ventricle, contraction_at, ventricle_at
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

SEEDS = range(12)
PHASES = np.linspace(0, 1, 9)


@functools.cache
def clip_of(seed: int, view: str, quality: str | None = None) -> Clip:
    return simulate_clip(seed, 1, view, frames=4, size=96, quality=quality)


def disc_sum_ml(ventricle: Ventricle, margin_mm: float = 0.0, apical_margin_mm: float = 0.0) -> float:
    """Volume of the outline moved out by the margins, from thin discs between its apex and the mitral plane."""
    discs = 4000
    apex_mm = ventricle.widest_mm + apical_margin_mm
    height_mm = apex_mm + ventricle.base_mm
    level = (-apex_mm + (np.arange(discs) + 0.5) * height_mm / discs) / apex_mm
    radius_a = (ventricle.radius_4ch_mm + margin_mm) * np.sqrt(1 - level**2)
    radius_b = (ventricle.radius_2ch_mm + margin_mm) * np.sqrt(1 - level**2)
    return float(np.sum(math.pi * radius_a * radius_b) * height_mm / discs / 1000)


# ---- geometry ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_analytic_volume_is_the_sum_of_thin_discs(seed):
    heart = heart_of(seed, 1)
    for phase in PHASES:
        ventricle = ventricle_at(heart, float(phase))
        assert ventricle.volume_ml == pytest.approx(disc_sum_ml(ventricle), rel=0.005)


@pytest.mark.parametrize("seed", SEEDS)
def test_wall_volume_is_conserved(seed):
    heart = heart_of(seed, 1)
    rest_ml = ventricle_at(heart, 0.0).wall_volume_ml
    for phase in PHASES:
        ventricle = ventricle_at(heart, float(phase))
        outer_ml = disc_sum_ml(ventricle, ventricle.wall_mm, section_at(heart, "4CH", float(phase)).apical_wall_mm)
        assert outer_ml - disc_sum_ml(ventricle) == pytest.approx(rest_ml, rel=0.005)
    assert ventricle_at(heart, 1.0).wall_mm > heart.wall_mm


@pytest.mark.parametrize("seed", SEEDS)
def test_ejection_fraction_is_that_of_the_volumes(seed):
    heart = heart_of(seed, 1)
    edv_ml, esv_ml = ventricle_at(heart, 0.0).volume_ml, ventricle_at(heart, 1.0).volume_ml
    assert edv_ml == pytest.approx(heart.edv_ml)
    assert esv_ml == pytest.approx(heart.esv_ml)
    assert 100 * (edv_ml - esv_ml) / edv_ml == pytest.approx(heart.ef_percent)


def test_ejection_is_complete_and_never_turns_back():
    contraction = [contraction_at(float(phase)) for phase in np.linspace(0, 1, 101)]
    assert contraction[0] == 0 and contraction[-1] == 1
    assert np.all(np.diff(contraction) >= 0)


def test_population_is_like_camus():
    hearts = [heart_of(0, patient) for patient in range(400)]
    ef_percent = np.array([heart.ef_percent for heart in hearts])
    edv_ml = np.array([heart.edv_ml for heart in hearts])
    assert np.mean(ef_percent <= 45) == pytest.approx(0.49, abs=0.08)
    assert np.mean(ef_percent > 55) == pytest.approx(0.19, abs=0.07)
    assert 80 < np.median(edv_ml) < 130
    assert ef_percent.min() >= 14 and ef_percent.max() <= 72


@pytest.mark.parametrize("view", VIEWS)
def test_the_ventricle_lies_inside_the_sector(view):
    for seed in range(60):
        heart = heart_of(seed, 2)
        placement = sample_view(np.random.default_rng(seed), heart, view)
        section = section_at(heart, view, 0.0)
        angle = np.linspace(-math.pi, math.pi, 200)
        u_mm = np.minimum(section.widest_mm * (1 - np.cos(angle)), section.length_mm)
        v_mm = section.radius_mm * np.sin(angle) + section.bend_at(u_mm)
        x_mm, z_mm = placement.to_probe(u_mm, v_mm)
        assert np.abs(np.arctan2(x_mm, z_mm)).max() < placement.half_angle_rad
        assert np.hypot(x_mm, z_mm).max() < placement.depth_mm


# ---- clips ---------------------------------------------------------------------------------------------------------


def test_same_arguments_same_bytes():
    again = simulate_clip(3, 1, "4CH", frames=4, size=96)
    first = clip_of(3, "4CH")
    assert np.array_equal(first.frames, again.frames) and np.array_equal(first.masks, again.masks)
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
    assert np.array_equal(good.masks, poor.masks)
    contrast = [
        np.median(clip.frames[clip.masks == MYOCARDIUM]) - np.median(clip.frames[clip.masks == ENDOCARDIUM])
        for clip in (good, poor)
    ]
    assert contrast[0] > contrast[1] + 10


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("seed", range(4))
def test_labels_match_the_anatomy(seed, view):
    clip = clip_of(seed, view)
    assert (clip.ed_index, clip.es_index) == (0, 3) and clip.labelled.all()
    assert (clip.masks[0] == ENDOCARDIUM).sum() > (clip.masks[-1] == ENDOCARDIUM).sum()
    for mask in clip.masks:
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
    mask_mm2 = (clip.masks[0] == ENDOCARDIUM).sum() * clip.spacing_mm[0] * clip.spacing_mm[1]
    assert mask_mm2 == pytest.approx(outline_mm2, rel=0.03)


def test_picture_is_dark_outside_the_sector_and_varied_inside():
    clip = clip_of(1, "2CH")
    assert clip.frames[:, 0, 0].max() == 0 and clip.frames[:, -1, -1].max() == 0
    assert 8 < clip.frames[clip.masks > 0].std() < 70


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"view": "3CH"}, "view is '3CH'"),
        ({"view": "4CH", "quality": "good"}, "quality is 'good'"),
        ({"view": "4CH", "frames": 1}, "frames is 1"),
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


def test_speckle_follows_the_wall():
    """Around wall points, a later frame is more like the first where the tissue went than in the old place."""
    heart = dataclasses.replace(heart_of(2, 1), ef_percent=60.0, shortening=0.17)
    view = sample_view(np.random.default_rng(0), heart, "4CH")
    rest, later = section_at(heart, "4CH", 0.0), section_at(heart, "4CH", 0.42)
    scan = prepare_scan(np.random.default_rng(1), view, rest, "Good", 256)
    first, second = (scan_frame(scan, s, k, np.random.default_rng(k)) for k, s in enumerate((rest, later)))

    def block(picture, x_mm, z_mm):
        """Levels within 4 x 4 mm of a point, along and across the beam, nearest sample."""
        offset_mm = np.arange(-4, 4.01, 0.5)
        distance_mm, angle = np.hypot(x_mm, z_mm) + offset_mm[:, None], np.arctan2(x_mm, z_mm)
        angle = angle + offset_mm / np.hypot(x_mm, z_mm)
        row = np.rint(distance_mm / scan.grid.range_step_mm - 0.5).astype(int)
        column = np.rint((angle + scan.grid.half_angle_rad) / scan.grid.angle_step_rad - 0.5).astype(int)
        return picture[row, column].ravel()

    level = np.linspace(0.45, 1.9, 12)
    angle = np.concatenate([level, -level])
    u_mm = rest.widest_mm - (rest.widest_mm + 0.5 * rest.apical_wall_mm) * np.cos(angle)
    v_mm = (rest.radius_mm + 0.5 * rest.wall_mm) * np.sin(angle) + rest.bend_at(u_mm)
    x_mm, z_mm = view.to_probe(u_mm, v_mm)
    moved_x, moved_z = attach(view, rest, x_mm, z_mm).positions_mm(later)
    assert np.hypot(moved_x - x_mm, moved_z - z_mm).mean() > 2
    correlation = {"moved": [], "unmoved": []}
    for before, after in zip(zip(x_mm, z_mm, strict=True), zip(moved_x, moved_z, strict=True), strict=True):
        correlation["moved"].append(np.corrcoef(block(first, *before), block(second, *after))[0, 1])
        correlation["unmoved"].append(np.corrcoef(block(first, *before), block(second, *before))[0, 1])
    assert np.mean(correlation["moved"]) > np.mean(correlation["unmoved"]) + 0.15


# ---- cohorts -------------------------------------------------------------------------------------------------------

COHORT = {"patients": 3, "seed": 7, "frames": 3, "size": 64}


def bytes_of(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort") / "tree"
    calls = []
    write_cohort(out, **COHORT, progress=lambda finished, patients: calls.append((finished, patients)))
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    return out


def test_cohort_reads_back_as_camus(cohort):
    with (cohort / TRUTH_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["patient"], row["view"]) for row in rows] == [
        (f"patient{number:04d}", view) for number in (1, 2, 3) for view in VIEWS
    ]
    for row in rows:
        edv_ml, esv_ml = float(row["edv_ml"]), float(row["esv_ml"])
        assert 100 * (1 - esv_ml / edv_ml) == pytest.approx(float(row["ef_percent"]), abs=1e-3)
        assert row["quality"] in QUALITIES
    for subgroup, split in (("training", "train"), ("validation", "validation"), ("testing", "test")):
        expected = split_by_number(3)[subgroup]
        assert (cohort / "database_split" / f"subgroup_{subgroup}.txt").read_text().split() == expected
        entries, skipped = camus.index(cohort, split)
        assert {entry.patient_id for entry in entries} == set(expected) and not skipped


def test_written_clip_is_the_simulated_clip(cohort):
    entries, _ = camus.index(cohort, "train")
    entry = next(entry for entry in entries if entry.view == "4CH")
    read = camus.read(entry)
    made = simulate_clip(COHORT["seed"], 1, "4CH", frames=3, size=64)
    assert np.array_equal(read.frames, made.frames) and np.array_equal(read.masks, made.masks)
    assert read.spacing_mm == pytest.approx(made.spacing_mm, rel=1e-5)
    assert (read.quality, read.ed_index, read.es_index) == (made.quality, 0, 2)


def test_complete_cohort_is_left_alone(cohort, capsys):
    before = {path: path.stat().st_mtime_ns for path in cohort.rglob("*")}
    write_cohort(cohort, **COHORT)
    flags = ["--patients", "3", "--seed", "7", "--frames", "3", "--size", "64", "--out", str(cohort)]
    assert command.main(flags) == 0
    assert "already complete" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in cohort.rglob("*")} == before


def test_other_arguments_on_the_same_folder_are_refused(cohort, capsys):
    with pytest.raises(ValueError, match=r"found a cohort made with .* expected .*another folder"):
        write_cohort(cohort, **{**COHORT, "seed": 8})
    assert command.main(["--patients", "4", "--out", str(cohort)]) == 2
    assert "found a cohort made with" in capsys.readouterr().err


def test_foreign_folder_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holiday.jpg.*choose another folder"):
        write_cohort(tmp_path, **COHORT)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_too_few_patients_leave_no_folder(tmp_path):
    with pytest.raises(ValueError, match="patients is 2; expected at least 3"):
        write_cohort(tmp_path / "tree", patients=2, seed=0)
    assert not (tmp_path / "tree").exists()


def test_interrupted_cohort_goes_on_to_the_same_bytes(cohort, tmp_path):
    class Interrupted(Exception):
        pass

    def interrupt(finished: int, patients: int) -> None:
        if finished == 1:
            raise Interrupted

    out = tmp_path / "tree"
    with pytest.raises(Interrupted):
        write_cohort(out, **COHORT, progress=interrupt)
    assert '"complete": false' in (out / STATE_FILE).read_text()
    with (out / TRUTH_FILE).open("a") as file:
        file.write("patient0002,2CH,101.0")  # a line cut short
    first_patient = sorted((out / "patient0001").iterdir())
    written = [path.stat().st_mtime_ns for path in first_patient]
    calls = []
    write_cohort(out, **COHORT, processes=2, progress=lambda finished, patients: calls.append(finished))
    assert calls == [1, 2, 3]
    assert [path.stat().st_mtime_ns for path in first_patient] == written
    assert bytes_of(out) == bytes_of(cohort)


@pytest.mark.parametrize(
    ("patients", "sizes"), [(3, (1, 1, 1)), (10, (7, 1, 2)), (40, (28, 4, 8)), (500, (350, 50, 100))]
)
def test_split_is_seven_to_one_to_two_by_number(patients, sizes):
    split = split_by_number(patients)
    assert tuple(len(split[name]) for name in ("training", "validation", "testing")) == sizes
    everyone = [name for names in split.values() for name in names]
    assert everyone == [f"patient{number:04d}" for number in range(1, patients + 1)]
