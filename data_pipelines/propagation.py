"""Carries the labels of end-diastole and end-systole to the frames between them by optical flow.

Other studies make pseudo-labels like that. The flow is OpenCV's dense inverse search (T. Kroeger et al., ECCV 2016),
from frame to frame, at the size of the clip. There are two methods:

- "registration" (after TCS): every frame is registered to both labelled frames at once. The two warped masks are
  averaged with weights that are linear in time, so that every pixel gets a label.
- "deformation" (after CLAS): masks move from neighbour to neighbour, forwards from the first labelled frame and
  backwards from the last. A pixel gets a label where both agree, and is undecided elsewhere. CLAS learns its
  deformation together with the segmentation; here it is not learnt.
"""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Real, UInt8

from data_pipelines.records import SampledClip
from data_pipelines.settings import PROPAGATION_METHODS

PRE_SMOOTHING_PX = 1.0  # standard deviation of the Gaussian before the flow: speckle is not motion


def propagate(clip: SampledClip, method: str) -> SampledClip:
    """Gives a mask to every frame between the first and the last frame whose label may be used.

    Frames whose label may be used keep their masks. References of other frames are replaced, never read.

    Args:
        clip: the clip; `may_train` names the frames whose masks are carried.
        method: one of `data_pipelines.settings.PROPAGATION_METHODS`.

    Returns:
        The clip with masks (0 or 1) on the frames between, and with `decided` where the method leaves pixels open.
        `has_reference` is False for frames without a carried mask: all but the labelled ones if there are fewer than
        two.

    Raises:
        ValueError: there is no such method.
    """
    if method not in PROPAGATION_METHODS:
        raise ValueError(f"method is {method!r}; expected one of {PROPAGATION_METHODS}")
    labelled = np.flatnonzero(clip.may_train)
    label_map, cavity = np.where(clip.may_train[:, None, None], clip.label_map, 0), clip.cavity
    decided, has_reference = np.ones(clip.label_map.shape, bool), clip.may_train.copy()
    for first, last in itertools.pairwise(labelled):
        frames, between = clip.frames[first : last + 1], slice(first + 1, last)
        if method == "registration":
            label_map[between] = _register(frames, cavity[first], cavity[last])
        else:
            label_map[between], decided[between] = _deform(frames, cavity[first], cavity[last])
        has_reference[first : last + 1] = True
    return dataclasses.replace(
        clip, label_map=label_map, has_reference=has_reference, decided=None if decided.all() else decided
    )


def flow(fixed: UInt8[np.ndarray, "h w"], moving: UInt8[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w two"]:
    """Estimates how far every pixel of one frame has moved in another.

    Args:
        fixed: the frame whose pixels are followed, grey levels.
        moving: the frame in which they are sought.

    Returns:
        The displacement (column, row) in pixels from each pixel of `fixed` to its counterpart in `moving`.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    before, after = (cv2.GaussianBlur(frame, (0, 0), PRE_SMOOTHING_PX) for frame in (fixed, moving))
    return search.calc(before, after, np.zeros((*fixed.shape, 2), np.float32))


def warp(mask: Real[np.ndarray, "h w"], displacement: Float32[np.ndarray, "h w two"]) -> Float32[np.ndarray, "h w"]:
    """Brings the mask of the moving frame onto the fixed one by bilinear interpolation.

    Args:
        mask: mask of the moving frame.
        displacement: what `flow` gives, (column, row) in pixels.

    Returns:
        The mask as seen on the fixed frame, with values between 0 and 1 at its edge.
    """
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]].astype(np.float32)
    x, y = columns + displacement[..., 0], rows + displacement[..., 1]
    return cv2.remap(mask.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _register(
    frames: UInt8[np.ndarray, "t h w"], first: UInt8[np.ndarray, "h w"], last: UInt8[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "n h w"]:
    """Averages the masks of the first and the last frame, both warped onto each frame between."""
    masks = np.zeros_like(frames[1:-1])
    for t in range(1, len(frames) - 1):
        weight = t / (len(frames) - 1)
        from_first, from_last = (warp(m, flow(frames[t], frames[end])) for m, end in ((first, 0), (last, -1)))
        masks[t - 1] = (1 - weight) * from_first + weight * from_last >= 0.5
    return masks


def _deform(
    frames: UInt8[np.ndarray, "t h w"], first: UInt8[np.ndarray, "h w"], last: UInt8[np.ndarray, "h w"]
) -> tuple[UInt8[np.ndarray, "n h w"], Bool[np.ndarray, "n h w"]]:
    """Returns masks of the frames between, and the pixels where the forward and the backward mask agree."""
    forwards, backwards = (
        _carry(frames[::step], mask.astype(np.float32))[::step][1:-1] >= 0.5 for step, mask in ((1, first), (-1, last))
    )
    decided = forwards == backwards
    return (forwards & decided).astype(np.uint8), decided


def _carry(frames: UInt8[np.ndarray, "t h w"], mask: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "t h w"]:
    """Carries the mask of the first frame from each frame to the next."""
    masks = [mask]
    for before, now in itertools.pairwise(frames):
        masks.append(warp(masks[-1], flow(now, before)))
    return np.stack(masks)
