"""The paper's augmentations (4.2): gamma, scale, rotation and contrast, one draw for all frames of a clip.

Ranges follow the same group's earlier code (docs/method.md, section 6).
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, UInt8


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Ranges, each applied with `probability`; 0 switches augmentation off."""

    probability: float = 0.5
    gamma: tuple[float, float] = (1.0, 2.4)  # image ** (1 / gamma)
    rotation_deg: float = 30.0  # +-
    scale: tuple[float, float] = (1.0, 1.3)
    contrast: tuple[float, float] = (0.8, 2.0)  # about the clip's mean grey level

    def __call__(
        self, frames: UInt8[np.ndarray, "t h w"], mask: UInt8[np.ndarray, "t h w"], rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "t h w"], UInt8[np.ndarray, "t h w"]]:
        """Grey levels 0..255 and 0/1 masks -> grey levels 0..1 (float32) and masks, moved together."""
        # Every number is drawn whether it is used or not, so that one draw never shifts another.
        chosen = rng.random(4) < self.probability
        gamma, scale, contrast = rng.uniform(*self.gamma), rng.uniform(*self.scale), rng.uniform(*self.contrast)
        angle = rng.uniform(-self.rotation_deg, self.rotation_deg)
        if chosen[1] or chosen[2]:
            angle, scale = (angle if chosen[1] else 0.0), (scale if chosen[2] else 1.0)
            frames, mask = _warp(frames, angle, scale, cv2.INTER_LINEAR), _warp(mask, angle, scale, cv2.INTER_NEAREST)
        image = frames.astype(np.float32) / np.float32(255)
        if chosen[0]:
            image = image ** np.float32(1.0 / gamma)
        if chosen[3]:
            mean = image.mean(dtype=np.float64).astype(np.float32)
            image = np.clip(mean + (image - mean) * np.float32(contrast), 0.0, 1.0)
        return image, mask


def _warp(frames: UInt8[np.ndarray, "t h w"], angle_deg: float, scale: float, how: int) -> UInt8[np.ndarray, "t h w"]:
    """Rotation and scaling about the centre of the picture; what comes in from outside is black."""
    height, width = frames.shape[1:]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, scale)
    return np.stack([cv2.warpAffine(frame, matrix, (width, height), flags=how) for frame in frames])
