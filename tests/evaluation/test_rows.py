"""Records become columns and come back; values are grouped by patient."""

import dataclasses

import numpy as np

from data_pipelines.notes import note
from echoforge_jax.evaluation.ejection_fraction import BIPLANE_DISCS_UNSCALED, EF_METHODS, SINGLE_PLANE_DISCS
from echoforge_jax.evaluation.rows import (
    FrameScore,
    PatientEF,
    by_patient,
    dice_percent,
    distance,
    ef_pairs,
    mean_by_patient,
)
from echoforge_jax.evaluation.scores import Case, score_clip, score_ejection_fraction, score_steadiness
from tests.helpers.hearts import cohort, make_clip, perfect


def as_text(columns):
    """The columns as a CSV file holds them."""
    return {name: "" if value is None else str(value) for name, value in columns.items()}


def test_a_frame_read_back_from_its_columns_is_the_same():
    clip = make_clip(quality=None)
    for row in score_clip(Case(clip, np.roll(perfect(clip), 2, axis=1)), [0, 1, 2]):
        columns = row.columns()
        assert list(columns)[:8] == ["patient_id", "view", "phase", "frame", "quality", "dice", "iou", "hd"]
        assert FrameScore.from_columns(as_text(columns)) == row


def test_a_distance_that_an_older_file_does_not_have_is_undefined():
    clip = make_clip()
    (row,) = score_clip(Case(clip, perfect(clip)), [0])
    columns = as_text(row.columns())
    del columns["boundary_f_1"]
    assert np.isnan(FrameScore.from_columns(columns).distances.boundary_f_1)


def test_a_patient_read_back_from_its_columns_is_the_same():
    measured = cohort()[:2]
    empty = [Case(case.clip, np.zeros_like(case.prediction)) for case in measured]
    one_view = [measured[1]]
    for cases in (measured, empty, one_view):
        (row,) = score_ejection_fraction(cases)
        columns = row.columns()
        assert len(columns) == 4 + 9 * len(EF_METHODS) + 1
        assert PatientEF.from_columns(as_text(columns)) == row
        of_an_older_version = {name: text for name, text in as_text(columns).items() if name != "warnings"}
        assert PatientEF.from_columns(of_an_older_version) == row


def test_warnings_of_the_readers_stand_beside_the_scores():
    doubt, source = note("uneven frame times", "Steps of 20.0 to 200.0 ms."), note("frame rate", "From the container.")
    cases = [case._replace(clip=case.clip.with_notes([doubt, source])) for case in cohort()[:2]]
    (row,) = score_ejection_fraction(cases)
    assert row.columns()["warnings"] == "; ".join(f"{case.clip.view}: uneven frame times" for case in cases)
    assert PatientEF.from_columns(as_text(row.columns())) == row
    clip = make_clip().with_notes([doubt, source])
    assert score_steadiness(Case(clip, perfect(clip))).columns()["warnings"] == "uneven frame times"


def test_a_file_that_is_older_than_a_method_is_read():
    (row,) = score_ejection_fraction(cohort()[:2])
    older = {key: value for key, value in as_text(row.columns()).items() if "unscaled" not in key}
    read = PatientEF.from_columns(older)
    assert read.methods[BIPLANE_DISCS_UNSCALED].not_applicable == "the file is older than the method"
    assert read.methods[SINGLE_PLANE_DISCS] == row.methods[SINGLE_PLANE_DISCS]


def test_steadiness_becomes_columns():
    clip = make_clip()
    columns = score_steadiness(Case(clip, perfect(clip))).columns()
    assert list(columns)[:4] == ["patient_id", "view", "quality", "n_frames"] and columns["n_frames"] == 3


def test_values_are_grouped_by_patient_without_undefined_ones():
    known, gone = make_clip("patient0001"), make_clip("patient0002")
    prediction = perfect(gone)
    prediction[0] = 0
    rows = score_clip(Case(gone, prediction), [0, 2]) + score_clip(Case(known, perfect(known)), [0, 2])
    assert by_patient(rows, dice_percent) == {"patient0002": [0.0, 100.0], "patient0001": [100.0, 100.0]}
    assert by_patient(rows, distance("hd")) == {"patient0002": [0.0], "patient0001": [0.0, 0.0]}
    assert mean_by_patient(rows, dice_percent) == {"patient0002": 50.0, "patient0001": 100.0}
    nothing = [dataclasses.replace(rows[0], patient_id="patient0003")]
    assert by_patient(nothing, distance("hd")) == mean_by_patient(nothing, distance("hd")) == {}


def test_pairs_are_of_patients_measured_on_both_sides():
    cases = [Case(clip, perfect(clip)) for clip in (make_clip(f"patient{i:04d}", radius=20.0 + i) for i in range(3))]
    cases[1].prediction[2] = 0
    pairs = ef_pairs(score_ejection_fraction(cases), SINGLE_PLANE_DISCS)
    assert len(pairs) == 2 and (pairs.prediction == pairs.reference).all()
    assert len(ef_pairs([], SINGLE_PLANE_DISCS)) == 0
