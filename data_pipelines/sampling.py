"""Chooses the frames that a network sees: from end-diastole to end-systole of a clip, or a draw from a cine.

Training, evaluation and prediction all use these functions.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Int

from data_pipelines.preprocessing import resize_frames, resize_label_map, spacing_at
from data_pipelines.records import Clip, SampledClip, UnlabelledCine, UnreadableRecord

HALF_CYCLE_S = (0.25, 0.5)  # from end-diastole to end-systole, at heart rates of about 50 to 120 a minute


def uniform_frames(first: int, last: int, count: int) -> Int[np.ndarray, " t"]:
    """Spreads frame numbers evenly from `first` to `last`: floor(first + step * i) (paper, section 4.2).

    Args:
        first: the first frame, included.
        last: the last frame, included.
        count: how many numbers to give, at least 2.
    """
    return first + (np.arange(count) * (last - first)) // (count - 1)


def ed_to_es(clip: Clip) -> Clip:
    """Cuts a clip to its half cycle, end-diastole first and end-systole last.

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


def sample_clip(clip: Clip, frames: int, size: int, *, training_labels: str = "ed_es") -> SampledClip:
    """Samples a clip evenly from ED to ES at network size.

    Args:
        clip: a clip at its own size, with ED and ES known.
        frames: how many frames to take.
        size: side of the frames in pixels.
        training_labels: "ed_es": the training may use the masks of ED and ES alone; "all": every reference mask.

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
        label_map=resize_label_map(half.label_map[indices], size),
        has_reference=has_reference,
        may_train=has_reference & ends if training_labels == "ed_es" else has_reference,
        spacing_mm=spacing_at(half, size),
        record_id=clip.record_id,
        patient_id=clip.patient_id,
        view=clip.view,
    )


def draw_half_cycle(cine: UnlabelledCine, count: int, rng: np.random.Generator) -> SampledClip:
    """Draws about half a heart cycle of a cine.

    The frames lie evenly in a window that begins anywhere and lasts `HALF_CYCLE_S`, or, where the frame rate is not
    known, any number of frames.

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
    no_frame = np.zeros(count, bool)
    return SampledClip(
        frames=chosen,
        label_map=np.zeros_like(chosen),
        has_reference=no_frame,
        may_train=no_frame,
        spacing_mm=cine.spacing_mm,
        record_id=cine.record_id,
        patient_id=cine.patient_id,
        view=cine.view,
    )


def resize_cine(clip: Clip, frames: int, size: int) -> UnlabelledCine:
    """Resizes a whole cine to network size, for `draw_half_cycle`; labels that it may have are not used.

    Args:
        clip: a cine at its own size.
        frames: how many frames a draw takes.
        size: side of the frames in pixels.

    Raises:
        UnreadableRecord: the cine has fewer frames than a draw takes.
    """
    if len(clip) < frames:
        raise UnreadableRecord(clip.record_id, "too few frames", f"{len(clip)} frames, {frames} asked for")
    resized = resize_frames(clip.frames, size)
    return UnlabelledCine(resized, clip.fps, spacing_at(clip, size), clip.record_id, clip.patient_id, clip.view)
