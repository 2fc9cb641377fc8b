"""Opens the mitral valve on labelled frames, and adds papillary muscles: states of the heart that no label shows.

At end-diastole and end-systole the mitral valve is shut, so a network that learns from these two frames alone takes
the leaflets for the border of the cavity. The convention of the labels does not change while the valve is open: the
cavity ends at the straight line between the two hinge points of the annulus, and the leaflets lie inside. The atrium's
label tells where that line is, or the flat base of the cavity's label. The leaflets that are drawn are of two kinds:
bands of synthetic speckle, and the patient's own shut leaflets, turned about their hinge points into the ventricle.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from data_pipelines.records import ATRIUM, ENDOCARDIUM, MYOCARDIUM

NARROWEST_PX = 12.0  # an annulus that is narrower is an error of the labels, or too small to draw leaflets in
FEWEST_WALL_PX = 50  # pixels of myocardium from which the brightness of the wall is taken
WALL_LEVEL = 150.0  # grey level of leaflets where the wall is not labelled
SIMPLER = 0.03  # of the hull's perimeter: corners closer to a straight line are left out
STEEPEST = 0.7  # cosine to the long axis: a side that is steeper is a wall, not the base
SUBPIXEL_BITS = 4  # cv2 draws at sixteenths of a pixel
Point = Float[np.ndarray, "2"]


@dataclasses.dataclass(frozen=True)
class Annulus:
    """The mitral annulus in a frame. Points and vectors are (x, y) in pixels.

    Attributes:
        left: the hinge point that lies further to the left.
        right: the other hinge point.
        along: unit vector from left to right.
        inward: unit vector across it, into the ventricle.
        width_px: distance of the hinge points.
        depth_px: distance of the apex from the annulus.
    """

    left: Point
    right: Point
    along: Point
    inward: Point
    width_px: float
    depth_px: float


def find_annulus(label_map: UInt8[np.ndarray, "h w"]) -> Annulus | None:
    """Finds the hinge points: the ends of the border between ventricle and atrium, or of the cavity's flat base.

    Where the atrium is not labelled, the base is the longest side of the cavity's simplified convex hull that faces
    away from the apex: the labels close the cavity straight across the annulus.

    Returns:
        The annulus; None where there is no such border or it is too narrow.
    """
    ventricle = (label_map == ENDOCARDIUM).astype(np.uint8)
    if not ventricle.any():
        return None
    ends = _border_with_atrium(ventricle, label_map) if (label_map == ATRIUM).any() else _flat_base(ventricle)
    if ends is None:
        return None
    left, right = sorted(ends, key=lambda point: point[0])
    width = float(np.linalg.norm(right - left))
    if width < NARROWEST_PX:
        return None
    along = (right - left) / width
    inward = np.array([along[1], -along[0]])
    pixels = np.argwhere(ventricle)[:, ::-1] - (left + right) / 2
    if pixels.mean(axis=0) @ inward < 0:
        inward = -inward
    return Annulus(left, right, along, inward, width, float((pixels @ inward).max()))


def _border_with_atrium(
    ventricle: UInt8[np.ndarray, "h w"], label_map: UInt8[np.ndarray, "h w"]
) -> Float[np.ndarray, "2 2"] | None:
    """Returns the two points (x, y) of the border between ventricle and atrium that lie furthest apart."""
    near = np.ones((5, 5), np.uint8)
    atrium = (label_map == ATRIUM).astype(np.uint8)
    touching = np.logical_and(cv2.dilate(ventricle, near), cv2.dilate(atrium, near))
    border = np.argwhere(touching)[:, ::-1].astype(np.float32)
    if len(border) < 2:
        return None
    corners = cv2.convexHull(border)[:, 0].astype(np.float64)
    distances = np.linalg.norm(corners[:, None] - corners[None], axis=-1)
    return corners[list(np.unravel_index(distances.argmax(), distances.shape))]


def _flat_base(ventricle: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "2 2"] | None:
    """Returns the ends (x, y) of the longest side of the cavity's hull that faces down along its long axis."""
    pixels = np.argwhere(ventricle)[:, ::-1].astype(np.float32)
    hull = cv2.convexHull(pixels)
    corners = cv2.approxPolyDP(hull, SIMPLER * cv2.arcLength(hull, True), True)[:, 0].astype(np.float64)
    if len(corners) < 3:
        return None
    axis = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)[2][0]
    down = axis if axis[1] >= 0 else -axis
    sides = np.roll(corners, -1, axis=0) - corners
    lengths = np.maximum(np.linalg.norm(sides, axis=1), 1e-6)
    middle = (corners + sides / 2) - pixels.mean(axis=0)
    faces_down = (np.abs(sides @ down) < STEEPEST * lengths) & (middle @ down > 0)
    if not faces_down.any():
        return None
    longest = int(np.where(faces_down, lengths, 0).argmax())
    return np.stack([corners[longest], corners[(longest + 1) % len(corners)]])


def open_valve(
    frame: UInt8[np.ndarray, "h w"], label_map: UInt8[np.ndarray, "h w"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w"]:
    """Replaces the shut leaflets by blood and draws open ones inside the ventricle; the labels stay right.

    Args:
        frame: grey levels 0..255.
        label_map: labels of the frame, with the atrium.
        rng: where the random numbers come from.

    Returns:
        The changed frame; the frame itself where the labels show no annulus. Black stays black.
    """
    if (annulus := find_annulus(label_map)) is None:
        return frame
    picture = frame.astype(np.float32)
    shut = _leaflet_band(frame.shape, annulus, rng)
    own = _turned_leaflets(picture, shut, annulus, rng) if rng.random() < 0.5 else None
    opened = picture * (1 - shut) + _shifted(picture, annulus, rng) * shut
    if own is not None:
        opened = np.maximum(opened, own)
    if own is None or rng.random() < 0.4:
        cover = _drawn_leaflets(frame.shape, annulus, rng)
        level = _wall_level(frame, label_map, rng) * (1 + 0.22 * _speckle(frame.shape, 1.2, rng))
        opened = np.maximum(opened, opened * (1 - cover) + level * cover)
    return np.where(frame > 0, np.clip(opened, 0, 255), 0).astype(np.uint8)


def add_papillary_muscles(
    frame: UInt8[np.ndarray, "h w"], label_map: UInt8[np.ndarray, "h w"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w"]:
    """Draws one or two papillary muscles at the wall inside the cavity, to which they belong by the labels' convention.

    Args:
        frame: grey levels 0..255.
        label_map: labels of the frame, with the atrium.
        rng: where the random numbers come from.

    Returns:
        The changed frame; the frame itself where the labels show no annulus.
    """
    if (annulus := find_annulus(label_map)) is None:
        return frame
    cavity = (label_map == ENDOCARDIUM).astype(np.uint8)
    from_wall = cv2.distanceTransform(cavity, cv2.DIST_L2, 5)
    _, height = _coordinates(frame.shape, annulus)
    places = np.argwhere((from_wall > 0) & (from_wall <= 1.5) & (height > 0.3) & (height < 0.8))
    if len(places) == 0:
        return frame
    cover = np.zeros(frame.shape, np.float32)
    for _ in range(rng.integers(1, 3)):
        row, column = places[rng.integers(len(places))]
        axes = [max(1, round(annulus.depth_px * rng.uniform(*span))) for span in ((0.06, 0.14), (0.03, 0.06))]
        angle_deg = float(np.rad2deg(np.arctan2(annulus.inward[1], annulus.inward[0])) + rng.uniform(-25, 25))
        muscle = np.zeros(frame.shape, np.float32)
        cv2.ellipse(muscle, (int(column), int(row)), axes, angle_deg, 0, 360, 1.0, -1, cv2.LINE_AA)
        cover = np.maximum(cover, cv2.GaussianBlur(muscle, (0, 0), 1.5) * rng.uniform(0.5, 0.95))
    cover *= cavity
    level = 0.6 * _wall_level(frame, label_map, rng) * (1 + 0.3 * _speckle(frame.shape, 1.3, rng))
    picture = frame.astype(np.float32)
    changed = np.maximum(picture, picture * (1 - cover) + level * cover)
    return np.where(frame > 0, np.clip(changed, 0, 255), 0).astype(np.uint8)


def _coordinates(shape: tuple[int, ...], annulus: Annulus) -> tuple[Float32[np.ndarray, "h w"], ...]:
    """Returns where each pixel lies along the annulus (0 left to 1 right), and above it (0 annulus to 1 apex)."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    dx, dy = x - annulus.left[0], y - annulus.left[1]
    along = (dx * annulus.along[0] + dy * annulus.along[1]) / annulus.width_px
    height = (dx * annulus.inward[0] + dy * annulus.inward[1]) / annulus.depth_px
    return along.astype(np.float32), height.astype(np.float32)


def _leaflet_band(shape: tuple[int, ...], annulus: Annulus, rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """Covers the shut leaflets, 0..1: a soft band along the annulus between the hinge points."""
    along, height = _coordinates(shape, annulus)
    half = rng.uniform(0.05, 0.11)
    band = ((along > 0.06) & (along < 0.94) & (height > -1.2 * half) & (height < half)).astype(np.float32)
    return cv2.GaussianBlur(band, (0, 0), max(1.2, 0.02 * annulus.depth_px))


def _shifted(
    picture: Float32[np.ndarray, "h w"], annulus: Annulus, rng: np.random.Generator
) -> Float32[np.ndarray, "h w"]:
    """Moves blood from the middle of the ventricle to the annulus."""
    x, y = -annulus.inward * annulus.depth_px * rng.uniform(0.22, 0.4)
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(picture, matrix, picture.shape[::-1], borderMode=cv2.BORDER_REFLECT)


def _turned_leaflets(
    picture: Float32[np.ndarray, "h w"], band: Float32[np.ndarray, "h w"], annulus: Annulus, rng: np.random.Generator
) -> Float32[np.ndarray, "h w"]:
    """Turns the patient's own leaflets about their hinge points into the ventricle; 0 where they are not."""
    along, _ = _coordinates(picture.shape, annulus)
    split = rng.uniform(0.35, 0.65)
    turned = np.zeros_like(picture)
    (along_x, along_y), (inward_x, inward_y) = annulus.along, annulus.inward
    to_inside = np.sign(along_x * inward_y - along_y * inward_x)  # of the left leaflet; the right one turns against it
    for hinge, half, side in ((annulus.left, along < split, 1), (annulus.right, along >= split, -1)):
        angle_deg = -float(side * to_inside * rng.uniform(15, 80))
        matrix = cv2.getRotationMatrix2D((float(hinge[0]), float(hinge[1])), angle_deg, rng.uniform(0.8, 1.3))
        leaflet = cv2.warpAffine(picture * band * half, matrix, picture.shape[::-1])
        turned = np.maximum(turned, leaflet)
    return turned * rng.uniform(0.8, 1.3)


def _drawn_leaflets(shape: tuple[int, ...], annulus: Annulus, rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """Draws both leaflets, some with chordae: how much each pixel is covered, 0..1."""
    opening, is_left_anterior = rng.uniform(0.25, 1.0), rng.random() < 0.5
    cover = np.zeros(shape, np.float32)
    for hinge, side, is_anterior in ((annulus.left, 1, is_left_anterior), (annulus.right, -1, not is_left_anterior)):
        length = annulus.width_px * rng.uniform(*((0.5, 0.9) if is_anterior else (0.3, 0.55)))
        angle = np.deg2rad(10 + opening * rng.uniform(35, 95))
        outward = side * annulus.along
        tip = hinge + length * (np.cos(angle) * outward + np.sin(angle) * annulus.inward)
        bend = rng.uniform(-0.25, 0.25) * length
        middle = (hinge + tip) / 2 + bend * (np.cos(angle) * annulus.inward - np.sin(angle) * outward)
        along = np.linspace(0, 1, 24)[:, None]
        curve = (1 - along) ** 2 * hinge + 2 * along * (1 - along) * middle + along**2 * tip
        patchy = np.clip(0.85 + 0.35 * _speckle(shape, 0.06 * annulus.depth_px, rng), 0.1, 1)
        leaflet = _line(shape, curve, annulus.depth_px * rng.uniform(0.02, 0.075))
        cover = np.maximum(cover, cv2.GaussianBlur(leaflet, (0, 0), rng.uniform(0.6, 1.6)) * patchy)
        if rng.random() < 0.4:
            end = tip + annulus.depth_px * rng.uniform(0.1, 0.4) * (annulus.inward + rng.uniform(-0.4, 0.4) * outward)
            chorda = cv2.GaussianBlur(_line(shape, np.stack([tip, end]), 1.0), (0, 0), 0.8)
            cover = np.maximum(cover, 0.4 * chorda * patchy)
    return cover


def _line(shape: tuple[int, ...], points: Float[np.ndarray, "n 2"], thickness_px: float) -> Float32[np.ndarray, "h w"]:
    """Draws a line through points, 0..1."""
    drawn = np.zeros(shape, np.float32)
    fixed = np.rint(points * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.polylines(drawn, [fixed], False, 1.0, max(1, round(thickness_px)), cv2.LINE_AA, SUBPIXEL_BITS)
    return drawn


def _wall_level(
    frame: UInt8[np.ndarray, "h w"], label_map: UInt8[np.ndarray, "h w"], rng: np.random.Generator
) -> float:
    """Draws a grey level near that of the bright parts of the wall."""
    wall, share, factor = frame[label_map == MYOCARDIUM], rng.uniform(75, 97), rng.uniform(0.7, 1.25)
    level = float(np.percentile(wall, share)) if len(wall) >= FEWEST_WALL_PX else WALL_LEVEL
    return max(level, 60.0) * factor


def _speckle(shape: tuple[int, ...], grain_px: float, rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """Draws smooth noise of mean 0 and standard deviation 1."""
    grain = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), max(grain_px, 0.3))
    return grain / np.float32(grain.std())
