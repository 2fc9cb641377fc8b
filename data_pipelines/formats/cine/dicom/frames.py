"""Where the frames lie in the pixel data: counted by the bytes and fragments that are there, not by Number of Frames.

Encapsulated pixel data (PS3.5 A.4) are a table of offsets and fragments. A frame begins where a fragment begins like a
picture; the table and Number of Frames are compared with that.
"""

from __future__ import annotations

import dataclasses
import math
import re
import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from data_pipelines.formats.cine.dicom import streams
from data_pipelines.formats.cine.dicom.file import PixelElement
from data_pipelines.notes import Note, note
from data_pipelines.records import UnreadableRecord

ITEM, DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
MOST_FRAGMENTS = MOST_FRAMES = 100_000
END_AND_START = re.compile(rb"\xff\xd9\0?(?=\xff\xd8\xff)")  # of two JPEG pictures in one fragment


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some bytes of the pixel data.

    Attributes:
        offset: of the first byte within the pixel data.
        count: number of bytes.
    """

    offset: int
    count: int


@dataclasses.dataclass(frozen=True)
class Place:
    """Where one frame lies.

    Attributes:
        pixels: the pixel data.
        pieces: the bytes that hold it.
        position: which frame of these bytes it is: not 0 only where frames of one bit share bytes.
    """

    pixels: PixelElement
    pieces: tuple[Piece, ...]
    position: int = 0


@dataclasses.dataclass(frozen=True)
class Frames:
    """The frames of one file, or of files that hold one each.

    Attributes:
        places: where each frame lies, in order.
        notes: where the count or the table of offsets disagrees with what is there.
    """

    places: tuple[Place, ...]
    notes: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return len(self.places)

    def read(self, index: int) -> bytes:
        """Reads the bytes of a frame."""
        place = self.places[index]
        return b"".join(place.pixels.read(piece.offset, piece.count) for piece in place.pieces)


def join(several: Sequence[Frames]) -> Frames:
    """Joins the frames of several files."""
    notes = dict.fromkeys(one for frames in several for one in frames.notes)
    return Frames(tuple(place for frames in several for place in frames.places), tuple(notes))


def native_frames(pixels: PixelElement, frame_bytes: float, stated: int | None, path: Path, record_id: str) -> Frames:
    """Counts the frames of uncompressed pixel data.

    Args:
        pixels: the pixel data.
        frame_bytes: bytes of one frame; no whole number for pixels of one bit.
        stated: Number of Frames; None where the file does not state it.
        path: of the file, for messages.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "truncated file", "pixel data of another size" or "video too large".
    """
    count, there = pixels.stated_bytes, pixels.available_bytes
    if pixels.is_cut or count is None:
        detail = f"{path}: {there} of {count} bytes of pixel data are there: fetch it again"
        raise UnreadableRecord(record_id, "truncated file", detail)
    whole = int(count // frame_bytes)
    if whole and count - math.ceil(whole * frame_bytes) > 1:  # more than the byte that makes the length even
        detail = (
            f"{path}: {count} bytes of pixel data are no multiple of a frame of {frame_bytes:g} bytes (Rows, Columns, "
            f"samples and bits of the header), of which {stated} are stated: export it again"
        )
        raise UnreadableRecord(record_id, "pixel data of another size", detail)
    if not whole:
        detail = f"{path}: {count} bytes of pixel data, and one frame of the header takes {frame_bytes:g}"
        raise UnreadableRecord(record_id, "pixel data of another size", f"{detail}: export it again")
    if whole > MOST_FRAMES:
        detail = f"{path}: {whole} frames of {frame_bytes:g} bytes, expected at most {MOST_FRAMES}: export it in parts"
        raise UnreadableRecord(record_id, "video too large", detail)
    if frame_bytes % 1:
        places = tuple(Place(pixels, (Piece(0, count),), i) for i in range(whole))
    else:
        size = int(frame_bytes)
        places = tuple(Place(pixels, (Piece(i * size, size),)) for i in range(whole))
    return Frames(places, _compare_count(whole, stated))


def encapsulated_frames(
    pixels: PixelElement, stated: int | None, one_fragment_each: bool, path: Path, record_id: str
) -> Frames:
    """Finds the frames of compressed pixel data.

    Args:
        pixels: the pixel data.
        stated: Number of Frames; None where the file does not state it.
        one_fragment_each: whether a fragment is always a frame, as in RLE.
        path: of the file, for messages.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "truncated file", "no pixel data" or "pixel data garbled".
    """
    table, fragments, end = find_fragments(pixels, path, record_id)
    frames, from_table = [[one] for one in fragments], True
    if not one_fragment_each:
        frames, from_table = _group(pixels, table, fragments, stated)
    found = [frame[0].offset - fragments[0].offset for frame in frames]
    notes = [*_compare_count(len(frames), stated)]
    if table and table != found and (one_fragment_each or not from_table):
        text = (
            f"The table of offsets lists {len(table)} frames, not at the places of the {len(frames)} that were found."
        )
        notes.append(note("offset table ignored", text))
    places = tuple(Place(pixels, tuple(frame)) for frame in frames)
    if end == "delimiter":
        return Frames(places, tuple(notes))
    last = frames[-1][-1]
    tail = pixels.read(last.offset, last.count)[-4:].rstrip(b"\0")
    complete = end != "cut" if one_fragment_each else tail.endswith(b"\xff\xd9")
    if not complete or (stated and len(frames) < stated):
        reason = "pixel data garbled" if end == "garbled" else "truncated file"
        told = (
            f"{len(frames)} frames, the last one {'whole' if complete else 'not'}, of {stated or 'an unknown number'}"
        )
        detail = f"{path}: the pixel data end early, after {told}: fetch or export it again"
        raise UnreadableRecord(record_id, reason, detail)
    text = f"All {len(frames)} frames are there, the mark behind them is not."
    return Frames(places, (*notes, note("end of pixel data missing", text)))


def find_fragments(pixels: PixelElement, path: Path, record_id: str) -> tuple[list[int], list[Piece], str]:
    """Lists (offsets of the table, fragments, what ends them: "delimiter", "end of file", "cut" or "garbled").

    Args:
        pixels: the pixel data.
        path: of the file, for messages.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: there is no fragment: "no pixel data", "truncated file" or "pixel data garbled".
    """
    at, items, end = 0, [], "end of file"
    while at + 8 <= pixels.available_bytes:
        head = pixels.read(at, 8)
        if head[:4] == DELIMITER:
            end = "delimiter"
            break
        (count,) = struct.unpack("<L", head[4:])
        if head[:4] != ITEM or len(items) > MOST_FRAGMENTS:
            end = "garbled"
            break
        items.append(Piece(at + 8, min(count, pixels.available_bytes - at - 8)))
        if count > pixels.available_bytes - at - 8:
            end = "cut"
            break
        at += 8 + count
    fragments = [one for one in items[1:] if one.count]
    if not fragments:
        reason = {"delimiter": "no pixel data", "garbled": "pixel data garbled"}.get(end, "truncated file")
        raise UnreadableRecord(record_id, reason, f"{path} has Pixel Data without a fragment: fetch it again")
    table = pixels.read(items[0].offset, min(items[0].count, 4 * MOST_FRAGMENTS))
    offsets = [one for (one,) in struct.iter_unpack("<L", table[: len(table) // 4 * 4])]
    return offsets, fragments, end


def _group(
    pixels: PixelElement, table: list[int], fragments: list[Piece], stated: int | None
) -> tuple[list[list[Piece]], bool]:
    """Joins fragments to frames, and tells whether the table of offsets had to say how."""
    first = [streams.starts(pixels.read(one.offset, 16)) for one in fragments]
    if first[0]:
        frames: list[list[Piece]] = []
        for one, begins in zip(fragments, first, strict=True):
            if begins:
                frames.append([])
            frames[-1].append(one)
        if stated and len(frames) < stated and len(fragments) == len(frames):
            frames = [[piece] for one in fragments for piece in _split(pixels, one)]
        return frames, False
    places = {one.offset - fragments[0].offset for one in fragments}
    if table and set(table) <= places:
        starts = set(table)
        frames = []
        for one in fragments:
            if one.offset - fragments[0].offset in starts or not frames:
                frames.append([])
            frames[-1].append(one)
        return frames, True
    return [[one] for one in fragments], True


def _split(pixels: PixelElement, fragment: Piece) -> list[Piece]:
    """Splits a fragment that holds several JPEG pictures."""
    content = pixels.read(fragment.offset, fragment.count)
    cuts = [0, *(match.end() for match in END_AND_START.finditer(content)), len(content)]
    return [Piece(fragment.offset + a, b - a) for a, b in pairwise(cuts)]


def _compare_count(there: int, stated: int | None) -> tuple[Note, ...]:
    if stated == there or (stated is None and there == 1):
        return ()
    if stated is not None and there < stated:
        text = f"Number of Frames is {stated}, the pixel data are complete and hold {there}; these were read."
        return (note("frames missing", text),)
    said = "is absent" if stated is None else f"is {stated}"
    return (note("frame count corrected", f"Number of Frames {said}, the pixel data hold {there}; all were read."),)
