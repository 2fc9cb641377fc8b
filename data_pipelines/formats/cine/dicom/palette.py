"""Grey levels of palette colours (PS3.3 C.7.6.3.1.5)."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8
from pydicom.pixels.processing import apply_color_lut

from data_pipelines.formats.cine.dicom.elements import DAMAGED, Elements, quiet

COLOURS = ("Red", "Green", "Blue")
NAMES = (
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in COLOURS),
    *(f"{colour}PaletteColorLookupTableData" for colour in COLOURS),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in COLOURS),
)


def palette_levels(header: Elements, bits: int) -> UInt8[np.ndarray, " n"] | None:
    """Returns the luminance of every index, or None, with a note, where the file holds no palette that can be applied.

    Args:
        header: the header.
        bits: bits of an index.
    """
    try:
        index = np.arange(2**bits, dtype=np.uint8 if bits <= 8 else np.uint16)
        with quiet():
            rgb = apply_color_lut(index[None], header.dataset)[0]
        if rgb.dtype != np.uint8:
            rgb = rgb >> 8 if rgb.max() > 255 else rgb  # levels of 8 bits in words of 16 are a frequent fault
        return cv2.cvtColor(rgb.astype(np.uint8)[None], cv2.COLOR_RGB2GRAY)[0]
    except DAMAGED:
        header.ignore(NAMES[0], "and its relatives hold no palette that can be applied: indices stand for grey levels")
        return None
