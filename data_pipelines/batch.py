"""The batch of a training: its fields, shapes and types are written here and nowhere else."""

from __future__ import annotations

from typing import Any, NamedTuple


class Batch(NamedTuple):
    """One batch of b clips of t frames of h x w pixels, as NumPy or JAX arrays.

    Attributes:
        image: grey levels 0..1, (b, t, h, w) float32.
        cavity: left-ventricular cavity 0 or 1, zero where it is not known, (b, t, h, w) uint8.
        may_train: 1 for frames whose label the supervised losses may use, (b, t) float32.
        has_reference: 1 for frames that have a reference mask (for monitoring alone), (b, t) float32.
        valid: 1 for clips that count; 0 for clips that only fill up the batch, (b,) float32.
        view: number of the apical view, (b,) int32.
        record: number of the record, the same in every epoch, (b,) int32.
        decided: 1 for pixels that carried labels decide, (b, t, h, w) uint8; None where no clip has carried labels.
    """

    image: Any
    cavity: Any
    may_train: Any
    has_reference: Any
    valid: Any
    view: Any
    record: Any
    decided: Any = None


def batch_layout(clips: int, frames: int, size: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Returns the shape and the type of every array of a batch without carried labels.

    Args:
        clips: b, clips of the batch.
        frames: t, frames of a clip.
        size: h = w, side of a frame in pixels.
    """
    pixels, per_frame, per_clip = (clips, frames, size, size), (clips, frames), (clips,)
    return {
        "image": (pixels, "float32"),
        "cavity": (pixels, "uint8"),
        "may_train": (per_frame, "float32"),
        "has_reference": (per_frame, "float32"),
        "valid": (per_clip, "float32"),
        "view": (per_clip, "int32"),
        "record": (per_clip, "int32"),
    }
