"""Reads what the headers of AVI, MP4 and Matroska announce: how long the file is, and what an AVI says of its frames.

FFmpeg takes one of several statements and keeps silent about the others; here they are read to be compared.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from collections.abc import Iterator
from io import BufferedIOBase

HEAD_BYTES = 65536  # the header of an AVI lies within them
UNKNOWN_32, TO_THE_END = 2**32 - 1, 0  # sizes that mean "unknown"
MATROSKA, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof", b"styp", b"sidx")


@dataclasses.dataclass(frozen=True)
class AviHeader:
    """What an AVI file says of its pictures in its main header (avih) and in that of its video stream (strh, strf).

    Attributes:
        frame_period_us: microseconds a frame, of the main header; 0 where it does not say.
        frame_count: number of frames, of the main header; of an OpenDML file it covers the first part alone.
        size: (h, w) of the main header.
        stream_rate: frames per second of the video stream, or None where its header gives none.
        stream_size: (h, w) of the video stream.
        has_parts: whether the file goes on in further parts (OpenDML).
    """

    frame_period_us: int
    frame_count: int
    size: tuple[int, int]
    stream_rate: float | None
    stream_size: tuple[int, int]
    has_parts: bool


def find_shortfall(file: BufferedIOBase) -> str:
    """Compares the length of a file with what its container announces.

    Args:
        file: the file; it is left at its beginning.

    Returns:
        A sentence on what is missing, or "".
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(64)
    try:
        if head[:4] == b"RIFF":
            return _riff_shortfall(file, size)
        if head[4:8] in BOXES:
            return _box_shortfall(file, size)
        if head[:4] == MATROSKA:
            return _segment_shortfall(file, size)
        return ""
    finally:
        file.seek(0)


def read_avi_header(file: BufferedIOBase) -> AviHeader | None:
    """Reads the headers of an AVI file; None if it is none, or has no video stream.

    Args:
        file: the file; it is left at its beginning.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if head[:4] != b"RIFF" or head[8:12] != b"AVI ":
        return None
    main, stream, picture = b"", b"", b""
    for name, content in _chunks(head, 12):
        if name == b"avih" and len(content) >= 40:
            main = content
        elif name == b"strh" and not stream and content[:4] == b"vids" and len(content) >= 36:
            stream = content
        elif name == b"strf" and stream and not picture and len(content) >= 12:
            picture = content
    if not (main and stream and picture):
        return None
    period_us, count, width, height = (struct.unpack_from("<I", main, at)[0] for at in (0, 16, 32, 36))
    scale, rate = struct.unpack_from("<II", stream, 20)
    stream_width, stream_height = struct.unpack_from("<ii", picture, 4)
    first_part = 8 + int.from_bytes(head[4:8], "little")
    file.seek(first_part)
    has_parts = file.read(4) == b"RIFF"
    file.seek(0)
    return AviHeader(
        frame_period_us=period_us,
        frame_count=count,
        size=(height, width),
        stream_rate=rate / scale if rate and scale else None,
        stream_size=(abs(stream_height), abs(stream_width)),
        has_parts=has_parts,
    )


def _chunks(head: bytes, position: int) -> Iterator[tuple[bytes, bytes]]:
    """Yields (name, content) of the chunks of a RIFF file; lists are entered."""
    while position + 8 <= len(head):
        name, size = head[position : position + 4], int.from_bytes(head[position + 4 : position + 8], "little")
        if name == b"LIST":
            position += 12
            continue
        yield name, head[position + 8 : position + 8 + size]
        position += 8 + size + size % 2


def _riff_shortfall(file: BufferedIOBase, size: int) -> str:
    position = 0
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF" or length in (TO_THE_END, UNKNOWN_32):
            return ""
        end = position + 8 + length
        if end > size:
            return f"has {size} bytes, its header says {end}"
        position = end + length % 2
    return ""


def _box_shortfall(file: BufferedIOBase, size: int) -> str:
    position, names = 0, set()
    while position + 8 <= size:
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        names.add(name)
        if length == TO_THE_END:
            break
        if length < 8 or not all(32 <= byte < 127 for byte in name):
            break
        position += length
        if position > size:
            return f"has {size} bytes, its box '{name.decode('latin-1')}' ends at {position}"
    if names & {b"ftyp", b"mdat"} and not names & {b"moov", b"moof"}:
        return "has no 'moov' box, which lists the frames and is often written last"
    return ""


def _segment_shortfall(file: BufferedIOBase, size: int) -> str:
    file.seek(0)
    head = file.read(4096)
    at = head.find(SEGMENT)
    if at < 0 or at + 12 > len(head):
        return ""
    first = head[at + 4]
    width = 9 - first.bit_length() if first else 9
    if width > 8:
        return ""
    length = int.from_bytes(head[at + 4 : at + 4 + width], "big") & ((1 << 7 * width) - 1)
    end = at + 4 + width + length
    if length == (1 << 7 * width) - 1 or end <= size:
        return ""
    return f"has {size} bytes, its segment ends at {end}"
