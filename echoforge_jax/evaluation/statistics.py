"""Agreement of two measurements, paired tests, and uncertainty by resampling patients.

Sources: Bland and Altman, Lancet 327(8476), 1986 (bias and limits of agreement); Lin, Biometrics 45(1), 1989
(concordance correlation, with the biased moments of the paper); Efron's percentile bootstrap. Frames of one patient
resemble each other, so the bootstrap draws patients, never frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Real
from scipy import stats

DRAWS = 2000  # resamples of a bootstrap
LIMITS_OF_AGREEMENT_Z = 1.96
AGREEMENT_KEYS = ("pearson_r", "bias", "sd", "loa_low", "loa_high", "mae", "rmse", "ccc")
AGREEMENT_CI_KEYS = ("pearson_r", "bias", "loa_low", "loa_high", "mae", "ccc")


def agreement(prediction: Real[np.ndarray, " n"], reference: Real[np.ndarray, " n"]) -> dict[str, float | int]:
    """Measures how well two measurements of the same n cases agree.

    With the differences d = prediction - reference, x = prediction and y = reference:
    bias = mean(d); sd = standard deviation of d with n - 1; limits of agreement = bias -+ 1.96 sd (Bland and Altman);
    mae = mean |d|; rmse = sqrt(mean d^2); ccc = 2 cov(x, y) / (var x + var y + (mean x - mean y)^2) (Lin).

    Args:
        prediction: measurements, (n,), in any unit.
        reference: reference measurements of the same cases, (n,), in the same unit.

    Returns:
        n, pearson_r, bias, sd, loa_low, loa_high, mae, rmse, ccc. What cannot be computed is nan: everything for n = 0,
        sd and the limits for n = 1, pearson_r and ccc where one side does not vary.

    Raises:
        ValueError: the two differ in length, or hold a value that is not finite.
    """
    x, y = np.asarray(prediction, np.float64), np.asarray(reference, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"prediction is {x.shape}, reference {y.shape}: expected two vectors of one length")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a value is not finite: leave failed cases out and count them")
    if not len(x):
        return {"n": 0, **dict.fromkeys(AGREEMENT_KEYS, np.nan)}
    values = {key: float(column[0]) for key, column in _agreement_of_rows(x[None], y[None]).items()}
    return {"n": len(x), **values}


def agreement_ci95(
    prediction: Real[np.ndarray, " n"], reference: Real[np.ndarray, " n"], *, seed: int, draws: int = DRAWS
) -> dict[str, tuple[float, float]]:
    """Computes 95 % percentile bootstrap intervals of the values of `agreement`.

    Resamples in which a value cannot be computed (the same case drawn n times) are left out of that value's interval.

    Args:
        prediction: measurements, one for each patient, (n,).
        reference: reference measurements of the same patients, (n,).
        seed: seed of the resampling.
        draws: number of resamples.

    Returns:
        pearson_r, bias, loa_low, loa_high, mae and ccc, each as (low, high); nan for fewer than three patients.
    """
    x, y = np.asarray(prediction, np.float64), np.asarray(reference, np.float64)
    if len(x) < 3:
        return dict.fromkeys(AGREEMENT_CI_KEYS, (np.nan, np.nan))
    drawn = np.random.default_rng(seed).integers(0, len(x), (draws, len(x)))
    columns = _agreement_of_rows(x[drawn], y[drawn])
    return {key: _interval(columns[key][np.isfinite(columns[key])]) for key in AGREEMENT_CI_KEYS}


@dataclasses.dataclass(frozen=True)
class RegressionBand:
    """The interval of a regression line.

    Attributes:
        x: positions along the horizontal axis, (m,).
        low: lower end of the interval there, (m,).
        high: upper end of the interval there, (m,).
    """

    x: Float[np.ndarray, " m"]
    low: Float[np.ndarray, " m"]
    high: Float[np.ndarray, " m"]


def regression_band(
    x: Real[np.ndarray, " n"],
    y: Real[np.ndarray, " n"],
    *,
    ends: Real[np.ndarray, " two"],
    seed: int,
    draws: int = DRAWS,
) -> RegressionBand | None:
    """Computes the 95 % percentile bootstrap interval of the least-squares line of y on x.

    Args:
        x: one value for each patient, (n,).
        y: another value for each of these patients, (n,).
        ends: first and last position at which the interval is computed.
        seed: seed of the resampling.
        draws: number of resamples. Those in which x does not vary have no line and are left out.

    Returns:
        The interval at 50 positions, or None for fewer than three patients.
    """
    if len(x) < 3:
        return None
    positions = np.linspace(ends[0], ends[1], 50)
    drawn = np.random.default_rng(seed).integers(0, len(x), (draws, len(x)))
    x_drawn, y_drawn = np.asarray(x, np.float64)[drawn], np.asarray(y, np.float64)[drawn]
    centre_x, centre_y = x_drawn.mean(axis=1, keepdims=True), y_drawn.mean(axis=1, keepdims=True)
    spread = ((x_drawn - centre_x) ** 2).sum(axis=1)
    usable = spread > 0
    slope = ((x_drawn - centre_x) * (y_drawn - centre_y)).sum(axis=1)[usable] / spread[usable]
    lines = centre_y[usable] + slope[:, None] * (positions - centre_x[usable])
    low, high = np.percentile(lines, [2.5, 97.5], axis=0)
    return RegressionBand(positions, low, high)


def bootstrap_ci(
    values_by_patient: Mapping[str, Sequence[float]], *, seed: int, draws: int = DRAWS
) -> tuple[float, float]:
    """Computes the 95 % percentile bootstrap interval of the mean of all values by resampling patients.

    Each draw takes as many patients as there are, with replacement, and with each patient all of its values, so that
    the centre is the mean over frames. The result depends on the values and the seed, not on the order of the mapping.

    Args:
        values_by_patient: patient -> values, all finite. Patients without values are left out.
        seed: seed of the resampling.
        draws: number of resamples.

    Returns:
        (low, high). No values: (nan, nan). One patient: both are the patient's mean.

    Raises:
        ValueError: a value is not finite.
    """
    patients = [np.asarray(values_by_patient[key], np.float64) for key in sorted(values_by_patient)]
    patients = [values for values in patients if values.size]
    if not patients:
        return np.nan, np.nan
    sums, counts = np.array([v.sum() for v in patients]), np.array([v.size for v in patients])
    if not np.isfinite(sums).all():
        raise ValueError("a value is not finite: leave undefined values out and count them")
    drawn = np.random.default_rng(seed).integers(0, len(patients), (draws, len(patients)))
    return _interval(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))


def sensitivity_specificity(
    prediction: Real[np.ndarray, " n"], reference: Real[np.ndarray, " n"], *, threshold: float, inclusive: bool
) -> dict[str, float | int]:
    """Measures how well low values of the reference are detected by low values of the prediction.

    Args:
        prediction: measurements, (n,).
        reference: reference measurements of the same cases, (n,).
        threshold: a case is positive if its value is below it.
        inclusive: a value equal to the threshold is positive too.

    Returns:
        sensitivity (0..1), n_detected of n_positive, specificity (0..1), n_ruled_out of n_negative; a share of no cases
        is nan.
    """
    compare = np.less_equal if inclusive else np.less
    detected, true = compare(np.asarray(prediction), threshold), compare(np.asarray(reference), threshold)
    positive, negative = int(true.sum()), int((~true).sum())
    found, ruled_out = int((detected & true).sum()), int((~detected & ~true).sum())
    return {
        "sensitivity": found / positive if positive else np.nan,
        "n_detected": found,
        "n_positive": positive,
        "specificity": ruled_out / negative if negative else np.nan,
        "n_ruled_out": ruled_out,
        "n_negative": negative,
    }


def compare_paired(
    ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]], *, seed: int
) -> dict[str, float | int | tuple[float, float]]:
    """Compares the patient means of two runs on the same patients, with both tests that are in use.

    Args:
        ours: patient -> values of our run, all finite.
        theirs: patient -> values of the other run, all finite.
        seed: seed of the resampling.

    Returns:
        n_patients: patients in both runs; n_left_out: patients in one run only; difference: mean of ours - theirs over
        patients, and ci95, its bootstrap interval; p_signed_rank: Wilcoxon's signed-rank test of the pairs, two-sided
        (1 where all differences are 0); p_rank_sum: Wilcoxon's rank-sum test, which ignores the pairing (the paper's
        test). Without a patient all but the counts are nan.

    Raises:
        ValueError: a value is not finite.
    """
    means = [{key: float(np.mean(v)) for key, v in run.items() if len(v)} for run in (ours, theirs)]
    shared = sorted(means[0].keys() & means[1].keys())
    x, y = (np.array([run[key] for key in shared], np.float64) for run in means)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a value is not finite: leave undefined values out and count them")
    difference = dict(zip(shared, ((d,) for d in x - y), strict=True))
    changed = bool(shared) and bool(np.any(x != y))
    signed_rank: Any = stats.wilcoxon(x, y) if changed else None
    rank_sum: Any = stats.ranksums(x, y) if changed else None
    unchanged = 1.0 if shared else np.nan
    return {
        "n_patients": len(shared),
        "n_left_out": len(means[0].keys() ^ means[1].keys()),
        "difference": float((x - y).mean()) if shared else np.nan,
        "ci95": bootstrap_ci(difference, seed=seed),
        "p_signed_rank": float(signed_rank.pvalue) if signed_rank else unchanged,
        "p_rank_sum": float(rank_sum.pvalue) if rank_sum else unchanged,
    }


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusts p-values for their number by Holm's step-down method (Scand J Statist 6, 1979).

    With the m values in rising order, the k-th (from 0) becomes the largest min(1, (m - k) p) so far. A nan stays nan
    and is not counted.
    """
    ranked = sorted((p, name) for name, p in p_values.items() if np.isfinite(p))
    adjusted, largest = dict(p_values), 0.0
    for rank, (p, name) in enumerate(ranked):
        largest = max(largest, min(1.0, (len(ranked) - rank) * p))
        adjusted[name] = largest
    return adjusted


def class_table(
    prediction: Real[np.ndarray, " n"], reference: Real[np.ndarray, " n"], bounds: Sequence[float]
) -> list[list[int]]:
    """Counts cases by the class of the reference and the class of the prediction.

    Args:
        prediction: measurements, (n,).
        reference: reference measurements of the same cases, (n,).
        bounds: upper bounds of all classes but the last, rising. A value belongs to the first class whose bound it does
            not exceed.

    Returns:
        A row for each class of the reference, with a count for each class of the prediction.
    """
    rows, columns = (np.searchsorted(bounds, np.asarray(values), side="left") for values in (reference, prediction))
    table = np.zeros((len(bounds) + 1, len(bounds) + 1), int)
    np.add.at(table, (rows, columns), 1)
    return table.tolist()


def _interval(means: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Returns the 2.5th and the 97.5th percentile."""
    if not means.size:
        return np.nan, np.nan
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _agreement_of_rows(x: Float[np.ndarray, "b n"], y: Float[np.ndarray, "b n"]) -> dict[str, Float[np.ndarray, " b"]]:
    """Computes the values of `agreement`, but for n, of every row at once."""
    difference = x - y
    bias, mean_x, mean_y = difference.mean(axis=1), x.mean(axis=1), y.mean(axis=1)
    sd = difference.std(axis=1, ddof=1) if x.shape[1] > 1 else np.full(len(x), np.nan)
    centred_x, centred_y = x - mean_x[:, None], y - mean_y[:, None]
    varied = (np.ptp(x, axis=1) > 0) & (np.ptp(y, axis=1) > 0)
    variance_x, variance_y = (centred_x**2).mean(axis=1), (centred_y**2).mean(axis=1)
    covariance = (centred_x * centred_y).mean(axis=1)
    undefined = np.full(len(x), np.nan)
    spread = np.sqrt(variance_x) * np.sqrt(variance_y)
    pearson_r = np.divide(covariance, spread, out=undefined.copy(), where=varied & (spread > 0))
    concordance = variance_x + variance_y + (mean_x - mean_y) ** 2
    return {
        "pearson_r": np.clip(pearson_r, -1, 1),
        "bias": bias,
        "sd": sd,
        "loa_low": bias - LIMITS_OF_AGREEMENT_Z * sd,
        "loa_high": bias + LIMITS_OF_AGREEMENT_Z * sd,
        "mae": np.abs(difference).mean(axis=1),
        "rmse": np.sqrt((difference**2).mean(axis=1)),
        "ccc": np.divide(2 * covariance, concordance, out=undefined.copy(), where=varied & (concordance > 0)),
    }
