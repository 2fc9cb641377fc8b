"""Frames that compare whatever their source: cut to the box of their sector and brought to one size."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from data_pipelines.records import Clip, UnreadableRecord

ROWS, COLUMNS = 192, 256  # size of every frame; about the pixels of the sector in a simulated picture of 256 x 256
BLACK_UP_TO = 2  # grey level: a brighter pixel belongs to the sector

Plane = Float32[np.ndarray, "h w"]


@dataclasses.dataclass(frozen=True)
class SectorFrame:
    """One frame with a reference, cut to the box of its sector, ROWS x COLUMNS.

    Attributes:
        grey: grey levels 0..255.
        label_map: labels 0 background, 1 LV endocardium, 2 myocardium, 3 left atrium.
        sector: whether the pixel belongs to the sector.
        spacing_mm: (row_mm, column_mm), or None where it is not known.
    """

    grey: Plane
    label_map: UInt8[np.ndarray, "h w"]
    sector: Bool[np.ndarray, "h w"]
    spacing_mm: tuple[float, float] | None

    @property
    def known_spacing_mm(self) -> tuple[float, float]:
        """The spacing, where the caller knows that there is one."""
        assert self.spacing_mm is not None
        return self.spacing_mm


def ed_es_frames(clip: Clip) -> tuple[SectorFrame, SectorFrame]:
    """Returns end-diastole and end-systole of a clip.

    The sector is the convex hull of the pixels that are not black in at least one of the two.

    Raises:
        UnreadableRecord: both frames are black.
    """
    assert clip.ed_index is not None and clip.es_index is not None
    pair = [clip.ed_index, clip.es_index]
    seen = (clip.frames[pair].max(axis=0) > BLACK_UP_TO).astype(np.uint8)
    if not seen.any():
        detail = f"no grey level above {BLACK_UP_TO}: leave the record out"
        raise UnreadableRecord(clip.record_id, "black picture", detail)
    points = np.argwhere(seen)[:, ::-1].astype(np.int32)
    hull = cv2.fillConvexPoly(np.zeros_like(seen), cv2.convexHull(points), 1)
    left, top, width, height = cv2.boundingRect(points)
    box = np.s_[top : top + height, left : left + width]
    sector = _resize(hull[box], cv2.INTER_NEAREST) > 0
    spacing_mm = clip.spacing_mm and (clip.spacing_mm[0] * height / ROWS, clip.spacing_mm[1] * width / COLUMNS)
    shrinks = height > ROWS or width > COLUMNS

    def cut(index: int) -> SectorFrame:
        grey = clip.frames[index][box].astype(np.float32)
        return SectorFrame(
            grey=_resize(grey, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR),
            label_map=_resize(clip.label_map[index][box], cv2.INTER_NEAREST),
            sector=sector,
            spacing_mm=spacing_mm,
        )

    return cut(clip.ed_index), cut(clip.es_index)


def _resize(plane: np.ndarray, interpolation: int) -> np.ndarray:
    return cv2.resize(plane, (COLUMNS, ROWS), interpolation=interpolation)
