"""From echo levels (dB, polar) to a picture: log compression to grey levels 0..255, and scan conversion to pixels."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from data_pipelines.simulator.coordinates import ProbePoints
from data_pipelines.simulator.placement import Placement
from data_pipelines.simulator.polar_grid import Polar, PolarGrid

DARKEST_DB = -42.2  # this level and all below are black
GREY_STEPS, STEP_DB = 2048, 1.5 * 55 / 2047  # number of entries of the grey map, and the step between two of them


@dataclasses.dataclass(frozen=True)
class PixelGrid:
    """The pixels of a picture that the sector fills from side to side.

    Rows and columns are equally many, so the spacing differs between them, as in the CAMUS release.

    Attributes:
        spacing_mm: (row_mm, column_mm).
        points: centres of the pixels, (h, w).
        inside: whether the probe sees them, (h, w).
    """

    spacing_mm: tuple[float, float]
    points: ProbePoints
    inside: Bool[np.ndarray, "h w"]


def pixel_grid(placement: Placement, size: int) -> PixelGrid:
    """Returns the pixels of the smallest rectangle that holds the sector.

    Args:
        placement: gives the depth and the opening angle of the sector.
        size: height and width of the picture in pixels.
    """
    row_mm = 1.005 * placement.depth_mm / size
    column_mm = 1.005 * 2 * placement.depth_mm * math.sin(placement.half_angle_rad) / size
    centres = (np.arange(size) + 0.5).astype(np.float32)
    x_mm, z_mm = np.meshgrid((centres - np.float32(size / 2)) * np.float32(column_mm), centres * np.float32(row_mm))
    in_depth = np.hypot(x_mm, z_mm) < placement.depth_mm
    in_angle = np.abs(np.arctan2(x_mm, z_mm)) < placement.half_angle_rad
    return PixelGrid((row_mm, column_mm), ProbePoints(x_mm, z_mm), in_depth & in_angle)


def _grey_map() -> Float32[np.ndarray, " n"]:
    """Grey levels from DARKEST_DB on: a range of about 55 dB, flatter in the dark, with a soft shoulder below white."""
    share = np.linspace(0, 1.5, GREY_STEPS, dtype=np.float32) ** 2
    return 255 * share / (1 + share**10) ** 0.1


GREY_MAP = _grey_map()


def compress(level_db: Polar, gain_db: float) -> Polar:
    """Converts echo levels to grey levels 0..255.

    Args:
        level_db: echo levels in dB, (ranges, beams).
        gain_db: added to the levels first.
    """
    step = (level_db + (gain_db - DARKEST_DB)) * (1 / STEP_DB)
    return GREY_MAP[np.clip(step, 0, GREY_STEPS - 1).astype(np.int32)]


def scan_convert(
    grey: Polar, grid: PolarGrid, *, points: ProbePoints, inside: Bool[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w"]:
    """Interpolates polar grey levels at the pixels of a picture (bilinear); the rest of the picture is black.

    Args:
        grey: grey levels 0..255, (ranges, beams).
        grid: the samples of `grey`.
        points: where each pixel looks, (h, w).
        inside: which pixels are not black, (h, w).
    """
    row, column = grid.indices_at(points)
    picture = cv2.remap(grey, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(inside, np.rint(picture), 0).astype(np.uint8)
