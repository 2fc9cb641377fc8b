"""Turns the pixel data of a DICOM file into grey frames.

YBR gives its Y, RGB and palettes 0.299 R + 0.587 G + 0.114 B: a colour Doppler overlay becomes grey with the tissue
around it. What a compressed picture says of itself is compared with the header; nothing is allocated before the bytes
for it are seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from data_pipelines.formats.cine.dicom import codecs, colour, grey, streams
from data_pipelines.formats.cine.dicom.elements import DAMAGED
from data_pipelines.formats.cine.dicom.file import Opened, PixelElement
from data_pipelines.formats.cine.dicom.frames import (
    ITEM,
    Frames,
    encapsulated_frames,
    find_fragments,
    join,
    native_frames,
)
from data_pipelines.formats.cine.dicom.layout import PALETTE, Layout, read_layout
from data_pipelines.formats.cine.dicom.native import NativeReader, bytes_of_frame
from data_pipelines.formats.cine.dicom.palette import NAMES as PALETTE_NAMES
from data_pipelines.formats.cine.dicom.palette import palette_levels
from data_pipelines.notes import Note, note, warnings_of
from data_pipelines.records import UnreadableRecord

NAMES = (
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    *PALETTE_NAMES,
    grey.OVERLAY_BITS,
)
NATIVE = ("", ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
CODEC_OF_SYNTAX: dict[str, streams.Codec] = {
    "1.2.840.10008.1.2.4.50": "JPEG",
    "1.2.840.10008.1.2.4.51": "JPEG",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless",
    "1.2.840.10008.1.2.4.80": "JPEG-LS",
    "1.2.840.10008.1.2.4.81": "JPEG-LS",
    "1.2.840.10008.1.2.4.90": "JPEG 2000",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "HTJ2K",
    "1.2.840.10008.1.2.4.202": "HTJ2K",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
}
FILMS = tuple(f"1.2.840.10008.1.2.4.10{number}" for number in range(9))  # MPEG-2, MPEG-4 AVC, HEVC
ALWAYS_ALLOWED, MOST_INFLATION = 2**28, 100  # bytes of grey frames; beyond, this multiple of the pixel data
MOST_BYTES = 3 * 2**28  # of grey frames

Samples = Shaped[np.ndarray, "h w *samples"]


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The frames of a file.

    Attributes:
        frames: grey levels 0..255, (t, h, w).
        notes: how they were made, and what disagreed with the header.
        film_fps: frames per second that a film in the pixel data states, or None.
    """

    frames: UInt8[np.ndarray, "t h w"]
    notes: tuple[Note, ...]
    film_fps: float | None = None


@dataclasses.dataclass(frozen=True)
class _Picture:
    """One decoded picture.

    Attributes:
        samples: as stored, (h, w) or (h, w, 3).
        bits: bits of a sample.
        stream: header of the compressed picture, None for others.
        is_ybr: whether the samples are luma and chroma by the way they are stored (native 4:2:2).
    """

    samples: Samples
    bits: int
    stream: streams.Stream | None = None
    is_ybr: bool = False


def read_pixels(opened: Opened, path: Path, record_id: str, more: Sequence[Opened] = ()) -> Pixels:
    """Reads the frames of a file, or of files that hold one frame each and are alike.

    Args:
        opened: the file.
        path: its path, for messages.
        record_id: the record, for the message of a fault.
        more: further files, in the order of their frames; only their pixel data are looked at.

    Raises:
        UnreadableRecord: with one of the reasons "no pixel data", "header garbled", "picture too large", "video too
            large", "truncated file", "pixel data of another size", "pixel data garbled", "picture of another size",
            "frame damaged", "compression not supported", "pixel format not supported", "grey level out of range", or
            of those of `video.decode_video` for a film.
    """
    pixels = [_existing(one, path, record_id) for one in (opened, *more)]
    layout = read_layout(opened.header, pixels[0].name, path, record_id)
    stated = opened.header.integer("NumberOfFrames")
    stated = stated if stated is not None and stated > 0 else None
    return _Reader(opened, pixels, layout, stated, path, record_id).read()


def count_frames(opened: Opened, path: Path, record_id: str) -> int:
    """Counts the frames of a file; nothing is decoded. A film counts as its Number of Frames.

    Args:
        opened: the file.
        path: its path, for messages.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: as `read_pixels`.
    """
    pixels = _existing(opened, path, record_id)
    layout = read_layout(opened.header, pixels.name, path, record_id)
    stated = opened.header.integer("NumberOfFrames")
    if pixels.stated_bytes is not None:
        return int(pixels.stated_bytes // bytes_of_frame(layout, pixels, stated)[0])
    return len(encapsulated_frames(pixels, None, opened.syntax == RLELossless, path, record_id))


def _existing(opened: Opened, path: Path, record_id: str) -> PixelElement:
    pixels = opened.pixels
    if pixels is None or pixels.available_bytes == 0:
        if pixels is not None and pixels.is_cut:
            raise UnreadableRecord(record_id, "truncated file", f"{path} ends before its pixel data: fetch it again")
        raise UnreadableRecord(record_id, "no pixel data", f"{path} has a header but no Pixel Data: leave it out")
    return pixels


class _Reader:
    """Reads the pixel data of one file, or of several that are alike."""

    def __init__(
        self,
        opened: Opened,
        pixels: Sequence[PixelElement],
        layout: Layout,
        stated: int | None,
        path: Path,
        record_id: str,
    ):
        self.opened, self.pixels, self.every, self.layout, self.stated = opened, pixels[0], pixels, layout, stated
        self.path, self.record_id = path, record_id
        self.notes: list[Note] = []

    def fault(self, reason: str, detail: str) -> UnreadableRecord:
        return UnreadableRecord(self.record_id, reason, f"{self.path}: {detail}")

    def read(self) -> Pixels:
        syntax, native = self.opened.syntax, self.opened.syntax in NATIVE
        has_items = self.pixels.read(0, 4) == ITEM
        if has_items and (not native or self.pixels.stated_bytes is None):
            if syntax.startswith(FILMS):
                return self._film()
            frames = join(
                [
                    encapsulated_frames(pixels, self.stated, syntax == RLELossless, self.path, self.record_id)
                    for pixels in self.every
                ]
            )
            return self._grey(frames, self._compressed_reader(frames))
        if not native and self.pixels.stated_bytes is None:
            raise self.fault("pixel data garbled", "the pixel data do not begin with an item: export it again")
        if not native:
            text = f"The transfer syntax is {_name(syntax)}, the pixel data are not compressed; they were read so."
            self.notes.append(note("transfer syntax corrected", text))
        if self.layout.interpretation == "YBR_PARTIAL_420":
            raise self.fault("pixel format not supported", "uncompressed YBR_PARTIAL_420: convert it to RGB")
        frame_bytes, layout = bytes_of_frame(self.layout, self.pixels, self.stated)
        if layout != self.layout:
            self.notes.append(_other_samples(self.layout, layout))
            self.layout = layout
        frames = join(
            [native_frames(pixels, frame_bytes, self.stated, self.path, self.record_id) for pixels in self.every]
        )
        reader = NativeReader(frames, layout, frame_bytes, self.opened.little_endian)
        if reader.note is not None:
            self.notes.append(reader.note)
        is_ybr = frame_bytes < layout.frame_bytes

        def read_native(index: int, luma_only: bool) -> _Picture:
            return _Picture(reader.read(index), layout.stored, None, is_ybr)

        return self._grey(frames, read_native)

    def _compressed_reader(self, frames: Frames) -> Callable[[int, bool], _Picture]:
        """Returns the function that decodes a frame, after a look at the first one."""
        first = streams.examine(frames.read(0))
        syntax = self.opened.syntax
        if first is None and syntax == RLELossless:
            return lambda index, luma_only: self._rle(frames, index)
        codec = CODEC_OF_SYNTAX.get(syntax)
        if first is None and (codec is None or not codecs.is_installed(codec)):
            how = codecs.INSTALL if codec else "convert it to JPEG, JPEG 2000, RLE or none"
            raise self.fault("compression not supported", f"the transfer syntax is {_name(syntax)}: {how}")
        if first is not None and first.codec != codec:
            text = f"The transfer syntax is {_name(syntax)}, the pictures are {first.codec}; they were read so."
            self.notes.append(note("transfer syntax corrected", text))
        if first is not None and first.components != self.layout.samples:
            text = (
                f"Samples per Pixel is {self.layout.samples}, the pictures have {first.components}; they were read so."
            )
            self.notes.append(note("colour space corrected", text))
        return lambda index, luma_only: self._compressed(frames, index, luma_only)

    def _compressed(self, frames: Frames, index: int, luma_only: bool) -> _Picture:
        data = frames.read(index)
        stream, which = streams.examine(data), f"frame {index + 1} of {len(frames)}"
        if stream is None:
            raise self.fault("frame damaged", f"{which} has no header of a compressed picture: export it again")
        if (stream.rows, stream.columns) != (self.layout.rows, self.layout.columns):
            detail = (
                f"{which} is a picture of {stream.rows} x {stream.columns} pixels, Rows and Columns of the header are "
                f"{self.layout.rows} x {self.layout.columns}: regions and spacing may belong to either; export it again"
            )
            raise self.fault("picture of another size", detail)
        if stream.components not in (1, 3):
            detail = f"{which} has {stream.components} samples a pixel: convert it to grey levels or RGB"
            raise self.fault("pixel format not supported", detail)
        try:
            samples = codecs.decode(data, stream, luma_only=luma_only)
        except codecs.NoDecoder as error:
            raise self.fault("compression not supported", str(error)) from error
        except DAMAGED as error:
            if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
                raise self.fault("truncated file", f"{which} ends before its picture does: fetch it again") from error
            detail = f"{which} cannot be decoded ({type(error).__name__}): export the file again"
            raise self.fault("frame damaged", detail) from error
        if samples.shape[:2] != (stream.rows, stream.columns):
            raise self.fault("frame damaged", f"{which} decodes to the shape {samples.shape}: export the file again")
        return _Picture(samples, stream.bits, stream)

    def _rle(self, frames: Frames, index: int) -> _Picture:
        data, layout = frames.read(index), self.layout
        shape = (layout.rows, layout.columns, layout.samples)
        try:
            samples = codecs.decode_rle(data, shape, layout.allocated)
        except DAMAGED as error:
            detail = f"frame {index + 1} of {len(frames)} cannot be decoded ({type(error).__name__}): export it again"
            raise self.fault("frame damaged", detail) from error
        return _Picture(samples, layout.stored)

    def _film(self) -> Pixels:
        from data_pipelines.formats.video import decode_video  # PyAV takes a moment to load

        _, fragments, end = find_fragments(self.pixels, self.path, self.record_id)
        if end == "cut":
            raise self.fault("truncated file", "the file ends within its film: fetch it again")
        data = b"".join(self.pixels.read(one.offset, one.count) for one in fragments)
        film = decode_video(data, self.record_id, square_pixels=False)
        count, size = len(film.frames), film.frames.shape[1:]
        if size != (self.layout.rows, self.layout.columns):
            stated = f"{self.layout.rows} x {self.layout.columns}"
            detail = f"the film has {size[0]} x {size[1]} pixels, the header states {stated}: export it again"
            raise self.fault("picture of another size", detail)
        if self.stated != count:
            code = "frames missing" if (self.stated or 0) > count else "frame count corrected"
            text = f"Number of Frames is {self.stated}, the film holds {count}; these were read."
            self.notes.append(note(code, text))
        levels = note("grey levels", f"Luminance of the film ({_name(self.opened.syntax)}).")
        return Pixels(film.frames, (levels, *self.notes, *warnings_of(film.notes)), film.fps)

    def _most_bytes(self) -> int:
        there = sum(pixels.available_bytes for pixels in self.every)
        return min(max(ALWAYS_ALLOWED, MOST_INFLATION * there), MOST_BYTES)

    def _grey(self, frames: Frames, read: Callable[[int, bool], _Picture]) -> Pixels:
        """Decodes every frame to grey levels."""
        layout, header = self.layout, self.opened.header
        needed = len(frames) * layout.rows * layout.columns
        if needed > self._most_bytes():
            detail = f"{len(frames)} frames take {needed} bytes, from {self.pixels.available_bytes} bytes of pixel data"
            raise self.fault("video too large", f"{detail}: export it in parts")
        self.notes = [*frames.notes, *self.notes]
        first = read(0, False)
        if first.samples.ndim == 3:
            return self._coloured(frames, read, first)
        if layout.interpretation == PALETTE and (levels := palette_levels(header, first.bits)) is not None:
            shown = [levels[read(index, False).samples & (len(levels) - 1)] for index in range(len(frames))]
            return Pixels(np.stack(shown), (note("grey levels", "Luminance of PALETTE COLOR."), *self.notes))
        stack = np.empty((len(frames), layout.rows, layout.columns), first.samples.dtype)
        for index in range(len(frames)):
            samples = first.samples if index == 0 else read(index, False).samples
            if samples.shape != stack.shape[1:]:
                raise self.fault("frames of another size", f"frame {index + 1} has shape {samples.shape} (h, w)")
            stack[index] = samples
        if first.stream is not None:
            layout = self._layout_of(first.stream)
        found = grey.to_levels(stack, layout, header, self.path, self.record_id)
        return Pixels(found.frames, (*found.notes[:1], *self.notes, *found.notes[1:]))

    def _coloured(self, frames: Frames, read: Callable[[int, bool], _Picture], first: _Picture) -> Pixels:
        """Takes the luminance of frames of three samples."""
        interpretation, shift = self.layout.interpretation, 0
        if first.samples.dtype != np.uint8:
            highest = max(int(read(index, False).samples.max()) for index in range(len(frames)))
            stated = min(self.layout.stored, first.bits)
            bits = grey.bits_in_use(highest, stated, is_container=stated == 8 * first.samples.itemsize)
            if bits != stated:
                text = f"{stated} bits are stated, the highest sample is {highest}; {bits} bits were taken."
                self.notes.append(note("bits corrected", text))
            shift = bits - 8
        judged = colour.Judged("YBR")
        if not first.is_ybr:
            judged = colour.judge((first.samples >> shift).astype(np.uint8), interpretation, first.stream)
        if judged.note is not None:
            self.notes.append(judged.note)
        frames_out = np.empty((len(frames), self.layout.rows, self.layout.columns), np.uint8)
        for index in range(len(frames)):
            samples = read(index, judged.colours == "YBR").samples
            if samples.ndim == 2:
                frames_out[index] = samples >> shift
            else:
                frames_out[index] = colour.luminance((samples >> shift).astype(np.uint8, copy=False), judged.colours)
        if interpretation == "YBR_PARTIAL_422":
            frames_out = np.rint(np.clip((frames_out - 16.0) * (255 / 219), 0, 255)).astype(np.uint8)
        named = interpretation if judged.note is None and interpretation else judged.colours
        return Pixels(frames_out, (note("grey levels", f"Luminance of {named}."), *self.notes))

    def _layout_of(self, stream: streams.Stream) -> Layout:
        """Returns the layout with the depth of the compressed picture, where the header's cannot hold."""
        allocated = 8 if stream.bits <= 8 else 16 if stream.bits <= 16 else 32
        stored = min(self.layout.stored, stream.bits)
        return dataclasses.replace(self.layout, allocated=allocated, stored=stored, high_bit=stored - 1, samples=1)


def _name(syntax: str) -> str:
    if not syntax:
        return "not stated"
    return UID(syntax).name if syntax in AllTransferSyntaxes else "of a kind that is not known"


def _other_samples(stated: Layout, found: Layout) -> Note:
    text = (
        f"Samples per Pixel is {stated.samples} ({stated.interpretation or 'no interpretation'}), the pixel data have"
    )
    return note("colour space corrected", f"{text} {found.samples}; they were read so.")
