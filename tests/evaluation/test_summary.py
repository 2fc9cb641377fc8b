"""Summaries of a small cohort of drawn hearts."""

import dataclasses
import json

import numpy as np
import pytest

from echoforge_jax.evaluation.protocols import FULL, SEMI
from echoforge_jax.evaluation.scores import Case, score_clip, score_ejection_fraction
from echoforge_jax.evaluation.summary import summarise
from tests.helpers.hearts import cohort, make_clip, perfect
from tests.helpers.reports import scores


def test_summary_of_a_cohort():
    cases = cohort()
    frame_rows = [row for case in cases for row in score_clip(case, [0, 2])]
    ef_rows = score_ejection_fraction(cases)
    summary = summarise(frame_rows, ef_rows, protocol=SEMI, split="test", seed=0)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary == summarise(frame_rows, ef_rows, protocol=SEMI, split="test", seed=0)
    assert (summary["n_patients"], summary["n_clips"], summary["n_frames"]) == (4, 8, 16)
    dice = summary["dice_percent"]
    assert dice["mean"] == pytest.approx(100 * np.mean([row.dice for row in frame_rows]))
    assert dice["sd"] == pytest.approx(100 * np.std([row.dice for row in frame_rows], ddof=1))
    assert dice["ci95"] is None and dice["withheld"] == {"ci95": "of 4 alone; shown from 5 on"}
    assert (dice["n_frames"], dice["n_patients"]) == (16, 4)
    assert list(summary["by_phase"]) == ["ED", "ES"] and list(summary["by_view"]) == ["2CH", "4CH"]
    assert list(summary["by_quality"]) == ["Good", "Medium", "unknown"]
    hd95 = summary["distances"]["mm"]["hd95"]
    assert hd95["mean"] == pytest.approx(np.mean([row.distances.hd95 for row in frame_rows])) and hd95["n"] == 16
    assert summary["distances"]["px"]["hd95"] == pytest.approx(
        {"mean": None, "ci95": None, "sd": None, "n": 0, "n_undefined": 0, "n_patients": 0}
    )
    ef = summary["ejection_fraction"]["biplane_discs"]
    assert (ef["n"], ef["n_patients"], ef["failures"]) == (4, 4, {})
    assert abs(ef["agreement"]["bias"]) < 1
    assert ef["detection"]["ef_below_50"]["n_positive"] + ef["detection"]["ef_below_50"]["n_negative"] == 4


def test_failures_are_counted():
    cases = [Case(clip, perfect(clip)) for clip in (make_clip(f"patient{i:04d}", radius=20.0 + i) for i in range(4))]
    cases[1].prediction[2] = 0
    cases[2] = cases[2]._replace(clip=dataclasses.replace(cases[2].clip, es_index=None))
    summary = summarise([], score_ejection_fraction(cases), protocol=SEMI, split="test")["ejection_fraction"]
    single = summary["single_plane_discs"]
    assert (single["n"], single["n_patients"]) == (2, 4) and single["agreement"]["bias"] == 0
    assert single["failures"] == {
        "prediction: the mask is empty": 1,
        "reference: ED or ES is not known; prediction: ED or ES is not known": 1,
    }
    assert summary["biplane_discs"]["agreement"] is None and summary["biplane_discs"]["n"] == 0
    assert summary["biplane_discs"]["not_applicable"] == {"needs 4CH and 2CH": 4}


def test_units_are_never_mixed_and_undefined_is_counted():
    known, unknown = make_clip("patient0001"), make_clip("patient0002", spacing_mm=None)
    gone = perfect(unknown)
    gone[0] = 0
    rows = score_clip(Case(known, perfect(known)), [0, 2]) + score_clip(Case(unknown, gone), [0, 2])
    summary = summarise(rows, [], protocol=SEMI, split="test")
    assert summary["distances"]["mm"]["hd"]["n"] == 2 and summary["distances"]["mm"]["hd"]["n_undefined"] == 0
    assert summary["distances"]["px"]["hd"]["n"] == 1 and summary["distances"]["px"]["hd"]["n_undefined"] == 1
    assert summary["dice_percent"]["mean"] == pytest.approx(75.0)
    assert summary["empty"] == {"n_frames": 4, "n_empty_prediction": 1, "n_empty_reference": 0}


def test_no_rows_give_no_numbers():
    summary = summarise([], [], protocol=FULL, split="test")
    assert summary["n_frames"] == 0 and summary["dice_percent"]["mean"] is None and summary["by_phase"] == {}
    json.dumps(summary, allow_nan=False)


def test_the_semi_protocol_refuses_frames_in_between():
    clip = make_clip()
    rows = score_clip(Case(clip, perfect(clip)), [0, 1, 2])
    assert summarise(rows, [], protocol=FULL, split="test")["n_frames"] == 3
    with pytest.raises(ValueError, match="ED and ES"):
        summarise(rows, [], protocol=SEMI, split="test")


@pytest.mark.parametrize(("patients", "hidden"), [(2, True), (9, True), (10, False)])
def test_a_number_of_too_few_patients_is_null_with_its_reason(patients, hidden):
    """Two points always correlate perfectly: nobody should read that."""
    drawn = scores(n=patients + (patients > 3))  # one of them cannot be measured from the fourth on
    ef = drawn.summary["ejection_fraction"]["biplane_discs"]
    assert (ef["n"], ef["n_patients"]) == (patients, patients + (patients > 3))
    for name in ("pearson_r", "ccc", "loa_low", "loa_high"):
        assert (ef["agreement"][name] is None) == hidden, name
        assert (ef["agreement_ci95"][name] is None) == hidden, name
        assert (name in ef["agreement"].get("withheld", {})) == hidden
    assert ef["agreement"]["bias"] is not None and ef["agreement"]["mae"] is not None
    assert (ef["agreement"]["sd"] is None) == (ef["agreement_ci95"]["bias"] is None) == (patients < 5)
    assert (ef["agreement_with_stated_ef"]["pearson_r"] is None) == hidden
    for found in ef["detection"].values():
        for share, count in (("sensitivity", "n_positive"), ("specificity", "n_negative")):
            assert (found[share] is None) == (found[count] < 5)
    dice = drawn.summary["dice_percent"]
    assert dice["mean"] is not None and (dice["ci95"] is None) == (dice["n_patients"] < 5)
