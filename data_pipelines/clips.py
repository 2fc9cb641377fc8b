"""From a `Clip` of any length and size to the fixed shape a network takes, and back.

The same functions serve training, evaluation and prediction.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from data_pipelines.records import ATRIUM, MYOCARDIUM, Clip, UnreadableRecord

HALF_CYCLE_S = (0.25, 0.5)  # from end-diastole to end-systole, at heart rates of about 50 to 120 a minute


@dataclasses.dataclass(frozen=True)
class SampledClip:
    """t frames of one clip at network size, ED first and ES last.

    Attributes:
        frames: grey levels, (t, size, size).
        labels: as in `Clip.masks`, (t, size, size); zero where `annotated` is False. Data sets that mark the cavity
            alone have no 2 and 3.
        annotated: frame t has a reference mask, (t,).
        labelled: the training may use it, (t,).
        spacing_mm: (row_mm, column_mm) at network size, or None.
    """

    frames: UInt8[np.ndarray, "t h w"]
    labels: UInt8[np.ndarray, "t h w"]
    annotated: Bool[np.ndarray, " t"]
    labelled: Bool[np.ndarray, " t"]
    spacing_mm: tuple[float, float] | None
    record_id: str
    patient_id: str
    view: str

    @property
    def mask(self) -> UInt8[np.ndarray, "t h w"]:
        """LV endocardium 0/1 (UNDECIDED where `propagation` left it so), (t, size, size)."""
        return cavity(self.labels)

    def without_labels(self) -> SampledClip:
        """The same clip for a training that may not use its labels."""
        return dataclasses.replace(self, labelled=np.zeros_like(self.labelled))


@dataclasses.dataclass(frozen=True)
class UnlabelledCine:
    """All frames of a cine without ED, ES or masks, at network size; each draw is about half a heart cycle of it.

    Attributes:
        frames: grey levels, (t, size, size), at least as many as a draw takes.
        fps: frames per second, or None.
    """

    frames: UInt8[np.ndarray, "t h w"]
    fps: float | None
    spacing_mm: tuple[float, float] | None
    record_id: str
    patient_id: str
    view: str

    def draw(self, count: int, rng: np.random.Generator) -> SampledClip:
        """`count` frames, uniform in a window that begins anywhere and lasts HALF_CYCLE_S, or, where the frame rate is
        not known, any number of frames."""
        longest = len(self.frames) - 1
        seconds, share, start = rng.uniform(*HALF_CYCLE_S), rng.random(), rng.random()
        span = round(seconds * self.fps) if self.fps else round(count - 1 + share * (longest - count + 1))
        span = min(max(span, count - 1), longest)
        first = int(start * (longest - span + 1))
        chosen = self.frames[uniform_frames(first, first + span, count)]
        none = np.zeros(count, bool)
        return SampledClip(
            chosen, np.zeros_like(chosen), none, none, self.spacing_mm, self.record_id, self.patient_id, self.view
        )


def cavity(labels: UInt8[np.ndarray, "*s"]) -> UInt8[np.ndarray, "*s"]:
    """Labels without the structures around the cavity."""
    return np.where((labels == MYOCARDIUM) | (labels == ATRIUM), np.uint8(0), labels)


def uniform_frames(first: int, last: int, count: int) -> Int[np.ndarray, " t"]:
    """`count` frame numbers from `first` to `last`, both included: floor(first + step * i) (paper, 4.2)."""
    return first + (np.arange(count) * (last - first)) // (count - 1)


def ed_to_es(clip: Clip) -> Clip:
    """The half cycle of a clip, end-diastole first and end-systole last.

    Raises:
        UnreadableRecord: ED or ES is not known.
    """
    if clip.ed_index is None or clip.es_index is None:
        raise UnreadableRecord(clip.record_id, "ED or ES missing", "training and scoring need both frames marked")
    direction = 1 if clip.es_index > clip.ed_index else -1
    stop = clip.es_index + direction
    span = slice(clip.ed_index, None if stop < 0 else stop, direction)
    return dataclasses.replace(
        clip, frames=clip.frames[span], masks=clip.masks[span], labelled=clip.labelled[span],
        ed_index=0, es_index=abs(clip.es_index - clip.ed_index),
    )  # fmt: skip


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


def resize_probability(
    probability: Float[np.ndarray, "t s s"], shape: tuple[int, int]
) -> Float[np.ndarray, "t h w"]:
    """Foreground probabilities at another size (bilinear)."""
    height, width = shape
    probability = probability.astype(np.float32)
    return np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in probability])


def sample_clip(clip: Clip, frames: int, size: int, training_labels: str = "ed_es") -> SampledClip:
    """`frames` frames from ED to ES at size x size; with `training_labels` "ed_es" only the two ends are labelled.

    Raises:
        UnreadableRecord: ED or ES is not known, or the clip holds ED and ES alone and more frames are asked for
            (no frame is ever repeated to fill a clip of two).
    """
    half = ed_to_es(clip)
    if len(half) < min(frames, 3):
        raise UnreadableRecord(
            clip.record_id, "too few frames",
            f"{len(half)} frames from ED to ES, {frames} asked for; set data.frames=2 for trees with only ED and ES",
        )  # fmt: skip
    indices = uniform_frames(0, len(half) - 1, frames)
    annotated = half.labelled[indices]
    ends = np.zeros(frames, bool)
    ends[[0, -1]] = True
    return SampledClip(
        frames=resize_frames(half.frames[indices], size),
        labels=resize_masks(half.masks[indices], size),
        annotated=annotated,
        labelled=annotated & ends if training_labels == "ed_es" else annotated,
        spacing_mm=_spacing_at(half, size), record_id=clip.record_id, patient_id=clip.patient_id, view=clip.view,
    )  # fmt: skip


def at_network_size(clip: Clip, size: int) -> Clip:
    """The clip at size x size with its spacing there: what the network saw and was taught."""
    return dataclasses.replace(
        clip, frames=resize_frames(clip.frames, size), masks=resize_masks(clip.masks, size),
        spacing_mm=_spacing_at(clip, size),
    )  # fmt: skip


def resize_cine(clip: Clip, frames: int, size: int) -> UnlabelledCine:
    """A whole cine at size x size, for draws of `frames` frames; labels it may have are not used.

    Raises:
        UnreadableRecord: fewer frames than a draw takes.
    """
    if len(clip) < frames:
        raise UnreadableRecord(clip.record_id, "too few frames", f"{len(clip)} frames, {frames} asked for")
    resized = resize_frames(clip.frames, size)
    return UnlabelledCine(resized, clip.fps, _spacing_at(clip, size), clip.record_id, clip.patient_id, clip.view)


def _spacing_at(clip: Clip, size: int) -> tuple[float, float] | None:
    """(row_mm, column_mm) after resizing to size x size."""
    if clip.spacing_mm is None:
        return None
    return clip.spacing_mm[0] * clip.frames.shape[1] / size, clip.spacing_mm[1] * clip.frames.shape[2] / size
