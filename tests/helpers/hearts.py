"""Clips of drawn hearts with masks, and predictions for them."""

import numpy as np

from data_pipelines.records import Clip
from echoforge_jax.evaluation.scores import Case


def heart(radius, length, shape=(96, 80)):
    """A truncated ellipse: apex above, mitral plane below."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    inside = ((columns - 40) / radius) ** 2 + ((rows - 55) / (0.6 * length)) ** 2 <= 1
    return inside & (rows <= 55 + 0.4 * length)


def make_clip(patient_id="patient0001", view="4CH", spacing_mm=(1.0, 1.1), quality="Good", radius=22.0):
    """Three frames of a contracting ventricle with its wall, each with a reference."""
    masks = np.zeros((3, 96, 80), np.uint8)
    for t, share in enumerate((1.0, 0.9, 0.8)):
        masks[t] = 2 * heart(radius + 5, 70)
        masks[t][heart(radius * share, 66 * (0.9 + 0.1 * share))] = 1
    return Clip(
        frames=np.zeros_like(masks),
        label_map=masks,
        has_reference=np.ones(3, bool),
        ed_index=0,
        es_index=2,
        spacing_mm=spacing_mm,
        fps=50.0,
        patient_id=patient_id,
        view=view,
        quality=quality,
        ef_percent=41.0,
    )


def perfect(clip):
    """The reference itself as a prediction."""
    return (clip.label_map == 1).astype(np.uint8)


def cohort(spacing_mm=(1.0, 1.1), n=4):
    """n patients of two views; predictions are 0, 1 or 2 pixels too low."""
    clips = [
        make_clip(f"patient{i:04d}", view, spacing_mm, ("Good", "Medium", None)[i % 3], 19.0 + i)
        for i in range(n)
        for view in ("2CH", "4CH")
    ]
    return [Case(clip, np.roll(perfect(clip), i % 3, axis=1)) for i, clip in enumerate(clips)]
