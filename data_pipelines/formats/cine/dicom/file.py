"""Opens a DICOM file of any encoding: the header element by element, the pixel data as a place in the file.

Nothing is believed about sizes: what counts is how many bytes are there. A file without preamble or without file meta
information is read with the encoding that its first element shows.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

import pydicom
from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from data_pipelines.formats.cine.dicom.elements import DAMAGED, Elements
from data_pipelines.notes import note
from data_pipelines.records import UnreadableRecord

PIXEL_TAGS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
UNDEFINED = 0xFFFFFFFF
LONG = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN"}  # VRs of pixel data: two more bytes, then the length
MOST_READS = 100_000  # of a header: real ones take hundreds, two for each element
LONGEST_ELEMENT = 2**28  # bytes of one element of the header
MOST_INFLATED, MOST_INFLATION = 2**28, 200  # bytes of an inflated file; and this multiple of the deflated one


class Reopened:
    """A file that is open only while it is read, so that a cine of many files does not use up the open files."""

    def __init__(self, path: Path):
        """Takes the path.

        Args:
            path: the file.
        """
        self._path, self._position = path, 0

    def seek(self, position: int) -> None:
        """Says where the next `read` begins."""
        self._position = position

    def read(self, count: int) -> bytes:
        """Reads bytes, fewer where the file ends."""
        with self._path.open("rb") as file:
            file.seek(self._position)
            return file.read(count)


@dataclasses.dataclass(frozen=True)
class PixelElement:
    """Where the pixel data lie.

    Attributes:
        file: the file, or its inflated content.
        name: keyword of the element.
        vr: its value representation, "" where the file has none.
        start: offset of its first byte.
        stated_bytes: its length by its own statement; None where it is undefined, and a delimiter ends it.
        available_bytes: bytes from `start` to the end of the element or of the file, whichever comes first.
    """

    file: io.BufferedIOBase | Reopened
    name: str
    vr: str
    start: int
    stated_bytes: int | None
    available_bytes: int

    def read(self, offset: int, count: int) -> bytes:
        """Reads bytes of the element, fewer where it ends.

        Args:
            offset: of the first byte within the element.
            count: how many.
        """
        self.file.seek(self.start + offset)
        return self.file.read(max(min(count, self.available_bytes - offset), 0))

    def reopened(self, file: io.BufferedIOBase | Reopened) -> PixelElement:
        """Returns the same pixel data, read from the path each time, unless they are in memory already."""
        return self if isinstance(self.file, io.BytesIO) else dataclasses.replace(self, file=file)

    @property
    def is_cut(self) -> bool:
        """Whether the file ends before the element does."""
        return self.stated_bytes is not None and self.available_bytes < self.stated_bytes


@dataclasses.dataclass(frozen=True)
class Opened:
    """An opened file.

    Attributes:
        header: the elements asked for.
        syntax: transfer syntax UID, "" where the file states none.
        little_endian: order of bytes of the pixel data.
        pixels: where the pixel data lie, or None where there are none.
    """

    header: Elements
    syntax: str
    little_endian: bool
    pixels: PixelElement | None


class _Bounded:
    """A file that gives no more bytes than there are, and stops a header that has no end."""

    def __init__(self, file: io.BufferedIOBase):
        self._file, self.reads = file, 0
        here = file.tell()
        self.size = file.seek(0, io.SEEK_END)
        file.seek(here)
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        self.reads += 1
        left = max(self.size - self._file.tell(), 0)
        count = left if count < 0 else min(count, left)
        if self.reads > MOST_READS or count > LONGEST_ELEMENT:
            raise ValueError("the header has no end")
        return self._file.read(count)


def open_file(file: io.BufferedIOBase, path: Path, record_id: str, names: Sequence[str | int]) -> Opened:
    """Reads the header up to the pixel data. Elements that are not asked for are skipped.

    Args:
        file: the file, opened for reading bytes. It must stay open as long as pixels are read.
        path: its path, for messages.
        record_id: the record, for the message of a fault.
        names: keywords or tags of the elements to read.

    Raises:
        UnreadableRecord: "not a DICOM file", "truncated file" or "header garbled".
    """
    bounded = _Bounded(file)
    start = 132 if _has_preamble(file) else 0
    if not start and not _starts_with_an_element(file):
        detail = f"{path} has no DICM after 128 bytes and does not begin with an element: export it as DICOM Part 10"
        raise UnreadableRecord(record_id, "not a DICOM file", detail)
    try:
        file.seek(start)
        meta = _read_meta(bounded)
        syntax = Elements(meta).text("TransferSyntaxUID")
        if syntax == DeflatedExplicitVRLittleEndian:
            file = io.BytesIO(_inflate(file, path, record_id))
            bounded = _Bounded(file)
        implicit, little = _encoding(file, syntax)
        dataset = read_dataset(
            cast(BinaryIO, bounded), implicit, little, stop_when=_at_pixels, specific_tags=[Tag(name) for name in names]
        )
        header, implicit = Elements(dataset), bool(dataset.original_encoding[0])
        pixels = _pixel_element(file, bounded.size, implicit, little)
    except UnreadableRecord:
        raise
    except DAMAGED as error:
        detail = f"{path}: the header cannot be read ({type(error).__name__}): export the file again"
        raise UnreadableRecord(record_id, "header garbled", detail) from error
    if not start or not syntax:
        missing = "preamble" if not start and syntax else "transfer syntax" if start else "preamble and transfer syntax"
        text = f"The file has no {missing}; it was read as {'implicit' if implicit else 'explicit'} VR."
        header.notes.append(note("file meta missing", text))
    return Opened(header, syntax, little, pixels)


def begins_like_dicom(path: Path) -> bool:
    """Tells whether a file of any name holds DICOM: DICM after the preamble, or a first element as DICOM has it."""
    try:
        with path.open("rb") as file:
            return _has_preamble(file) or _starts_with_an_element(file)
    except OSError:
        return False


def _has_preamble(file: io.BufferedIOBase) -> bool:
    file.seek(0)
    return file.read(132)[128:] == b"DICM"


def _starts_with_an_element(file: io.BufferedIOBase) -> bool:
    """Looks for an element of group 2 or 8 with a known VR and a length that lies within the file, and for the next."""
    file.seek(0)
    head = file.read(8)
    if len(head) < 8 or head[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
        return False
    order = ">" if head[0] == 0 else "<"
    size = file.seek(0, io.SEEK_END)
    if head[4:6] in LONG | {b"SQ", b"UT"}:
        return True
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    group, _ = struct.unpack(f"{order}HH", head[:4])
    length = struct.unpack(f"{order}H", head[6:])[0] if explicit else struct.unpack(f"{order}L", head[4:])[0]
    file.seek(8 + length)
    following = file.read(2)
    return 8 + length < size and len(following) == 2 and group <= struct.unpack(f"{order}H", following)[0] <= 0x0010


def _read_meta(bounded: _Bounded) -> pydicom.Dataset:
    """Reads group 2, if the file has it, and stops behind it."""
    start = bounded.tell()
    group = bounded.read(2)
    bounded.seek(start)
    if group != b"\x02\x00":
        return pydicom.Dataset()
    return read_dataset(cast(BinaryIO, bounded), False, True, stop_when=_behind_meta)


def _behind_meta(tag: int, vr: str | None, length: int) -> bool:
    return tag >> 16 != 2


def _inflate(file: io.BufferedIOBase, path: Path, record_id: str) -> bytes:
    inflater, deflated = zlib.decompressobj(-zlib.MAX_WBITS), file.read()
    most = min(MOST_INFLATED, MOST_INFLATION * len(deflated))
    try:
        content = inflater.decompress(deflated, most)
    except zlib.error as error:
        detail = f"{path}: the deflated header and pixels do not inflate: export the file again"
        raise UnreadableRecord(record_id, "header garbled", detail) from error
    if inflater.unconsumed_tail:
        detail = f"{path} inflates to more than {most} bytes: export it without deflation"
        raise UnreadableRecord(record_id, "video too large", detail)
    if not inflater.eof:
        raise UnreadableRecord(record_id, "truncated file", f"{path}: the deflated data end early: fetch it again")
    return content


def _encoding(file: io.BufferedIOBase, syntax: str) -> tuple[bool, bool]:
    """Returns (implicit VR, little endian) of the elements here; the first one shows what is not stated."""
    here = file.tell()
    head = file.read(6)
    file.seek(here)
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    little = not (explicit and head[:1] == b"\0" and head[1:2] != b"\0")
    if not syntax or len(head) < 6:
        return not explicit, little
    return syntax == ImplicitVRLittleEndian and not explicit, syntax != ExplicitVRBigEndian and little


def _at_pixels(tag: int, vr: str | None, length: int) -> bool:
    return tag in PIXEL_TAGS


def _pixel_element(file: io.BufferedIOBase, size: int, implicit: bool, little: bool) -> PixelElement | None:
    """Reads tag and length of the pixel data, where the header has stopped."""
    order = "<" if little else ">"
    head = file.read(8)
    if len(head) < 8:
        return None
    group, element = struct.unpack(f"{order}HH", head[:4])
    if (name := PIXEL_TAGS.get(group << 16 | element)) is None:
        return None
    vr = "" if implicit else head[4:6].decode("ascii", "replace")
    if head[4:6] in LONG and not implicit:
        length = struct.unpack(f"{order}L", file.read(4).ljust(4, b"\0"))[0]
    else:
        length = struct.unpack(f"{order}L", head[4:])[0]
    start = file.tell()
    left = max(size - start, 0)
    stated = None if length == UNDEFINED else length
    return PixelElement(file, name, vr, start, stated, left if stated is None else min(stated, left))
