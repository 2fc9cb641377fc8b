"""How clearly the endocardial border is seen: the step of grey level (0..255) from the cavity to the wall."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt

from data_pipelines.records import ENDOCARDIUM
from data_pipelines.simulator.realism.frames import SectorFrame
from data_pipelines.simulator.realism.geometry import Statistics, ventricle_shape

NEAREST_MM, FARTHEST_MM = 0.8, 4.0  # distances from the border between which grey levels are compared
NO_EDGE = 10.0  # grey levels: a smaller step counts as no visible edge
PIECES = 48  # pieces of the border, by angle around the centre of the cavity
SEGMENTS = ("septal", "lateral", "apical", "basal")
BASAL = SEGMENTS.index("basal")


def border_steps(frame: SectorFrame) -> Statistics:
    """Measures the step of grey level outwards across the border, its steepness, and the share without a visible edge.

    The border is cut into pieces by angle. Septal pieces are left of the long axis, lateral ones right of it; apical is
    the upper end and basal (the mitral plane) the lower end, which the totals leave out. The frame needs a cavity and a
    pixel spacing.
    """
    spacing_mm, cavity = frame.known_spacing_mm, frame.label_map == ENDOCARDIUM
    outside_mm = np.asarray(distance_transform_edt(~cavity, sampling=spacing_mm))
    inside_mm = np.asarray(distance_transform_edt(cavity, sampling=spacing_mm))
    signed_mm = outside_mm - inside_mm
    row, column = np.nonzero((np.abs(signed_mm) < FARTHEST_MM) & frame.sector)
    distance_mm, grey = signed_mm[row, column], frame.grey[row, column]

    cavity_mm = np.argwhere(cavity) * spacing_mm
    centre_mm = cavity_mm.mean(axis=0)
    lean = math.radians(ventricle_shape(cavity, spacing_mm)["LV lean deg"])
    down, right = row * spacing_mm[0] - centre_mm[0], column * spacing_mm[1] - centre_mm[1]
    along, across = math.cos(lean) * down + math.sin(lean) * right, math.cos(lean) * right - math.sin(lean) * down
    half_length_mm = np.ptp((cavity_mm - centre_mm) @ (math.cos(lean), math.sin(lean))) / 2
    piece = ((np.arctan2(across, along) / (2 * math.pi) + 0.5) * PIECES).astype(int) % PIECES

    def piece_means(values: np.ndarray, chosen: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " pieces"]:
        return _group_means(values[chosen], piece[chosen], PIECES)

    step = piece_means(grey, distance_mm > NEAREST_MM) - piece_means(grey, distance_mm < -NEAREST_MM)
    close = np.abs(distance_mm) < 2 * NEAREST_MM
    steep = piece_means(grey, close & (distance_mm > 0)) - piece_means(grey, close & (distance_mm < 0))
    everywhere = np.ones(len(piece), bool)
    level, side = piece_means(along / half_length_mm, everywhere), piece_means(across, everywhere)
    segment = np.where(level < -0.75, 2, np.where(level > 0.75, BASAL, np.where(side < 0, 0, 1)))

    known = np.isfinite(step)
    wall = (segment != BASAL) & known
    values = {f"border step {name}": step[(segment == number) & known] for number, name in enumerate(SEGMENTS)}
    values |= {"border step": step[wall], "border without edge": step[wall] < NO_EDGE}
    values["border slope /mm"] = steep[wall & np.isfinite(steep)] / (2 * NEAREST_MM)
    return {name: pieces.mean() for name, pieces in values.items() if pieces.size}


def _group_means(values: np.ndarray, group: np.ndarray, groups: int) -> Float[np.ndarray, " g"]:
    """The mean of each group; nan where it is empty."""
    count = np.bincount(group, minlength=groups)
    total = np.bincount(group, values, groups)
    return np.where(count > 0, total / np.maximum(count, 1), math.nan)
