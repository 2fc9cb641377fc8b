"""From a clip to what a network reads, and back: resizing, grey levels 0..1, masks at the size of the clip.

Training, validation, evaluation and prediction all use these functions.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from data_pipelines.records import Clip


def resize_frames(frames: UInt8[np.ndarray, "t h w"], size: int) -> UInt8[np.ndarray, "t s s"]:
    """Resizes grey frames to a square: by area average when both sides shrink, else by bilinear interpolation.

    Args:
        frames: grey levels 0..255.
        size: side of the square in pixels.
    """
    shrinks = frames.shape[1] >= size and frames.shape[2] >= size
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (size, size), interpolation=interpolation) for frame in frames])


def resize_label_map(label_map: UInt8[np.ndarray, "t h w"], size: int) -> UInt8[np.ndarray, "t s s"]:
    """Resizes label maps to a square; every pixel takes the label at the nearest pixel centre.

    Args:
        label_map: labels of every frame.
        size: side of the square in pixels.
    """
    return np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_NEAREST_EXACT) for frame in label_map])


def to_unit_range(frames: UInt8[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Turns grey levels 0..255 into float32 numbers 0..1, the unit of everything that enters a network."""
    return frames.astype(np.float32) / np.float32(255)


def to_native(
    probability: Float[np.ndarray, "t s s"], shape: tuple[int, int], threshold: float = 0.5
) -> UInt8[np.ndarray, "t h w"]:
    """Turns foreground probabilities at network size into masks at the size of the clip.

    Args:
        probability: probability of the left-ventricular cavity, 0..1.
        shape: (h, w) of the clip in pixels.
        threshold: a pixel belongs to the cavity from this probability on. It is applied after the resizing.

    Returns:
        Masks 0 or 1.
    """
    return (resize_probability(probability, shape) >= threshold).astype(np.uint8)


def resize_probability(probability: Float[np.ndarray, "t s s"], shape: tuple[int, int]) -> Float[np.ndarray, "t h w"]:
    """Resizes foreground probabilities by bilinear interpolation.

    Args:
        probability: probability of the left-ventricular cavity, 0..1.
        shape: (h, w) wanted, in pixels.
    """
    height, width = shape
    probability = probability.astype(np.float32)
    return np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in probability])


def at_network_size(clip: Clip, size: int) -> Clip:
    """Resizes a clip to what the network sees, with the pixel spacing that it then has.

    Args:
        clip: a clip at its own size.
        size: side of the network's input in pixels.
    """
    return dataclasses.replace(
        clip,
        frames=resize_frames(clip.frames, size),
        label_map=resize_label_map(clip.label_map, size),
        spacing_mm=spacing_at(clip, size),
    )


def spacing_at(clip: Clip, size: int) -> tuple[float, float] | None:
    """Computes (row_mm, column_mm) of a clip after resizing; None where the spacing is not known.

    Args:
        clip: a clip at its own size.
        size: side of the resized square in pixels.
    """
    if clip.spacing_mm is None:
        return None
    return clip.spacing_mm[0] * clip.frames.shape[1] / size, clip.spacing_mm[1] * clip.frames.shape[2] / size
