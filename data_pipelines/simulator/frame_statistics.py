"""What a labelled frame looks like, in numbers: grey levels, texture, borders, shape and sector.

Every frame is cut to the box of its sector and brought to one size first, so that frames of any source compare. A
statistic that needs millimetres or a label is left out where the frame has none.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from scipy.ndimage import distance_transform_edt

from data_pipelines.records import ATRIUM, ENDOCARDIUM, MYOCARDIUM, Clip, UnreadableRecord

ROWS, COLUMNS = 192, 256  # of the sector's box; about the pixels of a simulated picture of 256 x 256
SEEN = 2  # grey levels: a pixel above belongs to the sector
TREND_MM = 4.0  # standard deviation of the blur that is taken off before texture is looked at
BAND_MM = (0.8, 4.0)  # distances from the endocardial border between which grey levels are compared
NO_EDGE = 10.0  # grey levels: a smaller step across the border is taken for no visible edge
BORDER_PARTS = 48  # pieces of the endocardial border, by angle around the centre
SEGMENTS = ("septal", "lateral", "apical", "basal")

Plane = Float32[np.ndarray, "h w"]
Statistics = dict[str, float | np.floating]


@dataclasses.dataclass(frozen=True)
class Frame:
    """One labelled frame cut to the box of its sector, ROWS x COLUMNS; `spacing_mm` is (row, column) or None."""

    grey: Plane
    labels: UInt8[np.ndarray, "h w"]
    sector: Bool[np.ndarray, "h w"]
    spacing_mm: tuple[float, float] | None


def frames_of(clip: Clip) -> list[Frame]:
    """End-diastole and end-systole of a clip. The sector is the convex hull of what is not black in either."""
    assert clip.ed_index is not None and clip.es_index is not None
    pair = [clip.ed_index, clip.es_index]
    seen = (clip.frames[pair].max(axis=0) > SEEN).astype(np.uint8)
    if not seen.any():
        raise UnreadableRecord(clip.record_id, "black picture", f"no grey level above {SEEN}: leave the record out")
    points = np.argwhere(seen)[:, ::-1].astype(np.int32)
    hull = cv2.fillConvexPoly(np.zeros_like(seen), cv2.convexHull(points), 1)
    left, top, width, height = cv2.boundingRect(points)
    box = np.s_[top : top + height, left : left + width]
    shrinks = height > ROWS or width > COLUMNS
    resize = lambda plane, how: cv2.resize(plane, (COLUMNS, ROWS), interpolation=how)
    sector = resize(hull[box], cv2.INTER_NEAREST) > 0
    spacing_mm = clip.spacing_mm and (clip.spacing_mm[0] * height / ROWS, clip.spacing_mm[1] * width / COLUMNS)
    return [
        Frame(
            grey=resize(clip.frames[i][box].astype(np.float32), cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR),
            labels=resize(clip.label_map[i][box], cv2.INTER_NEAREST),
            sector=sector,
            spacing_mm=spacing_mm,
        )
        for i in pair
    ]


# ---- the statistics ------------------------------------------------------------------------------------------------


def statistics_of(frame: Frame) -> dict[str, float]:
    """Every statistic that the frame allows, by name."""
    found = grey_levels(frame) | profiles(frame)
    inside = frame.labels == ENDOCARDIUM
    if inside.any():
        found |= shape(inside, frame.spacing_mm) | {"LV share %": 100 * inside.sum() / frame.sector.sum()}
    if frame.spacing_mm is not None:
        fan = sector_shape(frame)
        found |= {
            "sector angle deg": fan[2],
            "sector apex x %": 100 * fan[0] / COLUMNS,
            "sector apex y %": 100 * fan[1] / ROWS,
        }
        found |= texture(frame) | speckle_cells(frame, fan)
        if inside.any() and (frame.labels == MYOCARDIUM).any():
            found |= border(frame.grey, inside, frame.sector, frame.spacing_mm)
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def grey_levels(frame: Frame) -> Statistics:
    """Means of the labelled regions, their contrast, percentiles of the sector."""
    percentiles = (5, 50, 95, 99)
    found: Statistics = dict(
        zip([f"sector p{p}" for p in percentiles], np.percentile(frame.grey[frame.sector], percentiles), strict=True)
    )
    for name, label in (("cavity", ENDOCARDIUM), ("wall", MYOCARDIUM), ("atrium", ATRIUM)):
        if (region := (frame.labels == label) & frame.sector).any():
            found[f"{name} mean"] = frame.grey[region].mean()
    if "wall mean" in found and "cavity mean" in found:
        found["wall - cavity"] = found["wall mean"] - found["cavity mean"]
    return found


def profiles(frame: Frame) -> Statistics:
    """Mean grey level in ten layers of depth, and in five strips from the left to the right edge of the sector."""
    row, column = np.nonzero(frame.sector)
    grey = frame.grey[row, column]
    first, last = frame.sector.argmax(axis=1), COLUMNS - 1 - frame.sector[:, ::-1].argmax(axis=1)
    strip = np.clip(5 * (column - first[row]) / np.maximum(last - first, 1)[row], 0, 4.99).astype(int)
    layer = 10 * row // ROWS
    found: Statistics = {
        f"depth {10 * k}-{10 * k + 10} %": grey[layer == k].mean() for k in range(10) if (layer == k).any()
    }
    middle = (row > 0.3 * ROWS) & (row < 0.75 * ROWS)
    names = ("left edge", "left", "middle", "right", "right edge")
    return found | {f"lateral {name}": grey[middle & (strip == k)].mean() for k, name in enumerate(names)}


def shape(inside: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float] | None) -> Statistics:
    """Place of the ventricle in the box; with millimetres its area, eccentricity and the lean of its axis."""
    row, column = np.nonzero(inside)
    found = {
        "LV centre x %": 100 * column.mean() / inside.shape[1],
        "LV centre y %": 100 * row.mean() / inside.shape[0],
    }
    if spacing_mm is None:
        return found
    (yy, xy), (_, xx) = np.cov(row * spacing_mm[0], column * spacing_mm[1])
    short, long = np.linalg.eigvalsh(np.array([[yy, xy], [xy, xx]]))
    return found | {
        "LV area mm2": row.size * spacing_mm[0] * spacing_mm[1],
        "LV eccentricity": math.sqrt(max(1 - short / long, 0)),
        "LV lean deg": math.degrees(0.5 * math.atan2(2 * xy, yy - xx)),
    }


def sector_shape(frame: Frame) -> tuple[float, float, float]:
    """Where the two straight edges of the sector meet (column, row), and the angle between them (degrees)."""
    assert frame.spacing_mm is not None
    first, last = frame.sector.argmax(axis=1), COLUMNS - 1 - frame.sector[:, ::-1].argmax(axis=1)
    widest = int((last - first).argmax())
    rows = np.arange(int(0.15 * widest), max(int(0.85 * widest), int(0.15 * widest) + 2))
    (left_slope, left), (right_slope, right) = (np.polyfit(rows, edge[rows], 1) for edge in (first, last + 1))
    row = (left - right) / (right_slope - left_slope)
    per_row = frame.spacing_mm[1] / frame.spacing_mm[0]
    angle = math.degrees(math.atan(right_slope * per_row) - math.atan(left_slope * per_row))
    return left + left_slope * row, row + 0.5, angle


def texture(frame: Frame) -> Statistics:
    """Standard deviation in 5 x 5 pixels, mean by region, and the skew of what slow changes leave."""
    assert frame.spacing_mm is not None
    mean = cv2.blur(frame.grey, (5, 5))
    local = np.sqrt(np.maximum(cv2.blur(frame.grey * frame.grey, (5, 5)) - mean * mean, 0))
    inner = cv2.erode(frame.sector.astype(np.uint8), np.ones((9, 9)), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    residual = (frame.grey - _trend(frame.grey, *(TREND_MM / step for step in frame.spacing_mm)))[inner]
    found: Statistics = {"local std sector": local[inner].mean()}
    found["residual skew"] = np.mean((residual - residual.mean()) ** 3) / max(residual.std() ** 3, 1e-9)
    for name, label in (("cavity", ENDOCARDIUM), ("wall", MYOCARDIUM)):
        if (region := (frame.labels == label) & inner).any():
            found[f"local std {name}"] = local[region].mean()
    return found


def speckle_cells(frame: Frame, fan: tuple[float, float, float]) -> Statistics:
    """Full width at half maximum (mm) of the autocorrelation along and across the beam: by depth, and in the wall."""
    assert frame.spacing_mm is not None
    (row_mm, column_mm), (column, row, angle) = frame.spacing_mm, fan
    ranges, beams, step_mm = 320, 192, (ROWS - row) * row_mm / 320
    range_mm, beam = (
        (np.arange(ranges) + 0.5)[:, None] * step_mm,
        math.radians(angle) * (np.arange(beams) / beams - 0.5),
    )
    x = (column + range_mm * np.sin(beam) / column_mm).astype(np.float32)
    y = (row + range_mm * np.cos(beam) / row_mm).astype(np.float32)
    polar = lambda plane, how: cv2.remap(plane, x, y, how, borderMode=cv2.BORDER_CONSTANT)
    grey, labels = polar(frame.grey, cv2.INTER_LINEAR), polar(frame.labels, cv2.INTER_NEAREST)
    sector = cv2.erode(polar(frame.sector.astype(np.uint8), cv2.INTER_NEAREST), np.ones((9, 9))) > 0
    share, beam_rad = range_mm / range_mm[-1], math.radians(angle) / beams
    regions = {
        "near": (share > 0.15) & (share < 0.35),
        "middle": (share > 0.4) & (share < 0.6),
        "deep": (share > 0.65) & (share < 0.85),
        "wall": labels == MYOCARDIUM,
    }
    found: Statistics = {}
    for name, region in regions.items():
        region = region & sector
        if region.sum() < 400:
            continue
        across_mm = beam_rad * float(np.broadcast_to(range_mm, region.shape)[region].mean())
        flat = grey - _trend(grey, TREND_MM / step_mm, TREND_MM / across_mm)
        found[f"speckle axial {name}"] = step_mm * half_width(flat, region, 0)
        found[f"speckle lateral {name}"] = across_mm * half_width(flat, region, 1)
    return found


def half_width(plane: Plane, region: Bool[np.ndarray, "h w"], axis: int) -> float:
    """Full width (samples) at half maximum of the autocorrelation along `axis` over pairs within the region."""
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


def border(
    grey: Plane, inside: Bool[np.ndarray, "h w"], sector: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float]
) -> Statistics:
    """Step of grey level outwards across the endocardial border, its steepness, and the share without a visible edge.

    The border is cut into BORDER_PARTS by angle; septal is left of the long axis, lateral right of it, apical the upper
    and basal (the mitral plane) the lower end.
    """
    outside_mm, depth_mm = (np.asarray(distance_transform_edt(area, sampling=spacing_mm)) for area in (~inside, inside))
    signed_mm = outside_mm - depth_mm
    row, column = np.nonzero((np.abs(signed_mm) < BAND_MM[1]) & sector)
    distance_mm, level = signed_mm[row, column], grey[row, column]
    within = np.argwhere(inside) * spacing_mm
    centre, lean = within.mean(axis=0), math.radians(shape(inside, spacing_mm)["LV lean deg"])
    down, right = row * spacing_mm[0] - centre[0], column * spacing_mm[1] - centre[1]
    along, across = math.cos(lean) * down + math.sin(lean) * right, math.cos(lean) * right - math.sin(lean) * down
    half_mm = np.ptp((within - centre) @ (math.cos(lean), math.sin(lean))) / 2
    part = ((np.arctan2(across, along) / (2 * math.pi) + 0.5) * BORDER_PARTS).astype(int) % BORDER_PARTS
    mean = lambda values, where: _means(values[where], part[where], BORDER_PARTS)
    step = mean(level, distance_mm > BAND_MM[0]) - mean(level, distance_mm < -BAND_MM[0])
    close = np.abs(distance_mm) < 2 * BAND_MM[0]
    steep = mean(level, close & (distance_mm > 0)) - mean(level, close & (distance_mm < 0))
    place = [mean(values, np.ones(len(part), bool)) for values in (along / half_mm, across)]
    segment = np.where(place[0] < -0.75, 2, np.where(place[0] > 0.75, 3, np.where(place[1] < 0, 0, 1)))
    wall, known = segment != 3, np.isfinite(step)
    wall &= known
    parts = {f"border step {name}": step[(segment == k) & known] for k, name in enumerate(SEGMENTS)}
    parts |= {"border step": step[wall], "border without edge": step[wall] < NO_EDGE}
    parts["border slope /mm"] = steep[wall & np.isfinite(steep)] / (2 * BAND_MM[0])
    return {name: values.mean() for name, values in parts.items() if values.size}


def _means(values: np.ndarray, group: np.ndarray, groups: int) -> Float[np.ndarray, " g"]:
    count = np.bincount(group, minlength=groups)
    total = np.bincount(group, values, groups)
    return np.where(count > 0, total / np.maximum(count, 1), math.nan)


def _trend(grey: Plane, sigma_rows: float, sigma_columns: float) -> Plane:
    return cv2.GaussianBlur(grey, (0, 0), sigmaX=sigma_columns, sigmaY=sigma_rows)
