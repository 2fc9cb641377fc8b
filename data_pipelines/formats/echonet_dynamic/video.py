"""Reads and writes a video of EchoNet-Dynamic: MJPG in AVI, colour frames of a grey picture."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from data_pipelines.formats.video import DecodedVideo, decode_video
from data_pipelines.records import UnreadableRecord


def read_video(path: Path, record_id: str) -> DecodedVideo:
    """Reads all frames of a video as grey levels, pixel by pixel as stored, because the tracings are in pixels.

    Args:
        path: the file.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "not readable", or as `data_pipelines.formats.video.decode_video`.
    """
    try:
        return decode_video(path, record_id, square_pixels=False)
    except OSError as error:
        raise UnreadableRecord(record_id, "not readable", f"{path}: {error.strerror}") from error


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
    """Returns the size of the file in bytes, and the size that its header states."""
    with path.open("rb") as file:
        head, size = file.read(8), os.fstat(file.fileno()).st_size
    return size, 8 + int.from_bytes(head[4:], "little")
