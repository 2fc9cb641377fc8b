"""Runs are compared by patient, as a whole and within strata, each family of tests corrected on its own."""

import dataclasses

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
    assert strata["quality Good"]["n_patients"] == 5
    # eight equal signs: p = 2 / 2^8; two runs, so Holm doubles the smaller; five strata, three of n = 8 that differ
    assert comparisons["dice_percent"]["a"]["p_signed_rank_holm"] == pytest.approx(2 * 2 / 2**8)
    assert strata["phase ED"]["p_signed_rank_holm"] == pytest.approx(5 * 2 / 2**8)
    assert comparisons["hd95_mm"]["a"]["n_patients"] == 7 and comparisons["dice_percent"]["b"]["p_signed_rank"] == 1


def test_measures_in_another_unit_are_not_compared():
    in_px = [dataclasses.replace(row, unit="px") for row in rows(0, 0)]
    assert set(compare_rows(rows(0, 0), {"a": in_px})) == {"dice_percent"}
