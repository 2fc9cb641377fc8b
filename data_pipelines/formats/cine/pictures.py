"""Reads a folder of pictures as a `Recording`. Pictures state neither frame rate nor spacing."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from data_pipelines.formats.cine.recording import NO_RATE, NO_SPACING, Recording
from data_pipelines.notes import note
from data_pipelines.records import UnreadableRecord


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
