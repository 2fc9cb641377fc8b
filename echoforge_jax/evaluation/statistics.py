"""Agreement of two measurements, and uncertainty by resampling patients.

Sources: Bland and Altman, Lancet 327(8476), 1986 (bias and limits of agreement); Lin, Biometrics 45(1), 1989
(concordance correlation, with the biased moments of the paper); Efron's percentile bootstrap. Frames of one patient
resemble each other, so the bootstrap draws patients, never frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Real
from scipy import stats

LIMITS_OF_AGREEMENT_Z = 1.96
AGREEMENT_KEYS = ("pearson_r", "bias", "sd", "loa_low", "loa_high", "mae", "rmse", "ccc")
AGREEMENT_CI_KEYS = ("pearson_r", "bias", "loa_low", "loa_high", "mae", "ccc")


def agreement(prediction: Real[np.ndarray, " n"], reference: Real[np.ndarray, " n"]) -> dict[str, float | int]:
    """How two measurements of the same n cases agree; values keep the unit of the input.

    Returns:
        n; pearson_r; bias (mean of prediction - reference, signed); sd of those differences (ddof 1); loa_low and
        loa_high (bias -+ 1.96 sd); mae; rmse; ccc (Lin). What cannot be computed is nan: everything for n = 0, sd and
        the limits for n = 1, pearson_r and ccc where a side does not vary.

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
    prediction: Real[np.ndarray, " n"], reference: Real[np.ndarray, " n"], seed: int, n: int = 2000
) -> dict[str, tuple[float, float]]:
    """95 % percentile bootstrap intervals of `agreement`, one case a patient; nan for fewer than three cases.

    Resamples in which a value cannot be computed (all the same case drawn) are left out of that value's interval.
    """
    x, y = np.asarray(prediction, np.float64), np.asarray(reference, np.float64)
    if len(x) < 3:
        return dict.fromkeys(AGREEMENT_CI_KEYS, (np.nan, np.nan))
    draws = np.random.default_rng(seed).integers(0, len(x), (n, len(x)))
    columns = _agreement_of_rows(x[draws], y[draws])
    return {key: _interval(columns[key][np.isfinite(columns[key])]) for key in AGREEMENT_CI_KEYS}


def regression_band(
    x: Real[np.ndarray, " n"], y: Real[np.ndarray, " n"], ends: Real[np.ndarray, " two"], seed: int, n: int = 2000
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"], Float[np.ndarray, " m"]] | None:
    """Positions between `ends` and the 95 % percentile bootstrap interval of the least-squares line of y on x there,
    one case a patient; None for fewer than three cases."""
    if len(x) < 3:
        return None
    at = np.linspace(ends[0], ends[1], 50)
    draws = np.random.default_rng(seed).integers(0, len(x), (n, len(x)))
    x_drawn, y_drawn = np.asarray(x, np.float64)[draws], np.asarray(y, np.float64)[draws]
    centre_x, centre_y = x_drawn.mean(axis=1, keepdims=True), y_drawn.mean(axis=1, keepdims=True)
    spread = ((x_drawn - centre_x) ** 2).sum(axis=1)
    usable = spread > 0  # a draw of the same case n times has no line
    slope = ((x_drawn - centre_x) * (y_drawn - centre_y)).sum(axis=1)[usable] / spread[usable]
    lines = centre_y[usable] + slope[:, None] * (at - centre_x[usable])
    low, high = np.percentile(lines, [2.5, 97.5], axis=0)
    return at, low, high


def bootstrap_ci(values_by_patient: Mapping[str, Sequence[float]], seed: int, n: int = 2000) -> tuple[float, float]:
    """95 % percentile bootstrap interval (low, high) of the mean of all values, by resampling patients n times.

    Each draw takes as many patients as there are, with replacement, and with each patient all of its values, so that
    the centre is the mean over frames. Patients without values are left out. The result depends on the values and the
    seed, not on the order of the mapping. No values: (nan, nan). One patient: both ends are the mean.

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
    draws = np.random.default_rng(seed).integers(0, len(patients), (n, len(patients)))
    return _interval(sums[draws].sum(axis=1) / counts[draws].sum(axis=1))


def sensitivity_specificity(
    prediction: Real[np.ndarray, " n"], reference: Real[np.ndarray, " n"], threshold: float, *, inclusive: bool
) -> dict[str, float | int]:
    """Detection of reference values below a threshold (at or below it if `inclusive`) from the prediction, 0..1.

    Returns sensitivity, n_positive, specificity, n_negative; a share of no cases is nan.
    """
    compare = np.less_equal if inclusive else np.less
    found, true = compare(np.asarray(prediction), threshold), compare(np.asarray(reference), threshold)
    positive, negative = int(true.sum()), int((~true).sum())
    return {
        "sensitivity": float((found & true).sum() / positive) if positive else np.nan,
        "n_positive": positive,
        "specificity": float((~found & ~true).sum() / negative) if negative else np.nan,
        "n_negative": negative,
    }


def compare_paired(
    ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]], seed: int
) -> dict[str, float | int | tuple[float, float]]:
    """Two runs on the same patients: the difference of their patient means, with both tests that are in use.

    Returns:
        n_patients in both; n_left_out in only one; difference (mean of ours - theirs over patients) and its bootstrap
        ci95; p_signed_rank (Wilcoxon's signed-rank test of the pairs, two-sided; 1 where all differences are 0) and
        p_rank_sum (Wilcoxon's rank-sum test, which ignores the pairing: the paper's). nan for no patient.

    Raises:
        ValueError: a value is not finite.
    """
    means = [{key: float(np.mean(v)) for key, v in run.items() if len(v)} for run in (ours, theirs)]
    shared = sorted(means[0].keys() & means[1].keys())
    x, y = (np.array([of_run[key] for key in shared], np.float64) for of_run in means)
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
        "ci95": bootstrap_ci(difference, seed),
        "p_signed_rank": float(signed_rank.pvalue) if signed_rank else unchanged,
        "p_rank_sum": float(rank_sum.pvalue) if rank_sum else unchanged,
    }


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values adjusted for their number by Holm's step-down method (Scand J Statist 6, 1979); nan stays, uncounted."""
    ranked = sorted((p, name) for name, p in p_values.items() if np.isfinite(p))
    adjusted, largest = dict(p_values), 0.0
    for rank, (p, name) in enumerate(ranked):
        largest = max(largest, min(1.0, (len(ranked) - rank) * p))
        adjusted[name] = largest
    return adjusted


def class_table(
    prediction: Real[np.ndarray, " n"], reference: Real[np.ndarray, " n"], bounds: Sequence[float]
) -> list[list[int]]:
    """Counts by class, a row for each class of the reference and a column for each of the prediction.

    A value belongs to the first class whose bound it does not exceed, or to the last, which has none.
    """
    rows, columns = (np.searchsorted(bounds, np.asarray(values), side="left") for values in (reference, prediction))
    table = np.zeros((len(bounds) + 1, len(bounds) + 1), int)
    np.add.at(table, (rows, columns), 1)
    return table.tolist()


def _interval(means: Float[np.ndarray, " n"]) -> tuple[float, float]:
    if not means.size:
        return np.nan, np.nan
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _agreement_of_rows(x: Float[np.ndarray, "b n"], y: Float[np.ndarray, "b n"]) -> dict[str, Float[np.ndarray, " b"]]:
    """`agreement` of every row at once, without n."""
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
