"""Agreement against textbook values and identities; the bootstrap draws patients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from echoforge_jax.evaluation import statistics
from echoforge_jax.evaluation.statistics import agreement, agreement_ci95, bootstrap_ci, sensitivity_specificity

VALUES = st.lists(st.tuples(st.floats(5, 90), st.floats(5, 90)), min_size=3, max_size=12)


def test_known_values():
    found = agreement(np.array([50.0, 60.0, 40.0]), np.array([52.0, 57.0, 35.0]))
    assert found["n"] == 3
    assert found["bias"] == pytest.approx(2.0)  # -2, +3, +5
    assert found["sd"] == pytest.approx(np.sqrt(13))
    assert found["loa_low"] == pytest.approx(2 - 1.96 * np.sqrt(13))
    assert found["loa_high"] == pytest.approx(2 + 1.96 * np.sqrt(13))
    assert found["mae"] == pytest.approx(10 / 3)
    assert found["rmse"] == pytest.approx(np.sqrt(38 / 3))
    assert found["pearson_r"] == pytest.approx(stats.pearsonr([50, 60, 40], [52, 57, 35])[0])


def test_concordance_of_lin():
    reference = np.array([1.0, 2.0, 3.0, 4.0])
    assert agreement(reference, reference)["ccc"] == pytest.approx(1.0)
    # Shifted by 1: variance 1.25 each, covariance 1.25: 2.5 / (2.5 + 1).
    assert agreement(reference + 1, reference)["ccc"] == pytest.approx(2.5 / 3.5)
    assert agreement(reference + 1, reference)["pearson_r"] == pytest.approx(1.0)


def test_what_cannot_be_computed_is_nan_without_a_warning():
    constant = agreement(np.array([50.0, 50.0]), np.array([40.0, 60.0]))
    assert np.isnan(constant["pearson_r"]) and np.isnan(constant["ccc"]) and constant["bias"] == 0
    single = agreement(np.array([50.0]), np.array([40.0]))
    assert single["n"] == 1 and single["bias"] == 10 and np.isnan(single["sd"]) and np.isnan(single["loa_low"])
    nothing = agreement(np.array([]), np.array([]))
    assert nothing["n"] == 0 and np.isnan(nothing["mae"])


def test_wrong_input_is_refused():
    with pytest.raises((ValueError, TypeError), match=r"one length|Type-check"):  # jaxtyping, where it checks, is first
        agreement(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="not finite"):
        agreement(np.array([np.nan, 1.0]), np.zeros(2))
    with pytest.raises(ValueError, match="not finite"):
        bootstrap_ci({"a": [np.nan]}, seed=0)


@given(VALUES)
def test_swapping_the_sides_changes_only_the_sign_of_the_bias(pairs):
    x, y = np.array(pairs).T
    there, back = agreement(x, y), agreement(y, x)
    assert there["bias"] == pytest.approx(-back["bias"], abs=1e-9)
    assert there["loa_low"] == pytest.approx(-back["loa_high"], abs=1e-9)
    for key in ("mae", "rmse", "sd"):
        assert there[key] == pytest.approx(back[key], abs=1e-9)
    assert there["mae"] <= there["rmse"] + 1e-9
    if np.isfinite(there["ccc"]) and np.isfinite(there["pearson_r"]):
        assert abs(there["ccc"]) <= abs(there["pearson_r"]) + 1e-9


def test_bootstrap_draws_patients_not_values():
    # 20 patients whose 50 values are all alike: the interval is as wide as for 20 values, not for 1000.
    means = np.random.default_rng(0).normal(90, 4, 20)
    by_patient = {f"p{i:02d}": [m] * 50 for i, m in enumerate(means)}
    low, high = bootstrap_ci(by_patient, seed=1)
    assert low < means.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * means.std() / np.sqrt(20), rel=0.15)
    once = {f"p{i:02d}": [m] for i, m in enumerate(means)}
    assert (low, high) == pytest.approx(bootstrap_ci(once, seed=1))


def test_bootstrap_depends_on_the_seed_not_on_the_order():
    by_patient = {"b": [1.0, 2.0], "a": [5.0], "c": [3.0, 9.0, 4.0]}
    assert bootstrap_ci(by_patient, seed=3) == bootstrap_ci(dict(sorted(by_patient.items())), seed=3)
    many = {str(i): [float(i % 7), i / 3] for i in range(30)}
    assert bootstrap_ci(many, seed=3) != bootstrap_ci(many, seed=4)
    assert bootstrap_ci({"a": [2.0, 4.0]}, seed=0) == (3.0, 3.0)
    assert np.isnan(bootstrap_ci({}, seed=0)).all() and np.isnan(bootstrap_ci({"a": []}, seed=0)).all()


def test_agreement_interval_holds_the_value():
    rng = np.random.default_rng(0)
    reference = rng.uniform(20, 70, 60)
    prediction = reference + rng.normal(1, 4, 60)
    found, interval = agreement(prediction, reference), agreement_ci95(prediction, reference, seed=0)
    for key, (low, high) in interval.items():
        assert low < found[key] < high
    assert np.isnan(agreement_ci95(prediction[:2], reference[:2], seed=0)["bias"]).all()


def test_sensitivity_and_specificity():
    reference, prediction = np.array([35.0, 40.0, 45.0, 60.0]), np.array([38.0, 44.0, 39.0, 55.0])
    found = sensitivity_specificity(prediction, reference, threshold=40.0, inclusive=True)
    assert {name: found[name] for name in ("sensitivity", "n_detected", "n_positive")} == {
        "sensitivity": 0.5,
        "n_detected": 1,
        "n_positive": 2,
    }
    assert (found["specificity"], found["n_ruled_out"], found["n_negative"]) == (0.5, 1, 2)
    assert np.isnan(sensitivity_specificity(prediction, reference, threshold=10.0, inclusive=False)["sensitivity"])


def test_paired_tests_equal_those_of_scipy_and_pair_by_patient():
    rng = np.random.default_rng(0)
    theirs = {f"p{i}": list(rng.normal(90, 3, 4)) for i in range(20)}
    ours = {key: [v + 0.5 + 0.2 * rng.normal() for v in values] for key, values in theirs.items()}
    ours["only here"] = [10.0]
    found = statistics.compare_paired(ours, theirs, seed=0)
    means = [[float(np.mean(run[key])) for key in theirs] for run in (ours, theirs)]
    assert (found["n_patients"], found["n_left_out"]) == (20, 1)
    assert found["difference"] == pytest.approx(np.mean(np.subtract(*means)))
    assert found["ci95"][0] < found["difference"] < found["ci95"][1]
    assert found["p_signed_rank"] == pytest.approx(stats.wilcoxon(*means).pvalue)
    assert found["p_rank_sum"] == pytest.approx(stats.ranksums(*means).pvalue)
    assert found["p_signed_rank"] < 1e-3 < found["p_rank_sum"]  # the pairing is what shows a small steady gain
    assert statistics.compare_paired(theirs, theirs, seed=0)["p_signed_rank"] == 1
    assert np.isnan(statistics.compare_paired({}, theirs, seed=0)["p_signed_rank"])


def test_holm_gives_the_textbook_example():
    adjusted = statistics.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "none": np.nan})
    assert [adjusted[key] for key in "dacb"] == pytest.approx([0.02, 0.03, 0.06, 0.06])
    assert np.isnan(adjusted["none"])


def test_classes_count_reference_by_prediction():
    reference, prediction = np.array([40.0, 41, 49.9, 50, 30]), np.array([39.0, 50, 45, 60, 44])
    table = statistics.class_table(prediction, reference, (40.0, np.nextafter(50.0, 0)))
    assert table == [[1, 1, 0], [0, 1, 1], [0, 0, 1]]
