"""Figs. 1d and 4 to 8 and the curve over labelled patients, from finished cells, as SVG and PNG.

Plots of numbers lie beside the tables. Pictures of frames (`pictures.py`) lie with the runs, because the frames of real
data sets may not be passed on with this repository.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from echoforge_jax.errors import ConfigError
from echoforge_jax.evaluation.limits import withhold
from echoforge_jax.evaluation.rows import ef_pairs
from echoforge_jax.evaluation.statistics import agreement, agreement_ci95
from echoforge_jax.report.figures import regression_and_bland_altman
from echoforge_jax.report.folder import read_patients
from echoforge_jax.report.style import COLOURS, STYLE, figure_bytes
from echoforge_jax.reproduction.pictures import by_difficulty, failures, feature_maps
from echoforge_jax.reproduction.reading import named, read_json
from echoforge_jax.reproduction.rows import CAMUS, EF_METHOD, FULL, TABLES
from echoforge_jax.reproduction.speed import read_table2
from echoforge_jax.reproduction.study import Cell, Study

FIGURES = {  # and the table whose cells each figure needs
    "fig1d": "table3",
    "fig4": "table1",
    "fig5": "table3",
    "fig6": "table3",
    "fig7": "fig7",
    "fig8": "table1",
    "labels": "labels",
    "few_labels": "few_labels",
}
LineOfTable = Mapping[str, Any]  # a line of a table's JSON file


def draw(study: Study, name: str, seed: int) -> list[Path]:
    """Writes one figure as SVG and PNG.

    Args:
        study: the study whose cells are drawn.
        name: name of the figure in `FIGURES`.
        seed: the seed whose cells are drawn; curves show the means over all seeds.

    Returns:
        The files.

    Raises:
        ConfigError: a cell is not finished, or its predictions are needed and its folder is lost.
    """
    plots = {
        "fig1d": _accuracy_and_speed,
        "fig4": _ejection_fraction,
        "fig7": _over_neighbours,
        "labels": functools.partial(_over_labels, "labels"),
        "few_labels": functools.partial(_over_labels, "few_labels"),
    }
    pictures = {"fig5": by_difficulty, "fig6": feature_maps, "fig8": failures}
    if name in plots:
        figures, folder = plots[name](study, seed), study.results
    else:
        figures, folder = pictures[name](study, seed), study.work / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for stem, figure in figures.items():
        for kind in ("svg", "png"):
            content = figure[kind] if isinstance(figure, dict) else figure_bytes(figure, kind)
            files.append(folder / f"{stem}.{kind}")
            files[-1].write_bytes(content)
    return files


def _accuracy_and_speed(study: Study, seed: int) -> dict[str, Figure]:
    """Fig. 1d: mDice against frames per second; the area of a point grows with the parameters."""
    lines = {line["row"]: line for line in _read_table(study, "table3")}
    speeds = read_table2(study)
    if not speeds:
        raise ConfigError(f"{study.results} holds no table2.json; run `scripts/reproduce.py table2` first")
    figure, axes = _axes(5.4, 3.8)
    devices = list(dict.fromkeys(speed.device for speed in speeds))
    for colour, device in zip(COLOURS, devices, strict=False):
        for speed in (speed for speed in speeds if speed.device == device):
            labels = ["+ TSF + ARC", "+ TSF + ARC + CPR"] if "EchoForge" in speed.row else [speed.row]
            for label in (label for label in labels if label in lines):
                line = lines[label]
                x, y = speed.frames_per_s, line["dice_percent"]
                low, high = (y if line[end] is None else line[end] for end in ("ci95_low", "ci95_high"))
                axes.errorbar(x, y, yerr=[[y - low], [high - y]], color=colour, capsize=3, alpha=0.6)
                axes.scatter(x, y, s=25 + 60 * speed.parameters_m**0.5, color=colour, zorder=3)
                axes.annotate(label, (x, y), (7, 4), textcoords="offset points", fontsize=8)
    axes.margins(x=0.35)
    axes.set(xlabel=f"frames a second ({', '.join(devices)})", ylabel="mDice, % (ED and ES, 95 % CI by patient)")
    axes.set_title(_title(study, "accuracy and speed"))
    return {"fig1d": figure}


def _ejection_fraction(study: Study, seed: int) -> dict[str, dict[str, bytes]]:
    """Fig. 4: regression and Bland-Altman of the ejection fraction, one figure for each data set."""
    figures = {}
    for row in (row for row in TABLES[FIGURES["fig4"]] if row.data in study.bases):
        method = EF_METHOD[row.data]
        pairs = ef_pairs(read_patients(study.trained_folder(Cell.from_row(row, seed)))["semi"], method)
        measured = withhold(agreement(pairs.prediction, pairs.reference), len(pairs))
        ci95 = withhold(agreement_ci95(pairs.prediction, pairs.reference, seed=0), len(pairs), intervals=True)
        figures[f"fig4_{row.data}"] = {
            kind: regression_and_bland_altman(pairs, measured, ci95, method=method.label, kind=kind)
            for kind in ("svg", "png")
        }
    return figures


def _over_neighbours(study: Study, seed: int) -> dict[str, Figure]:
    """Fig. 7: mDice over K."""
    lines = _read_table(study, "fig7")
    figure, axes = _axes(4.8, 3.4)
    _curve(axes, lines, [int(line["row"].split()[-1]) for line in lines], colour=COLOURS[0], name="EchoForge")
    axes.set_xscale("log", base=2)
    axes.set(xlabel="K, nearest neighbours of an anchor", ylabel="mDice, % (ED and ES)")
    axes.set_title(_title(study, "K"))
    return {"fig7": figure}


def _over_labels(table: str, study: Study, seed: int) -> dict[str, Figure]:
    """mDice over the share of training patients whose labels are used, one curve for each method."""
    lines = _read_table(study, table)
    figure, axes = _axes(5.2, 3.6)
    methods = dict.fromkeys(line["row"].rpartition(",")[0] for line in lines)
    for colour, method in zip(COLOURS, methods, strict=False):
        curve = [line for line in lines if line["row"].startswith(f"{method},")]
        shares = [float(line["row"].split(",")[1].strip(" %")) for line in curve]
        _curve(axes, curve, shares, colour=colour, name=method)
    axes.set_xscale("log")
    axes.set_xticks([5, 10, 25, 50, 100], ["5", "10", "25", "50", "100"])
    axes.set(xlabel="labelled training patients, %", ylabel="mDice, % (ED and ES)")
    axes.set_title(_title(study, "few labels"))
    axes.legend()
    return {table: figure}


def _curve(axes: Axes, lines: Sequence[LineOfTable], x: Sequence[float | int], *, colour: str, name: str) -> None:
    axes.plot(x, [line["dice_percent"] for line in lines], marker="o", color=colour, label=name)
    low, high = (
        [line["dice_percent"] if line[end] is None else line[end] for line in lines]
        for end in ("ci95_low", "ci95_high")  # of too few patients there is no interval
    )
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def _read_table(study: Study, name: str) -> list[LineOfTable]:
    """The lines of a written table under the protocol "semi"."""
    file = study.results / f"{name}.json"
    if not file.is_file():
        raise ConfigError(f"{file} is missing; no cell of {name} is finished")
    content = read_json(file)
    with named(file):
        return content["semi"]


def _title(study: Study, what: str) -> str:
    cell = study.read(Cell(FULL, 0, CAMUS))
    return f"{what}, scale {study.scale}{', SIMULATED clips' if cell and cell.simulated else ''}"


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        return figure, figure.subplots()
