"""data_pipelines.preprocessing."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.records import Clip


def resize_frames(frames: UInt8[np.ndarray, "t h w"], size: int) -> UInt8[np.ndarray, "t s s"]:
    """Grey frames to size x size: area average when shrinking, bilinear when growing."""
    shrinks = frames.shape[1] >= size and frames.shape[2] >= size
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (size, size), interpolation=interpolation) for frame in frames])


def resize_masks(masks: UInt8[np.ndarray, "t h w"], size: int) -> UInt8[np.ndarray, "t s s"]:
    """Label masks to size x size, nearest pixel centre."""
    return np.stack([cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT) for mask in masks])


def to_native(
    probability: Float[np.ndarray, "t s s"], shape: tuple[int, int], threshold: float = 0.5
) -> UInt8[np.ndarray, "t h w"]:
    """Foreground probabilities at network size -> 0/1 masks at the clip's own size (bilinear, then the threshold)."""
    return (resize_probability(probability, shape) >= threshold).astype(np.uint8)


def resize_probability(probability: Float[np.ndarray, "t s s"], shape: tuple[int, int]) -> Float[np.ndarray, "t h w"]:
    """Foreground probabilities at another size (bilinear)."""
    height, width = shape
    probability = probability.astype(np.float32)
    return np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in probability])


def at_network_size(clip: Clip, size: int) -> Clip:
    """The clip at size x size with its spacing there: what the network saw and was taught."""
    return dataclasses.replace(
        clip,
        frames=resize_frames(clip.frames, size),
        label_map=resize_masks(clip.label_map, size),
        spacing_mm=_spacing_at(clip, size),
    )


def _spacing_at(clip: Clip, size: int) -> tuple[float, float] | None:
    """(row_mm, column_mm) after resizing to size x size."""
    if clip.spacing_mm is None:
        return None
    return clip.spacing_mm[0] * clip.frames.shape[1] / size, clip.spacing_mm[1] * clip.frames.shape[2] / size
