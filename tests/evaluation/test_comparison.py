"""Runs are compared by patient, as a whole and within strata, each family of tests corrected on its own."""

import dataclasses
import json

import numpy as np
import pytest

from echoforge_jax.evaluation.comparison import compare_rows
from echoforge_jax.evaluation.rows import DISTANCES, FrameScore
from echoforge_jax.evaluation.surface import SurfaceDistances

NO_DISTANCES = SurfaceDistances(**dict.fromkeys(DISTANCES, 0.0))


def rows(shift_ed, shift_es, patients=8):
    """Scores that differ between runs by a shift of Dice; the distances of the last patient are undefined."""
    return [
        FrameScore(
            patient_id=f"p{i}",
            view=view,
            phase=phase,
            frame=0,
            quality="Good" if i < 5 else None,
            dice=0.9 + i / 1000 + shift,
            iou=0.8,
            distances=dataclasses.replace(NO_DISTANCES, hd95=np.nan if i == 7 else 3.0 - 10 * shift, assd=1.0),
            unit="mm",
            empty_prediction=False,
            empty_reference=False,
        )
        for i in range(patients)
        for view in ("2CH", "4CH")
        for phase, shift in (("ED", shift_ed), ("ES", shift_es))
    ]


def test_strata_are_compared_separately():
    comparisons = compare_rows(rows(0.02, 0.0), {"a": rows(0, 0), "b": rows(0.02, 0.0)})
    assert comparisons["dice_percent"]["a"]["difference"] == pytest.approx(1.0)
    strata = comparisons["dice_percent"]["a"]["strata"]
    assert set(strata) == {"phase ED", "phase ES", "view 2CH", "view 4CH", "quality Good"}
    assert strata["phase ED"]["difference"] == pytest.approx(2.0) and strata["phase ES"]["p_signed_rank"] == 1
    assert strata["quality Good"]["n_patients"] == 5 and strata["quality Good"]["p_signed_rank_holm"] is None
    # eight equal signs: p = 2 / 2^8; two runs, so Holm doubles the smaller; four strata have a p, three of them differ
    assert comparisons["dice_percent"]["a"]["p_signed_rank_holm"] == pytest.approx(2 * 2 / 2**8)
    assert strata["phase ED"]["p_signed_rank_holm"] == pytest.approx(4 * 2 / 2**8)
    assert comparisons["hd95_mm"]["a"]["n_patients"] == 7 and comparisons["dice_percent"]["b"]["p_signed_rank"] == 1


def test_measures_in_another_unit_are_not_compared():
    in_px = [dataclasses.replace(row, unit="px") for row in rows(0, 0)]
    assert set(compare_rows(rows(0, 0), {"a": in_px})) == {"dice_percent"}


@pytest.mark.parametrize(("patients", "has_interval", "has_p"), [(1, 0, 0), (4, 0, 0), (5, 1, 0), (6, 1, 1)])
def test_few_patients_get_neither_an_interval_nor_p_values(patients, has_interval, has_p):
    found = compare_rows(rows(0.02, 0.0, patients), {"a": rows(0, 0, patients)})["dice_percent"]["a"]
    assert found["difference"] == pytest.approx(1.0) and found["n_patients"] == patients
    assert (found["ci95"] is not None) == has_interval
    for name in ("p_signed_rank", "p_signed_rank_holm", "p_rank_sum", "p_rank_sum_holm"):
        assert (found[name] is not None) == has_p, name
    assert ("p_signed_rank" in found.get("withheld", {})) != has_p
    json.dumps(found, allow_nan=False)


def test_runs_without_a_common_patient_have_no_nan():
    others = [dataclasses.replace(row, patient_id=f"other{row.patient_id}") for row in rows(0, 0)]
    found = compare_rows(rows(0, 0), {"a": others})["dice_percent"]["a"]
    assert (found["n_patients"], found["n_left_out"], found["difference"]) == (0, 16, None)
    json.dumps(found, allow_nan=False)
