"""Scores of frames and ejection fractions of drawn hearts."""

import dataclasses
import json

import numpy as np
import pytest

from echoforge_jax.evaluation import scores
from echoforge_jax.evaluation.discs import measure_discs
from echoforge_jax.evaluation.ejection_fraction import (
    BIPLANE_DISCS,
    BIPLANE_DISCS_UNSCALED,
    SINGLE_PLANE_DISCS,
    EjectionFraction,
    Failure,
    ef_percent,
    single_plane_discs,
)
from echoforge_jax.evaluation.scores import Case, score_clip, score_clips, score_ejection_fraction
from tests.helpers.hearts import cohort, make_clip, perfect


def test_rows_of_a_perfect_prediction():
    clip = make_clip()
    rows = score_clip(Case(clip, perfect(clip)), [0, 1, 2])
    assert [row.phase for row in rows] == ["ED", "between", "ES"]
    for row in rows:
        assert (row.dice, row.iou, row.distances.hd, row.distances.assd) == (1.0, 1.0, 0.0, 0.0)
        assert row.unit == "mm" and row.view == "4CH" and row.quality == "Good"
        assert row.empty_prediction is False
    json.dumps([row.columns() for row in rows])


def test_distances_use_the_spacing_or_are_pixels():
    clip = make_clip()
    shifted = np.roll(perfect(clip), 3, axis=2)
    in_mm = score_clip(Case(clip, shifted), [0])[0]
    in_px = score_clip(Case(dataclasses.replace(clip, spacing_mm=None), shifted), [0])[0]
    assert (in_mm.unit, in_px.unit) == ("mm", "px")
    assert in_mm.distances.hd == pytest.approx(3.3) and in_px.distances.hd == pytest.approx(3.0)


def test_wrong_input_is_refused():
    clip = make_clip()
    with pytest.raises(ValueError, match="0/1"):
        score_clip(Case(clip, clip.label_map), [0])
    with pytest.raises(ValueError, match="prediction is"):
        score_clip(Case(clip, perfect(clip)[:, :-1]), [0])
    with pytest.raises(ValueError, match="no reference"):
        partly = dataclasses.replace(clip, has_reference=np.array([True, False, True]))
        score_clip(Case(partly, perfect(clip)), [1])
    with pytest.raises(ValueError, match="no reference"):
        score_clip(Case(clip, perfect(clip)), [-1])


def test_ejection_fraction_of_both_methods():
    four, two = make_clip(view="4CH"), make_clip(view="2CH", radius=20.0)
    (row,) = score_ejection_fraction([Case(four, perfect(four)), Case(two, perfect(two))])
    for method in (BIPLANE_DISCS, SINGLE_PLANE_DISCS):
        result = row.methods[method]
        assert result.prediction == result.reference and isinstance(result.reference, EjectionFraction)
        assert result.failure is None and result.not_applicable is None
        assert result.volume_unit == "ml"
    expected = ef_percent(*(single_plane_discs(measure_discs(four.label_map[t] == 1, four.spacing_mm)) for t in (0, 2)))
    assert row.methods[SINGLE_PLANE_DISCS].reference_percent == pytest.approx(expected)
    assert row.ef_stated_percent == 41.0 and row.views == "2CH+4CH"


def test_what_does_not_apply_is_not_a_failure():
    four, two = (make_clip(view=view, spacing_mm=None) for view in ("4CH", "2CH"))
    both, alone, other = (
        score_ejection_fraction([Case(clip, perfect(clip)) for clip in clips])[0].methods
        for clips in ((four, two), (four,), (two,))
    )
    assert both[BIPLANE_DISCS].not_applicable == "needs the pixel spacing"
    assert alone[BIPLANE_DISCS].not_applicable == "needs 4CH and 2CH"
    assert other[SINGLE_PLANE_DISCS].not_applicable == "no 4CH view"
    unscaled = both[BIPLANE_DISCS_UNSCALED]
    assert unscaled.volume_unit == "share_of_edv" and unscaled.reference.edv == 1
    assert unscaled.prediction_percent == unscaled.reference_percent > 0
    assert alone[BIPLANE_DISCS_UNSCALED].not_applicable == "needs 4CH and 2CH"
    single = both[SINGLE_PLANE_DISCS]
    assert single.volume_unit == "px3_per_1000"
    assert single.prediction_percent == single.reference_percent > 0
    assert all(methods[BIPLANE_DISCS].failure is None for methods in (both, alone, other))


def test_a_failure_has_a_reason_and_leaves_the_reference_standing():
    clip = make_clip()
    empty = perfect(clip)
    empty[2] = 0
    (row,) = score_ejection_fraction([Case(clip, empty)])
    result = row.methods[SINGLE_PLANE_DISCS]
    assert result.prediction == Failure("the mask is empty") and result.prediction_percent is None
    assert result.failure == "prediction: the mask is empty"
    assert result.reference_percent is not None


def test_two_clips_of_one_view_are_refused():
    with pytest.raises(ValueError, match="two clips"):
        score_ejection_fraction([Case(make_clip(), perfect(make_clip()))] * 2)


def test_processes_do_not_change_a_row(monkeypatch):
    monkeypatch.setattr(scores, "WORTH_PROCESSES", 1)
    cases = cohort()
    frames = [[0, 2]] * len(cases)
    assert score_clips(cases, frames, processes=2) == score_clips(cases, frames)
