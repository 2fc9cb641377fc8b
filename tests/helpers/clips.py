"""Clips in memory with a block for a left ventricle."""

import dataclasses

import numpy as np

from data_pipelines.records import Clip


def make_clip(frames: int = 7, ed: int = 0, es: int | None = None, size: tuple[int, int] = (60, 40), **changes) -> Clip:
    """Frame t is grey level 10 t; an LV block above an atrium block."""
    masks = np.zeros((frames, *size), np.uint8)
    masks[:, 15:35, 15:25], masks[:, 40:52, 15:25] = 1, 3
    grey = np.broadcast_to((10 * np.arange(frames, dtype=np.uint8))[:, None, None], masks.shape).copy()
    clip = Clip(
        frames=grey,
        label_map=masks,
        has_reference=np.ones(frames, bool),
        ed_index=ed,
        es_index=frames - 1 if es is None else es,
        spacing_mm=(0.5, 0.25),
        fps=30.0,
        patient_id="patient0001",
        view="4CH",
    )
    return dataclasses.replace(clip, **changes)
