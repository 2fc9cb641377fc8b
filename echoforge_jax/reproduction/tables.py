"""Finished cells as lines of a table: means with intervals, and paired tests between the lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echoforge_jax.evaluation.comparison import compare_means, corrected
from echoforge_jax.evaluation.ejection_fraction import SINGLE_PLANE_DISCS
from echoforge_jax.evaluation.limits import is_shown
from echoforge_jax.evaluation.rows import by_patient, dice_percent
from echoforge_jax.evaluation.statistics import bootstrap_ci
from echoforge_jax.report.folder import read_frames
from echoforge_jax.reproduction.cell_result import CellResult, CellScores
from echoforge_jax.reproduction.reading import named, read_json
from echoforge_jax.reproduction.rows import CAMUS, EF_METHOD, PAPER_CAMUS_FULL, Row

LEFT_OUT_IF_NONE = ("dice_percent_by_seed", "against_first", "ours_minus_this")  # in a table's JSON


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A line against another one, paired by patient (and by seed).

    Attributes:
        paired: `compare_means` of the two.
        p_signed_rank_holm: p of the signed-rank test with Holm's correction over the lines of the table; None for too
            few patients (`limits`).
        p_rank_sum_holm: the same of the rank-sum test; None where a table does not tell it.
    """

    paired: Mapping[str, Any]
    p_signed_rank_holm: float | None
    p_rank_sum_holm: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns one flat dictionary."""
        corrected = {"p_signed_rank_holm": self.p_signed_rank_holm, "p_rank_sum_holm": self.p_rank_sum_holm}
        return {**self.paired, **{name: value for name, value in corrected.items() if value is not None}}


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a table. The names of the attributes are those of the table's JSON and CSV.

    Attributes:
        row: label of the row, or name of another system.
        seeds: finished cells behind the line.
        patients: patients behind the line.
        dice_percent: mean over patients (and seeds) of the patient's mean Dice, in per cent.
        ci95_low: lower end of its 95 % interval, by bootstrap over patients; None for too few patients (`limits`).
        ci95_high: upper end of that interval.
        dice_percent_by_seed: mean Dice of each cell, in per cent; None for another system.
        distance_unit: unit of the distances, "mm" or "px"; None where no frame has one.
        hd95: 95th percentile of the Hausdorff distance.
        assd: average symmetric surface distance.
        ef_method: how volumes were measured.
        ef_r: correlation of predicted and reference ejection fraction.
        ef_bias: mean of prediction minus reference, in percentage points.
        paper_dice_percent: what the paper reports, or None.
        against_first: this line minus the table's first line; None for the first line.
        ours_minus_this: EchoForge minus this system; None in tables of EchoForge alone.
    """

    row: str
    seeds: int
    patients: int
    dice_percent: float
    ci95_low: float | None
    ci95_high: float | None
    dice_percent_by_seed: tuple[float, ...] | None
    distance_unit: str | None
    hd95: float | None
    assd: float | None
    ef_method: str
    ef_r: float | None
    ef_bias: float | None
    paper_dice_percent: float | None
    against_first: Comparison | None = None
    ours_minus_this: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the line as the table's JSON file holds it: a part that it does not have is left out."""
        values: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Comparison):
                value = value.to_json()
            if value is not None or field.name not in LEFT_OUT_IF_NONE:
                values[field.name] = value
        return values


def tabulate(rows: Sequence[Row], results: Sequence[Sequence[CellResult]], protocol: str) -> list[Line]:
    """Makes one line for each row that has a finished cell.

    Dice is the mean over seeds of each patient's mean. The difference to the table's first row uses the seeds that both
    have, paired by patient and seed; p-values get Holm's correction over the rows.

    Args:
        rows: the rows of a table.
        results: the finished cells of each row.
        protocol: "semi" or "full".
    """
    lines = [_line(row, cells, protocol) for row, cells in zip(rows, results, strict=True) if cells]
    first = {cell.seed: cell.protocols[protocol].dice_percent_by_patient for cell in results[0]}
    comparisons: dict[str, Mapping[str, Any]] = {}
    for row, cells in [(row, cells) for row, cells in zip(rows, results, strict=True) if cells][1:]:
        shared = [cell for cell in cells if cell.seed in first]
        if shared:
            ours = _by_patient([cell.protocols[protocol].dice_percent_by_patient for cell in shared])
            theirs = _by_patient([first[cell.seed] for cell in shared])
            comparisons[row.label] = compare_means(ours, theirs)
    adjusted = corrected(comparisons, "p_signed_rank")
    return [
        dataclasses.replace(line, against_first=Comparison(comparisons[line.row], adjusted[line.row]))
        if line.row in comparisons
        else line
        for line in lines
    ]


def compare_systems(row: Row, cells: Sequence[CellResult], others: Mapping[str, Path]) -> dict[str, list[Line]]:
    """Makes Table 1 of one data set: EchoForge and other systems, with both tests of mean Dice by patient.

    P-values get Holm's correction over the systems.

    Args:
        row: EchoForge's row.
        cells: its finished cells.
        others: folder that `python -m echoforge_jax.evaluate` wrote, by name of the system.

    Returns:
        By protocol EchoForge's line and one for each other system.

    Raises:
        ConfigError: a folder holds no evaluation.
    """
    tables: dict[str, list[Line]] = {}
    for protocol in cells[0].protocols if cells else ():
        paper = PAPER_CAMUS_FULL if (row.data, protocol) == (CAMUS, "full") else row.paper
        ours = _by_patient([cell.protocols[protocol].dice_percent_by_patient for cell in cells])
        lines, comparisons = [], {}
        for name, folder in others.items():
            theirs = by_patient(read_frames(folder).get(protocol, []), dice_percent)
            if theirs:
                comparisons[name] = compare_means(ours, theirs)
                metrics = read_json(folder / "metrics.json")
                with named(folder / "metrics.json"):
                    summary = metrics["protocols"][protocol]
                lines.append(_line_of_system(name, summary, theirs, EF_METHOD[row.data].name))
        signed_rank, rank_sum = (corrected(comparisons, test) for test in ("p_signed_rank", "p_rank_sum"))
        tables[protocol] = [_line(dataclasses.replace(row, paper=paper), cells, protocol)] + [
            dataclasses.replace(
                line, ours_minus_this=Comparison(comparisons[line.row], signed_rank[line.row], rank_sum[line.row])
            )
            for line in lines
        ]
    return tables


def _line(row: Row, cells: Sequence[CellResult], protocol: str) -> Line:
    scores = [cell.protocols[protocol] for cell in cells]
    values = _by_patient([score.dice_percent_by_patient for score in scores])
    low, high = _interval(values)
    unit = next(iter(scores[0].distances), None)
    distances = [score.distances[unit] for score in scores if unit is not None and unit in score.distances]
    method = _ef_method(row, scores[0])
    agreements = [score.ejection_fraction[method] for score in scores if method in score.ejection_fraction]
    return Line(
        row=row.label,
        seeds=len(cells),
        patients=len(values),
        dice_percent=float(np.mean([value for by_seed in values.values() for value in by_seed])),
        ci95_low=low,
        ci95_high=high,
        dice_percent_by_seed=tuple(float(np.mean(list(score.dice_percent_by_patient.values()))) for score in scores),
        distance_unit=unit,
        hd95=_mean([distance.hd95 for distance in distances]),
        assd=_mean([distance.assd for distance in distances]),
        ef_method=method,
        ef_r=_mean([one.pearson_r for one in agreements if is_shown("pearson_r", one.n)]),
        ef_bias=_mean([agreement.bias for agreement in agreements]),
        paper_dice_percent=row.paper,
    )


def _line_of_system(name: str, summary: Mapping[str, Any], dice: Mapping[str, Sequence[float]], method: str) -> Line:
    """The line of another system, from its folder's summary and its Dice in per cent by patient."""
    unit = next((unit for unit, means in summary["distances"].items() if means["hd"]["n"]), None)
    low, high = _interval(dice)
    agreement = summary["ejection_fraction"][method]["agreement"] or {}
    return Line(
        row=name,
        seeds=1,
        patients=len(dice),
        dice_percent=float(np.mean([np.mean(values) for values in dice.values()])),
        ci95_low=low,
        ci95_high=high,
        dice_percent_by_seed=None,
        distance_unit=unit,
        hd95=summary["distances"][unit]["hd95"]["mean"] if unit else None,
        assd=summary["distances"][unit]["assd"]["mean"] if unit else None,
        ef_method=method,
        ef_r=agreement.get("pearson_r"),
        ef_bias=agreement.get("bias"),
        paper_dice_percent=None,
    )


def _interval(values: Mapping[str, Sequence[float]]) -> tuple[float, float] | tuple[None, None]:
    """The 95 % interval of the mean by bootstrap over patients; (None, None) for too few of them."""
    return bootstrap_ci(values, seed=0) if is_shown("ci95", len(values)) else (None, None)


def _ef_method(row: Row, scores: CellScores) -> str:
    """The row's own method, or the single plane's where views without a spacing have no volume."""
    methods = (EF_METHOD[row.data].name, SINGLE_PLANE_DISCS.name)
    return next((method for method in methods if method in scores.ejection_fraction), methods[0])


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are defined."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _by_patient(dice_by_cell: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Patient -> mean Dice in per cent, one value a cell."""
    values: dict[str, list[float]] = {}
    for cell in dice_by_cell:
        for patient, dice in cell.items():
            values.setdefault(patient, []).append(dice)
    return values
