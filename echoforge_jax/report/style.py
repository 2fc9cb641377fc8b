"""Colours and style of figures, and figures as bytes.

The colours are those of Okabe and Ito, which readers with colour blindness can tell apart; the background is
transparent.
"""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
INK, GRID = "#30343c", "#dcdfe5"
DARK = ("#56B4E9", "#E69F00", "#2FC79B", "#E6A1C8", "#d8dce3", "#454b57")
ON_DARK = dict(zip((*COLOURS, INK, GRID), DARK, strict=True))
STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.prop_cycle": cycler(color=[*COLOURS, "#999999"]),
}


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """Renders a figure; the same figure gives the same bytes.

    Args:
        figure: the figure.
        kind: "svg", "png" or "pdf".
    """
    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    metadata = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}.get(kind, {"Software": None})
    with mpl.rc_context({"svg.hashsalt": "echoforge", "svg.fonttype": "path"}):
        figure.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()


def for_light_and_dark(svg: bytes) -> bytes:
    """Gives an SVG other colours on a dark page: every colour becomes a variable that the page's mode sets."""
    text = svg.decode()
    for i, colour in enumerate(ON_DARK):
        text = text.replace(colour.lower(), f"var(--c{i})")
    light, dark = (
        "".join(f"--c{i}: {colour};" for i, colour in enumerate(colours)) for colours in (ON_DARK, ON_DARK.values())
    )
    style = f"<style>:root {{{light}}} @media (prefers-color-scheme: dark) {{:root {{{dark}}}}}</style>"
    return re.sub(r"(<svg[^>]*>)", lambda match: match[1] + style, text, count=1).encode()
