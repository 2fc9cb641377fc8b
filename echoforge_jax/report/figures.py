"""Figures of a report as bytes: SVG for curves and scatter plots, PNG for pictures.

Every function builds its own `Figure`, so nothing depends on pyplot's state or on a display, and the same input gives
the same bytes. Colours are those of Okabe and Ito, which stay apart under colour blindness; only the overlays use the
green, red and yellow that readers of segmentations expect. `dark` draws for a dark page, on a transparent ground.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from jaxtyping import Bool, Float, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from scipy import ndimage

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
DARK_COLOURS = ("#56B4E9", "#E69F00", "#2FC79B", "#E6A1C8")
REFERENCE, PREDICTION, BOTH = (0.0, 0.75, 0.25), (0.95, 0.15, 0.15), (1.0, 0.9, 0.1)
FILL, LINE = 0.28, 0.9
CURVES = (
    ("Loss", (("loss", "total"), ("bce", "BCE"), ("dice_loss", "Dice"), ("unsupervised", "unsupervised"),
              ("reforging", "reforging"))),
    ("Validation Dice, %", (("validation_dice_percent", "validation"),)),
    ("Pseudo-labels", (("lambda", "weight λ"), ("tau", "threshold τ"), ("confident_share", "confident pixels"),
                       ("uncertain_patch_share", "uncertain patches"))),
    ("Learning rate", (("learning_rate", "learning rate"),)),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Overlay:
    """One frame with both masks.

    Attributes:
        image: grey levels, (h, w).
        prediction: LV mask, (h, w).
        reference: LV mask, (h, w).
        spacing: (row, column) size of a pixel; only the ratio is used.
        caption: one line of plain text.
    """

    image: UInt8[np.ndarray, "h w"]
    prediction: Bool[np.ndarray, "h w"]
    reference: Bool[np.ndarray, "h w"]
    spacing: tuple[float, float]
    caption: str


def overlay_rgb(overlay: Overlay, height: int = 360) -> Float[np.ndarray, "h w 3"]:
    """The frame in true proportions, 0..1, about `height` rows high: only reference green, only prediction red, both
    yellow; a light fill and full outlines."""
    rows, columns = overlay.image.shape
    zoom = height / rows, height / rows * overlay.spacing[1] / overlay.spacing[0]
    size = max(1, round(rows * zoom[0])), max(1, round(columns * zoom[1]))
    rgb = np.repeat(_resize(overlay.image / 255.0, size, order=1)[:, :, None], 3, axis=2)
    masks = [_resize(mask.astype(np.float64), size, order=1) > 0.5 for mask in (overlay.prediction, overlay.reference)]
    edges = [mask & (ndimage.binary_erosion(mask, iterations=2) == 0) for mask in masks]
    for alpha, (prediction, reference) in ((FILL, masks), (LINE, edges)):
        for where, colour in (
            (prediction & ~reference, PREDICTION), (reference & ~prediction, REFERENCE), (prediction & reference, BOTH)
        ):  # fmt: skip
            rgb[where] = (1 - alpha) * rgb[where] + alpha * np.array(colour)
    return np.clip(rgb, 0, 1)


def overlay_png(overlay: Overlay, height: int = 360) -> bytes:
    """`overlay_rgb` as a bare PNG."""
    rgb = overlay_rgb(overlay, height)
    figure = Figure(figsize=(rgb.shape[1] / 100, rgb.shape[0] / 100), dpi=100)
    figure.figimage(rgb)
    return _bytes(figure, "png")


def overlay_grid(overlays: Sequence[Overlay], columns: int = 4) -> bytes:
    """PNG of all overlays in rows of `columns`, with captions and a key.

    Raises:
        ValueError: there is no overlay, or columns is not positive.
    """
    if not overlays or columns < 1:
        raise ValueError(f"{len(overlays)} overlays in {columns} columns: expected at least one of each")
    columns = min(columns, len(overlays))
    rows = -(-len(overlays) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.7 * rows + 0.5), dpi=100, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, overlay in zip(axes.flat, overlays, strict=False):
        ax.imshow(overlay_rgb(overlay), interpolation="antialiased")
        ax.set_title(overlay.caption, fontsize=9, wrap=True)
    names = (("reference only", REFERENCE), ("prediction only", PREDICTION), ("both", BOTH))
    keys = [Patch(color=colour, label=name) for name, colour in names]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return _bytes(figure, "png")


def learning_curves(history: Sequence[Mapping[str, Any]], *, dark: bool = False, columns: int = 2) -> bytes:
    """SVG of the curves that `history` (one mapping an epoch) has values for; keys and values may be missing.

    Raises:
        ValueError: no epoch has any value.
    """
    panels = []
    for title, series in CURVES:
        found = [(label, *_series(history, key)) for key, label in series]
        if found := [item for item in found if len(item[1])]:
            panels.append((title, found))
    if not panels:
        raise ValueError("the history holds no value: leave the learning curves out")
    with mpl.rc_context(_style(dark)):
        figure, axes = _figure(len(panels), columns)
        for ax, (title, found) in zip(axes, panels, strict=True):
            for label, epochs, values in found:
                ax.plot(epochs, values, label=label, marker="o" if len(epochs) < 12 else None, markersize=3)
            ax.set(title=title, xlabel="epoch")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            if len(found) > 1:
                ax.legend()
        return _bytes(figure, "svg")


def regression_and_bland_altman(
    prediction_percent: Float[np.ndarray, " n"],
    reference_percent: Float[np.ndarray, " n"],
    agreement: Mapping[str, Any],
    *,
    method: str,
    dark: bool = False,
    columns: int = 2,
) -> bytes:
    """SVG of EF by one method: prediction against reference with the least-squares line, and Bland-Altman.

    `agreement` is that of `statistics.agreement` for the same values. EF in per cent.
    """
    x, y = np.asarray(reference_percent, np.float64), np.asarray(prediction_percent, np.float64)
    with mpl.rc_context(_style(dark)):
        figure, (left, right) = _figure(2, columns, height=3.8)
        _regression(left, x, y)
        left.set(xlabel=f"reference EF, % ({method})", ylabel="predicted EF, %")
        left.set_title(f"r = {_number(agreement['pearson_r'], 3)}, n = {len(x)}")
        _bland_altman(right, x, y, agreement, _palette(dark))
        return _bytes(figure, "svg")


def dice_by_phase_view(frame_rows: Sequence[Mapping], *, dark: bool = False) -> bytes:
    """SVG of Dice, per cent, as box plots (median, quartiles, 5th and 95th percentile) for each view and phase.

    Raises:
        ValueError: there is no row.
    """
    groups: dict[str, list[float]] = {}
    for row in sorted(frame_rows, key=lambda r: (r["view"], ("ED", "between", "ES").index(r["phase"]))):
        groups.setdefault(f"{row['view'] or 'view ?'}\n{row['phase']}", []).append(100 * row["dice"])
    if not groups:
        raise ValueError("there is no row: leave the figure out")
    ink = _style(dark)["text.color"]
    lines: dict[str, Any] = {key: {"color": ink} for key in ("boxprops", "whiskerprops", "capprops")}
    lines["medianprops"] = {"color": _palette(dark)[1], "linewidth": 2}
    lines["flierprops"] = {"marker": ".", "markersize": 4, "markeredgecolor": ink}
    with mpl.rc_context(_style(dark)):
        figure, (ax,) = _figure(1, 1)
        ax.boxplot(list(groups.values()), whis=(5, 95), **lines)
        ax.set_xticks(range(1, 1 + len(groups)), [f"{name}\nn = {len(values)}" for name, values in groups.items()])
        ax.set(ylabel="Dice, %")
        return _bytes(figure, "svg")


def _regression(ax: Axes, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> None:
    ends = np.array([min(x.min(), y.min()) - 4, max(x.max(), y.max()) + 4])
    ax.plot(x, y, "o", markersize=4, alpha=0.75)
    if np.ptp(x) > 0:
        slope, offset = np.polyfit(x, y, 1)
        ax.plot(ends, slope * ends + offset, label=f"y = {slope:.2f} x {offset:+.1f}")
    ax.plot(ends, ends, color="#888888", linestyle=":", linewidth=1, label="identity")
    ax.set(xlim=ends, ylim=ends, aspect="equal")
    ax.legend()


def _bland_altman(
    ax: Axes,
    x: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    agreement: Mapping[str, Any],
    palette: Sequence[str],
) -> None:
    ax.plot((x + y) / 2, y - x, "o", markersize=4, alpha=0.75)
    ax.axhline(0, color="#888888", linewidth=1, linestyle=":")
    for key, name, style, colour in (
        ("bias", "bias", "-", palette[1]),
        ("loa_low", "-1.96 SD", "--", palette[2]),
        ("loa_high", "+1.96 SD", "--", palette[2]),
    ):
        if (value := agreement[key]) is not None and np.isfinite(value):
            ax.axhline(value, color=colour, linestyle=style)
            ax.annotate(
                f"{name}: {value:+.1f}", (1, value), (0, 2), xycoords=("axes fraction", "data"),
                textcoords="offset points", ha="right", va="bottom", fontsize=8,
            )  # fmt: skip
    ax.set(xlabel="mean of both, %", ylabel="prediction - reference, points", title="Bland-Altman")
    ax.margins(y=0.18)


def _series(history: Sequence[Mapping], key: str) -> tuple[list, list]:
    """Epochs and values of one key, without those that are missing or not finite."""
    points = [(row.get("epoch", i + 1), row.get(key)) for i, row in enumerate(history)]
    points = [(epoch, value) for epoch, value in points if value is not None and np.isfinite(value)]
    return [epoch for epoch, _ in points], [value for _, value in points]


def _palette(dark: bool) -> Sequence[str]:
    return DARK_COLOURS if dark else COLOURS


def _style(dark: bool) -> dict:
    """Settings under which a whole figure is drawn."""
    ink, grid = ("#d8dce3", "#454b57") if dark else ("#30343c", "#dcdfe5")
    names = "axes.edgecolor axes.labelcolor axes.titlecolor text.color xtick.color ytick.color"
    return {
        **dict.fromkeys(names.split(), ink), "grid.color": grid, "axes.grid": True, "axes.axisbelow": True,
        "axes.facecolor": "none", "figure.facecolor": "none", "savefig.facecolor": "none",
        "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "axes.labelsize": 9,
        "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8, "legend.frameon": False,
        "axes.prop_cycle": cycler(color=[*_palette(dark), "#999999"]),
    }  # fmt: skip


def _figure(n_panels: int, columns: int, height: float = 3.0) -> tuple[Figure, list[Axes]]:
    """A figure and n axes in rows of `columns`."""
    columns = min(columns, n_panels)
    rows = -(-n_panels // columns)
    figure = Figure(figsize=(4.4 * columns if columns > 1 else 5.0, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[n_panels:]:
        ax.set_axis_off()
    return figure, axes[:n_panels]


def _resize(image: Float[np.ndarray, "h w"], size: tuple[int, int], order: int) -> Float[np.ndarray, "H W"]:
    zoom = size[0] / image.shape[0], size[1] / image.shape[1]
    return np.asarray(ndimage.zoom(image, zoom, order=order, mode="nearest", grid_mode=True))


def _number(value: float | None, digits: int) -> str:
    return "undefined" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _bytes(figure: Figure, kind: str) -> bytes:
    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": "echoforge", "svg.fonttype": "path"}):
        figure.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()
