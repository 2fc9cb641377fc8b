"""Two evaluations of the same patients: paired differences by measure, as a whole and by phase, view and quality.

Works on rows of per_frame.csv, so that any earlier evaluation, of any system, can be the other one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from echoforge_jax.evaluation.statistics import compare_paired, holm

COMPARED = {"dice": 100.0, "hd95": 1.0, "assd": 1.0}  # columns of per_frame.csv and what they are multiplied by
STRATA = ("phase", "view", "quality")
TESTS = ("p_signed_rank", "p_rank_sum")
Rows = Sequence[Mapping[str, Any]]


def compare_rows(ours: Rows, others: Mapping[str, Rows]) -> dict[str, dict[str, dict[str, Any]]]:
    """measure -> other run -> `compare_paired` by patient; a difference is ours - the other's.

    A measure is "dice_percent", or a distance with its unit ("hd95_mm"). P-values get Holm's correction over the runs
    of a measure; those under "strata" ("phase ED", "view 4CH", "quality Poor": what both runs hold) over the strata of
    one run and measure.
    """
    result: dict[str, dict[str, dict[str, Any]]] = {}
    of_ours = values_by_measure(ours)
    for name, theirs in others.items():
        of_theirs = values_by_measure(theirs)
        for measure in of_ours:
            if measure in of_theirs:
                found = compare_paired(of_ours[measure], of_theirs[measure], seed=0)
                result.setdefault(measure, {})[name] = found | {"strata": {}}
        for stratum in _strata(ours):
            column, value = stratum.split(" ", 1)
            part_ours, part_theirs = (
                values_by_measure([row for row in rows if row[column] == value]) for rows in (ours, theirs)
            )
            for measure in part_ours.keys() & part_theirs.keys() & result.keys():
                found = compare_paired(part_ours[measure], part_theirs[measure], seed=0)
                if found["n_patients"]:
                    result[measure][name]["strata"][stratum] = found
    for of_measure in result.values():
        _correct(of_measure)
        for found in of_measure.values():
            _correct(found["strata"])
    return result


def values_by_measure(rows: Rows) -> dict[str, dict[str, list[float]]]:
    """measure -> patient -> values of that patient's frames, undefined ones left out."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for column, scale in COMPARED.items():
            value = scale * float(row[column])
            measure = "dice_percent" if column == "dice" else f"{column}_{row['unit']}"
            if np.isfinite(value):
                found.setdefault(measure, {}).setdefault(row["patient_id"], []).append(value)
    return found


def _strata(rows: Rows) -> list[str]:
    return sorted({f"{column} {row[column]}" for row in rows for column in STRATA if row[column]})


def _correct(found: dict[str, dict[str, Any]]) -> None:
    for test in TESTS:
        for name, adjusted in holm({name: one[test] for name, one in found.items()}).items():
            found[name][f"{test}_holm"] = adjusted
