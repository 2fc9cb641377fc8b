"""Runs are compared by patient, as a whole and within strata, each family of tests corrected on its own."""

import pytest

from echoforge_jax.evaluation.comparison import compare_rows


def rows(shift_ed, shift_es, patients=8):
    return [
        {
            "patient_id": f"p{i}",
            "phase": phase,
            "view": view,
            "quality": "Good" if i < 5 else None,
            "unit": "mm",
            "dice": 0.9 + i / 1000 + shift,
            "hd95": "nan" if i == 7 else 3 - 10 * shift,
            "assd": 1.0,
        }
        for i in range(patients)
        for view in ("2CH", "4CH")
        for phase, shift in (("ED", shift_ed), ("ES", shift_es))
    ]


def test_strata_are_compared_apart():
    found = compare_rows(rows(0.02, 0.0), {"a": rows(0, 0), "b": rows(0.02, 0.0)})
    assert found["dice_percent"]["a"]["difference"] == pytest.approx(1.0)
    strata = found["dice_percent"]["a"]["strata"]
    assert set(strata) == {"phase ED", "phase ES", "view 2CH", "view 4CH", "quality Good"}
    assert strata["phase ED"]["difference"] == pytest.approx(2.0) and strata["phase ES"]["p_signed_rank"] == 1
    assert strata["quality Good"]["n_patients"] == 5
    # eight equal signs: p = 2 / 2^8; two runs, so Holm doubles the smaller; five strata, three of n = 8 that differ
    assert found["dice_percent"]["a"]["p_signed_rank_holm"] == pytest.approx(2 * 2 / 2**8)
    assert strata["phase ED"]["p_signed_rank_holm"] == pytest.approx(5 * 2 / 2**8)
    assert found["hd95_mm"]["a"]["n_patients"] == 7 and found["dice_percent"]["b"]["p_signed_rank"] == 1


def test_measures_in_another_unit_are_not_compared():
    in_px = [row | {"unit": "px"} for row in rows(0, 0)]
    assert set(compare_rows(rows(0, 0), {"a": in_px})) == {"dice_percent"}
