"""Decodes a video: grey frames one at a time (`open_video`) or all at once (`decode_video`), with times and notes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from jaxtyping import Float, UInt8

from data_pipelines.formats.video.grey import GreyFrames, find_pixel_shape
from data_pipelines.formats.video.source import MOST_PIXELS, OpenContainer, open_bytes, words
from data_pipelines.formats.video.survey import survey_video
from data_pipelines.formats.video.timing import Timing, find_timing
from data_pipelines.grey_levels import DARK_PART
from data_pipelines.notes import Note, note
from data_pipelines.records import UnreadableRecord

ENOUGH = 0.95  # share of the stated frames that must decode: containers estimate the count
SHORT = 0.1  # share of the stated duration that may lack frames: the last may be shown for longer than the others
CHECKSUMMED = ("ffv1", "png")  # their frames hold a checksum, which FFmpeg compares only if it is asked to
MOST_BYTES = 2**28  # of grey frames in memory, or as many as `MOST_TIMES` the file has
MOST_TIMES = 500  # a still picture compresses better than any cine: more is a bomb


@dataclasses.dataclass(frozen=True)
class DecodedVideo:
    """All frames of a video.

    Attributes:
        frames: grey levels 0..255, (t, h, w), turned as the file says, with square pixels unless `aspect` says else.
        times_s: seconds from the first frame, (t,); None where the file does not give a time for every frame.
        fps: frames per second, or None where it is not known.
        aspect: width over height of a pixel of `frames`.
        notes: where the values come from, and which statements disagreed.
    """

    frames: UInt8[np.ndarray, "t h w"]
    times_s: Float[np.ndarray, " t"] | None
    fps: float | None
    aspect: float
    notes: tuple[Note, ...]


class Video:
    """An open video whose frames are decoded one at a time, as often as it is iterated.

    Attributes:
        count: number of frames that the file announces; what can be decoded may differ by a few.
        times_s: seconds from the first frame, (count,); None where the file does not give a time for every frame.
        fps: frames per second, or None where it is not known.
        aspect: width over height of a pixel of the frames, after the first frame.
        notes: where the values come from, and which statements disagreed; complete after the last frame.
    """

    def __init__(self, file: BufferedIOBase, record_id: str, name: str, *, square_pixels: bool):
        """Surveys the file; no frame is decoded.

        Args:
            file: the file.
            record_id: the record, for the message of a fault.
            name: what the file is called, for the same.
            square_pixels: whether frames are stretched until their pixels are square.

        Raises:
            UnreadableRecord: as `decode_video`.
        """
        self._file, self._record_id, self._name, self._square = file, record_id, name, square_pixels
        self._survey = survey_video(file, record_id, name)
        self._timing = find_timing(self._survey.times, self._survey.rate)
        self._late_notes: tuple[Note, ...] = ()
        self._decoded_times: list[float | None] = []
        self.aspect = 1.0

    @property
    def count(self) -> int:
        return len(self._survey.times)

    @property
    def times_s(self) -> Float[np.ndarray, " t"] | None:
        return self._timing.times_s

    @property
    def fps(self) -> float | None:
        return self._timing.fps

    @property
    def notes(self) -> tuple[Note, ...]:
        return (*self._late_notes, *self._timing.notes, *self._survey.notes)

    @property
    def byte_count(self) -> int:
        """Bytes of the file."""
        return self._survey.byte_count

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "h w"]]:
        """Yields the grey frames, (h, w) each.

        Raises:
            UnreadableRecord: as `decode_video`.
        """
        survey, faults = self._survey, _Faults()
        grey: GreyFrames | None = None
        size, times = (0, 0), []
        with OpenContainer(self._file, self._record_id, self._name) as opened:
            stream = opened.container.streams.video[survey.position]
            if survey.codec in CHECKSUMMED:
                stream.codec_context.options = {"err_detect": "crccheck+explode"}
            shape = find_pixel_shape(stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio)
            for frame in _frames(opened, stream, faults):
                if grey is None:
                    size = (frame.height, frame.width)
                    if frame.width * frame.height > MOST_PIXELS:
                        raise self._refuse("picture too large", f"{frame.width} x {frame.height} pixels")
                    grey = GreyFrames(frame, shape, square_pixels=self._square)
                    self.aspect = grey.aspect
                if (frame.height, frame.width) != size:
                    found = f"frame {len(times)} has {(frame.height, frame.width)}, the first {size} (h, w)"
                    raise self._refuse("frames of another size", f"{found}: one size a cine")
                times.append(frame.time if frame.pts is not None else None)
                try:
                    picture = grey.convert(frame)
                except FFmpegError as error:
                    detail = f"{frame.format.name} cannot be converted ({words(error)}): convert it to yuv420p"
                    raise self._refuse("pixel format not supported", detail) from error
                yield picture
        if grey is not None and grey.brightest is not None and 0 < grey.brightest < DARK_PART:
            detail = (
                f"no sample is above {100 * grey.brightest:.2g} % of white: the samples have fewer bits than stated"
            )
            raise self._refuse("grey level out of range", f"{detail}: write them with 8 bits, or scale them")
        self._finish(times, faults, size, grey.notes if grey else ())

    def _finish(self, times: list[float | None], faults: _Faults, size: tuple[int, int], notes: tuple[Note, ...]):
        """Compares what was decoded with what was announced."""
        survey, count, late = self._survey, len(times), list(notes)
        expected = max(survey.stated_count - survey.hidden, 0)
        broken = faults.undecodable + faults.damaged
        if survey.shortfall:
            if broken or count < max(expected, 1) or not expected:
                detail = f"{survey.shortfall}; {count} of {expected or 'an unknown number of'} frames are whole"
                raise self._refuse("truncated file", f"{detail}: fetch it again")
            late.append(note("file shorter than stated", f"The file {survey.shortfall}; all {count} frames are there."))
        if not count:
            if faults.undecodable:
                detail = f"none of {faults.undecodable} pictures could be decoded as {survey.codec} ({faults.message})"
                raise self._refuse("damaged frames", f"{detail}: export it again")
            raise self._refuse("zero frames", "opens as a video and holds no frame: export it again")
        if broken:
            text = f"{broken} of {max(count, expected)} frames are damaged"
            text += f" ({faults.message})" if faults.message else ""
            if broken > (1 - ENOUGH) * max(count, expected):
                raise self._refuse("damaged frames", f"{text}: export it again")
            late.append(note("damaged frames", f"{text}."))
        if count < expected:
            text = f"{count} of {expected} stated frames could be decoded"
            if count < ENOUGH * expected:
                raise self._refuse("frames missing", f"{text}: export it again")
            late.append(note("frames missing", f"{text}."))
        elif 0 < expected < count and not survey.hidden:
            late.append(note("frame count disputed", f"The header states {expected} frames, the file holds {count}."))
        shown_s = _span_s(times)
        if not expected and survey.duration_s * (1 - SHORT) > shown_s > 0:
            text = f"The header states {survey.duration_s:.3g} s, the frames end after {shown_s:.3g} s."
            late.append(note("frames missing", text))
        if 0 not in survey.size and survey.size != size:
            text = f"The header states {survey.size}, the pictures have {size} (h, w): the pictures are taken."
            late.append(note("picture size disputed", text))
        if survey.hidden:
            late.append(note("frames outside the edit list", f"{survey.hidden} frames are not to be shown: left out."))
        self._late_notes = tuple(late)
        self._decoded_times = times

    def timing_of_decoded(self) -> Timing:
        """Returns the timing of the frames that were decoded; call it after the last frame."""
        if len(self._decoded_times) == self.count:
            return self._timing
        return find_timing(self._decoded_times, self._survey.rate)

    def other_notes(self) -> tuple[Note, ...]:
        """Returns the notes that are not on time; complete after the last frame."""
        return (*self._late_notes, *self._survey.notes)

    def _refuse(self, reason: str, detail: str) -> UnreadableRecord:
        return UnreadableRecord(self._record_id, reason, f"{self._name}: {detail}")


@contextlib.contextmanager
def open_video(source: Path | BufferedIOBase | bytes, record_id: str, *, square_pixels: bool = True) -> Iterator[Video]:
    """Opens a video for as long as the `with` block lasts; its frames come one at a time, whatever its length.

    Args:
        source: a path, an open binary file (which stays open), or the content itself.
        record_id: the record, for the message of a fault.
        square_pixels: whether frames are stretched until their pixels are square.

    Raises:
        UnreadableRecord: as `decode_video`.
        OSError: the path cannot be opened.
    """
    name = str(source) if isinstance(source, Path | str) else "the video"
    with open_bytes(source) as file:
        yield Video(file, record_id, name, square_pixels=square_pixels)


def decode_video(source: Path | BufferedIOBase | bytes, record_id: str, *, square_pixels: bool = True) -> DecodedVideo:
    """Decodes all frames of a video. Colour frames are in memory one at a time.

    Args:
        source: a path, an open binary file (which stays open), or the content itself.
        record_id: the record, for the message of a fault.
        square_pixels: whether frames are stretched until their pixels are square.

    Raises:
        UnreadableRecord: with one of the reasons "empty file", "truncated file", "not a video", "no video stream",
            "codec not supported", "grey level out of range", "zero frames", "frames missing", "damaged frames", "frames
            of another size", "picture too large", "video too large" and "pixel format not supported".
        OSError: the path cannot be opened.
    """
    with open_video(source, record_id, square_pixels=square_pixels) as video:
        frames: UInt8[np.ndarray, "t h w"] | None = None
        count, most = 0, max(MOST_BYTES, MOST_TIMES * video.byte_count)
        for picture in video:
            if max(video.count, count + 1) * picture.size > most:
                detail = f"{max(video.count, count + 1)} frames of {picture.shape} (h, w) from {video.byte_count} bytes"
                raise UnreadableRecord(record_id, "video too large", f"{detail}: cut it into shorter clips")
            if frames is None:
                frames = np.empty((max(video.count, 1), *picture.shape), np.uint8)
            elif count == len(frames):
                frames = np.concatenate((frames, np.empty_like(frames[: len(frames) // 4 + 1])))
            frames[count] = picture
            count += 1
        assert frames is not None  # an empty video was refused
        timing = video.timing_of_decoded()
        return DecodedVideo(
            frames[:count], timing.times_s, timing.fps, video.aspect, (*timing.notes, *video.other_notes())
        )


@dataclasses.dataclass
class _Faults:
    """What went wrong while frames were decoded.

    Attributes:
        undecodable: packets that gave no frame.
        damaged: packets that are cut, and frames that the decoder marks as damaged.
        message: what FFmpeg said of the first.
    """

    undecodable: int = 0
    damaged: int = 0
    message: str = ""


def _frames(opened: OpenContainer, stream: av.VideoStream, faults: _Faults) -> Iterator[av.VideoFrame]:
    """Yields the frames of a stream, and counts the packets that cannot be decoded."""
    packets = opened.container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except FFmpegError as error:  # the container is damaged here: what was read so far counts
            faults.message = faults.message or words(error)
            return
        opened.met_picture()
        faults.damaged += packet.is_corrupt
        try:
            for frame in packet.decode():
                faults.damaged += frame.is_corrupt
                yield frame
        except FFmpegError as error:
            if packet.size:
                faults.undecodable += 1
                faults.message = faults.message or words(error)


def _span_s(times: list[float | None]) -> float:
    """Returns the time from the first frame to the end of the last, if that is as long as the others; 0 if unknown."""
    known = sorted(time for time in times if time is not None)
    return (known[-1] - known[0]) * len(known) / (len(known) - 1) if len(known) > 1 else 0.0
