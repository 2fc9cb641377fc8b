"""Reads a video file as a `Recording`. It states its frame rate and no spacing."""

from __future__ import annotations

from pathlib import Path

from data_pipelines.formats.cine.recording import NO_SPACING, Recording
from data_pipelines.formats.video import decode_video


def read_video(path: Path, record_id: str) -> Recording:
    """Reads a video in any container that FFmpeg reads: luminance, turned and stretched to its true shape.

    Args:
        path: the file.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: as `data_pipelines.formats.video.decode_video`.
        OSError: the file cannot be opened.
    """
    video = decode_video(path, record_id)
    return Recording(video.frames, video.fps, notes=(*video.notes, NO_SPACING))
