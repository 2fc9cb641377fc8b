"""Random changes to a training clip: one draw for all its frames, so that motion stays as it was.

The ranges are in `data_pipelines.settings.Augmentation`. Speckle, shadow, gain and attenuation are added to the grey
levels, because log compression turns factors of the signal into sums.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from data_pipelines.settings import Augmentation
from data_pipelines.valve import add_papillary_muscles, open_valve


@dataclasses.dataclass(frozen=True)
class AugmentedClip:
    """A clip after augmentation; its frames are h2 x w2 pixels (the crop, or the size before).

    Attributes:
        image: grey levels 0..1, (t, h2, w2) float32.
        label_map: labels that moved with the picture, (t, h2, w2); what comes in from outside is background.
        decided: pixels whose label is decided, moved likewise, (t, h2, w2); None where every pixel is decided.
    """

    image: Float[np.ndarray, "t h2 w2"]
    label_map: UInt8[np.ndarray, "t h2 w2"]
    decided: Bool[np.ndarray, "t h2 w2"] | None


@dataclasses.dataclass(frozen=True)
class _Move:
    """A geometric change of all frames of a clip.

    Attributes:
        angle_deg: rotation about the centre of the picture, degrees.
        scale: magnification about the centre of the picture.
        offset: shift (down, right) as fractions of the sides.
        corner: (row, column) of the upper left pixel of the window that is kept.
        size: (height, width) of that window.
    """

    angle_deg: float
    scale: float
    offset: tuple[float, ...]
    corner: tuple[int, ...]
    size: tuple[int, ...]


def augment(
    frames: UInt8[np.ndarray, "t h w"],
    label_map: UInt8[np.ndarray, "t h w"],
    settings: Augmentation,
    rng: np.random.Generator,
    *,
    decided: Bool[np.ndarray, "t h w"] | None = None,
) -> AugmentedClip:
    """Changes a clip at random; frames and labels move together.

    Args:
        frames: grey levels 0..255.
        label_map: labels of every frame.
        settings: the ranges and probabilities.
        rng: where the random numbers come from.
        decided: pixels whose label is decided, or None where every pixel is.

    Returns:
        The changed clip at the size of the crop, or at the size of `frames` without one.
    """
    if settings.valve_probability or settings.papillary_probability:
        hearts_rng = np.random.default_rng(int(rng.integers(2**63)))
        frames = np.stack(
            [
                _change_heart(frame, labels, settings, hearts_rng)
                for frame, labels in zip(frames, label_map, strict=True)
            ]
        )
    # Every number is drawn whether it is used or not, so that one draw never shifts another.
    is_chosen = rng.random(4) < settings.probability
    gamma, scale, contrast = (rng.uniform(*span) for span in (settings.gamma, settings.scale, settings.contrast))
    angle_deg = rng.uniform(-settings.rotation_deg, settings.rotation_deg)
    offset = (0.0, 0.0)
    if settings.shift and rng.random() < settings.probability:
        offset = tuple(rng.uniform(-settings.shift, settings.shift, 2))
    corner, size = (0, 0), frames.shape[1:]
    if settings.crop:
        corner = tuple(int(rng.integers(side - settings.crop + 1)) for side in size)
        size = (settings.crop, settings.crop)
    if is_chosen[1] or is_chosen[2] or any(offset) or settings.crop:
        move = _Move(angle_deg if is_chosen[1] else 0.0, scale if is_chosen[2] else 1.0, offset, corner, size)
        frames = _warp(frames, move, cv2.INTER_LINEAR)
        label_map = _warp(label_map, move, cv2.INTER_NEAREST)
        if decided is not None:  # its complement is warped: what comes in from outside is decided background
            decided = _warp((~decided).astype(np.uint8), move, cv2.INTER_NEAREST) == 0
    curve = _grey_curve(frames, gamma if is_chosen[0] else 1.0, contrast if is_chosen[3] else 1.0)
    image = cv2.LUT(frames.reshape(1, -1), curve).reshape(frames.shape)
    if settings.ultrasound_probability:
        field = _ultrasound_field(frames.shape[1:], settings, rng)
        if field is not None:
            image = np.where(frames > 0, np.clip(image + field, 0.0, 1.0), image)  # outside the sector stays black
    return AugmentedClip(image, label_map, decided)


def _change_heart(
    frame: UInt8[np.ndarray, "h w"],
    label_map: UInt8[np.ndarray, "h w"],
    settings: Augmentation,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "h w"]:
    """Opens the valve and adds papillary muscles, each by its probability; a frame without labels stays as it is."""
    opens, adds = rng.random(2) < (settings.valve_probability, settings.papillary_probability)
    if opens:
        frame = open_valve(frame, label_map, rng)
    return add_papillary_muscles(frame, label_map, rng) if adds else frame


def _ultrasound_field(
    shape: tuple[int, ...], settings: Augmentation, rng: np.random.Generator
) -> Float32[np.ndarray, "h w"] | None:
    """Draws what speckle, shadow, gain and attenuation add to the grey levels; None where none of them is chosen."""
    is_chosen = rng.random(4) < settings.ultrasound_probability
    deviation, grain_px = rng.uniform(0, settings.speckle), rng.uniform(0.5, 1.5)
    depth, side, width = rng.uniform(0, settings.shadow), rng.uniform(-0.7, 0.7), rng.uniform(0.06, 0.18)
    gain = rng.uniform(-settings.gain, settings.gain)
    slope = rng.uniform(-settings.attenuation, settings.attenuation)
    grain_seed = int(rng.integers(2**32))
    if not is_chosen.any():
        return None
    field = np.full(shape, gain if is_chosen[2] else 0.0, np.float32)
    row = (np.arange(shape[0], dtype=np.float32)[:, None] + 0.5) / shape[0]
    column = (np.arange(shape[1], dtype=np.float32)[None] + 0.5) / shape[1] - 0.5
    if is_chosen[0]:
        grain = np.random.default_rng(grain_seed).standard_normal(shape, dtype=np.float32)
        grain = cv2.GaussianBlur(grain, (0, 0), grain_px)
        field += np.float32(deviation) / grain.std() * grain
    if is_chosen[1]:
        beam_angle = np.arctan2(column, row)  # seen from the probe at the top centre
        field -= np.float32(depth) * np.exp(-0.5 * ((beam_angle - np.float32(side)) / np.float32(width)) ** 2)
    if is_chosen[3]:
        field += np.float32(slope) * (0.5 - row)
    return field


def _grey_curve(frames: UInt8[np.ndarray, "t h w"], gamma: float, contrast: float) -> Float32[np.ndarray, "1 256"]:
    """Tabulates grey level 0..255 -> 0..1 after gamma, then contrast about the mean of the clip."""
    curve = (np.arange(256, dtype=np.float64) / 255) ** (1.0 / gamma)
    if contrast != 1.0:
        counts = cv2.calcHist([frames.reshape(1, -1)], [0], None, [256], [0, 256]).ravel().astype(np.float64)
        mean = (counts @ curve) / counts.sum()
        curve = np.clip(mean + (curve - mean) * contrast, 0.0, 1.0)
    return curve.astype(np.float32)[None]


def _warp(frames: UInt8[np.ndarray, "t h w"], move: _Move, interpolation: int) -> UInt8[np.ndarray, "t h2 w2"]:
    """Rotates, scales, shifts and cuts every frame; what comes in from outside is 0."""
    height, width = frames.shape[1:]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), move.angle_deg, move.scale)
    matrix[:, 2] += move.offset[1] * width - move.corner[1], move.offset[0] * height - move.corner[0]
    return np.stack([cv2.warpAffine(frame, matrix, move.size[::-1], flags=interpolation) for frame in frames])
