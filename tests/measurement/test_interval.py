"""The interval around an ejection fraction: it covers what it says, and refuses what it cannot promise."""

from __future__ import annotations

import numpy as np
import pytest

from echoforge_jax.measurement.interval import conformal_interval, cross_fit, fit_line, released_interval

pytestmark = pytest.mark.fast


def test_new_patients_are_covered_as_often_as_stated():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(600):
        errors = rng.standard_t(3, 51) + 1.5  # heavy tails and a bias
        interval = conformal_interval(errors[:50], coverage=0.9)
        covered.append(interval.low <= errors[50] <= interval.high)
    assert 0.88 < np.mean(covered) < 0.96


def test_ends_are_the_stated_ranks():
    interval = conformal_interval(np.arange(1.0, 40.0), coverage=0.9)
    assert (interval.low, interval.high, interval.n_patients) == (2.0, 38.0, 39)
    assert interval.around(50.0) == (52.0, 88.0)


def test_ends_stay_within_what_an_ejection_fraction_can_be():
    interval = conformal_interval(np.linspace(-10, 10, 39), coverage=0.9)
    assert interval.around(3.0)[0] == 0 and interval.around(97.0)[1] == 100


@pytest.mark.parametrize(
    ("residuals", "coverage", "message"),
    [
        (np.zeros(18), 0.9, "18 patients are too few"),
        (np.zeros(50), 1.0, "coverage is 1.0"),
        (np.array([0.0, np.nan] * 20), 0.9, "not finite"),
    ],
)
def test_what_cannot_be_promised_is_refused(residuals, coverage, message):
    with pytest.raises(ValueError, match=message):
        conformal_interval(residuals, coverage=coverage)


def test_a_patient_never_corrects_itself():
    measured = np.linspace(20, 70, 30)
    reference = 2 + 0.9 * measured
    assert cross_fit(measured, reference, fit_line, folds=5, seed=0) == pytest.approx(reference)
    reference[7] += 1000
    corrected = cross_fit(measured, reference, fit_line, folds=30, seed=0)
    assert corrected[7] == pytest.approx(2 + 0.9 * measured[7])


@pytest.mark.parametrize("network", ["camus-small", "echoforge_camus_256"])
@pytest.mark.parametrize("method", ["biplane_discs", "biplane_discs_unscaled", "single_plane_discs"])
def test_the_released_networks_have_an_interval(network, method):
    interval = released_interval(network, method)
    assert interval.n_patients == 50 and -15 < interval.low < 0 < interval.high < 20
    half = released_interval(network, method, coverage=0.5)
    assert interval.low < half.low < half.high < interval.high


def test_what_was_not_calibrated_has_no_interval():
    assert released_interval("mine", "biplane_discs") is None
    assert released_interval("camus-small", "folland") is None
