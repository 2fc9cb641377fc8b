"""Reads and writes a video of EchoNet-Dynamic: MJPG in AVI, colour frames of a grey picture."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from data_pipelines.records import UnreadableRecord

UNKNOWN_SIZE = 2**32  # what an AVI header states for a stream of unknown length


def read_video(path: Path, record_id: str) -> UInt8[np.ndarray, "t h w"]:
    """Reads all frames of a video as grey levels.

    Args:
        path: the file.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "not readable", "truncated file" or "zero frames".
    """
    try:
        size, whole = _sizes(path)
    except OSError as error:
        raise UnreadableRecord(record_id, "not readable", f"{path}: {error.strerror}") from error
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise UnreadableRecord(record_id, "truncated file", f"{path} ({size} bytes) does not open")
        if size < whole:
            raise UnreadableRecord(record_id, "truncated file", f"{path} has {size} bytes, its header says {whole}")
        stated, frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), []
        while (step := capture.read())[0]:
            frames.append(cv2.cvtColor(step[1], cv2.COLOR_BGR2GRAY))
    finally:
        capture.release()
    if stated > len(frames):
        detail = f"{path}: {len(frames)} of {stated} frames could be decoded"
        raise UnreadableRecord(record_id, "truncated file", detail)
    if not frames:
        raise UnreadableRecord(record_id, "zero frames", f"{path} opens but holds no frame")
    return np.stack(frames)


def write_video(frames: UInt8[np.ndarray, "t h w"], fps: float | None, path: Path) -> None:
    """Writes a video by OpenCV's own encoder, which keeps odd sizes. The file appears whole or not at all.

    Args:
        frames: grey levels 0..255.
        fps: frames per second; None writes 50.
        path: the file to write.

    Raises:
        OSError: the folder cannot be written (PermissionError where it is read-only), or there is no room.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.avi")
    height, width = frames.shape[1:]
    try:
        temporary.touch()  # OpenCV does not say why it cannot
        codec = (cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"))
        writer = cv2.VideoWriter(str(temporary), *codec, fps or 50.0, (width, height))
        if not writer.isOpened():
            raise OSError(errno.EIO, f"a video of {width} x {height} cannot be made")
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
        writer.release()
        size, whole = _sizes(temporary)
        if size != whole:  # the encoder is silent about a full disk, and then leaves the size in the header at 0
            raise OSError(errno.ENOSPC, f"the video broke off after {size} bytes")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        advice = f"{error.strerror}: is the folder writable, and is there room?"
        raise OSError(error.errno, advice, str(path)) from error


def _sizes(path: Path) -> tuple[int, int]:
    """Returns the size of the file in bytes, and the size that its header states; 0 where it states none."""
    with path.open("rb") as file:
        head, size = file.read(8), os.fstat(file.fileno()).st_size
    whole = 8 + int.from_bytes(head[4:], "little")
    return size, whole if head[:4] == b"RIFF" and whole < UNKNOWN_SIZE else 0
