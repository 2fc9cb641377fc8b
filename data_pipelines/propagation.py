"""Labels of ED and ES carried to the frames between them by optical flow, as other studies make pseudo-labels.

The flow is OpenCV's dense inverse search (Kroeger et al., ECCV 2016), frame to frame, at the clip's own size. Two ways:

- "registration" (after TCS): every frame is registered to ED and to ES at once; the two warped masks are averaged
  with weights linear in time. Every pixel gets a label.
- "deformation" (after CLAS): masks walk from neighbour to neighbour, forwards from ED and backwards from ES; a pixel
  gets a label where both agree. CLAS learns its deformation together with the segmentation; here it is not learnt.
"""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
from jaxtyping import Float32, Real, UInt8

from data_pipelines.records import SampledClip

PROPAGATION_METHODS = ("registration", "deformation")
UNDECIDED = 255  # in the mask of a frame: this pixel has no label
PRE_SMOOTHING_PX = 1.0


def propagate(clip: SampledClip, way: str) -> SampledClip:
    """The clip with a mask (0, 1 or UNDECIDED) on every frame between its first and last labelled one.

    Labelled frames keep their masks. References of the others are replaced, never read. Frames outside, and clips with
    fewer than two labelled frames, get none (`annotated` False).
    """
    ends = np.flatnonzero(clip.may_train)
    labels, mask = np.where(clip.may_train[:, None, None], clip.label_map, 0), clip.cavity
    annotated = clip.may_train.copy()
    for first, last in itertools.pairwise(ends):
        part = slice(first, last + 1)
        carried = _registered if way == "registration" else _deformed
        labels[first + 1 : last] = carried(clip.frames[part], mask[first], mask[last])
        annotated[part] = True
    return dataclasses.replace(clip, label_map=labels, has_reference=annotated)


def flow(fixed: UInt8[np.ndarray, "h w"], moving: UInt8[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w two"]:
    """Displacement (column, row) in px of every pixel of `fixed` to its place in `moving`."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    before, after = (cv2.GaussianBlur(frame, (0, 0), PRE_SMOOTHING_PX) for frame in (fixed, moving))
    return search.calc(before, after, np.zeros((*fixed.shape, 2), np.float32))


def warp(mask: Real[np.ndarray, "h w"], displacement: Float32[np.ndarray, "h w two"]) -> Float32[np.ndarray, "h w"]:
    """The mask of the moving frame as seen on the fixed one (bilinear)."""
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]].astype(np.float32)
    x, y = columns + displacement[..., 0], rows + displacement[..., 1]
    return cv2.remap(mask.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _registered(
    frames: UInt8[np.ndarray, "t h w"], first: UInt8[np.ndarray, "h w"], last: UInt8[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "n h w"]:
    found = np.zeros_like(frames[1:-1])
    for t in range(1, len(frames) - 1):
        late = t / (len(frames) - 1)
        from_first, from_last = (warp(m, flow(frames[t], frames[end])) for m, end in ((first, 0), (last, -1)))
        found[t - 1] = (1 - late) * from_first + late * from_last >= 0.5
    return found


def _deformed(
    frames: UInt8[np.ndarray, "t h w"], first: UInt8[np.ndarray, "h w"], last: UInt8[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "n h w"]:
    forwards, backwards = (
        _walk(frames[::step], mask.astype(np.float32))[::step] for step, mask in ((1, first), (-1, last))
    )
    agree = (forwards >= 0.5) == (backwards >= 0.5)
    return np.where(agree, forwards >= 0.5, UNDECIDED).astype(np.uint8)[1:-1]


def _walk(frames: UInt8[np.ndarray, "t h w"], mask: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "t h w"]:
    """The first frame's mask, carried from each frame to the next."""
    masks = [mask]
    for before, now in itertools.pairwise(frames):
        masks.append(warp(masks[-1], flow(now, before)))
    return np.stack(masks)
