"""What a frame looks like, in numbers: its grey levels (0..255), their profiles, and all other statistics together.

A statistic that needs a pixel spacing or a label is left out where the frame has none.
"""

from __future__ import annotations

import numpy as np

from data_pipelines.records import ATRIUM, ENDOCARDIUM, MYOCARDIUM
from data_pipelines.simulator.realism.border import border_steps
from data_pipelines.simulator.realism.frames import ROWS, SectorFrame
from data_pipelines.simulator.realism.geometry import Statistics, edge_columns, fit_sector, ventricle_shape
from data_pipelines.simulator.realism.texture import local_variation, speckle_size

PERCENTILES = (5, 50, 95, 99)
STRIPS = ("left edge", "left", "middle", "right", "right edge")


def frame_statistics(frame: SectorFrame) -> dict[str, float]:
    """Returns every statistic that the frame allows, by name."""
    statistics = grey_levels(frame) | depth_profile(frame) | lateral_profile(frame)
    cavity = frame.label_map == ENDOCARDIUM
    if cavity.any():
        statistics |= ventricle_shape(cavity, frame.spacing_mm)
        statistics["LV share %"] = 100 * cavity.sum() / frame.sector.sum()
    if frame.spacing_mm is not None:
        sector = fit_sector(frame)
        statistics |= sector.statistics() | local_variation(frame) | speckle_size(frame, sector)
        if cavity.any() and (frame.label_map == MYOCARDIUM).any():
            statistics |= border_steps(frame)
    return {name: float(value) for name, value in statistics.items() if np.isfinite(value)}


def grey_levels(frame: SectorFrame) -> Statistics:
    """Returns percentiles of the sector, means of the labelled regions, and the contrast of wall and cavity."""
    values = np.percentile(frame.grey[frame.sector], PERCENTILES)
    levels: Statistics = {f"sector p{percent}": value for percent, value in zip(PERCENTILES, values, strict=True)}
    for name, label in (("cavity", ENDOCARDIUM), ("wall", MYOCARDIUM), ("atrium", ATRIUM)):
        if (region := (frame.label_map == label) & frame.sector).any():
            levels[f"{name} mean"] = frame.grey[region].mean()
    if "wall mean" in levels and "cavity mean" in levels:
        levels["wall - cavity"] = levels["wall mean"] - levels["cavity mean"]
    return levels


def depth_profile(frame: SectorFrame) -> Statistics:
    """Returns the mean grey level in ten layers of depth."""
    row, column = np.nonzero(frame.sector)
    grey, layer = frame.grey[row, column], 10 * row // ROWS
    return {f"depth {10 * k}-{10 * k + 10} %": grey[layer == k].mean() for k in range(10) if (layer == k).any()}


def lateral_profile(frame: SectorFrame) -> Statistics:
    """Returns the mean grey level in five strips from the left to the right edge of the sector, at middle depth."""
    row, column = np.nonzero(frame.sector)
    grey, middle = frame.grey[row, column], (row > 0.3 * ROWS) & (row < 0.75 * ROWS)
    first, last = edge_columns(frame.sector)
    strip = np.clip(5 * (column - first[row]) / np.maximum(last - first, 1)[row], 0, 4.99).astype(int)
    return {f"lateral {name}": grey[middle & (strip == number)].mean() for number, name in enumerate(STRIPS)}
