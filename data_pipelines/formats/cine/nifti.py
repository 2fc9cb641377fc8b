"""Reads a NIfTI cine (x, y, t) as a `Recording`. It states frame rate and spacing if its units say what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data_pipelines.formats.cine.recording import NO_SPACING, Recording
from data_pipelines.formats.nifti_file import read_nifti_file
from data_pipelines.formats.placement import standard_turn
from data_pipelines.grey_levels import to_grey_levels
from data_pipelines.notes import note
from data_pipelines.records import UnreadableRecord

LONGEST_SIDE = 3.0  # a picture is at most so many times as wide as it is high, or the other way round
BLACK = 8  # grey levels
CLEARLY = 0.2  # by how much the picture must be steadier along another axis to say that this one is time


def read_nifti(path: Path, record_id: str) -> Recording:
    """Reads NIfTI-1 or NIfTI-2 of shape (x, y, t) or (x, y, 1, t), packed or not.

    Spacing and frame rate are known where the header gives their units. A picture that the header states to be stored
    in another direction is turned to that of CAMUS, row 0 nearest to the probe.

    Args:
        path: the file.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: with one of the reasons of `read_nifti_file`, or "one frame only", "axes permuted" and "grey
            level out of range".
    """
    image = read_nifti_file(path, record_id)
    if len(image.pixels) == 1:
        detail = f"{path} has shape {image.pixels.shape} (t, row, column), expected several frames"
        raise UnreadableRecord(record_id, "one frame only", detail)
    levels = to_grey_levels(image.pixels, record_id, source=str(path), stated=image.stated)
    check_axes(levels.frames, path, record_id)
    notes = [*levels.notes, *image.notes]
    if image.has_colours:
        notes.append(note("grey levels", "Luminance of the colours."))
    if turn := standard_turn(image.placements):
        text = f"The picture is stored with {turn}, as its header states, and was turned to the directions of CAMUS."
        notes.append(note("orientation", text))
    if len({standard_turn([placement]) for placement in image.placements}) > 1:
        one, two = image.placements
        notes.append(note("orientation contradicted", f"{one}, but {two}; the sform was taken."))
    spacing_mm = turn.spacing(image.spacing_mm)
    if spacing_mm:
        notes.append(note("pixel spacing", "From pixdim and the units of the header."))
    elif not any(one.code == NO_SPACING.code for one in notes):
        notes.append(NO_SPACING)
    return Recording(turn.apply(levels.frames), image.fps, spacing_mm, notes=tuple(notes))


def check_axes(frames: UInt8[np.ndarray, "t h w"], path: Path, record_id: str) -> None:
    """Refuses frames that were stored as (t, row, column), so that time was read as an axis of the picture.

    Such a picture is too long for its width, or steadier along a side than along the axis that was read as time: the
    black around the sector stays where it is in time alone.

    Args:
        frames: grey levels as they were read.
        path: the file, for the message of a fault.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "axes permuted".
    """
    count, rows, columns = frames.shape
    found = f"{path} has shape ({columns}, {rows}, {count}) on disk, read as (x, y, t): {count} frames of {rows} rows "
    found += f"and {columns} columns"
    advice = "was it stored as (t, row, column)? Store (x, y, t): array.transpose(2, 1, 0)"
    if max(rows, columns) > LONGEST_SIDE * min(rows, columns) and count >= min(rows, columns):
        raise UnreadableRecord(record_id, "axes permuted", f"{found}, which no ultrasound picture has: {advice}")
    is_lit = frames > BLACK
    steadiness = []
    for axis in range(3):
        share = is_lit.mean(axis=axis)
        steadiness.append(float(share[share > 0].mean()) if share.any() else 0.0)
    if max(steadiness[1:]) > steadiness[0] + CLEARLY and count > 2:
        raise UnreadableRecord(
            record_id, "axes permuted", f"{found}, and the picture changes more between frames: {advice}"
        )
