"""Draws a contact sheet: ED and ES of some clips with the outlines of their masks, in their true proportions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from data_pipelines.records import ATRIUM, ENDOCARDIUM, MYOCARDIUM, Clip

LARGEST_COUNT = 24  # clips on a sheet
COLUMNS = 4
HEIGHT, WIDTH = 200, 220  # pixels that one frame may take
TEXT, GAP = 16, 6
COLOURS = {MYOCARDIUM: (255, 200, 0), ATRIUM: (80, 160, 255), ENDOCARDIUM: (0, 255, 90)}


def draw_tile(clip: Clip) -> UInt8[np.ndarray, "h w 3"]:
    """Draws ED and ES side by side (the first and the middle frame where they are not known) under a line of text."""
    known = clip.ed_index is not None and clip.es_index is not None
    ends = (clip.ed_index, clip.es_index) if known else (0, len(clip) // 2)
    row_mm, column_mm = clip.spacing_mm or (1.0, 1.0)
    high, wide = clip.frames.shape[1] * row_mm, clip.frames.shape[2] * column_mm
    scale = min(HEIGHT / high, WIDTH / wide)
    size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    picture = Image.new("RGB", (2 * WIDTH + GAP, HEIGHT + TEXT), (32, 32, 32))
    for column, index in enumerate(ends):
        assert index is not None
        frame = Image.fromarray(_outlined(clip.frames[index], clip.label_map[index], size))
        left = column * (WIDTH + GAP) + (WIDTH - size[0]) // 2
        picture.paste(frame, (left, TEXT + (HEIGHT - size[1]) // 2))
    names = "ED, ES" if known else f"frames {ends[0]}, {ends[1]}"
    spacing = f"{row_mm:.3g} x {column_mm:.3g} mm" if clip.spacing_mm else "pixels"
    text = f"{clip.record_id}  {names}  {spacing}"
    ImageDraw.Draw(picture).text((2, 1), text, fill=(255, 255, 255), font=ImageFont.load_default(12))
    return np.asarray(picture)


def _outlined(
    frame: UInt8[np.ndarray, "h w"], mask: UInt8[np.ndarray, "h w"], size: tuple[int, int]
) -> UInt8[np.ndarray, "H W 3"]:
    """Draws one frame at `size` (width, height) with the outline of each label."""
    shrinks = size[0] < frame.shape[1] and size[1] < frame.shape[0]
    grey = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    labels = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
    colour = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    for label, rgb in COLOURS.items():
        # The wall encloses the cavity: its outline is that of both, or the inner edge would be drawn twice.
        area = np.isin(labels, (MYOCARDIUM, ENDOCARDIUM)) if label == MYOCARDIUM else labels == label
        if (labels == label).any():
            outlines, _ = cv2.findContours(area.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(colour, outlines, -1, rgb, 1)
    return colour


def choose_records(count: int) -> frozenset[int]:
    """Chooses which of `count` records go on the sheet: all, or `LARGEST_COUNT` spread evenly."""
    if not count:
        return frozenset()
    return frozenset(np.linspace(0, count - 1, min(count, LARGEST_COUNT)).round().astype(int).tolist())


def write_sheet(tiles: Sequence[UInt8[np.ndarray, "h w 3"]], path: Path) -> None:
    """Writes tiles row by row as a PNG file.

    Args:
        tiles: what `draw_tile` gave; at least one.
        path: the file to write.

    Raises:
        OSError: the file cannot be written.
    """
    columns = min(COLUMNS, len(tiles))
    height, width = tiles[0].shape[0] + GAP, tiles[0].shape[1] + 2 * GAP
    sheet = Image.new("RGB", (columns * width, math.ceil(len(tiles) / columns) * height))
    for i, picture in enumerate(tiles):
        sheet.paste(Image.fromarray(picture), ((i % columns) * width, (i // columns) * height))
    sheet.save(path, format="PNG")
