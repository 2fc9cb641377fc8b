"""Figs. 5, 6 and 8: frames of the test split as finished cells draw and see them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from data_pipelines.preprocessing import resize_frames, to_native
from data_pipelines.records import Clip
from data_pipelines.sampling import ed_to_es
from data_pipelines.source import load_split
from echoforge_jax.errors import ConfigError
from echoforge_jax.evaluation.evaluator import score_clip
from echoforge_jax.evaluation.overlap import dice
from echoforge_jax.inference import Predictor
from echoforge_jax.report.overlays import BOTH, PREDICTION, REFERENCE, overlay_rgb
from echoforge_jax.report.selection import Case, overlay
from echoforge_jax.reproduction.study import Cell, Study
from echoforge_jax.reproduction.tables import TABLES
from echoforge_jax.scoring import protocol_clip, scored_frames
from echoforge_jax.training.data import source_of

DIFFICULTIES = ("hard", "middling", "easy")
FAILURES = 6
MAP_COLOURS = "cividis"  # even for the colour-blind
WHOLE = "+ TSF + ARC + CPR"


def by_difficulty(study: Study, seed: int) -> dict[str, Figure]:
    """Fig. 5: hard, middling and easy ED and ES frames, as each row of Table 3 draws them."""
    models = _models(study, seed)
    frames = _hard_to_easy(models[WHOLE][1])
    figure = Figure(figsize=(2.3 * (1 + len(models)), 2.1 * len(frames) + 0.6), dpi=150, layout="constrained")
    axes = figure.subplots(len(frames), 1 + len(models), squeeze=False)
    for row, (difficulty, (index, t)) in zip(axes, frames, strict=True):
        for column, (label, (_, cases)) in enumerate(models.items(), start=1):
            picture = overlay(cases[index], t)
            _show(
                row[column],
                overlay_rgb(picture),
                f"{label}\nDice {100 * dice(picture.prediction, picture.reference):.1f} %",
            )
        clip = models[WHOLE][1][index][0]
        _show(row[0], _bare(clip, t), f"{difficulty}: {clip.patient_id}\n{_frame_name(clip, t)}")
    _key(figure)
    return {"fig5": figure}


def feature_maps(study: Study, seed: int) -> dict[str, Figure]:
    """Fig. 6: features before the logits of each row of Table 3, and X before and after ARC."""
    models = _models(study, seed)
    frames = _hard_to_easy(models[WHOLE][1])
    figure = Figure(figsize=(2.2 * (2 + len(models)), 2.1 * len(frames) + 0.4), dpi=150, layout="constrained")
    arc = Figure(figsize=(2.4 * 4, 2.1 * len(frames) + 0.4), dpi=150, layout="constrained")
    viewers = {label: _viewer(predictor) for label, (predictor, _) in models.items()}
    axes, arc_axes = figure.subplots(len(frames), 2 + len(models), squeeze=False), arc.subplots(len(frames), 4)
    for row, arc_row, (difficulty, (index, t)) in zip(axes, arc_axes, frames, strict=True):
        clip = models[WHOLE][1][index][0]
        aspect = _aspect(clip)
        _show(row[0], _bare(clip, t), f"{difficulty}: {clip.patient_id}\n{_frame_name(clip, t)}")
        _show(row[1], overlay_rgb(overlay((clip, np.zeros_like(clip.label_map)), t)), "reference")
        seen = {label: look(clip.frames) for label, look in viewers.items()}
        for column, (label, maps) in enumerate(seen.items(), start=2):
            _map(row[column], _component(maps.features[t][None])[0], label, aspect)
        before, after = seen[WHOLE].before, seen[WHOLE].after
        assert before is not None and after is not None
        pair = _component(np.stack([before[t], after[t]]))
        change = np.linalg.norm(after[t] - before[t], axis=-1)
        _show(arc_row[0], _bare(clip, t), f"{difficulty}: {clip.patient_id}")
        limits = float(pair.min()), float(pair.max())
        for ax, values, title in ((arc_row[1], pair[0], "X before ARC"), (arc_row[2], pair[1], "X after ARC")):
            _map(ax, values, title, aspect, limits)
        _map(arc_row[3], change, f"change; {100 * (change > 0).mean():.0f} % of cells", aspect)
    return {"fig6": figure, "fig6_arc": arc}


def failures(study: Study, seed: int) -> dict[str, Figure]:
    """Fig. 8: the ED and ES frames of lowest Dice, with what is wrong and what made it hard; a figure a data set."""
    found = {}
    for row in (row for row in TABLES["table1"] if row.data in study.bases):
        _, cases = _cases(study, Cell(row.changes, seed, row.data))
        ranked = [(index, t) for _, index, t in _ranked(cases)][:FAILURES]
        figure = Figure(figsize=(3.1 * 3, 3.7 * -(-len(ranked) // 3) + 0.4), dpi=150, layout="constrained")
        axes = figure.subplots(-(-len(ranked) // 3), 3, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        for ax, (index, t) in zip(axes.flat, ranked, strict=False):
            picture = overlay(cases[index], t, explain=True)
            clip = cases[index][0]
            score = 100 * dice(picture.prediction, picture.reference)
            _show(ax, overlay_rgb(picture), f"{clip.patient_id} {_frame_name(clip, t)}, Dice {score:.1f} %")
            reasons = "\n".join(picture.remarks) or "nothing stands out"
            ax.text(0.5, -0.03, reasons, transform=ax.transAxes, ha="center", va="top", fontsize=7)
        _key(figure)
        found[f"fig8_{row.data}"] = figure
    return found


class Seen(NamedTuple):
    """Feature maps of one clip: F, and X before and after ARC (None without ARC)."""

    features: Float[np.ndarray, "t h w c"]
    before: Float[np.ndarray, "t i j c"] | None
    after: Float[np.ndarray, "t i j c"] | None


def _models(study: Study, seed: int) -> dict[str, tuple[Predictor, list[Case]]]:
    return {row.label: _cases(study, Cell(row.changes, seed, row.data)) for row in TABLES["table3"]}


def _cases(study: Study, cell: Cell) -> tuple[Predictor, list[Case]]:
    """A finished cell's network and the clips of its test split (protocol "semi") with its masks."""
    predictor, config, _ = Predictor.load(folder_of(study, cell) / "inference")
    split = (study.load(cell) or {}).get("split", "test")
    whole, _ = load_split(source_of(config), split, ed_to_es, threads=config.data.workers)
    clips = [protocol_clip(clip, "semi", config.data.frames) for clip in whole]
    found = predictor.each((clip.frames for clip in clips), config.evaluation.batch_clips)
    masks = [to_native(p, frames.shape[1:], predictor.threshold) for frames, p in found]
    return predictor, list(zip(clips, masks, strict=True))


def _ranked(cases: list[Case]) -> list[tuple[float, int, int]]:
    """(Dice, case, frame) of every scored frame, the lowest first."""
    return sorted(
        (row["dice"], index, row["frame"])
        for index, (clip, mask) in enumerate(cases)
        for row in score_clip(clip, mask, scored_frames(clip, "semi"))
    )


def _hard_to_easy(cases: list[Case]) -> list[tuple[str, tuple[int, int]]]:
    """A hard, a middling and an easy frame: the 5th, 50th and 95th percentile of Dice."""
    ranked = _ranked(cases)
    places = (round(share * (len(ranked) - 1)) for share in (0.05, 0.5, 0.95))
    return [(name, ranked[place][1:]) for name, place in zip(DIFFICULTIES, places, strict=True)]


def _viewer(predictor: Predictor) -> Callable[[np.ndarray], Seen]:
    """A compiled look inside the network: frames of one clip -> what it makes of them."""
    wanted = ("coarse_pyramid", "anchor_recalibration")

    @jax.jit
    def apply(variables: Any, image: Any) -> Any:
        return predictor.network.apply(
            variables, image, capture_intermediates=lambda module, _: module.name in wanted, mutable=["intermediates"]
        )

    def look(frames: np.ndarray) -> Seen:
        image = resize_frames(frames, predictor.size)[None].astype(np.float32) / np.float32(255)
        (outputs, _), state = apply(predictor.variables, image)
        inside = state["intermediates"]
        if "anchor_recalibration" not in inside:
            return Seen(np.asarray(outputs.features[0]), None, None)
        before = inside["coarse_pyramid"]["__call__"][0]
        return Seen(
            *map(np.asarray, (outputs.features[0], before, inside["anchor_recalibration"]["__call__"][0].features))
        )

    return look


def _component(features: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n h w"]:
    """The features along their first principal component over all n maps, the centre of the map positive."""
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    centred = flat - flat.mean(axis=0)
    direction = np.linalg.svd(centred, full_matrices=False)[2][0]
    found = (centred @ direction).reshape(features.shape[:-1])
    h, w = found.shape[1:]
    inner = found[:, h // 3 : 2 * h // 3, w // 3 : 2 * w // 3].mean()
    return found if inner >= found.mean() else -found


def _bare(clip: Clip, frame: int) -> Float[np.ndarray, "h w three"]:
    """The frame itself, in true proportions."""
    nothing = np.zeros_like(clip.label_map)
    return overlay_rgb(overlay((dataclasses.replace(clip, label_map=nothing), nothing), frame))


def _frame_name(clip: Clip, frame: int) -> str:
    return f"{clip.view} {'ED' if frame == 0 else 'ES'}"


def _show(ax: Axes, picture: Float[np.ndarray, "h w three"], title: str) -> None:
    ax.imshow(picture, interpolation="antialiased")
    ax.set_title(title, fontsize=7)
    ax.set_axis_off()


def _map(
    ax: Axes, values: Float[np.ndarray, "h w"], title: str, aspect: float, limits: tuple[float, float] | None = None
) -> None:
    low, high = limits or (None, None)
    ax.imshow(values, cmap=MAP_COLOURS, aspect=aspect, vmin=low, vmax=high)
    ax.set_title(title, fontsize=7)
    ax.set_axis_off()


def _aspect(clip: Clip) -> float:
    """Height over width of a cell of a square feature map, in true proportions."""
    height, width = (side * mm for side, mm in zip(clip.frames.shape[1:], clip.spacing_mm or (1.0, 1.0), strict=True))
    return height / width


def _key(figure: Figure) -> None:
    names = (("reference only", REFERENCE), ("prediction only", PREDICTION), ("both", BOTH))
    keys = [Patch(color=colour, label=name) for name, colour in names]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, frameon=False, fontsize=8)


def folder_of(study: Study, cell: Cell) -> Path:
    """Where a finished cell's trained network lies.

    Raises:
        ConfigError: it is lost.
    """
    folder = study.folder(cell)
    if not (folder / "inference" / "card.json").is_file():
        raise ConfigError(
            f"{folder} holds no trained network, and the figure needs its masks; remove {study.file(cell)} and run the "
            "same command again to train the cell anew"
        )
    return folder
