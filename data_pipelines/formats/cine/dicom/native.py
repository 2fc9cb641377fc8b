"""Reads uncompressed samples from their bytes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Shaped

from data_pipelines.formats.cine.dicom import colour
from data_pipelines.formats.cine.dicom.file import PixelElement
from data_pipelines.formats.cine.dicom.frames import Frames, Place
from data_pipelines.formats.cine.dicom.layout import GREY, PALETTE, Layout
from data_pipelines.notes import Note, note

SUBSAMPLED = ("YBR_FULL_422", "YBR_PARTIAL_422")  # native: Y1 Y2 Cb Cr for two pixels


def bytes_of_frame(layout: Layout, pixels: PixelElement, stated: int | None) -> tuple[float, Layout]:
    """Returns the bytes that one frame takes, and the layout with the number of samples that the bytes show.

    Args:
        layout: how the samples are stored by the header.
        pixels: the pixel data.
        stated: Number of Frames, or None.
    """
    count, plane = pixels.stated_bytes or 0, layout.rows * layout.columns * layout.allocated / 8
    whole = [samples for samples in (1, 2, 3) if count - math.ceil(plane * samples * (stated or 0)) in (0, 1)]
    if layout.samples == 3 and layout.interpretation in SUBSAMPLED:
        full = whole == [3] if stated else count % (2 * plane) > 1 and count % (3 * plane) <= 1
        return plane * (3 if full else 2), layout
    coloured = layout.interpretation not in (*GREY, PALETTE, "")
    if layout.samples == 3 and whole == [1]:
        return plane, dataclasses.replace(layout, samples=1)
    if layout.samples == 1 and whole == [3] and coloured:
        return 3 * plane, dataclasses.replace(layout, samples=3)
    return plane * layout.samples, layout


class NativeReader:
    """Reads frame after frame.

    Attributes:
        note: whether the order of the samples is not as stated, or None.
    """

    def __init__(self, frames: Frames, layout: Layout, frame_bytes: float, little_endian: bool):
        """Looks at the first frame.

        Args:
            frames: where the frames lie.
            layout: how the samples are stored.
            frame_bytes: bytes of one frame.
            little_endian: order of bytes.
        """
        self._frames, self._layout, self._little = frames, layout, little_endian
        self._subsampled = frame_bytes < layout.frame_bytes
        self._planar, self.note = layout.planar, None
        if layout.samples == 3 and not self._subsampled:
            shape = layout.rows, layout.columns
            self._planar = colour.is_planar(self._flat(0), shape, layout.planar)
            if self._planar != layout.planar:
                text = f"Planar Configuration is {int(layout.planar)}, the pixels are smooth as {int(self._planar)}"
                self.note = note("colour space corrected", f"{text}; they were read so.")

    note: Note | None

    def read(self, index: int) -> Shaped[np.ndarray, "h w *samples"]:
        """Reads the samples of a frame as stored; of native 4:2:2 the luma alone, with chroma left out, (h, w, 1)."""
        shape, flat = (self._layout.rows, self._layout.columns), self._flat(index)
        if self._layout.samples == 1:
            return flat.reshape(shape)
        if self._subsampled:
            return flat[: flat.size // 4 * 4].reshape(-1, 4)[:, :2].reshape(*shape, 1)
        return colour.arrange(flat, shape, self._planar)

    def _flat(self, index: int) -> Shaped[np.ndarray, " n"]:
        layout, place = self._layout, self._frames.places[index]
        if layout.allocated == 1:
            count = layout.rows * layout.columns * layout.samples
            first, content = place.position * count, self._frames.read(index)
            return np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")[first : first + count]
        kind = "f" if place.pixels.name != "PixelData" else "u"
        content = self._frames.read(index)
        if layout.allocated == 8 and not self._little and place.pixels.vr == "OW":
            content = _swapped(place, len(content))
        order = "<" if self._little else ">"
        dtype = np.dtype(f"{order}{kind}{layout.allocated // 8}")
        return np.frombuffer(content, dtype).astype(dtype.newbyteorder("="), copy=False)


def _swapped(place: Place, count: int) -> bytes:
    """Reads bytes that were stored as big-endian words of two."""
    start = place.pieces[0].offset
    words = place.pixels.read(start & ~1, count + 2)
    swapped = np.frombuffer(words[: len(words) // 2 * 2], ">u2").astype("<u2").tobytes()
    return swapped[start & 1 : (start & 1) + count]
