"""Realism: statistics of pictures with known answers, the comparison, the command, and real frames."""

from __future__ import annotations

import csv
import dataclasses
import json
import math

import cv2
import numpy as np
import pytest

from data_pipelines.records import ATRIUM, ENDOCARDIUM, MYOCARDIUM, Clip, UnreadableRecord
from data_pipelines.simulator.clip import ClipSettings
from data_pipelines.simulator.cohort import Cohort, write_cohort
from data_pipelines.simulator.patient import Patient
from data_pipelines.simulator.realism.__main__ import main, read_clips
from data_pipelines.simulator.realism.comparison import MAIN_STATISTICS, MeasuredFrame, as_table, compare, measure
from data_pipelines.simulator.realism.frame_statistics import frame_statistics
from data_pipelines.simulator.realism.frames import ed_es_frames
from data_pipelines.simulator.realism.texture import autocorrelation_width
from tests.helpers.simulated import simulated_clip

SIZE, SPACING_MM = 480, 0.3
HALF_ANGLE = math.radians(37)
LEVELS = OUTSIDE, CAVITY, WALL, ATRIAL = 90, 50, 120, 70  # grey levels of the labels 0..3


@dataclasses.dataclass(frozen=True)
class Phantom:
    """A sector with an elliptic ventricle in a 9 mm wall, and an atrium.

    Attributes:
        semi_mm: half length and half width of the ventricle.
        lean_deg: how far its axis leans.
        noise: standard deviation of the noise, in grey levels.
        cell_mm: how wide the noise is blurred.
        has_spacing: whether the clip states its pixel spacing.
        right_wall: grey level of the wall right of the axis.
        levels: grey levels of the labels 0..3.
    """

    semi_mm: tuple[float, float] = (35.0, 20.0)
    lean_deg: float = 0.0
    noise: float = 0.0
    cell_mm: float = 1.0
    has_spacing: bool = True
    right_wall: int = WALL
    levels: tuple[int, int, int, int] = LEVELS


def phantom_clip(phantom: Phantom) -> Clip:
    """The phantom in two equal frames."""
    rng, shape = np.random.default_rng(0), (SIZE, SIZE + 120)
    z, x = (np.indices(shape) + 0.5) * SPACING_MM
    x = x - shape[1] * SPACING_MM / 2
    sector = (np.hypot(x, z) < 0.99 * SIZE * SPACING_MM) & (np.abs(np.arctan2(x, z)) < HALF_ANGLE)
    lean = math.radians(phantom.lean_deg)
    down, across = z - 65, x
    along, side = math.cos(lean) * down + math.sin(lean) * across, math.cos(lean) * across - math.sin(lean) * down

    def ellipse(margin_mm: float) -> np.ndarray:
        half_length, half_width = phantom.semi_mm
        return np.hypot(along / (half_length + margin_mm), side / (half_width + margin_mm)) < 1

    labels = np.zeros(shape, np.uint8)
    labels[ellipse(9)] = MYOCARDIUM
    labels[(np.hypot(x, z - 120) < 15) & (labels == 0)] = ATRIUM
    labels[ellipse(0)] = ENDOCARDIUM
    grey = np.array(phantom.levels, np.float64)[labels]
    grey[(labels == MYOCARDIUM) & (side > 0)] += phantom.right_wall - WALL
    if phantom.noise:
        blurred = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), phantom.cell_mm / SPACING_MM)
        grey = grey + phantom.noise * blurred / blurred.std()
    frame = np.where(sector, np.clip(np.rint(grey), 3, 255), 0).astype(np.uint8)
    return Clip(
        frames=np.stack([frame, frame]),
        label_map=np.stack([labels * sector] * 2),
        has_reference=np.ones(2, bool),
        ed_index=0,
        es_index=1,
        spacing_mm=(SPACING_MM, SPACING_MM) if phantom.has_spacing else None,
        fps=None,
        patient_id="patient0001",
        view="4CH",
        quality="Good",
    )


def phantom_statistics(**changes) -> dict[str, float]:
    return frame_statistics(ed_es_frames(phantom_clip(Phantom(**changes)))[0])


def test_grey_levels_and_contrast_are_those_of_the_picture():
    statistics = phantom_statistics()
    assert statistics["cavity mean"] == pytest.approx(CAVITY, abs=1)
    assert statistics["wall mean"] == pytest.approx(WALL, abs=2)
    assert statistics["atrium mean"] == pytest.approx(ATRIAL, abs=2)
    assert statistics["wall - cavity"] == pytest.approx(WALL - CAVITY, abs=4)
    assert statistics["sector p50"] == pytest.approx(OUTSIDE) and statistics["sector p99"] == pytest.approx(WALL)
    assert statistics["local std cavity"] < 4  # its border alone


def test_sector_has_the_angle_and_the_apex_of_the_picture():
    statistics = phantom_statistics()
    assert statistics["sector angle deg"] == pytest.approx(math.degrees(2 * HALF_ANGLE), abs=1)
    assert statistics["sector apex x %"] == pytest.approx(50, abs=0.5)
    assert statistics["sector apex y %"] == pytest.approx(0, abs=1)


@pytest.mark.parametrize(("semi_mm", "lean_deg"), [((35.0, 20.0), 0.0), ((30.0, 24.0), 12.0)])
def test_ventricle_has_the_shape_of_the_ellipse_in_the_picture(semi_mm, lean_deg):
    statistics = phantom_statistics(semi_mm=semi_mm, lean_deg=lean_deg)
    assert statistics["LV eccentricity"] == pytest.approx(math.sqrt(1 - (semi_mm[1] / semi_mm[0]) ** 2), abs=0.01)
    assert statistics["LV area mm2"] == pytest.approx(math.pi * semi_mm[0] * semi_mm[1], rel=0.01)
    assert statistics["LV lean deg"] == pytest.approx(lean_deg, abs=1)
    assert statistics["LV centre y %"] == pytest.approx(100 * 65 / (0.99 * SIZE * SPACING_MM), abs=1)


def test_border_steps_are_those_of_the_picture_on_each_side():
    clear, half = phantom_statistics(), phantom_statistics(right_wall=CAVITY + 4)
    assert clear["border step"] == pytest.approx(WALL - CAVITY, abs=6)
    assert clear["border without edge"] == 0
    assert half["border step septal"] == pytest.approx(WALL - CAVITY, abs=6)
    assert half["border step lateral"] == pytest.approx(4, abs=4)
    assert 0.35 < half["border without edge"] < 0.6


@pytest.mark.parametrize(("axis", "sigma"), [(0, 2.0), (1, 4.0)])
def test_autocorrelation_of_a_gaussian_has_its_width(axis, sigma):
    noise = np.random.default_rng(1).standard_normal((600, 600)).astype(np.float32)
    sigmas = (sigma, 1.0) if axis == 0 else (1.0, sigma)
    noise = cv2.GaussianBlur(noise, (0, 0), sigmaX=sigmas[1], sigmaY=sigmas[0])
    region = np.ones(noise.shape, bool)
    region[:100, :300] = False
    assert autocorrelation_width(noise, region, axis=axis) == pytest.approx(2.355 * math.sqrt(2) * sigma, rel=0.1)


def test_speckle_size_is_measured_in_millimetres():
    statistics = phantom_statistics(noise=15, cell_mm=1.0, levels=(90, 90, 90, 90))
    for direction in ("axial", "lateral"):
        assert statistics[f"speckle {direction} middle"] == pytest.approx(2.355 * math.sqrt(2), rel=0.2)
    assert statistics["residual skew"] == pytest.approx(0, abs=0.3)


def test_without_pixel_spacing_statistics_in_millimetres_are_left_out():
    statistics = phantom_statistics(has_spacing=False)
    assert "cavity mean" in statistics and "LV centre x %" in statistics
    assert not {"LV area mm2", "border step", "speckle axial wall", "sector angle deg"} & set(statistics)


def test_black_picture_is_refused():
    clip = phantom_clip(Phantom())
    clip.frames[:] = 0
    with pytest.raises(UnreadableRecord, match="black picture"):
        ed_es_frames(clip)


def test_comparison_tells_which_medians_lie_inside_over_the_views_of_real_frames():
    def frame(view: str, **statistics: float) -> MeasuredFrame:
        return MeasuredFrame("record", view, None, "ED", statistics)

    real = [frame("4CH", a=float(k), b=float(k)) for k in range(101)]
    simulated = [frame("4CH", a=50.0 + k, b=200.0) for k in range(-30, 31)] + [frame("2CH", a=900.0)] * 99
    rows = {row.name: row for row in compare(real, simulated)}
    assert rows["a"].inside and rows["a"].views == "4CH" and not rows["b"].inside
    assert rows["a"].simulated == pytest.approx((26, 35, 50, 65, 74)) and rows["a"].covered == pytest.approx(49 / 101)
    table = as_table(list(rows.values()))
    assert "| b | 4CH | 50 (25..75) | 200 | NO |" in table
    assert "1 of 2 medians lie inside" in table


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    folders = [tmp_path_factory.mktemp("realism") / name for name in ("one", "other")]
    for seed, folder in enumerate(folders):
        write_cohort(folder, Cohort(patients=3, seed=seed, frames=2, size=96))
    return folders


def test_a_tree_compared_with_itself_has_all_medians_inside(trees, tmp_path, capsys):
    out = tmp_path / "out"
    flags = ["--real", str(trees[0]), "--simulated", str(trees[0]), "--by-quality", str(trees[0]), "--out", str(out)]
    assert main(flags) == 0
    printed = capsys.readouterr()
    assert "| wall - cavity |" in printed.out and "### Good" in printed.out and "all" in printed.err
    rows = json.loads((out / "realism.json").read_text())["rows"]
    assert {row["name"] for row in rows} >= set(MAIN_STATISTICS) and all(row["inside"] for row in rows)
    with (out / "frames.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * 12
    assert "do not commit" in (out / "sheet_NOTICE.txt").read_text()
    picture = cv2.imread(str(out / "sheet.png"), cv2.IMREAD_GRAYSCALE)
    assert picture is not None and picture.std() > 10


def test_command_reports_medians_outside_and_writes_no_file_without_out(trees, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--real", str(trees[0]), "--simulated", str(trees[1]), "--most", "2"]) == 1
    assert "NO" in capsys.readouterr().out and not list(tmp_path.iterdir())


@pytest.mark.parametrize("flags", [["--real", "nowhere"], ["--real", ".", "--patients", "0"]])
def test_command_refuses_a_missing_tree_and_no_patients(flags, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    assert capsys.readouterr().err


def test_simulated_frames_are_like_real_ones(real_data):
    real = [frame for frame in measure(read_clips(real_data / "camus_ed_es", 25)) if frame.view == "4CH"]
    clips = [simulated_clip(Patient(0, number), "4CH", ClipSettings(frames=2)) for number in range(16)]
    rows = [row for row in compare(real, list(measure(clips))) if row.name in MAIN_STATISTICS]
    assert len(rows) == len(MAIN_STATISTICS)
    outside = [row.name for row in rows if not row.inside]
    assert len(outside) <= 5, outside  # with so few patients some medians lie just outside a quartile
    assert np.mean([row.covered for row in rows]) > 0.65
