"""One image file as it is stored, NIfTI or MetaImage, and the causes for which a file is none."""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from data_pipelines.formats.placement import Placement
from data_pipelines.grey_levels import StatedRange
from data_pipelines.notes import Note
from data_pipelines.records import UnreadableRecord

MOST_UNPACKED, MOST_TIMES = 2**28, 40  # bytes that a packed file may hold, or this multiple of its own
PART_BYTES = 2**16  # of packed data that are unpacked at a time
GZIP = b"\x1f\x8b"
ARCHIVES = {b"PK\x03\x04": "a ZIP archive", b"BZh": "a bzip2 file", b"\xfd7zXZ": "an xz file", b"Rar!": "a RAR archive"}


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """One image file.

    Attributes:
        path: the file.
        pixels: grey levels or labels as stored, (t, h, w).
        spacing_mm: pixel spacing (row_mm, column_mm), or None where the file does not give it in mm.
        placements: what the file states of its place in space, the statement that counts first; empty: nothing.
        fps: frames per second, or None where the file does not state it.
        stated: the range of samples that the file states, or None.
        has_colours: whether the pixels are the luminance of colours.
        notes: what was found beside the pixels: where the frame rate comes from, and which statements are doubtful.
    """

    path: Path
    pixels: Shaped[np.ndarray, "t h w"]
    spacing_mm: tuple[float, float] | None
    placements: tuple[Placement, ...] = ()
    fps: float | None = None
    stated: StatedRange | None = None
    has_colours: bool = False
    notes: tuple[Note, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.pixels.shape[1], self.pixels.shape[2]


def read_bytes(path: Path, record_id: str) -> bytes:
    """Reads a file.

    Args:
        path: the file.
        record_id: the record, for the message of a fault.

    Raises:
        FileNotFoundError: the file is missing.
        UnreadableRecord: "not readable" or "empty file".
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableRecord(record_id, "not readable", f"{path}: {error.strerror}: make it readable") from error
    if not content:
        raise UnreadableRecord(record_id, "empty file", f"{path} has 0 bytes: fetch it again")
    return content


def unpack(content: bytes, path: Path, record_id: str) -> tuple[bytes, int]:
    """Unpacks gzip, whatever the name of the file says; content that is not packed is returned as it is.

    Args:
        content: the bytes of the file.
        path: the file, for the message of a fault.
        record_id: the record, for the message of a fault.

    Returns:
        The bytes, and how many bytes follow the packed data in the file.

    Raises:
        UnreadableRecord: "truncated file" where the packed data end early, "damaged file" where they fail their own
            check, "video too large" where they unpack to far more than they are, "not an image" where they are another
            archive.
    """
    surplus, allowed = 0, max(MOST_UNPACKED, MOST_TIMES * len(content))
    while content.startswith(GZIP):
        pieces, position, total = [], 0, 0
        while content.startswith(GZIP, position):  # a file may hold several members
            stream = zlib.decompressobj(wbits=31)
            while not stream.eof:
                part = content[position : position + PART_BYTES]
                if not part:
                    detail = f"{path}: the packed data end after {len(content)} bytes and are not complete"
                    raise UnreadableRecord(record_id, "truncated file", f"{detail}: fetch it again")
                try:
                    pieces.append(stream.decompress(part, allowed - total + 1))  # 0 would mean without limit
                except zlib.error as error:
                    detail = f"{path}: the packed data fail their own check ({error}): fetch it again"
                    raise UnreadableRecord(record_id, "damaged file", detail) from error
                total += len(pieces[-1])
                if total > allowed:
                    detail = f"{path} unpacks to more than {allowed} bytes: cut it into shorter clips"
                    raise UnreadableRecord(record_id, "video too large", detail)
                position += len(part) - len(stream.unused_data) - len(stream.unconsumed_tail)
        surplus += len(content[position:].strip(b"\0"))
        content = b"".join(pieces)
    if name := next((name for start, name in ARCHIVES.items() if content.startswith(start)), None):
        raise UnreadableRecord(record_id, "not an image", f"{path} is {name}: unpack it")
    return content, surplus


def describe(content: bytes) -> str:
    """Says what a file looks like that is no image."""
    start = content[:200].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<")):
        return "a web page, such as a server sends in place of a file: fetch it again, and log in if that is needed"
    if start and all(32 <= byte < 127 or byte in b"\r\n\t" for byte in start):
        return f"a text that begins {start[:30].decode()!r}"
    return f"a file that begins with the bytes {content[:8].hex(' ')}"
