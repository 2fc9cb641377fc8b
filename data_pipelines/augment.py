"""Augmentations with one draw for all frames of a clip.

The paper's four (4.2): gamma, scale, rotation and contrast, in the ranges of the same group's earlier code.
Besides, as options, what an ultrasound machine and a chest do to a picture: speckle, shadows, gain, attenuation with
depth. Those are sums in log-compressed grey levels, not products.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Ranges, each applied with its probability; 0 switches it off.

    Attributes:
        probability: of each of the paper's four.
        gamma: image ** (1 / gamma).
        rotation_deg: +-.
        scale: of the picture about its centre.
        contrast: factor about the clip's mean grey level.
        shift: +-, share of a side, up and down and sideways; goes with its own probability, as the others. The paper
            has none.
        ultrasound_probability: of each of the four below; grey levels are of 0..1.
        speckle: standard deviation of a grain that stays where it is, up to.
        shadow: depth of a shadow that starts at the probe (top centre of the picture), up to.
        gain: +-, the same in the whole sector.
        attenuation: +-, difference between the top and the bottom of the picture.
        crop: training pictures are windows of so many pixels a side, drawn anywhere in the picture after the moves
            above; 0: whole pictures. A step costs less at the same pixel size; the network is fully convolutional.
    """

    probability: float = 0.5
    gamma: tuple[float, float] = (1.0, 2.4)
    rotation_deg: float = 30.0
    scale: tuple[float, float] = (1.0, 1.3)
    contrast: tuple[float, float] = (0.8, 2.0)
    shift: float = 0.0
    ultrasound_probability: float = 0.0
    speckle: float = 0.08
    shadow: float = 0.5
    gain: float = 0.12
    attenuation: float = 0.3
    crop: int = 0

    def __call__(
        self, frames: UInt8[np.ndarray, "t h w"], labels: UInt8[np.ndarray, "t h w"], rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "t h2 w2"], UInt8[np.ndarray, "t h2 w2"]]:
        """Grey levels 0..255 and labels -> grey levels 0..1 (float32) and labels, moved together."""
        # Every number is drawn whether it is used or not, so that one draw never shifts another.
        chosen = rng.random(4) < self.probability
        gamma, scale, contrast = rng.uniform(*self.gamma), rng.uniform(*self.scale), rng.uniform(*self.contrast)
        angle = rng.uniform(-self.rotation_deg, self.rotation_deg)
        offset = (0.0, 0.0)
        if self.shift and rng.random() < self.probability:
            offset = tuple(rng.uniform(-self.shift, self.shift, 2))
        corner, size = (0, 0), frames.shape[1:]
        if self.crop:
            corner, size = tuple(int(rng.integers(side - self.crop + 1)) for side in size), (self.crop, self.crop)
        if chosen[1] or chosen[2] or any(offset) or self.crop:
            angle, scale = (angle if chosen[1] else 0.0), (scale if chosen[2] else 1.0)
            frames = _warp(frames, angle, scale, offset, corner, size, cv2.INTER_LINEAR)
            labels = _warp(labels, angle, scale, offset, corner, size, cv2.INTER_NEAREST)
        curve = _grey_curve(frames, gamma if chosen[0] else 1.0, contrast if chosen[3] else 1.0)
        image = cv2.LUT(frames.reshape(1, -1), curve).reshape(frames.shape)
        if self.ultrasound_probability:
            field = self._ultrasound_field(frames.shape[1:], rng)
            if field is not None:
                image = np.where(frames > 0, np.clip(image + field, 0.0, 1.0), image)  # outside the sector stays black
        return image, labels

    def _ultrasound_field(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float32[np.ndarray, "h w"] | None:
        """What the chosen of speckle, shadow, gain and attenuation add to the grey levels; None where all are off."""
        chosen = rng.random(4) < self.ultrasound_probability
        deviation, grain_px = rng.uniform(0, self.speckle), rng.uniform(0.5, 1.5)
        depth, side, width = rng.uniform(0, self.shadow), rng.uniform(-0.7, 0.7), rng.uniform(0.06, 0.18)
        gain, slope = rng.uniform(-self.gain, self.gain), rng.uniform(-self.attenuation, self.attenuation)
        grain_seed = int(rng.integers(2**32))
        if not chosen.any():
            return None
        field = np.full(shape, gain if chosen[2] else 0.0, np.float32)
        row = (np.arange(shape[0], dtype=np.float32)[:, None] + 0.5) / shape[0]
        column = (np.arange(shape[1], dtype=np.float32)[None] + 0.5) / shape[1] - 0.5
        if chosen[0]:
            grain = np.random.default_rng(grain_seed).standard_normal(shape, dtype=np.float32)
            grain = cv2.GaussianBlur(grain, (0, 0), grain_px)
            field += np.float32(deviation) / grain.std() * grain
        if chosen[1]:
            angle = np.arctan2(column, row)  # of the beam, from the probe at the top centre
            field -= np.float32(depth) * np.exp(-0.5 * ((angle - np.float32(side)) / np.float32(width)) ** 2)
        if chosen[3]:
            field += np.float32(slope) * (0.5 - row)
        return field


def _grey_curve(frames: UInt8[np.ndarray, "t h w"], gamma: float, contrast: float) -> Float32[np.ndarray, "1 256"]:
    """Grey level 0..255 -> 0..1 after gamma, then contrast about the mean of the clip: a table, for there are 256."""
    curve = (np.arange(256, dtype=np.float64) / 255) ** (1.0 / gamma)
    if contrast != 1.0:
        counts = cv2.calcHist([frames.reshape(1, -1)], [0], None, [256], [0, 256]).ravel().astype(np.float64)
        mean = (counts @ curve) / counts.sum()
        curve = np.clip(mean + (curve - mean) * contrast, 0.0, 1.0)
    return curve.astype(np.float32)[None]


def _warp(
    frames: UInt8[np.ndarray, "t h w"],
    angle_deg: float,
    scale: float,
    offset: tuple[float, ...],
    corner: tuple[int, ...],
    size: tuple[int, ...],
    how: int,
) -> UInt8[np.ndarray, "t h2 w2"]:
    """Rotation and scaling about the centre of the picture, then a shift (down, right) in shares of its sides; of that
    the window of `size` (height, width) whose upper left pixel is `corner` (row, column). What comes in from outside
    is black."""
    height, width = frames.shape[1:]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, scale)
    matrix[:, 2] += offset[1] * width - corner[1], offset[0] * height - corner[0]
    return np.stack([cv2.warpAffine(frame, matrix, size[::-1], flags=how) for frame in frames])
