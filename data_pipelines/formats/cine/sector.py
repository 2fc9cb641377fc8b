"""Finds the ultrasound sector in a picture: the one large area whose speckle changes from frame to frame.

Text, scales, logos and colour bars stand still; a sweeping ECG changes each pixel in few frames and is thin. What
flickers in many frames, in one piece that is not thin, is the sector; its convex hull fills the dark parts of the fan.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt8

CHANGE_LEVELS = 2  # grey levels from frame to frame: more than a codec's noise on a still picture
CHANGE_FRACTION = 0.25  # share of the steps: a pixel of the sector changes in most, one of a trace in a few
STILL_STEP = 0.25  # a step that changes this much less than a busy one is a repeated frame and is left out
BLACK = 8  # grey levels: the background of a screen, with a codec's noise
MARK = 40  # grey levels: text, scales and traces are brighter
OUTSIDE = 0.03  # share of the sector's area: how far bright pixels may go beyond it in a picture cropped already
STRUCTURE = 0.012  # share of the shorter side: what is thinner than twice this is no part of the sector
PART = 0.1  # share of the largest piece's area: smaller pieces do not belong to the sector
TWIN = 0.4  # share of the largest piece's area: a compact second piece of this size is a picture of its own
COMPACT = 0.85  # area over that of the convex hull: a whole fan has 0.9 and more
SMALLEST = 0.04  # share of the picture: a smaller area is not taken for the sector
CROPPED = (
    0.8  # share of the picture: a box as large as this needs no cropping if nothing bright lies outside of the sector
)

NO_SECTOR = "no sector found: the whole picture is kept, text included"
NO_MOTION = "the picture stands still: the sector was found by its brightness"
TWO_SECTORS = "two sectors side by side: the larger one is kept"


@dataclasses.dataclass(frozen=True)
class Sector:
    """Where the ultrasound sector lies in a picture.

    Attributes:
        rows: rows (first, stop) of its box in the picture.
        columns: columns (first, stop) of its box in the picture.
        mask: which pixels of the box belong to the sector, (h, w); all where the picture needs no cropping.
        warning: "", or what a reader of the result should know.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    mask: Bool[np.ndarray, "h w"]
    warning: str = ""


def whole(height: int, width: int, warning: str = "") -> Sector:
    """Takes the whole picture as the sector.

    Args:
        height: height of the picture in pixels.
        width: width of the picture in pixels.
        warning: "", or what a reader of the result should know.
    """
    return Sector((0, height), (0, width), np.ones((height, width), bool), warning)


def find(frames: UInt8[np.ndarray, "t h w"], limit: tuple[slice, slice] | None = None) -> Sector:
    """Finds the sector of a cine by its changes in time, or by its brightness if nothing moves.

    A picture that is cropped already (little lies outside of the sector, and nothing bright) is taken whole, and so is
    one without a sector, with a warning.

    Args:
        frames: grey levels of the whole picture.
        limit: (rows, columns) that the file itself gives as the region of ultrasound, nothing outside of which is kept;
            None where the file gives none.
    """
    if limit is not None:
        rows, columns = limit
        inner = find(np.ascontiguousarray(frames[:, rows, columns]))
        return Sector(
            (rows.start + inner.rows[0], rows.start + inner.rows[1]),
            (columns.start + inner.columns[0], columns.start + inner.columns[1]),
            inner.mask,
            inner.warning,
        )
    height, width = frames.shape[1:]
    hull, warning = _hull(_flickering(frames))
    if hull is None:
        hull, warning = _hull(frames.mean(axis=0) > BLACK)
        warning = "; ".join(filter(None, [NO_MOTION, warning]))
    if hull is None:
        return whole(height, width, NO_SECTOR)
    rows, columns = _extent(np.flatnonzero(hull.any(axis=1))), _extent(np.flatnonzero(hull.any(axis=0)))
    box_area = (rows[1] - rows[0]) * (columns[1] - columns[0])
    beyond = np.count_nonzero(_convex(frames.max(axis=0) > MARK) & ~hull)
    if box_area >= CROPPED * hull.size and beyond <= OUTSIDE * hull.sum():
        return whole(height, width, warning)
    return Sector(rows, columns, hull[slice(*rows), slice(*columns)], warning)


def crop(frames: UInt8[np.ndarray, "t h w"], sector: Sector) -> UInt8[np.ndarray, "t box_h box_w"]:
    """Cuts frames to the box of the sector and blackens the rest of the box. The pixel spacing does not change.

    Args:
        frames: grey levels of the whole picture.
        sector: what `find` gave.
    """
    return frames[:, slice(*sector.rows), slice(*sector.columns)] * sector.mask


def place_back(
    mask: Shaped[np.ndarray, "*t box_h box_w"], sector: Sector, shape: tuple[int, int]
) -> Shaped[np.ndarray, "*t h w"]:
    """Brings masks of the cropped box onto the original picture; they are 0 outside of the box.

    Args:
        mask: masks at the size of the cropped frames.
        sector: what the frames were cropped to.
        shape: (h, w) of the original picture.

    Raises:
        ValueError: the mask does not have the size of the box, or the box leaves the picture.
    """
    if mask.shape[-2:] != sector.mask.shape or sector.rows[1] > shape[0] or sector.columns[1] > shape[1]:
        raise ValueError(
            f"mask {mask.shape[-2:]}, box rows {sector.rows} columns {sector.columns}, picture {shape}: "
            "give the mask at the size of the cropped frames and the shape of the original"
        )
    placed = np.zeros((*mask.shape[:-2], *shape), mask.dtype)
    placed[..., slice(*sector.rows), slice(*sector.columns)] = mask
    return placed


def _flickering(frames: UInt8[np.ndarray, "t h w"]) -> Bool[np.ndarray, "h w"]:
    """Marks the pixels that change in at least `CHANGE_FRACTION` of the steps from frame to frame."""
    size = [float(cv2.absdiff(a, b).mean()) for a, b in pairwise(frames)]
    busy = STILL_STEP * np.percentile(size, 90) if size else 0.0
    steps = [t for t, step in enumerate(size) if step > 0 and step >= busy]
    count = np.zeros(frames.shape[1:], np.int32)
    for t in steps:
        count += cv2.absdiff(frames[t], frames[t + 1]) >= CHANGE_LEVELS
    return (count >= CHANGE_FRACTION * len(steps)) & bool(steps)


def _hull(evidence: Bool[np.ndarray, "h w"]) -> tuple[Bool[np.ndarray, "h w"] | None, str]:
    """Returns the convex hull of the one large piece of the evidence (None if there is none), and a warning or ""."""
    height, width = evidence.shape
    radius = max(2, round(STRUCTURE * min(height, width)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    solid = cv2.morphologyEx(evidence.astype(np.uint8), cv2.MORPH_CLOSE, disc)
    core = cv2.morphologyEx(solid, cv2.MORPH_OPEN, disc)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(core)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    if len(areas) == 0:
        return None, ""
    order = [int(i) + 1 for i in np.argsort(-areas, kind="stable") if areas[i] >= PART * areas.max()]
    warning = ""
    if len(order) > 1 and areas[order[1] - 1] >= TWIN * areas.max():
        pieces = [labels == i for i in order[:2]]
        if all(piece.sum() >= COMPACT * _convex(piece).sum() for piece in pieces):
            order, warning = order[:1], TWO_SECTORS
    kept = np.isin(labels, order).astype(np.uint8)
    firm = cv2.morphologyEx(evidence.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    corners = np.logical_and(cv2.dilate(kept, disc), firm)  # the opening has blunted the tips
    hull = _convex(corners)
    return (hull, warning) if hull.sum() >= SMALLEST * hull.size else (None, "")


def _convex(piece: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Fills the convex hull of the pixels that are set."""
    if not piece.any():
        return np.zeros_like(piece)
    points = cv2.convexHull(np.argwhere(piece)[:, ::-1].astype(np.int32))
    filled = np.zeros(piece.shape, np.uint8)
    cv2.fillConvexPoly(filled, points, 1)
    return filled.astype(bool)


def _extent(indices: Int[np.ndarray, " n"]) -> tuple[int, int]:
    """Returns (first, stop) of sorted indices."""
    return int(indices[0]), int(indices[-1]) + 1
