"""What a compressed picture says of itself: codec, size, number of components, depth and colours.

JPEG: ITU-T T.81 annex B; JPEG-LS: T.87; JPEG 2000: T.800 annex A; high throughput (HTJ2K): T.814.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Literal

Codec = Literal["JPEG", "JPEG Lossless", "JPEG-LS", "JPEG 2000", "HTJ2K"]
Colours = Literal["RGB", "YBR", ""]

JP2 = b"\0\0\0\x0cjP  "
SIZE_OF: dict[int, Codec] = {
    **dict.fromkeys((0xC0, 0xC1, 0xC2), "JPEG"),
    **dict.fromkeys((0xC3, 0xC7), "JPEG Lossless"),
    0xF7: "JPEG-LS",
}
RGB_IDS = (b"RGB", b"rgb")


@dataclasses.dataclass(frozen=True)
class Stream:
    """The header of one compressed picture.

    Attributes:
        codec: how it is compressed.
        rows: height in pixels.
        columns: width in pixels.
        components: samples for each pixel.
        bits: bits of a sample.
        signed: whether the samples are signed.
        colours: what markers, component ids or a subsampling of the second and third component say; "" if nothing.
        evidence: what says so, for a note.
        transformed: whether the decoder itself brings three components to RGB (JPEG 2000 with a component transform).
    """

    codec: Codec
    rows: int
    columns: int
    components: int
    bits: int
    signed: bool = False
    colours: Colours = ""
    evidence: str = ""
    transformed: bool = False


def starts(data: bytes) -> bool:
    """Tells whether bytes begin like a picture of one of the codecs; sixteen bytes are enough."""
    return data[:3] == b"\xff\xd8\xff" or data[:4] == b"\xff\x4f\xff\x51" or data[:8] == JP2


def examine(data: bytes) -> Stream | None:
    """Reads the header of a compressed picture, or gives None where it is none that is known."""
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:8] == JP2:
            data = data[data.index(b"\xff\x4f\xff\x51") :]
        return _jpeg_2000(data) if data[:4] == b"\xff\x4f\xff\x51" else None
    except (struct.error, IndexError, ValueError):
        return None


def _jpeg(data: bytes) -> Stream | None:
    """Walks the markers up to the first scan."""
    at, jfif, adobe, frame = 2, False, None, None
    while at < len(data) - 3 and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xDA:
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + length]
        if marker == 0xE0 and body[:4] == b"JFIF":
            jfif = True
        elif marker == 0xEE and body[:5] == b"Adobe":
            adobe = body[11]
        elif marker in SIZE_OF:
            frame = marker, body
        at += 2 + length
    if frame is None:
        return None
    marker, body = frame
    bits, rows, columns, components = struct.unpack_from(">BHHB", body)
    described = [body[6 + 3 * i : 9 + 3 * i] for i in range(components)]
    ids, sampling = bytes(one[0] for one in described), [one[1] for one in described]
    colours, evidence = "", ""
    if components == 3:
        if ids in RGB_IDS:
            colours, evidence = "RGB", "component ids"
        elif len(set(sampling)) > 1:
            colours, evidence = "YBR", "subsampled components"
        elif adobe is not None:
            colours, evidence = ("RGB" if adobe == 0 else "YBR"), "Adobe marker"
        elif jfif:
            colours, evidence = "YBR", "JFIF marker"
    return Stream(SIZE_OF[marker], rows, columns, components, bits, False, colours, evidence)


def _jpeg_2000(data: bytes) -> Stream:
    """Reads SIZ, whether CAP announces high throughput, and from COD whether the components are transformed."""
    _, _, x1, y1, x0, y0 = struct.unpack_from(">HHLLLL", data, 4)
    components, depth = struct.unpack_from(">HB", data, 40)
    at, high_throughput, transformed = 2, False, False
    while data[at] == 0xFF and data[at + 1] not in (0x90, 0x93):
        if data[at + 1] == 0x50:
            high_throughput = True
        elif data[at + 1] == 0x52:
            transformed = data[at + 8] == 1
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    three = components >= 3 and transformed
    return Stream(
        "HTJ2K" if high_throughput else "JPEG 2000",
        y1 - y0,
        x1 - x0,
        components,
        (depth & 0x7F) + 1,
        bool(depth & 0x80),
        "RGB" if three else "",
        "component transform" if three else "",
        three,
    )
