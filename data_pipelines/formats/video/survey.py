"""Surveys a video before a frame is decoded: its streams, the times of its packets, and what its headers state."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from io import BufferedIOBase

import av
from av.error import FFmpegError
from av.stream import Disposition

from data_pipelines.formats.frame_rate import frame_rate
from data_pipelines.formats.video.containers import AviHeader, find_shortfall, read_avi_header
from data_pipelines.formats.video.source import BARE_STREAMS, MOST_PIXELS, OpenContainer
from data_pipelines.formats.video.timing import SAME_RATE, StatedRate
from data_pipelines.notes import Note, note
from data_pipelines.records import UnreadableRecord


@dataclasses.dataclass(frozen=True)
class Survey:
    """What is known of a video before a frame is decoded.

    Attributes:
        position: which of the video streams of the container is read.
        codec: its codec.
        size: (h, w) that the container states; 0 where it does not.
        stated_count: number of frames that the container states; 0 where it does not.
        times: time of each packet that is shown, seconds, in the order of the frames.
        hidden: packets that an edit list hides.
        rate: what the container says of its rate.
        byte_count: bytes of the file.
        shortfall: what the file lacks of the length that it announces, or "".
        duration_s: duration that the container states for the pictures; 0 where it does not.
        notes: what was found.
    """

    position: int
    codec: str
    size: tuple[int, int]
    stated_count: int
    times: list[float | None]
    hidden: int
    rate: StatedRate
    byte_count: int
    shortfall: str
    duration_s: float
    notes: tuple[Note, ...]


def survey_video(file: BufferedIOBase, record_id: str, name: str) -> Survey:
    """Looks at the headers and packets of a video; decodes nothing.

    Args:
        file: the file.
        record_id: the record, for the message of a fault.
        name: what the file is called, for the same.

    Raises:
        UnreadableRecord: as `decoder.decode_video`.
    """

    def refuse(reason: str, detail: str) -> UnreadableRecord:
        return UnreadableRecord(record_id, reason, f"{name}: {detail}")

    header = read_avi_header(file)
    byte_count, shortfall = file.seek(0, os.SEEK_END), find_shortfall(file)
    with OpenContainer(file, record_id, name) as opened:
        container = opened.container
        pictures = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
        if not pictures:
            kinds = sorted({str(one.type) for one in container.streams}) or ["nothing"]
            raise refuse("no video stream", f"holds {' and '.join(kinds)}, expected a video")
        stream, notes = pictures[0], []
        codec = getattr(stream, "codec_context", None)
        if codec is None or not codec.is_decoder:
            raise refuse("codec not supported", f"no decoder for {_codec_tag(stream)}: convert it to H.264 or FFV1")
        if _codec_tag(stream) in ("encv", "drmi"):
            raise refuse("codec not supported", "the pictures are encrypted: export it without protection")
        if codec.width * codec.height > MOST_PIXELS:
            raise refuse("picture too large", f"states {codec.width} x {codec.height} pixels")
        if len(pictures) > 1:
            sizes = ", ".join(_size_in_words(one) for one in pictures)
            text = f"The file holds {len(pictures)} videos ({sizes}): the first is taken."
            notes.append(note("several video streams", text))
        is_bare = container.format.name in BARE_STREAMS  # then only MPEG-1 and -2 state a rate
        stated = codec.framerate if container.format.name == "mpegvideo" else None if is_bare else stream.average_rate
        fps = float(stated) if stated else None
        tick_s = float(stream.time_base) if stream.time_base else 0.0
        rate = StatedRate(fps, tick_s, has_times=not is_bare)
        stated_count, codec_name, position = stream.frames, codec.name, container.streams.video.index(stream)
        size = (codec.height, codec.width)
        duration_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        if not duration_s and container.duration and len(container.streams) == 1:
            duration_s = container.duration / av.time_base
        times, hidden = _packet_times(opened, stream)
        if opened.gave_up and not times:
            raise refuse("zero frames", f"its {byte_count} bytes go on and on without a picture: export it again")
    if header is not None:
        if shortfall:
            raise refuse("truncated file", f"{shortfall}: fetch it again")
        rate = _avi_rate(header, rate, notes)
        size = _avi_size(header, size, notes)
        stated_count = _avi_count(header, stated_count, len(times), notes)
    return Survey(
        position, codec_name, size, stated_count, times, hidden, rate, byte_count, shortfall, duration_s, tuple(notes)
    )


def _packet_times(opened: OpenContainer, stream: av.VideoStream) -> tuple[list[float | None], int]:
    """Reads the times of the packets that are shown, in the order of the frames, and counts those that are hidden."""
    times, hidden, unit = [], 0, float(stream.time_base or 0)
    with contextlib.suppress(FFmpegError):  # what is damaged shows when it is decoded
        for packet in opened.container.demux(stream):
            opened.met_picture()
            if packet.is_discard:
                hidden += 1
            elif packet.size:
                tick = packet.pts if packet.pts is not None else packet.dts
                times.append(None if tick is None else tick * unit)
    return sorted(times, key=lambda time: (time is None, time or 0.0)), hidden


def _size_in_words(stream: av.VideoStream) -> str:
    context = getattr(stream, "codec_context", None)  # None where there is no decoder
    return "of a codec that cannot be decoded" if context is None else f"{context.width} x {context.height} pixels"


def _codec_tag(stream: av.VideoStream) -> str:
    context = getattr(stream, "codec_context", None)
    tag = getattr(context, "codec_tag", "") if context is not None else ""
    return str(tag).strip("\0 ") or "an unknown codec"


def _avi_rate(header: AviHeader, rate: StatedRate, notes: list[Note]) -> StatedRate:
    """Compares the frame rates of the two headers of an AVI file; players use that of the stream.

    Frames of an AVI have no times of their own: where the stream's rate is missing or cannot be, so are the times.
    """
    main = 1e6 / header.frame_period_us if header.frame_period_us else None
    if header.stream_rate is None:
        return dataclasses.replace(rate, fps=main, has_times=False)
    if main is None or abs(main / header.stream_rate - 1) <= SAME_RATE:
        return rate
    stream_is_wrong = frame_rate(header.stream_rate) is None and frame_rate(main) is not None
    text = f"The header of the video stream states {header.stream_rate:g} frames/s, the main header {main:g}: the "
    notes.append(note("frame rate disputed", f"{text}{'main header' if stream_is_wrong else 'stream'}'s is taken."))
    return dataclasses.replace(rate, fps=main, has_times=False) if stream_is_wrong else rate


def _avi_size(header: AviHeader, size: tuple[int, int], notes: list[Note]) -> tuple[int, int]:
    """Compares the picture sizes of the two headers of an AVI file."""
    if 0 not in header.size and header.size != header.stream_size:
        text = f"The main header states {header.size}, that of the video stream {header.stream_size} (h, w)."
        notes.append(note("picture size disputed", text))
    return header.stream_size if 0 not in header.stream_size else size


def _avi_count(header: AviHeader, stated: int, found: int, notes: list[Note]) -> int:
    """Compares the frame counts of the two headers of an AVI file, and returns the one that the pictures bear out."""
    if not header.frame_count or not stated or header.frame_count == stated or header.has_parts:
        return stated
    text = f"The main header states {header.frame_count} frames, that of the video stream {stated}; there are {found}."
    notes.append(note("frame count disputed", text))
    return header.frame_count if header.frame_count == found else stated
