"""How many patients or cases a number needs before it is shown. What has fewer is withheld: None, with the reason.

The limits are this project's own. A correlation of a few points is near -1 or 1 by chance (of ten independent pairs one
in twenty still reaches 0.63), and limits of agreement are two estimated standard deviations wide. A signed-rank test of
five pairs cannot give p < 0.06, whatever the pairs are. A percentile bootstrap of n patients can draw only
binomial(2n - 1, n) different samples, 35 of four patients, and its intervals are far too narrow there. A share moves by
20 points or more with each case where there are fewer than five.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FEWEST = {
    "pearson_r": 10,
    "ccc": 10,
    "loa_low": 10,
    "loa_high": 10,
    "regression_line": 10,
    "p_signed_rank": 6,
    "p_rank_sum": 6,
    "ci95": 5,
    "sd": 5,
    "sensitivity": 5,
    "specificity": 5,
}
"""The smallest number of patients (frames for an SD over frames, cases for a share), by the name of the statistic."""


def is_shown(statistic: str, count: int, *, interval: bool = False) -> bool:
    """Tells whether a statistic of so many patients may be shown.

    Args:
        statistic: its name; one that is not in `FEWEST` is always shown, with its count.
        count: patients, or cases for a share.
        interval: whether it is the interval of the statistic.
    """
    return count >= _needed(statistic, interval)


def withhold(values: Mapping[str, Any], count: int, *, intervals: bool = False) -> dict[str, Any]:
    """Replaces statistics of too few patients by None and says why.

    Args:
        values: statistics by name; other entries are kept.
        count: patients behind them, or cases for a share.
        intervals: whether the values are the intervals of the statistics.

    Returns:
        The same names, and "withheld" (name -> reason) where a value was replaced. What is None already, or nan in
        spite of enough patients (e.g. the correlation with a constant), stays as it is.
    """
    hidden = [
        name for name, value in values.items() if value is not None and not is_shown(name, count, interval=intervals)
    ]
    kept = {name: None if name in hidden else value for name, value in values.items()}
    reasons = {name: f"of {count} alone; shown from {_needed(name, intervals)} on" for name in hidden}
    return kept | ({"withheld": reasons} if reasons else {})


def _needed(statistic: str, interval: bool) -> int:
    return max(FEWEST.get(statistic, 0), FEWEST["ci95"] if interval else 0)
