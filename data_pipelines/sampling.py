"""From a `Clip` of any length and size to the fixed shape a network takes, and back.

The same functions serve training, evaluation and prediction.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Int

from data_pipelines.preprocessing import _spacing_at, resize_frames, resize_masks
from data_pipelines.records import Clip, SampledClip, UnlabelledCine, UnreadableRecord

HALF_CYCLE_S = (0.25, 0.5)  # from end-diastole to end-systole, at heart rates of about 50 to 120 a minute


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
        clip,
        frames=clip.frames[span],
        label_map=clip.label_map[span],
        has_reference=clip.has_reference[span],
        ed_index=0,
        es_index=abs(clip.es_index - clip.ed_index),
    )


def sample_clip(clip: Clip, frames: int, size: int, training_labels: str = "ed_es") -> SampledClip:
    """`frames` frames from ED to ES at size x size; with `training_labels` "ed_es" only the two ends are labelled.

    Raises:
        UnreadableRecord: ED or ES is not known, or the clip holds ED and ES alone and more frames are asked for
            (no frame is ever repeated to fill a clip of two).
    """
    half = ed_to_es(clip)
    if len(half) < min(frames, 3):
        raise UnreadableRecord(
            clip.record_id,
            "too few frames",
            f"{len(half)} frames from ED to ES, {frames} asked for; set data.frames=2 for trees with only ED and ES",
        )
    indices = uniform_frames(0, len(half) - 1, frames)
    has_reference = half.has_reference[indices]
    ends = np.zeros(frames, bool)
    ends[[0, -1]] = True
    return SampledClip(
        frames=resize_frames(half.frames[indices], size),
        label_map=resize_masks(half.label_map[indices], size),
        has_reference=has_reference,
        may_train=has_reference & ends if training_labels == "ed_es" else has_reference,
        spacing_mm=_spacing_at(half, size),
        record_id=clip.record_id,
        patient_id=clip.patient_id,
        view=clip.view,
    )


def draw_half_cycle(cine: UnlabelledCine, count: int, rng: np.random.Generator) -> SampledClip:
    """Draws about half a heart cycle of a cine.

    The `count` frames lie uniformly in a window that begins anywhere and lasts HALF_CYCLE_S, or, where the frame rate
    is not known, any number of frames.

    Args:
        cine: a whole cine at network size.
        count: how many frames to draw.
        rng: where the random numbers come from.

    Returns:
        A clip without any reference.
    """
    longest = len(cine.frames) - 1
    seconds, share, start = rng.uniform(*HALF_CYCLE_S), rng.random(), rng.random()
    span = round(seconds * cine.fps) if cine.fps else round(count - 1 + share * (longest - count + 1))
    span = min(max(span, count - 1), longest)
    first = int(start * (longest - span + 1))
    chosen = cine.frames[uniform_frames(first, first + span, count)]
    none = np.zeros(count, bool)
    return SampledClip(
        chosen, np.zeros_like(chosen), none, none, cine.spacing_mm, cine.record_id, cine.patient_id, cine.view
    )


def resize_cine(clip: Clip, frames: int, size: int) -> UnlabelledCine:
    """A whole cine at size x size, for draws of `frames` frames; labels it may have are not used.

    Raises:
        UnreadableRecord: fewer frames than a draw takes.
    """
    if len(clip) < frames:
        raise UnreadableRecord(clip.record_id, "too few frames", f"{len(clip)} frames, {frames} asked for")
    resized = resize_frames(clip.frames, size)
    return UnlabelledCine(resized, clip.fps, _spacing_at(clip, size), clip.record_id, clip.patient_id, clip.view)
