"""Texture of a frame: how much grey levels (0..255) vary from pixel to pixel, and the size of the speckle (mm)."""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import Bool

from data_pipelines.records import ENDOCARDIUM, MYOCARDIUM
from data_pipelines.simulator.realism.frames import ROWS, Plane, SectorFrame
from data_pipelines.simulator.realism.geometry import Sector, Statistics

TREND_MM = 4.0  # standard deviation of the blur that is subtracted before the texture is measured
RANGES, BEAMS = 320, 192  # samples along and across the beam in which speckle is measured
FEWEST_SAMPLES = 400  # a smaller region is left out


def local_variation(frame: SectorFrame) -> Statistics:
    """Measures the standard deviation in 5 x 5 pixels by region, and the skew of what slow changes leave.

    The frame needs a pixel spacing.
    """
    mean = cv2.blur(frame.grey, (5, 5))
    local = np.sqrt(np.maximum(cv2.blur(frame.grey * frame.grey, (5, 5)) - mean * mean, 0))
    inner = cv2.erode(frame.sector.astype(np.uint8), np.ones((9, 9)), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    row_sigma, column_sigma = (TREND_MM / step for step in frame.known_spacing_mm)
    residual = (frame.grey - _trend(frame.grey, row_sigma, column_sigma))[inner]
    statistics: Statistics = {
        "local std sector": local[inner].mean(),
        "residual skew": np.mean((residual - residual.mean()) ** 3) / max(residual.std() ** 3, 1e-9),
    }
    for name, label in (("cavity", ENDOCARDIUM), ("wall", MYOCARDIUM)):
        if (region := (frame.label_map == label) & inner).any():
            statistics[f"local std {name}"] = local[region].mean()
    return statistics


def speckle_size(frame: SectorFrame, sector: Sector) -> Statistics:
    """Measures the speckle along and across the beam (mm): at three depths, and in the wall.

    The size is the full width at half maximum of the autocorrelation.

    Args:
        frame: the frame, with a pixel spacing.
        sector: its edges, which tell where the probe is.
    """
    row_mm, column_mm = frame.known_spacing_mm
    step_mm = (ROWS - sector.apex_row) * row_mm / RANGES
    range_mm = (np.arange(RANGES) + 0.5)[:, None] * step_mm
    beam_rad = math.radians(sector.angle_deg) * (np.arange(BEAMS) / BEAMS - 0.5)
    x = (sector.apex_column + range_mm * np.sin(beam_rad) / column_mm).astype(np.float32)
    y = (sector.apex_row + range_mm * np.cos(beam_rad) / row_mm).astype(np.float32)

    def along_beams(plane: np.ndarray, interpolation: int) -> np.ndarray:
        return cv2.remap(plane, x, y, interpolation, borderMode=cv2.BORDER_CONSTANT)

    grey = along_beams(frame.grey, cv2.INTER_LINEAR)
    label_map = along_beams(frame.label_map, cv2.INTER_NEAREST)
    inner = cv2.erode(along_beams(frame.sector.astype(np.uint8), cv2.INTER_NEAREST), np.ones((9, 9))) > 0
    depth, beam_step_rad = range_mm / range_mm[-1], math.radians(sector.angle_deg) / BEAMS
    regions = {
        "near": (depth > 0.15) & (depth < 0.35),
        "middle": (depth > 0.4) & (depth < 0.6),
        "deep": (depth > 0.65) & (depth < 0.85),
        "wall": label_map == MYOCARDIUM,
    }
    statistics: Statistics = {}
    for name, region in regions.items():
        region = region & inner
        if region.sum() < FEWEST_SAMPLES:
            continue
        across_mm = beam_step_rad * float(np.broadcast_to(range_mm, region.shape)[region].mean())
        flat = grey - _trend(grey, TREND_MM / step_mm, TREND_MM / across_mm)
        statistics[f"speckle axial {name}"] = step_mm * autocorrelation_width(flat, region, axis=0)
        statistics[f"speckle lateral {name}"] = across_mm * autocorrelation_width(flat, region, axis=1)
    return statistics


def autocorrelation_width(plane: Plane, region: Bool[np.ndarray, "h w"], *, axis: int) -> float:
    """Returns the full width at half maximum of the autocorrelation, in samples; nan where it stays above a half.

    Args:
        plane: values of mean 0.
        region: only pairs of samples inside count.
        axis: the axis along which the samples of a pair lie.
    """
    plane = np.ascontiguousarray(np.moveaxis(np.where(region, plane, 0), axis, 0), np.float32)
    share = np.ascontiguousarray(np.moveaxis(region, axis, 0), np.float32)
    power, before = np.vdot(plane, plane) / max(share.sum(), 1), 1.0
    for lag in range(1, min(40, len(plane) - 1)):
        pairs = np.vdot(share[lag:], share[:-lag])
        if not pairs or not power:
            break
        now = float(np.vdot(plane[lag:], plane[:-lag]) / pairs / power)
        if now < 0.5:
            return 2 * (lag - 1 + (before - 0.5) / (before - now))
        before = now
    return math.nan


def _trend(grey: Plane, row_sigma: float, column_sigma: float) -> Plane:
    """The slow changes of the grey level; both widths are in pixels."""
    return cv2.GaussianBlur(grey, (0, 0), sigmaX=column_sigma, sigmaY=row_sigma)
