"""Rows and summaries of a small cohort of drawn hearts."""

import dataclasses
import json

import numpy as np
import pytest

from data_pipelines.records import Clip
from echoforge_jax.evaluation import evaluator
from echoforge_jax.evaluation.ejection_fraction import ef_percent, measure_discs, single_plane_discs
from echoforge_jax.evaluation.evaluator import score_clip, score_clips, summarise
from echoforge_jax.evaluation.patients import score_ejection_fraction


def heart(radius, length, shape=(96, 80)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    inside = ((columns - 40) / radius) ** 2 + ((rows - 55) / (0.6 * length)) ** 2 <= 1
    return inside & (rows <= 55 + 0.4 * length)


def make_clip(patient_id="patient0001", view="4CH", spacing_mm=(1.0, 1.1), quality="Good", radius=22.0):
    masks = np.zeros((3, 96, 80), np.uint8)
    for t, share in enumerate((1.0, 0.9, 0.8)):
        masks[t] = 2 * heart(radius + 5, 70)
        masks[t][heart(radius * share, 66 * (0.9 + 0.1 * share))] = 1
    return Clip(
        frames=np.zeros_like(masks),
        label_map=masks,
        has_reference=np.ones(3, bool),
        ed_index=0,
        es_index=2,
        spacing_mm=spacing_mm,
        fps=50.0,
        patient_id=patient_id,
        view=view,
        quality=quality,
        ef_percent=41.0,
    )


def perfect(clip):
    return (clip.label_map == 1).astype(np.uint8)


def cohort(spacing_mm=(1.0, 1.1), n=4):
    clips = [
        make_clip(f"patient{i:04d}", view, spacing_mm, ("Good", "Medium", None)[i % 3], 19.0 + i)
        for i in range(n)
        for view in ("2CH", "4CH")
    ]
    predictions = [np.roll(perfect(clip), i % 3, axis=1) for i, clip in enumerate(clips)]
    return list(zip(clips, predictions, strict=True))


def test_rows_of_a_perfect_prediction():
    clip = make_clip()
    rows = score_clip(clip, perfect(clip), [0, 1, 2])
    assert [row["phase"] for row in rows] == ["ED", "between", "ES"]
    for row in rows:
        assert (row["dice"], row["iou"], row["hd"], row["assd"]) == (1.0, 1.0, 0.0, 0.0)
        assert row["unit"] == "mm" and row["view"] == "4CH" and row["quality"] == "Good"
        assert row["empty_prediction"] is False
    json.dumps(rows)


def test_distances_use_the_spacing_or_are_pixels():
    clip = make_clip()
    shifted = np.roll(perfect(clip), 3, axis=2)
    in_mm = score_clip(clip, shifted, [0])[0]
    in_px = score_clip(dataclasses.replace(clip, spacing_mm=None), shifted, [0])[0]
    assert (in_mm["unit"], in_px["unit"]) == ("mm", "px")
    assert in_mm["hd"] == pytest.approx(3.3) and in_px["hd"] == pytest.approx(3.0)


def test_wrong_input_is_refused():
    clip = make_clip()
    with pytest.raises(ValueError, match="0/1"):
        score_clip(clip, clip.label_map, [0])
    with pytest.raises(ValueError, match="prediction is"):
        score_clip(clip, perfect(clip)[:, :-1], [0])
    with pytest.raises(ValueError, match="no reference"):
        score_clip(dataclasses.replace(clip, has_reference=np.array([True, False, True])), perfect(clip), [1])
    with pytest.raises(ValueError, match="no reference"):
        score_clip(clip, perfect(clip), [-1])


def test_ejection_fraction_of_both_methods():
    four, two = make_clip(view="4CH"), make_clip(view="2CH", radius=20.0)
    (row,) = score_ejection_fraction([(four, perfect(four)), (two, perfect(two))])
    for method in ("biplane_discs", "single_plane_discs"):
        assert row[f"{method}_prediction_ef_percent"] == row[f"{method}_reference_ef_percent"]
        assert row[f"{method}_failure"] is None and row[f"{method}_not_applicable"] is None
        assert row[f"{method}_volume_unit"] == "ml"
    expected = ef_percent(*(single_plane_discs(measure_discs(four.label_map[t] == 1, four.spacing_mm)) for t in (0, 2)))
    assert row["single_plane_discs_reference_ef_percent"] == pytest.approx(expected)
    assert row["ef_stated_percent"] == 41.0 and row["views"] == "2CH+4CH"


def test_what_does_not_apply_is_not_a_failure():
    four, two = (make_clip(view=view, spacing_mm=None) for view in ("4CH", "2CH"))
    both, alone, other = (
        score_ejection_fraction([(clip, perfect(clip)) for clip in clips])[0]
        for clips in ((four, two), (four,), (two,))
    )
    assert both["biplane_discs_not_applicable"] == "needs the pixel spacing"
    assert alone["biplane_discs_not_applicable"] == "needs 4CH and 2CH"
    assert other["single_plane_discs_not_applicable"] == "no 4CH view"
    assert both["single_plane_discs_volume_unit"] == "px3_per_1000"
    assert both["single_plane_discs_prediction_ef_percent"] == both["single_plane_discs_reference_ef_percent"] > 0
    assert all(row["biplane_discs_failure"] is None for row in (both, alone, other))


def test_a_failure_is_counted_and_leaves_the_reference_standing():
    cases = [(clip, perfect(clip)) for clip in (make_clip(f"patient{i:04d}", radius=20.0 + i) for i in range(4))]
    cases[1][1][2] = 0
    cases[2] = (dataclasses.replace(cases[2][0], es_index=None), cases[2][1])
    rows = score_ejection_fraction(cases)
    assert rows[1]["single_plane_discs_failure"] == "prediction: the mask is empty"
    assert rows[1]["single_plane_discs_prediction_ef_percent"] is None
    assert rows[1]["single_plane_discs_reference_ef_percent"] is not None
    summary = summarise([], rows, protocol="semi", split="test")["ejection_fraction"]
    single = summary["single_plane_discs"]
    assert single["n"] == 2 and single["agreement"]["bias"] == 0
    assert single["failures"] == {
        "prediction: the mask is empty": 1,
        "reference: ED or ES is not known; prediction: ED or ES is not known": 1,
    }
    assert summary["biplane_discs"]["agreement"] is None and summary["biplane_discs"]["n"] == 0
    assert summary["biplane_discs"]["not_applicable"] == {"needs 4CH and 2CH": 4}


def test_two_clips_of_one_view_are_refused():
    with pytest.raises(ValueError, match="two clips"):
        score_ejection_fraction([(make_clip(), perfect(make_clip()))] * 2)


def test_summary_of_a_cohort():
    cases = cohort()
    frame_rows = [row for clip, prediction in cases for row in score_clip(clip, prediction, [0, 2])]
    ef_rows = score_ejection_fraction(cases)
    summary = summarise(frame_rows, ef_rows, protocol="semi", split="test", seed=0)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary == summarise(frame_rows, ef_rows, protocol="semi", split="test", seed=0)
    assert (summary["n_patients"], summary["n_clips"], summary["n_frames"]) == (4, 8, 16)
    dice = summary["dice_percent"]
    assert dice["mean"] == pytest.approx(100 * np.mean([row["dice"] for row in frame_rows]))
    assert dice["sd"] == pytest.approx(100 * np.std([row["dice"] for row in frame_rows], ddof=1))
    assert dice["ci95"][0] <= dice["mean"] <= dice["ci95"][1]
    assert (dice["n_frames"], dice["n_patients"]) == (16, 4)
    assert list(summary["by_phase"]) == ["ED", "ES"] and list(summary["by_view"]) == ["2CH", "4CH"]
    assert list(summary["by_quality"]) == ["Good", "Medium", "unknown"]
    hd95 = summary["distances"]["mm"]["hd95"]
    assert hd95["mean"] == pytest.approx(np.mean([row["hd95"] for row in frame_rows])) and hd95["n"] == 16
    assert summary["distances"]["px"]["hd95"] == pytest.approx(
        {"mean": None, "ci95": None, "sd": None, "n": 0, "n_undefined": 0, "n_patients": 0}
    )
    ef = summary["ejection_fraction"]["biplane_discs"]
    assert ef["n"] == 4 and ef["failures"] == {} and abs(ef["agreement"]["bias"]) < 1
    assert ef["detection"]["ef_below_50"]["n_positive"] + ef["detection"]["ef_below_50"]["n_negative"] == 4


def test_units_are_never_mixed_and_undefined_is_counted():
    known, unknown = make_clip("patient0001"), make_clip("patient0002", spacing_mm=None)
    gone = perfect(unknown)
    gone[0] = 0
    rows = score_clip(known, perfect(known), [0, 2]) + score_clip(unknown, gone, [0, 2])
    summary = summarise(rows, [], protocol="semi", split="test")
    assert summary["distances"]["mm"]["hd"]["n"] == 2 and summary["distances"]["mm"]["hd"]["n_undefined"] == 0
    assert summary["distances"]["px"]["hd"]["n"] == 1 and summary["distances"]["px"]["hd"]["n_undefined"] == 1
    assert summary["dice_percent"]["mean"] == pytest.approx(75.0)
    assert summary["empty"] == {"n_empty_prediction": 1, "n_empty_reference": 0}


def test_no_rows_give_no_numbers():
    summary = summarise([], [], protocol="full", split="test")
    assert summary["n_frames"] == 0 and summary["dice_percent"]["mean"] is None and summary["by_phase"] == {}
    json.dumps(summary, allow_nan=False)


def test_the_semi_protocol_refuses_frames_in_between():
    clip = make_clip()
    rows = score_clip(clip, perfect(clip), [0, 1, 2])
    assert summarise(rows, [], protocol="full", split="test")["n_frames"] == 3
    with pytest.raises(ValueError, match="ED and ES"):
        summarise(rows, [], protocol="semi", split="test")


def test_processes_do_not_change_a_row(monkeypatch):
    monkeypatch.setattr(evaluator, "WORTH_PROCESSES", 1)
    cases = cohort()
    frames = [[0, 2]] * len(cases)
    assert score_clips(cases, frames, processes=2) == score_clips(cases, frames)
