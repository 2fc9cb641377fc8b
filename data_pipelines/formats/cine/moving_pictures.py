"""Reads cines without a medical header as a `Recording`: video files, NIfTI (x, y, t), folders of PNG pictures.

A video states its frame rate and no spacing; NIfTI states both if its units say what the numbers are; pictures neither.
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
from einops import rearrange
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from data_pipelines.formats.camus.images import DAMAGED
from data_pipelines.formats.cine.recording import Recording, frame_rate
from data_pipelines.notes import note
from data_pipelines.records import UnreadableRecord

UNKNOWN_SIZE = 2**32  # what an AVI header states for a stream of unknown length
ENOUGH = (
    0.95  # share of the stated frames that must decode: containers estimate the count, and an edit list may drop a few
)
MM_PER_UNIT = {"mm": 1.0, "meter": 1000.0, "micron": 0.001}
SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
NO_RATE = note("frame rate unknown", "The file states none.")
NO_SPACING = note("pixel spacing unknown", "The file states none.")


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


def read_nifti(path: Path, record_id: str) -> Recording:
    """Reads NIfTI-1 of shape (x, y, t) or (x, y, 1, t) with grey levels 0..255.

    Spacing and frame rate are known where the header gives their units.

    Args:
        path: the file, compressed or not.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: with one of the reasons "truncated file" (also: not NIfTI at all), "zero frames", "one frame
            only", "pixel format not supported" and "grey level out of range".
    """
    try:
        content = path.read_bytes()
        image = nib.Nifti1Image.from_bytes(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
        pixels = np.asarray(image.dataobj)
        units, zooms = image.header.get_xyzt_units(), [float(str(zoom)) for zoom in image.header.get_zooms()]
        frame_time = float(image.header["pixdim"][4])
    except (FileNotFoundError, PermissionError):
        raise
    except DAMAGED as error:
        raise UnreadableRecord(record_id, "truncated file", f"{path}: {error}: fetch it again") from error
    if pixels.ndim == 4 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.size == 0:
        raise UnreadableRecord(record_id, "zero frames", f"{path} has shape {pixels.shape} (x, y, t)")
    if pixels.ndim == 2:
        raise UnreadableRecord(record_id, "one frame only", f"{path} has shape {pixels.shape}, expected (x, y, t)")
    if pixels.ndim != 3 or pixels.dtype.kind not in "uif":
        detail = f"{path} has shape {pixels.shape} of {pixels.dtype}, expected numbers (x, y, t) or (x, y, 1, t)"
        raise UnreadableRecord(record_id, "pixel format not supported", detail)
    if not (pixels.min() >= 0 and pixels.max() <= 255):  # false for nan too
        detail = f"{path}: {pixels.min()}..{pixels.max()}, expected 0..255: rescale"
        raise UnreadableRecord(record_id, "grey level out of range", detail)
    frames = np.ascontiguousarray(rearrange(np.rint(pixels).astype(np.uint8), "x y t -> t y x"))
    scale, second = MM_PER_UNIT.get(str(units[0])), SECONDS_PER_UNIT.get(str(units[1]))
    spacing_mm = (zooms[1] * scale, zooms[0] * scale) if scale and min(zooms[:2]) > 0 else None
    fps = frame_rate(1 / (frame_time * second)) if second and frame_time > 0 else None
    notes = (
        note("grey levels", "As stored."),
        note("frame rate", "From pixdim[4].") if fps else NO_RATE,
        note("pixel spacing", "From pixdim and the units of the header.") if spacing_mm else NO_SPACING,
    )
    return Recording(frames, fps, spacing_mm, notes=notes)


def natural_order(names: Sequence[str]) -> list[str]:
    """Sorts names with the numbers in them as numbers: frame_2 before frame_10."""

    def key(name: str) -> tuple[list[tuple[bool, int, str]], str]:
        parts = re.findall(r"([0-9]+)|([^0-9]+)", name)
        return [(not digits, int(digits or 0), text) for digits, text in parts], name

    return sorted(names, key=key)


def png_names(folder: Path) -> list[str]:
    """Lists the PNG files of a folder in natural order, without hidden ones."""
    names = os.listdir(folder)
    return natural_order([name for name in names if name.lower().endswith(".png") and not name.startswith(".")])


def read_pngs(folder: Path, record_id: str) -> Recording:
    """Reads the PNG files of a folder in natural order as frames: luminance; 16-bit levels are scaled from 65535.

    Args:
        folder: the folder.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: with one of the reasons "empty folder", "truncated file" (also: not a PNG) and "frames of
            another size".
    """
    if not (names := png_names(folder)):
        raise UnreadableRecord(record_id, "empty folder", f"{folder} holds no PNG: give a folder of numbered frames")
    frames: list[UInt8[np.ndarray, "h w"]] = []
    for name in names:
        try:
            with Image.open(folder / name, formats=("PNG",)) as picture:
                deep = picture.mode.startswith("I")
                pixels = np.asarray(picture if deep else picture.convert("L"))
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            detail = f"{folder / name}: {error}: fetch it again"
            raise UnreadableRecord(record_id, "truncated file", detail) from error
        frames.append(np.rint(pixels / 257).astype(np.uint8) if deep else pixels)
        if frames[-1].shape != frames[0].shape:
            sizes = f"{name} has {frames[-1].shape}, {names[0]} has {frames[0].shape} (h, w)"
            raise UnreadableRecord(record_id, "frames of another size", f"{folder}: {sizes}: one size a cine")
    return Recording(np.stack(frames), notes=(note("grey levels", "Luminance of the colours."), NO_RATE, NO_SPACING))
