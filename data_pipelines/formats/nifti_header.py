"""What a NIfTI header states of space and time, and what of it can be believed.

A default that a writer left is no statement: pixdim[4] = 1, and an affine of ones. Source: the NIfTI-1 and NIfTI-2
headers of the NIfTI Data Format Working Group (nifti1.h, nifti2.h).
"""

from __future__ import annotations

import dataclasses
import math

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from data_pipelines.formats.frame_rate import frame_rate
from data_pipelines.formats.placement import Placement
from data_pipelines.notes import Note, note

SPACE_UNITS = {1: ("m", 1000.0), 2: ("mm", 1.0), 3: ("um", 0.001)}
TIME_UNITS = {8: ("s", 1.0), 16: ("ms", 1e-3), 24: ("us", 1e-6)}
NO_TIMES = {32: "Hz", 40: "ppm", 48: "rad/s"}
SAME = 0.01


@dataclasses.dataclass(frozen=True)
class Rate:
    """The frame rate that a header states.

    Attributes:
        fps: frames per second, or None.
        notes: where it comes from, or why there is none.
    """

    fps: float | None
    notes: tuple[Note, ...]


def placements_of(header: nib.Nifti1Header, in_plane: tuple[int, ...]) -> tuple[Placement, ...]:
    """Reads sform and qform, each where its code says that it is stated and its numbers are possible.

    Args:
        header: the header.
        in_plane: the axes of columns and rows on disk.
    """
    found = []
    for source in ("sform", "qform"):
        if not int(header[f"{source}_code"]) > 0:
            continue
        try:
            affine = np.asarray(header.get_sform() if source == "sform" else header.get_qform(), np.float64)
        except (HeaderDataError, ValueError):
            continue
        column, row = (affine[:3, axis] for axis in in_plane)
        area = np.linalg.norm(np.cross(column, row))
        if np.isfinite(affine).all() and area > SAME * np.linalg.norm(column) * np.linalg.norm(row) > 0:
            found.append(Placement(column, row, affine[:3, 3], source))
    return tuple(found)


def spacing_of(
    header: nib.Nifti1Header, in_plane: tuple[int, ...], placements: tuple[Placement, ...]
) -> tuple[tuple[float, float] | None, list[Note]]:
    """Reads the pixel spacing (row_mm, column_mm); None where the unit is not stated or a length is impossible.

    pixdim is compared with the steps of the sform. Where they differ, the one that is not the default of 1 is taken,
    and none where both say something.

    Args:
        header: the header.
        in_plane: the axes of columns and rows on disk.
        placements: what `placements_of` found.
    """
    unit = SPACE_UNITS.get(int(header["xyzt_units"]) & 7)
    pixdim = tuple(float(str(header["pixdim"][axis + 1])) for axis in reversed(in_plane))  # 0.308, not 0.30799999
    if not all(0 < length < math.inf for length in pixdim):
        return None, []
    if unit is None:
        text = f"pixdim states {pixdim[0]:.4g} x {pixdim[1]:.4g} without a unit."
        return None, [note("pixel spacing unknown", text)] if pixdim != (1, 1) else []
    name, scale = unit
    lengths, notes = pixdim, []
    steps = [p for p in placements if p.source == "sform"]
    if steps:
        stated = tuple(float(np.linalg.norm(step)) for step in (steps[0].row_step, steps[0].column_step))
        if not np.allclose(stated, pixdim, rtol=SAME) and not np.allclose(stated, 1):
            both = (
                f"pixdim states {pixdim[0]:.4g} x {pixdim[1]:.4g} {name}, the sform {stated[0]:.4g} x {stated[1]:.4g}"
            )
            if pixdim == (1, 1):
                lengths = stated
                notes.append(note("pixel spacing doubtful", f"{both}; pixdim is a default, the sform was taken."))
            else:
                return None, [note("pixel spacing doubtful", f"{both}; neither was taken.")]
    is_default = not placements or (placements[0].is_default and (placements[0].column_step > 0).any())
    if pixdim == lengths == (1, 1) and name == "mm" and is_default:
        text = "The spacing is 1 x 1 mm and the affine states nothing: these may be the defaults of a writer."
        notes.append(note("pixel spacing doubtful", text))
    return (lengths[0] * scale, lengths[1] * scale), notes


def rate_of(header: nib.Nifti1Header, time_axis: int | None) -> Rate:
    """Reads the frame rate from pixdim[4] and its unit.

    pixdim[4] counts if it is the length of the fourth axis, or if somebody has changed it from the default of 1. A
    value of 1 is a default in both cases.

    Args:
        header: the header.
        time_axis: the axis of frames on disk, None for a still picture.
    """
    code, value = int(header["xyzt_units"]) & 56, float(str(header["pixdim"][4]))
    unknown = "frame rate unknown"
    if time_axis is None or not math.isfinite(value) or value <= 0:
        return Rate(None, (note(unknown, "The header states none."),))
    if value == 1:
        text = "The header's pixdim[4] is 1, which writers leave where nothing is known."
        return Rate(None, (note(unknown, text),))
    if code in NO_TIMES:
        text = f"pixdim[4] = {value:g} has the unit {NO_TIMES[code]}, which is no time; it was not used."
        return Rate(None, (note(unknown, text), note("frame rate doubtful", text)))
    if code not in TIME_UNITS:
        return Rate(None, (note(unknown, f"pixdim[4] = {value:g} has no unit."),))
    name, seconds = TIME_UNITS[code]
    fps = 1 / (value * seconds)
    stated = f"pixdim[4] = {value:g} {name}"
    if frame_rate(fps) is None:
        text = f"{stated} would be {fps:.4g} frames per second; it was not used."
        return Rate(None, (note(unknown, text), note("frame rate doubtful", text)))
    slice_time = float(header["slice_duration"])
    notes = [note("frame rate", f"From {stated}.")]
    if math.isfinite(slice_time) and slice_time > value * (1 + SAME):
        text = f"{stated}, but slice_duration = {slice_time:g} says that one frame takes longer; pixdim[4] was taken."
        notes.append(note("frame rate doubtful", text))
    return Rate(fps, tuple(notes))
