"""Figs. 5, 6 and 8: frames of the test split with the masks and the feature maps of finished cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from data_pipelines.preprocessing import resize_frames, to_unit_range
from data_pipelines.records import Clip
from data_pipelines.sampling import ed_to_es
from data_pipelines.source import load_split
from echoforge_jax.evaluation.protocols import SEMI
from echoforge_jax.evaluation.scores import Case, score_clip
from echoforge_jax.inference import Predictor
from echoforge_jax.report.overlays import BOTH, PREDICTION, REFERENCE, overlay_rgb
from echoforge_jax.report.selection import overlay
from echoforge_jax.reproduction.rows import TABLES
from echoforge_jax.reproduction.study import Cell, Study
from echoforge_jax.training.data import source_of

DIFFICULTIES = {"hard": 0.05, "middling": 0.5, "easy": 0.95}  # and the frame's rank among all, by Dice, from 0 to 1
FAILURES, FAILURES_EACH_ROW = 6, 3
MAP_COLOURS = "cividis"  # readers with any kind of colour vision see it alike
WHOLE_METHOD = "+ TSF + ARC + CPR"


@dataclasses.dataclass(frozen=True)
class ScoredNetwork:
    """A finished cell's network, and what it predicts on its test split.

    Attributes:
        predictor: the trained network.
        cases: every clip of the split under the protocol "semi", with its predicted masks.
    """

    predictor: Predictor
    cases: list[Case]


class FrameIndex(NamedTuple):
    """One frame of a `ScoredNetwork`: the index of its case, and of the frame in the clip."""

    case: int
    frame: int


class FeatureMaps(NamedTuple):
    """What a network computes inside for one clip.

    Attributes:
        features: F, the features that the logits are computed from.
        before: X before ARC; None without ARC.
        after: X after ARC; None without ARC.
    """

    features: Float[np.ndarray, "t h w c"]
    before: Float[np.ndarray, "t i j c"] | None
    after: Float[np.ndarray, "t i j c"] | None


def by_difficulty(study: Study, seed: int) -> dict[str, Figure]:
    """Draws Fig. 5: hard, middling and easy ED and ES frames with the masks of each row of Table 3.

    Args:
        study: the study whose cells are drawn.
        seed: the seed of the cells.

    Returns:
        The figure by its file's stem.

    Raises:
        ConfigError: a cell's trained network is lost.
    """
    networks = _networks_of_table3(study, seed)
    chosen = _hard_to_easy(networks[WHOLE_METHOD].cases)
    figure = Figure(figsize=(2.3 * (1 + len(networks)), 2.1 * len(chosen) + 0.6), dpi=150, layout="constrained")
    grid = figure.subplots(len(chosen), 1 + len(networks), squeeze=False)
    for row, (difficulty, index) in zip(grid, chosen.items(), strict=True):
        clip = networks[WHOLE_METHOD].cases[index.case][0]
        _show(row[0], _bare(clip, index.frame), f"{difficulty}: {clip.patient_id}\n{_frame_name(clip, index.frame)}")
        for axes, (label, network) in zip(row[1:], networks.items(), strict=True):
            picture = overlay(network.cases[index.case], index.frame)
            _show(axes, overlay_rgb(picture), f"{label}\nDice {picture.dice_percent:.1f} %")
    _add_key(figure)
    return {"fig5": figure}


def feature_maps(study: Study, seed: int) -> dict[str, Figure]:
    """Draws Fig. 6: the features before the logits of each row of Table 3, and X before and after ARC.

    Args:
        study: the study whose cells are drawn.
        seed: the seed of the cells.

    Returns:
        Both figures by their files' stems.

    Raises:
        ConfigError: a cell's trained network is lost.
    """
    networks = _networks_of_table3(study, seed)
    chosen = _hard_to_easy(networks[WHOLE_METHOD].cases)
    figure = Figure(figsize=(2.2 * (2 + len(networks)), 2.1 * len(chosen) + 0.4), dpi=150, layout="constrained")
    arc_figure = Figure(figsize=(2.4 * 4, 2.1 * len(chosen) + 0.4), dpi=150, layout="constrained")
    grid, arc_grid = figure.subplots(len(chosen), 2 + len(networks), squeeze=False), arc_figure.subplots(len(chosen), 4)
    viewers = {label: _viewer(network.predictor) for label, network in networks.items()}
    for row, arc_row, (difficulty, index) in zip(grid, arc_grid, chosen.items(), strict=True):
        clip, frame = networks[WHOLE_METHOD].cases[index.case][0], index.frame
        _show(row[0], _bare(clip, frame), f"{difficulty}: {clip.patient_id}\n{_frame_name(clip, frame)}")
        _show(row[1], overlay_rgb(overlay(Case(clip, np.zeros_like(clip.label_map)), frame)), "reference")
        maps = {label: view(clip.frames) for label, view in viewers.items()}
        for axes, (label, inside) in zip(row[2:], maps.items(), strict=True):
            _show_map(axes, _component(inside.features[frame][None])[0], label, aspect=_aspect(clip))
        _show_recalibration(arc_row, clip, frame, maps[WHOLE_METHOD], f"{difficulty}: {clip.patient_id}")
    return {"fig6": figure, "fig6_arc": arc_figure}


def failures(study: Study, seed: int) -> dict[str, Figure]:
    """Draws Fig. 8: the ED and ES frames of lowest Dice, with what is wrong and what made the frame hard.

    Args:
        study: the study whose cells are drawn.
        seed: the seed of the cells.

    Returns:
        One figure for each data set, by its file's stem.

    Raises:
        ConfigError: a cell's trained network is lost.
    """
    figures = {}
    for row in (row for row in TABLES["table1"] if row.data in study.bases):
        cases = _score(study, Cell.from_row(row, seed)).cases
        worst = _ranked(cases)[:FAILURES]
        rows = -(-len(worst) // FAILURES_EACH_ROW)
        figure = Figure(figsize=(3.1 * FAILURES_EACH_ROW, 3.7 * rows + 0.4), dpi=150, layout="constrained")
        grid = figure.subplots(rows, FAILURES_EACH_ROW, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, index in zip(grid.flat, worst, strict=False):
            picture, clip = overlay(cases[index.case], index.frame, explain=True), cases[index.case][0]
            title = f"{clip.patient_id} {_frame_name(clip, index.frame)}, Dice {picture.dice_percent:.1f} %"
            _show(axes, overlay_rgb(picture), title)
            reasons = "\n".join(picture.remarks) or "nothing stands out"
            axes.text(0.5, -0.03, reasons, transform=axes.transAxes, ha="center", va="top", fontsize=7)
        _add_key(figure)
        figures[f"fig8_{row.data}"] = figure
    return figures


def _networks_of_table3(study: Study, seed: int) -> dict[str, ScoredNetwork]:
    return {row.label: _score(study, Cell.from_row(row, seed)) for row in TABLES["table3"]}


def _score(study: Study, cell: Cell) -> ScoredNetwork:
    """Loads a finished cell's network and predicts its split under the protocol "semi"."""
    predictor = Predictor.load(study.trained_folder(cell) / "inference")
    config = predictor.trained.config
    result = study.read(cell)
    split = result.split if result else "test"
    whole = load_split(source_of(config.data), split, ed_to_es, threads=config.data.workers).clips
    clips = [SEMI.select(clip, config.data.frames) for clip in whole]
    predicted = predictor.predict_clips((clip.frames for clip in clips), batch_clips=config.evaluation.batch_clips)
    cases = [Case(clip, segmentation.masks) for clip, segmentation in zip(clips, predicted, strict=True)]
    return ScoredNetwork(predictor, cases)


def _ranked(cases: list[Case]) -> list[FrameIndex]:
    """All scored frames, that of the lowest Dice first."""
    ranked = sorted(
        (score.dice, index, score.frame)
        for index, case in enumerate(cases)
        for score in score_clip(case, SEMI.scored_frames(case.clip))
    )
    return [FrameIndex(case, frame) for _, case, frame in ranked]


def _hard_to_easy(cases: list[Case]) -> dict[str, FrameIndex]:
    """A frame of each of the `DIFFICULTIES`."""
    ranked = _ranked(cases)
    return {name: ranked[round(rank * (len(ranked) - 1))] for name, rank in DIFFICULTIES.items()}


def _viewer(predictor: Predictor) -> Callable[[UInt8[np.ndarray, "t h w"]], FeatureMaps]:
    """A compiled function from the grey frames of one clip to the network's feature maps."""
    modules = ("coarse_pyramid", "anchor_recalibration")

    @jax.jit
    def apply(variables: Any, image: Any) -> Any:
        return predictor.network.apply(
            variables, image, capture_intermediates=lambda module, _: module.name in modules, mutable=["intermediates"]
        )

    def view(frames: UInt8[np.ndarray, "t h w"]) -> FeatureMaps:
        image = to_unit_range(resize_frames(frames, predictor.size)[None])
        (outputs, _), state = apply(predictor.variables, image)
        inside, features = state["intermediates"], np.asarray(outputs.features[0])
        if "anchor_recalibration" not in inside:
            return FeatureMaps(features, None, None)
        before, after = (inside[module]["__call__"][0] for module in modules)
        return FeatureMaps(features, np.asarray(before), np.asarray(after.features))

    return view


def _component(features: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n h w"]:
    """The features along their first principal component over all n maps, the centre of the map positive."""
    rows = features.reshape(-1, features.shape[-1]).astype(np.float64)
    centred = rows - rows.mean(axis=0)
    direction = np.linalg.svd(centred, full_matrices=False)[2][0]
    component = (centred @ direction).reshape(features.shape[:-1])
    h, w = component.shape[1:]
    centre = component[:, h // 3 : 2 * h // 3, w // 3 : 2 * w // 3].mean()
    return component if centre >= component.mean() else -component


def _show_recalibration(row: np.ndarray, clip: Clip, frame: int, maps: FeatureMaps, title: str) -> None:
    """Draws the frame, X before and after ARC on one colour scale, and how far ARC moved each cell."""
    assert maps.before is not None and maps.after is not None
    aspect = _aspect(clip)
    before, after = _component(np.stack([maps.before[frame], maps.after[frame]]))
    limits = float(min(before.min(), after.min())), float(max(before.max(), after.max()))
    change = np.linalg.norm(maps.after[frame] - maps.before[frame], axis=-1)
    _show(row[0], _bare(clip, frame), title)
    _show_map(row[1], before, "X before ARC", aspect=aspect, limits=limits)
    _show_map(row[2], after, "X after ARC", aspect=aspect, limits=limits)
    _show_map(row[3], change, f"change; {100 * (change > 0).mean():.0f} % of cells", aspect=aspect)


def _bare(clip: Clip, frame: int) -> Float[np.ndarray, "h w three"]:
    """The frame itself, in true proportions."""
    nothing = np.zeros_like(clip.label_map)
    return overlay_rgb(overlay(Case(dataclasses.replace(clip, label_map=nothing), nothing), frame))


def _frame_name(clip: Clip, frame: int) -> str:
    return f"{clip.view} {'ED' if frame == 0 else 'ES'}"


def _show(axes: Axes, picture: Float[np.ndarray, "h w three"], title: str) -> None:
    axes.imshow(picture, interpolation="antialiased")
    axes.set_title(title, fontsize=7)
    axes.set_axis_off()


def _show_map(
    axes: Axes,
    values: Float[np.ndarray, "h w"],
    title: str,
    *,
    aspect: float,
    limits: tuple[float, float] | None = None,
) -> None:
    low, high = limits or (None, None)
    axes.imshow(values, cmap=MAP_COLOURS, aspect=aspect, vmin=low, vmax=high)
    axes.set_title(title, fontsize=7)
    axes.set_axis_off()


def _aspect(clip: Clip) -> float:
    """Height over width of a cell of a square feature map, in true proportions."""
    height, width = (side * mm for side, mm in zip(clip.frames.shape[1:], clip.spacing_mm or (1.0, 1.0), strict=True))
    return height / width


def _add_key(figure: Figure) -> None:
    names = (("reference only", REFERENCE), ("prediction only", PREDICTION), ("both", BOTH))
    keys = [Patch(color=colour, label=name) for name, colour in names]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
