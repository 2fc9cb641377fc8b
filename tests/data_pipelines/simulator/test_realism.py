"""Statistics of frames: pictures with known answers, the verdict, the command, and real frames where there are some."""

from __future__ import annotations

import csv
import json
import math

import cv2
import numpy as np
import pytest

from data_pipelines.records import ATRIUM, ENDOCARDIUM, MYOCARDIUM, Clip, UnreadableRecord
from data_pipelines.simulator import realism
from data_pipelines.simulator.clip import simulate_clip
from data_pipelines.simulator.cohort import write_cohort
from data_pipelines.simulator.frame_statistics import frames_of, half_width, statistics_of
from data_pipelines.simulator.realism import MAIN, Measured, compare, table

SIZE, SPACING_MM = 480, 0.3
HALF_ANGLE = math.radians(37)
LEVELS = OUTSIDE, CAVITY, WALL, ATRIAL = 90, 50, 120, 70  # grey of the labels 0..3


def fan_clip(
    semi_mm=(35.0, 20.0), lean_deg=0.0, noise=0.0, cell_mm=1.0, spacing=True, right_wall=WALL, levels=LEVELS
) -> Clip:
    """A sector with an elliptic ventricle in a 9 mm wall, and an atrium; `right_wall` is the grey right of the axis."""
    rng, shape = np.random.default_rng(0), (SIZE, SIZE + 120)
    z, x = (np.indices(shape) + 0.5) * SPACING_MM
    x = x - shape[1] * SPACING_MM / 2
    sector = (np.hypot(x, z) < 0.99 * SIZE * SPACING_MM) & (np.abs(np.arctan2(x, z)) < HALF_ANGLE)
    lean = math.radians(lean_deg)
    down, across = z - 65, x
    along, side = math.cos(lean) * down + math.sin(lean) * across, math.cos(lean) * across - math.sin(lean) * down
    radius = lambda extra: np.hypot(along / (semi_mm[0] + extra), side / (semi_mm[1] + extra))
    mask = np.zeros(shape, np.uint8)
    mask[radius(9) < 1] = MYOCARDIUM
    mask[(np.hypot(x, z - 120) < 15) & (mask == 0)] = ATRIUM
    mask[radius(0) < 1] = ENDOCARDIUM
    grey = np.array(levels, np.float64)[mask]
    grey[(mask == MYOCARDIUM) & (side > 0)] += right_wall - WALL
    if noise:
        blurred = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), cell_mm / SPACING_MM)
        grey = grey + noise * blurred / blurred.std()
    frame = np.where(sector, np.clip(np.rint(grey), 3, 255), 0).astype(np.uint8)
    return Clip(
        frames=np.stack([frame, frame]),
        label_map=np.stack([mask * sector] * 2),
        has_reference=np.ones(2, bool),
        ed_index=0,
        es_index=1,
        spacing_mm=(SPACING_MM, SPACING_MM) if spacing else None,
        fps=None,
        patient_id="patient0001",
        view="4CH",
        quality="Good",
    )


def measured(clip: Clip) -> dict[str, float]:
    return statistics_of(frames_of(clip)[0])


def test_grey_levels_and_contrast_are_those_of_the_picture():
    found = measured(fan_clip())
    assert found["cavity mean"] == pytest.approx(CAVITY, abs=1)
    assert found["wall mean"] == pytest.approx(WALL, abs=2)
    assert found["atrium mean"] == pytest.approx(ATRIAL, abs=2)
    assert found["wall - cavity"] == pytest.approx(WALL - CAVITY, abs=4)
    assert found["sector p50"] == pytest.approx(OUTSIDE) and found["sector p99"] == pytest.approx(WALL)
    assert found["local std cavity"] < 4  # its border alone


def test_the_sector_is_found_with_its_angle_and_apex():
    found = measured(fan_clip())
    assert found["sector angle deg"] == pytest.approx(math.degrees(2 * HALF_ANGLE), abs=1)
    assert found["sector apex x %"] == pytest.approx(50, abs=0.5)
    assert found["sector apex y %"] == pytest.approx(0, abs=1)


@pytest.mark.parametrize(("semi_mm", "lean_deg"), [((35.0, 20.0), 0.0), ((30.0, 24.0), 12.0)])
def test_shape_of_a_known_ellipse(semi_mm, lean_deg):
    found = measured(fan_clip(semi_mm, lean_deg))
    assert found["LV eccentricity"] == pytest.approx(math.sqrt(1 - (semi_mm[1] / semi_mm[0]) ** 2), abs=0.01)
    assert found["LV area mm2"] == pytest.approx(math.pi * semi_mm[0] * semi_mm[1], rel=0.01)
    assert found["LV lean deg"] == pytest.approx(lean_deg, abs=1)
    assert found["LV centre y %"] == pytest.approx(100 * 65 / (0.99 * SIZE * SPACING_MM), abs=1)


def test_border_step_and_share_without_an_edge():
    clear, half = measured(fan_clip()), measured(fan_clip(right_wall=CAVITY + 4))
    assert clear["border step"] == pytest.approx(WALL - CAVITY, abs=6)
    assert clear["border without edge"] == 0
    assert half["border step septal"] == pytest.approx(WALL - CAVITY, abs=6)
    assert half["border step lateral"] == pytest.approx(4, abs=4)
    assert 0.35 < half["border without edge"] < 0.6


@pytest.mark.parametrize(("axis", "sigma"), [(0, 2.0), (1, 4.0)])
def test_half_width_of_a_gaussian_autocorrelation(axis, sigma):
    noise = np.random.default_rng(1).standard_normal((600, 600)).astype(np.float32)
    sigmas = (sigma, 1.0) if axis == 0 else (1.0, sigma)
    noise = cv2.GaussianBlur(noise, (0, 0), sigmaX=sigmas[1], sigmaY=sigmas[0])
    region = np.ones(noise.shape, bool)
    region[:100, :300] = False
    assert half_width(noise, region, axis) == pytest.approx(2.355 * math.sqrt(2) * sigma, rel=0.1)


def test_speckle_cell_in_millimetres():
    found = measured(fan_clip(noise=15, cell_mm=1.0, levels=(90, 90, 90, 90)))
    for direction in ("axial", "lateral"):
        assert found[f"speckle {direction} middle"] == pytest.approx(2.355 * math.sqrt(2), rel=0.2)
    assert found["residual skew"] == pytest.approx(0, abs=0.3)


def test_without_spacing_nothing_in_millimetres_is_said():
    found = measured(fan_clip(spacing=False))
    assert "cavity mean" in found and "LV centre x %" in found
    assert not {"LV area mm2", "border step", "speckle axial wall", "sector angle deg"} & set(found)


def test_black_picture_is_refused():
    clip = fan_clip()
    clip.frames[:] = 0
    with pytest.raises(UnreadableRecord, match="black picture"):
        frames_of(clip)


def test_verdict_coverage_and_views():
    frame = lambda view, **values: Measured("r", view, None, "ED", values)
    real = [frame("4CH", a=float(k), b=float(k)) for k in range(101)]
    simulated = [frame("4CH", a=50.0 + k, b=200.0) for k in range(-30, 31)] + [frame("2CH", a=900.0)] * 99
    rows = {row.name: row for row in compare(real, simulated)}
    assert rows["a"].inside and rows["a"].views == "4CH" and not rows["b"].inside
    assert rows["a"].simulated == pytest.approx((26, 35, 50, 65, 74)) and rows["a"].covered == pytest.approx(49 / 101)
    assert "| b | 4CH | 50 (25..75) | 200 | NO |" in table(list(rows.values()))
    assert "1 of 2 medians lie inside" in table(list(rows.values()))


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    folders = [tmp_path_factory.mktemp("realism") / name for name in ("one", "other")]
    for seed, folder in enumerate(folders):
        write_cohort(folder, patients=3, seed=seed, frames=2, size=96)
    return folders


def test_command_of_a_tree_with_itself_finds_all_inside(trees, tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--real", str(trees[0]), "--simulated", str(trees[0]), "--by-quality", str(trees[0]), "--out", str(out)]
    assert realism.main(flags) == 0
    printed = capsys.readouterr()
    assert "| wall - cavity |" in printed.out and "### Good" in printed.out and "all" in printed.err
    rows = json.loads((out / "realism.json").read_text())["rows"]
    assert {row["name"] for row in rows} >= set(MAIN) and all(row["inside"] for row in rows)
    with (out / "frames.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * 12
    assert "do not commit" in (out / "sheet_NOTICE.txt").read_text()
    picture = cv2.imread(str(out / "sheet.png"), cv2.IMREAD_GRAYSCALE)
    assert picture is not None and picture.std() > 10


def test_command_writes_nothing_unasked_and_reports_what_lies_outside(trees, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert realism.main(["--real", str(trees[0]), "--simulated", str(trees[1]), "--most", "2"]) == 1
    assert "NO" in capsys.readouterr().out and not list(tmp_path.iterdir())


@pytest.mark.parametrize("flags", [["--real", "nowhere"], ["--real", ".", "--patients", "0"]])
def test_command_refuses(flags, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert realism.main(flags) == 2
    assert capsys.readouterr().err


def test_simulated_frames_are_like_real_ones(real_data):
    real = realism.measure(realism.read_clips(real_data / "camus_ed_es", 25))
    simulated = realism.measure(simulate_clip(0, patient, "4CH", frames=2) for patient in range(16))
    main = [
        row for row in compare([frame for frame in real if frame.view == "4CH"], list(simulated)) if row.name in MAIN
    ]
    assert len(main) == len(MAIN)
    outside = [row.name for row in main if not row.inside]
    assert len(outside) <= 5, outside  # so few patients leave some medians beside a quartile
    assert np.mean([row.covered for row in main]) > 0.65
