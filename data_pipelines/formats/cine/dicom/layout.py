"""How the samples of a picture are stored by its header (PS3.3 C.7.6.3), with what is missing filled in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from data_pipelines.formats.cine.dicom.elements import Elements
from data_pipelines.records import UnreadableRecord

MOST_PIXELS = 2**25  # of one picture: 5792 x 5792
GREY, PALETTE = ("MONOCHROME1", "MONOCHROME2"), "PALETTE COLOR"
COLOURED = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_RCT", "YBR_ICT")


@dataclasses.dataclass(frozen=True)
class Layout:
    """How samples are stored.

    Attributes:
        rows: height in pixels.
        columns: width in pixels.
        samples: samples for each pixel, 1 or 3.
        interpretation: Photometric Interpretation, "" where it is absent.
        allocated: bits that a sample takes.
        stored: bits of it that hold the value.
        high_bit: the highest of them.
        signed: whether values are in two's complement.
        planar: whether all samples of red come first, then green, then blue.
    """

    rows: int
    columns: int
    samples: int
    interpretation: str
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    planar: bool

    @property
    def frame_bytes(self) -> float:
        """Bytes of one uncompressed frame; no whole number for pixels of one bit."""
        return self.rows * self.columns * self.samples * self.allocated / 8


def read_layout(header: Elements, pixel_name: str, path: Path, record_id: str) -> Layout:
    """Reads how samples are stored.

    Args:
        header: the header.
        pixel_name: keyword of the element that holds the pixels.
        path: of the file, for messages.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "no pixel data", "header garbled", "picture too large" or "pixel format not supported".
    """
    rows, columns = header.integer("Rows"), header.integer("Columns")
    if rows is None or columns is None:
        raise UnreadableRecord(record_id, "no pixel data", f"{path} has no Rows and Columns: a report, or cut off")
    if min(rows, columns) < 1:
        raise UnreadableRecord(record_id, "header garbled", f"{path} states {rows} Rows and {columns} Columns")
    if rows * columns > MOST_PIXELS:
        detail = (
            f"{path} states pictures of {rows} x {columns} pixels, expected at most {MOST_PIXELS}: export it smaller"
        )
        raise UnreadableRecord(record_id, "picture too large", detail)
    interpretation = header.text("PhotometricInterpretation").upper()
    samples = header.integer("SamplesPerPixel") or (3 if interpretation in COLOURED else 1)
    floating = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(pixel_name)
    allocated = floating or header.integer("BitsAllocated") or (16 if (header.integer("BitsStored") or 8) > 8 else 8)
    known = interpretation in (*GREY, PALETTE, *COLOURED, "")
    if not known or samples not in (1, 3) or allocated not in (1, 8, 16, 32, 64):
        detail = f"{path}: {interpretation}, {samples} samples a pixel, {allocated} bits allocated"
        raise UnreadableRecord(record_id, "pixel format not supported", f"{detail}: convert it to MONOCHROME2 or RGB")
    stored = header.integer("BitsStored") or allocated
    if not 1 <= stored <= allocated:
        header.ignore("BitsStored", f"is {stored} of {allocated} bits allocated")
        stored = allocated
    high_bit = header.integer("HighBit")
    if high_bit is None or not stored - 1 <= high_bit < allocated:
        if high_bit is not None:
            header.ignore("HighBit", f"is {high_bit} with {stored} of {allocated} bits stored")
        high_bit = stored - 1
    return Layout(
        rows,
        columns,
        samples,
        interpretation,
        allocated,
        stored,
        high_bit,
        header.integer("PixelRepresentation") == 1,
        header.integer("PlanarConfiguration") == 1,
    )
