"""Compares evaluations of the same patients: paired differences by measure, as a whole and by phase, view and quality.

Any earlier evaluation, of any system, can be the other one: its per_frame.csv is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from echoforge_jax.evaluation.limits import withhold
from echoforge_jax.evaluation.rows import FrameScore, by_patient, dice_percent, distance
from echoforge_jax.evaluation.statistics import compare_paired, holm

DISTANCES = ("hd95", "assd")
STRATA = ("phase", "view", "quality")
TESTS = ("p_signed_rank", "p_rank_sum")


def compare_rows(
    ours: Sequence[FrameScore], others: Mapping[str, Sequence[FrameScore]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Compares an evaluation with others, patient by patient; a difference is ours minus the other's.

    P-values get Holm's correction over the runs that are compared by one measure; those of strata over the strata of
    one run and measure.

    Args:
        ours: scores of frames.
        others: name of another run -> its scores of frames.

    Returns:
        measure -> other run -> `compare_means`, with "strata": stratum -> `compare_means`. A measure is
        "dice_percent", or a distance with its unit ("hd95_mm"); it is left out where one of the two does not have it.
        A stratum is one value of one property ("phase ED", "view 4CH", "quality Poor") that both runs hold.
    """
    comparisons: dict[str, dict[str, dict[str, Any]]] = {}
    our_values = values_by_measure(ours)
    for name, theirs in others.items():
        their_values = values_by_measure(theirs)
        for measure in our_values:
            if measure in their_values:
                comparison = compare_means(our_values[measure], their_values[measure])
                comparisons.setdefault(measure, {})[name] = comparison | {"strata": {}}
        for prop, value in _strata(ours):
            our_part, their_part = (
                values_by_measure([row for row in rows if getattr(row, prop) == value]) for rows in (ours, theirs)
            )
            for measure in our_part.keys() & their_part.keys():
                comparison = compare_means(our_part[measure], their_part[measure])
                if comparison["n_patients"]:
                    comparisons[measure][name]["strata"][f"{prop} {value}"] = comparison
    for runs in comparisons.values():
        _add_holm(runs)
        for comparison in runs.values():
            _add_holm(comparison["strata"])
    return comparisons


def compare_means(ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Compares the patient means of two runs (`compare_paired`); what is of too few patients is withheld.

    Args:
        ours: patient -> values of our run, all finite.
        theirs: patient -> values of the other run, all finite.

    Returns:
        The values of `compare_paired`; None for what cannot be computed or is withheld (`limits.withhold`).
    """
    paired: dict[str, Any] = compare_paired(ours, theirs, seed=0)
    defined = {name: None if np.isnan(value).any() else value for name, value in paired.items()}
    return withhold(defined, paired["n_patients"])


def corrected(comparisons: Mapping[str, Mapping[str, Any]], test: str) -> dict[str, float | None]:
    """Corrects the p-values of several comparisons by Holm's method.

    Args:
        comparisons: name -> `compare_means`.
        test: "p_signed_rank" or "p_rank_sum".

    Returns:
        Name -> corrected p-value; None where there is no p-value, which does not count as a comparison then.
    """
    adjusted = holm({name: paired[test] for name, paired in comparisons.items() if paired[test] is not None})
    return {name: adjusted.get(name) for name in comparisons}


def values_by_measure(rows: Sequence[FrameScore]) -> dict[str, dict[str, list[float]]]:
    """Groups the defined values of every compared measure by patient: measure -> patient -> values of frames."""
    values = {"dice_percent": by_patient(rows, dice_percent)} if rows else {}
    for unit in dict.fromkeys(row.unit for row in rows if np.isfinite(row.distances.hd95)):
        same_unit = [row for row in rows if row.unit == unit]
        values |= {f"{name}_{unit}": by_patient(same_unit, distance(name)) for name in DISTANCES}
    return values


def _strata(rows: Sequence[FrameScore]) -> list[tuple[str, str]]:
    """Returns every known value of the properties by which frames are grouped, sorted."""
    return sorted({(prop, value) for row in rows for prop in STRATA if (value := getattr(row, prop))})


def _add_holm(comparisons: Mapping[str, dict[str, Any]]) -> None:
    """Adds the p-values with Holm's correction over the given comparisons; those without a p-value get None."""
    for test in TESTS:
        for name, p_value in corrected(comparisons, test).items():
            comparisons[name][f"{test}_holm"] = p_value
