"""Figs. 1d and 4 to 8 and the curve over labelled patients, from finished cells, as SVG and PNG.

Plots of numbers lie beside the tables; pictures of frames (`pictures.py`) lie with the runs, for the frames of real
data sets may not be passed on with this repository.
"""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from echoforge_jax.errors import ConfigError
from echoforge_jax.evaluation.statistics import agreement, agreement_ci95
from echoforge_jax.report.figures import COLOURS, STYLE, figure_bytes, regression_and_bland_altman
from echoforge_jax.report.html import METHOD_NAMES
from echoforge_jax.reproduction.pictures import by_difficulty, failures, feature_maps, folder_of
from echoforge_jax.reproduction.study import CAMUS, Cell, Study
from echoforge_jax.reproduction.tables import EF_METHOD, FULL, TABLES, Row

FIGURES = {  # and the table whose cells each needs
    "fig1d": "table3",
    "fig4": "table1",
    "fig5": "table3",
    "fig6": "table3",
    "fig7": "fig7",
    "fig8": "table1",
    "labels": "labels",
    "few_labels": "few_labels",
}


def draw(study: Study, name: str, seed: int) -> list[Path]:
    """Writes one figure; returns its files.

    Raises:
        ConfigError: a cell is not finished, or its predictions are needed and its folder is lost.
    """
    plots = {
        "fig1d": _accuracy_and_speed,
        "fig4": _ejection_fraction,
        "fig7": _over_neighbours,
        **{table: functools.partial(_over_labels, table) for table in ("labels", "few_labels")},
    }
    if name in plots:
        found, folder = plots[name](study, seed), study.results
    else:
        pictures = {"fig5": by_difficulty, "fig6": feature_maps, "fig8": failures}
        found, folder = pictures[name](study, seed), study.work / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for stem, figure in found.items():
        for kind in ("svg", "png"):
            content = figure[kind] if isinstance(figure, dict) else figure_bytes(figure, kind)
            files.append(folder / f"{stem}.{kind}")
            files[-1].write_bytes(content)
    return files


def _accuracy_and_speed(study: Study, seed: int) -> dict[str, Figure]:
    """Fig. 1d: mDice against frames a second, the area of a point by parameters."""
    lines = {line["row"]: line for line in _table(study, "table3")}
    if not (study.results / "table2.json").is_file():
        raise ConfigError(f"{study.results} holds no table2.json; run `scripts/reproduce.py table2` first")
    speeds = json.loads((study.results / "table2.json").read_text(encoding="utf-8"))
    figure, ax = _axes(5.4, 3.8)
    for colour, device in zip(COLOURS, dict.fromkeys(line["device"] for line in speeds), strict=False):
        for speed in (line for line in speeds if line["device"] == device):
            rows = ["+ TSF + ARC", "+ TSF + ARC + CPR"] if "EchoForge" in speed["row"] else [speed["row"]]
            for row in (row for row in rows if row in lines):
                line = lines[row]
                x, y = speed["frames_per_s"], line["dice_percent"]
                error = [[y - line["ci95_low"]], [line["ci95_high"] - y]]
                ax.errorbar(x, y, yerr=error, color=colour, capsize=3, alpha=0.6)
                ax.scatter(x, y, s=25 + 60 * speed["parameters_m"] ** 0.5, color=colour, zorder=3)
                ax.annotate(row, (x, y), (7, 4), textcoords="offset points", fontsize=8)
    ax.margins(x=0.35)
    devices = ", ".join(dict.fromkeys(line["device"] for line in speeds))
    ax.set(xlabel=f"frames a second ({devices})", ylabel="mDice, % (ED and ES, 95 % CI by patient)")
    ax.set_title(_title(study, "accuracy and speed"))
    return {"fig1d": figure}


def _ejection_fraction(study: Study, seed: int) -> dict[str, dict[str, bytes]]:
    """Fig. 4: regression and Bland-Altman of the ejection fraction, a figure a data set."""
    found = {}
    for row in _of_bases(study, "fig4"):
        method = EF_METHOD[row.data]
        with (folder_of(study, Cell(row.changes, seed, row.data)) / "per_patient.csv").open(encoding="utf-8") as stream:
            rows = [one for one in csv.DictReader(stream) if one["protocol"] == "semi"]
        sides = [f"{method}_{side}_ef_percent" for side in ("prediction", "reference")]
        pairs = [[float(one[side]) for side in sides] for one in rows if one[sides[0]] and one[sides[1]]]
        x, y = np.array(pairs, np.float64).reshape(-1, 2).T
        options: dict[str, Any] = {"method": METHOD_NAMES[method]}
        numbers = agreement(x, y), agreement_ci95(x, y, seed=0)
        found[f"fig4_{row.data}"] = {
            kind: regression_and_bland_altman(x, y, *numbers, kind=kind, **options) for kind in ("svg", "png")
        }
    return found


def _over_neighbours(study: Study, seed: int) -> dict[str, Figure]:
    """Fig. 7: mDice over K."""
    lines = _table(study, "fig7")
    figure, ax = _axes(4.8, 3.4)
    _curve(ax, [int(line["row"].split()[-1]) for line in lines], lines, COLOURS[0], "EchoForge")
    ax.set_xscale("log", base=2)
    ax.set(xlabel="K, nearest neighbours of an anchor", ylabel="mDice, % (ED and ES)")
    ax.set_title(_title(study, "K"))
    return {"fig7": figure}


def _over_labels(table: str, study: Study, seed: int) -> dict[str, Figure]:
    """mDice over the share of training patients whose labels are used, a curve a method."""
    lines = _table(study, table)
    figure, ax = _axes(5.2, 3.6)
    for colour, name in zip(COLOURS, dict.fromkeys(line["row"].rpartition(",")[0] for line in lines), strict=False):
        of_name = [line for line in lines if line["row"].startswith(f"{name},")]
        shares = [float(line["row"].split(",")[1].strip(" %")) for line in of_name]
        _curve(ax, shares, of_name, colour, name)
    ax.set_xscale("log")
    ax.set_xticks([5, 10, 25, 50, 100], ["5", "10", "25", "50", "100"])
    ax.set(xlabel="labelled training patients, %", ylabel="mDice, % (ED and ES)")
    ax.set_title(_title(study, "few labels"))
    ax.legend()
    return {table: figure}


def _curve(ax: Axes, x: Sequence[float | int], lines: Sequence[Mapping[str, Any]], colour: str, name: str) -> None:
    ax.plot(x, [line["dice_percent"] for line in lines], marker="o", color=colour, label=name)
    low, high = ([line[key] for line in lines] for key in ("ci95_low", "ci95_high"))
    ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def _table(study: Study, name: str) -> list[dict[str, Any]]:
    """The lines of a written table under the protocol "semi"."""
    file = study.results / f"{name}.json"
    if not file.is_file():
        raise ConfigError(f"{file} is missing; no cell of {name} is finished")
    return json.loads(file.read_text(encoding="utf-8"))["semi"]


def _of_bases(study: Study, figure: str) -> list[Row]:
    return [row for row in TABLES[FIGURES[figure]] if row.data in study.bases]


def _title(study: Study, what: str) -> str:
    cell = study.load(Cell(FULL, 0, CAMUS))
    return f"{what}, scale {study.scale}{', SIMULATED clips' if cell and cell['simulated'] else ''}"


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        return figure, figure.subplots()
