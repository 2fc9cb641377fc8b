"""Curves and scatter plots of a report, as bytes of SVG (pictures of frames are in `overlays.py`).

Every function builds its own `Figure`, so nothing depends on pyplot's state or on a display, and the same input gives
the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from echoforge_jax.evaluation.limits import is_shown
from echoforge_jax.evaluation.rows import EFPairs, FrameScore
from echoforge_jax.evaluation.scores import ML, VolumeCurve
from echoforge_jax.evaluation.statistics import regression_band
from echoforge_jax.report.style import COLOURS, INK, STYLE, figure_bytes

BAND = 0.18  # opacity of the area of an interval
PHASES = ("ED", "between", "ES")
CURVES = {  # title of a panel -> key of the history -> label
    "Loss": {
        "loss": "total",
        "bce": "BCE",
        "dice_loss": "Dice",
        "unsupervised": "unsupervised",
        "reforging": "reforging",
    },
    "Validation Dice, %": {"validation_dice_percent": "validation"},
    "Pseudo-labels": {
        "lambda": "weight λ",
        "tau": "threshold τ",
        "confident_share": "confident pixels",
        "uncertain_patch_share": "uncertain patches",
    },
    "Learning rate": {"learning_rate": "learning rate"},
}


def has_learning_curves(history: Sequence[Mapping[str, Any]]) -> bool:
    """Tells whether a history (one mapping for each epoch) holds a value that `learning_curves` shows."""
    return any(_series(history, key)[0] for keys in CURVES.values() for key in keys)


def learning_curves(history: Sequence[Mapping[str, Any]], *, columns: int = 2) -> bytes:
    """Draws the curves of a training.

    Args:
        history: one mapping for each epoch; keys and values may be missing.
        columns: panels in a row.

    Returns:
        SVG with a panel for each entry of `CURVES` that has a value.

    Raises:
        ValueError: no epoch has any value.
    """
    panels: dict[str, dict[str, tuple[list, list]]] = {}
    for title, labels in CURVES.items():
        curves = {label: _series(history, key) for key, label in labels.items()}
        if any(epochs for epochs, _ in curves.values()):
            panels[title] = {label: curve for label, curve in curves.items() if curve[0]}
    if not panels:
        raise ValueError("the history holds no value: leave the learning curves out")
    with mpl.rc_context(STYLE):
        figure, axes = _figure(len(panels), columns)
        for ax, (title, curves) in zip(axes, panels.items(), strict=True):
            for label, (epochs, values) in curves.items():
                ax.plot(epochs, values, label=label, marker="o" if len(epochs) < 12 else None, markersize=3)
            ax.set(title=title, xlabel="epoch")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            if len(curves) > 1:
                ax.legend()
        return figure_bytes(figure, "svg")


def regression_and_bland_altman(
    pairs: EFPairs,
    agreement: Mapping[str, Any],
    ci95: Mapping[str, Any] | None = None,
    *,
    method: str,
    columns: int = 2,
    kind: str = "svg",
) -> bytes:
    """Draws the agreement of one EF method: prediction against reference with a least-squares line, and Bland-Altman.

    Bands are 95 % intervals by bootstrap over patients. What `limits` withholds of so few patients is not drawn.

    Args:
        pairs: ejection fractions, per cent.
        agreement: `statistics.agreement` of the pairs; None where a number is withheld.
        ci95: `statistics.agreement_ci95` of the pairs; None draws no bands around bias and limits of agreement.
        method: name of the method on the axis.
        columns: panels in a row.
        kind: "svg", "png" or "pdf".
    """
    x, y = pairs.reference, pairs.prediction
    with mpl.rc_context(STYLE):
        figure, (left, right) = _figure(2, columns, height=3.8)
        _regression(left, x, y)
        left.set(xlabel=f"reference EF, % ({method})", ylabel="predicted EF, %")
        r = agreement["pearson_r"]
        left.set_title(f"n = {len(x)}" if r is None else f"r = {_number(r, 3)}, n = {len(x)}")
        _bland_altman(right, pairs, agreement, ci95 or {})
        return figure_bytes(figure, kind)


def dice_by_phase_view(frames: Sequence[FrameScore]) -> bytes:
    """Draws Dice as box plots (median, quartiles, 5th and 95th percentile), one for each view and phase, as SVG.

    Raises:
        ValueError: there is no frame.
    """
    groups: dict[str, list[float]] = {}
    for row in sorted(frames, key=lambda row: (row.view, PHASES.index(row.phase))):
        groups.setdefault(f"{row.view or 'view ?'}\n{row.phase}", []).append(100 * row.dice)
    if not groups:
        raise ValueError("there is no row: leave the figure out")
    lines: dict[str, Any] = {key: {"color": INK} for key in ("boxprops", "whiskerprops", "capprops")}
    lines["medianprops"] = {"color": COLOURS[1], "linewidth": 2}
    lines["flierprops"] = {"marker": ".", "markersize": 4, "markeredgecolor": INK}
    with mpl.rc_context(STYLE):
        figure, (ax,) = _figure(1, 1)
        ax.boxplot(list(groups.values()), whis=(5, 95), **lines)
        ax.set_xticks(range(1, 1 + len(groups)), [f"{name}\nn = {len(values)}" for name, values in groups.items()])
        ax.set(ylabel="Dice, %")
        return figure_bytes(figure, "svg")


def volume_curves(curves: Mapping[str, VolumeCurve], *, columns: int = 2) -> bytes:
    """Draws single-plane volume through clips, one panel for each; ED and ES are marked.

    Args:
        curves: title of a panel -> curve.
        columns: panels in a row.

    Returns:
        SVG.

    Raises:
        ValueError: there is no curve.
    """
    if not curves:
        raise ValueError("there is no curve: leave the figure out")
    with mpl.rc_context(STYLE):
        figure, axes = _figure(len(curves), columns)
        for ax, (title, curve) in zip(axes, curves.items(), strict=True):
            _volume_curve(ax, curve)
            ax.set_title(title)
        axes[0].legend()
        return figure_bytes(figure, "svg")


def _volume_curve(ax: Axes, curve: VolumeCurve) -> None:
    frames = np.arange(len(curve.prediction))
    time = frames / curve.fps if curve.fps else frames
    ax.plot(time, curve.prediction, color=COLOURS[1], marker=".", label="prediction")
    ax.plot(time, curve.reference, color=COLOURS[0], marker="o", markersize=4, label="reference", linestyle="--")
    for index, name in ((curve.ed_index, "ED"), (curve.es_index, "ES")):
        if index is not None:
            ax.axvline(float(time[index]), color="#888888", linewidth=1, linestyle=":")
            ax.annotate(
                name,
                (float(time[index]), 1),
                (2, -2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                va="top",
                fontsize=8,
            )
    unit = "ml" if curve.unit == ML else "1000 px³"
    ax.set(xlabel="time, s" if curve.fps else "frame", ylabel=f"volume, {unit}")
    ax.set_ylim(bottom=0)


def _regression(ax: Axes, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> None:
    """Draws y over x with the least-squares line, its interval and the identity."""
    ends = np.array([min(x.min(), y.min()) - 4, max(x.max(), y.max()) + 4])
    ax.plot(x, y, "o", markersize=4, alpha=0.75)
    if np.ptp(x) > 0 and is_shown("regression_line", len(x)):
        slope, offset = np.polyfit(x, y, 1)
        ax.plot(ends, slope * ends + offset, color=COLOURS[1], label=f"y = {slope:.2f} x {offset:+.1f}")
        if band := regression_band(x, y, ends=ends, seed=0):
            ax.fill_between(band.x, band.low, band.high, color=COLOURS[1], alpha=BAND, linewidth=0, label="95 % CI")
    ax.plot(ends, ends, color="#888888", linestyle=":", linewidth=1, label="identity")
    ax.set(xlim=ends, ylim=ends, aspect="equal")
    ax.legend()


def _bland_altman(ax: Axes, pairs: EFPairs, agreement: Mapping[str, Any], ci95: Mapping[str, Any]) -> None:
    """Draws the differences over the means with bias and limits of agreement (Bland and Altman, 1986)."""
    x, y = pairs.reference, pairs.prediction
    ax.plot((x + y) / 2, y - x, "o", markersize=4, alpha=0.75)
    ax.axhline(0, color="#888888", linewidth=1, linestyle=":")
    for key, name, style, colour in (
        ("bias", "bias", "-", COLOURS[1]),
        ("loa_low", "-1.96 SD", "--", COLOURS[2]),
        ("loa_high", "+1.96 SD", "--", COLOURS[2]),
    ):
        if (value := agreement[key]) is not None and np.isfinite(value):
            ax.axhline(value, color=colour, linestyle=style)
            low, high = ci95.get(key) or (None, None)
            if low is not None and high is not None:
                ax.axhspan(low, high, color=colour, alpha=BAND, linewidth=0)
            ax.annotate(
                f"{name}: {value:+.1f}",
                (1, value),
                (0, 2),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                va="bottom",
                fontsize=8,
            )
    ax.set(xlabel="mean of both, %", ylabel="prediction - reference, points", title="Bland-Altman")
    ax.margins(y=0.18)


def _series(history: Sequence[Mapping], key: str) -> tuple[list, list]:
    """Returns the epochs and values of one key, without those that are missing or not finite."""
    points = [(row.get("epoch", i + 1), row.get(key)) for i, row in enumerate(history)]
    points = [(epoch, value) for epoch, value in points if value is not None and np.isfinite(value)]
    return [epoch for epoch, _ in points], [value for _, value in points]


def _figure(n_panels: int, columns: int, height: float = 3.0) -> tuple[Figure, list[Axes]]:
    """Makes a figure and its axes, `columns` in a row."""
    columns = min(columns, n_panels)
    rows = -(-n_panels // columns)
    figure = Figure(figsize=(4.4 * columns if columns > 1 else 5.0, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[n_panels:]:
        ax.set_axis_off()
    return figure, axes[:n_panels]


def _number(value: float | None, digits: int) -> str:
    return "undefined" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"
