"""Reads a video file as a `Recording`. It states its frame rate and no spacing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from data_pipelines.formats.cine.recording import NO_RATE, NO_SPACING, Recording, frame_rate
from data_pipelines.notes import note
from data_pipelines.records import UnreadableRecord

UNKNOWN_SIZE = 2**32  # what an AVI header states for a stream of unknown length
ENOUGH = (
    0.95  # share of the stated frames that must decode: containers estimate the count, and an edit list may drop a few
)


def read_video(path: Path, record_id: str) -> Recording:
    """Reads MP4, AVI, MOV or MKV by OpenCV: luminance and the container's frame rate; there is no spacing.

    Args:
        path: the file.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "truncated file" (also: not a video at all) or "zero frames".
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            detail = f"{path} ({size} bytes) does not open as a video: fetch it again"
            raise UnreadableRecord(record_id, "truncated file", detail)
        if head[:4] == b"RIFF" and size < (full := 8 + int.from_bytes(head[4:], "little")) < UNKNOWN_SIZE:
            detail = f"{path} has {size} bytes, its header says {full}: fetch it again"
            raise UnreadableRecord(record_id, "truncated file", detail)
        stated, fps = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), frame_rate(capture.get(cv2.CAP_PROP_FPS))
        frames = []
        while (step := capture.read())[0]:
            frames.append(step[1] if step[1].ndim == 2 else cv2.cvtColor(step[1], cv2.COLOR_BGR2GRAY))
    finally:
        capture.release()
    if len(frames) < ENOUGH * stated:
        detail = f"{path}: {len(frames)} of {stated} frames could be decoded: fetch it again"
        raise UnreadableRecord(record_id, "truncated file", detail)
    if not frames:
        raise UnreadableRecord(record_id, "zero frames", f"{path} opens but holds no frame")
    notes = [note("grey levels", "Luminance of the colours.")]
    notes.append(note("frame rate", "From the container.") if fps else NO_RATE)
    if len(frames) < stated:
        notes.append(note("frames missing", f"{len(frames)} of {stated} stated frames could be decoded."))
    return Recording(np.stack(frames), fps, notes=(*notes, NO_SPACING))
