"""The report of an evaluation as one HTML file that needs nothing from anywhere.

Pictures are data URIs, the style and the script are inside the file, and its content security policy forbids every
request: it can be mailed, archived and opened without a network.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from data_pipelines.files import write_atomically
from echoforge_jax.evaluation.ejection_fraction import EF_METHODS
from echoforge_jax.evaluation.limits import FEWEST
from echoforge_jax.evaluation.rows import DISTANCES, ef_pairs
from echoforge_jax.evaluation.summary import ProtocolScores
from echoforge_jax.report import figures
from echoforge_jax.report.content import Evaluation
from echoforge_jax.report.overlays import Overlay, animation_webp, overlay_png
from echoforge_jax.report.patient_table import patient_table
from echoforge_jax.report.published import compare_with_paper
from echoforge_jax.report.records_section import every_warning, left_out, note_lines
from echoforge_jax.report.selection import Animation
from echoforge_jax.report.style import for_light_and_dark

PACKAGE, TEMPLATE, SCRIPT = "echoforge_jax.report", "template.html", "sort.js"
PER_GROUP = 3  # overlays in each of the groups worst, median, best
UNDEFINED = "\N{EN DASH}"
MEASURES = {"dice_percent": "Dice, points"}


def write_report(path: Path, evaluation: Evaluation, *, title: str) -> None:
    """Writes the report; the file appears whole or not at all.

    Args:
        path: the HTML file; its folder is made if it does not exist.
        evaluation: what the evaluation found.
        title: heading of the page.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("echoforge_jax", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, signed=_signed, interval=_interval, n_of=_n_of)
    script = (resources.files(PACKAGE) / SCRIPT).read_text(encoding="utf-8")
    summaries = [scores.summary for scores in evaluation.protocols.values()]
    history, pictures = evaluation.history, evaluation.pictures
    page = environment.get_template(TEMPLATE).render(
        title=title,
        simulated=evaluation.simulated,
        protocols={name: _protocol(scores, evaluation) for name, scores in evaluation.protocols.items()},
        distances=DISTANCES,
        comparisons=evaluation.comparisons,
        measures=MEASURES,
        methods={method.name: method.label for method in EF_METHODS},
        definitions=summaries[0]["definitions"] if summaries else {},
        curves=_wide_and_narrow(figures.learning_curves, history) if figures.has_learning_curves(history) else None,
        n_epochs=len(history),
        gallery=_gallery(pictures.overlays),
        animations=[_animation(animation) for animation in pictures.animations],
        volumes=_wide_and_narrow(figures.volume_curves, pictures.curves) if pictures.curves else None,
        fewest=FEWEST,
        skipped=left_out(evaluation.skipped),
        notes=note_lines(evaluation.notes),
        warnings=every_warning(evaluation.notes),
        card=evaluation.card,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode())


def _protocol(scores: ProtocolScores, evaluation: Evaluation) -> dict[str, Any]:
    """Prepares what the template shows of one protocol."""
    data_set = evaluation.card.get("data set", "")
    return {
        "summary": scores.summary,
        "paper": compare_with_paper(scores.summary, data_set=data_set, simulated=evaluation.simulated),
        "box_plot": {"wide": _svg_uri(figures.dice_by_phase_view(scores.frames))} if scores.frames else None,
        "ef_figures": _ef_figures(scores),
        "patients": patient_table(scores.frames, scores.patients),
    }


def _ef_figures(scores: ProtocolScores) -> dict[str, dict[str, str]]:
    """Draws the agreement of every method that measured a patient on both sides: name of the method -> pictures."""
    pictures = {}
    for method in EF_METHODS:
        summary, pairs = scores.summary["ejection_fraction"][method.name], ef_pairs(scores.patients, method)
        if len(pairs):
            pictures[method.name] = _wide_and_narrow(
                figures.regression_and_bland_altman,
                pairs,
                summary["agreement"],
                summary["agreement_ci95"],
                method=method.label,
            )
    return pictures


def _gallery(overlays: Sequence[Overlay]) -> list[dict[str, Any]]:
    """Groups pictures by Dice, the worst first; a few pictures are one group."""
    ranked = sorted(overlays, key=lambda overlay: overlay.dice_percent)
    middle = max((len(ranked) - PER_GROUP) // 2, 0)
    groups = (
        {"Worst": ranked[:PER_GROUP], "Median": ranked[middle : middle + PER_GROUP], "Best": ranked[-PER_GROUP:]}
        if len(ranked) > 3 * PER_GROUP
        else {"All picked": ranked}
    )
    return [
        {"name": name, "pictures": [_gallery_picture(overlay) for overlay in group]}
        for name, group in groups.items()
        if group
    ]


def _gallery_picture(overlay: Overlay) -> dict[str, Any]:
    return {
        "source": _data_uri(overlay_png(overlay), "image/png"),
        "caption": overlay.caption,
        "remarks": "; ".join(overlay.remarks),
        "dice_percent": overlay.dice_percent,
    }


def _animation(animation: Animation) -> dict[str, str]:
    return {
        "moving": _data_uri(animation_webp(animation.frames), "image/webp"),
        "still": _data_uri(overlay_png(animation.frames[0], height=240), "image/png"),
        "caption": animation.caption,
        "remarks": "; ".join(animation.remarks),
    }


def _wide_and_narrow(draw: Callable[..., bytes], *arguments: Any, **options: Any) -> dict[str, str]:
    """Draws a figure of several panels for wide pages (two columns) and for narrow ones (one column)."""
    return {
        width: _svg_uri(draw(*arguments, columns=columns, **options)) for width, columns in (("wide", 2), ("narrow", 1))
    }


def _svg_uri(svg: bytes) -> str:
    return _data_uri(for_light_and_dark(svg), "image/svg+xml")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _number(value: float | int | None, digits: int = 2) -> str:
    return UNDEFINED if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _signed(value: float | int | None, digits: int = 2) -> str:
    return UNDEFINED if value is None or not np.isfinite(value) else f"{value:+.{digits}f}"


def _interval(ends: Sequence[float | None] | None, digits: int = 2) -> str:
    return UNDEFINED if ends is None or None in ends else f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


def _n_of(count: int, total: int) -> str:
    return str(total) if count == total else f"{count} of {total}"
