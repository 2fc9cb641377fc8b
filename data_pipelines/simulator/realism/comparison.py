"""Real and simulated frames side by side: percentiles of every statistic, and how the simulated medians lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from data_pipelines.records import ENDOCARDIUM, Clip
from data_pipelines.simulator.realism.frame_statistics import frame_statistics
from data_pipelines.simulator.realism.frames import ed_es_frames

# Grey statistics whose real 10-90 % range the simulated frames should cover: networks are trained on them alone.
MAIN_STATISTICS = (
    "cavity mean",
    "wall mean",
    "atrium mean",
    "wall - cavity",
    "sector p5",
    "sector p50",
    "sector p95",
    "sector p99",
    "local std cavity",
    "local std wall",
    "local std sector",
    "residual skew",
    "border step",
    "border without edge",
    "speckle lateral wall",
    "speckle axial wall",
)
# How exactly pixels tell these statistics: a smaller difference counts as none, however narrow the real quartiles are.
RESOLUTION = {"sector apex x %": 0.4, "sector apex y %": 1.0, "sector angle deg": 0.5}
PERCENTILES = (10, 25, 50, 75, 90)
HEAD = "statistic | views | real median (25-75 %) | simulated | inside | real 10-90 % | simulated 10-90 % | covered"


@dataclasses.dataclass(frozen=True)
class MeasuredFrame:
    """The statistics of one frame, and which frame it is.

    Attributes:
        record: patient and view.
        view: "2CH" or "4CH".
        quality: "Good", "Medium", "Poor" or None.
        instant: "ED" or "ES".
        statistics: values by name.
    """

    record: str
    view: str
    quality: str | None
    instant: str
    statistics: dict[str, float]


def measure(clips: Iterable[Clip]) -> Iterator[MeasuredFrame]:
    """Measures end-diastole and end-systole of every clip; end-systole also has the change of the ventricle's area."""
    for clip in clips:
        ed, es = ed_es_frames(clip)
        ed_statistics, es_statistics = frame_statistics(ed), frame_statistics(es)
        ed_area, es_area = ((frame.label_map == ENDOCARDIUM).sum() for frame in (ed, es))
        if ed_area and es_area:
            es_statistics["LV area change %"] = 100 * (1 - es_area / ed_area)
        for instant, statistics in (("ED", ed_statistics), ("ES", es_statistics)):
            yield MeasuredFrame(clip.record_id, clip.view, clip.quality, instant, statistics)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One statistic on both sides.

    Attributes:
        name: name of the statistic.
        views: the views that are compared, joined by "+".
        real: its `PERCENTILES` over the real frames.
        simulated: its `PERCENTILES` over the simulated frames.
        covered: share of the real frames that lie between the simulated 10th and 90th percentile.
    """

    name: str
    views: str
    real: tuple[float, ...]
    simulated: tuple[float, ...]
    covered: float

    @property
    def inside(self) -> bool:
        """Whether the simulated median lies between the real quartiles."""
        slack = RESOLUTION.get(self.name, 0.0)
        return self.real[1] - slack <= self.simulated[2] <= self.real[3] + slack


def compare(real: Sequence[MeasuredFrame], simulated: Sequence[MeasuredFrame]) -> list[Comparison]:
    """Compares every statistic that both sides have, over the views in which real frames have it.

    Args:
        real: the real frames.
        simulated: the simulated frames.
    """
    rows = []
    for name in dict.fromkeys(name for frame in real for name in frame.statistics):
        views = sorted({frame.view for frame in real if name in frame.statistics})
        real_values, simulated_values = (
            [frame.statistics[name] for frame in side if frame.view in views and name in frame.statistics]
            for side in (real, simulated)
        )
        if simulated_values:
            real_percentiles, simulated_percentiles = (
                tuple(np.percentile(values, PERCENTILES).tolist()) for values in (real_values, simulated_values)
            )
            low, high = simulated_percentiles[0], simulated_percentiles[-1]
            covered = float(np.mean([low <= value <= high for value in real_values]))
            rows.append(Comparison(name, "+".join(views), real_percentiles, simulated_percentiles, covered))
    return rows


def as_table(rows: Sequence[Comparison]) -> str:
    """Returns a table in Markdown, one row for each statistic, and below it how many medians lie inside."""
    lines = [f"| {HEAD} |", "|---" * (HEAD.count("|") + 1) + "|", *map(_table_row, rows)]
    lines += ["", f"{sum(row.inside for row in rows)} of {len(rows)} medians lie inside."]
    if main := [row for row in rows if row.name in MAIN_STATISTICS]:
        lines[-1] += (
            f" Of the {len(main)} main grey statistics {sum(row.inside for row in main)} do, and the simulated 10-90 % "
            f"ranges hold {100 * np.mean([row.covered for row in main]):.0f} % of the real frames (80 %: as wide)."
        )
    return "\n".join(lines)


def _table_row(row: Comparison) -> str:
    r10, r25, r50, r75, r90 = map(_number, row.real)
    s10, _, s50, _, s90 = map(_number, row.simulated)
    cells = [row.name, row.views, f"{r50} ({r25}..{r75})", s50, "yes" if row.inside else "NO"]
    cells += [f"{r10}..{r90}", f"{s10}..{s90}", f"{100 * row.covered:.0f} %"]
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
