"""Writes video files of any kind through PyAV, and changes statements in their headers."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.helpers.dicom_files import picture

MILLISECOND = Fraction(1, 1000)


def moving(count: int = 12, shape: tuple[int, int] = (96, 128)) -> np.ndarray:
    """Grey frames that change, (t, h, w)."""
    return picture(count, shape)


def write(
    path: Path,
    frames: np.ndarray,
    *,
    codec: str = "mpeg4",
    pixels: str = "yuv420p",
    source: str = "gray",
    fps: float = 25,
    times_ms: list[int] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    **stated,
) -> Path:
    """Writes frames as one video.

    Args:
        path: the file; its suffix is the container.
        frames: (t, h, w) grey, or (t, h, w, c) or planes as `source` says.
        codec: the encoder.
        pixels: pixel format in the file.
        source: pixel format of `frames`.
        fps: stated frames per second.
        times_ms: time of each frame; None takes one frame after the other.
        options: options of the encoder.
        container: options of the container.
        stated: attributes of the codec, e.g. sample_aspect_ratio; or display_rotation.
    """
    with av.open(str(path), "w", options=container or {}) as output:
        stream = output.add_stream(codec, rate=Fraction(fps).limit_denominator(1000), options=options or {})
        stream.pix_fmt = pixels
        first = av.VideoFrame.from_ndarray(frames[0], format=source)
        stream.width, stream.height = first.width, first.height
        if times_ms is not None:
            stream.codec_context.time_base = MILLISECOND
        if "display_rotation" in stated:
            stream.set_display_rotation(stated.pop("display_rotation"))
        for name, value in stated.items():
            setattr(stream.codec_context, name, value)
        for index, pixels_of_frame in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels_of_frame, format=source)
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[index], MILLISECOND
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def write_packets(path: Path, sizes: list[tuple[int, int]], times_ms: list[int] | None = None) -> Path:
    """Writes one video for each (h, w) of `sizes` into one file, as MJPEG, every frame at a time of `times_ms`."""
    times_ms = times_ms or [40 * i for i in range(12)]
    with av.open(str(path), "w") as output:
        streams = [output.add_stream("mjpeg", rate=25, pix_fmt="yuvj420p", height=h, width=w) for h, w in sizes]
        for index, time_ms in enumerate(times_ms):
            for stream, size in zip(streams, sizes, strict=True):
                frame = av.VideoFrame.from_ndarray(moving(len(times_ms), size)[index], format="gray")
                for packet in stream.encode(frame):
                    packet.pts = packet.dts = time_ms
                    packet.time_base = MILLISECOND
                    output.mux(packet)
    return path


def write_one_picture(path: Path, picture: np.ndarray, times: int) -> Path:
    """Writes one picture, compressed once as PNG, as every frame of a video at 25 frames/s."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("png", rate=25, pix_fmt="gray", height=picture.shape[0], width=picture.shape[1])
        (packet,) = stream.encode(av.VideoFrame.from_ndarray(picture, format="gray"))
        content = bytes(packet)
        for index in range(times):
            packet = av.Packet(content)
            packet.stream, packet.time_base, packet.duration = stream, Fraction(1, 25), 1
            packet.pts = packet.dts = index
            packet.is_keyframe = True
            output.mux(packet)
    return path


def write_sound(path: Path) -> Path:
    """Writes a file of sound alone."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def change_avi(path: Path, chunk: bytes, offset: int, value: int) -> Path:
    """Writes a 32-bit number into the first chunk of this name of an AVI file: avih, strh or strf."""
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(chunk) + 8 + offset, value)
    path.write_bytes(content)
    return path


def change_bytes(path: Path, old: bytes, new: bytes) -> Path:
    """Replaces every occurrence of some bytes by as many others."""
    content = path.read_bytes()
    assert old in content and len(old) == len(new)
    path.write_bytes(content.replace(old, new))
    return path


def spoil_frames(path: Path, which: slice) -> Path:
    """Overwrites the pictures of an AVI file ("00dc" chunks) with zeros."""
    content, places, position = bytearray(path.read_bytes()), [], 0
    movi = content.index(b"movi")
    end = content.index(b"idx1", movi)
    position = movi + 4
    while position < end:
        size = int.from_bytes(content[position + 4 : position + 8], "little")
        places.append((position + 8, size))
        position += 8 + size + size % 2
    for start, size in places[which]:
        content[start : start + size] = bytes(size)
    path.write_bytes(content)
    return path
