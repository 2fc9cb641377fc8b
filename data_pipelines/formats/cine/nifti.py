"""Reads a NIfTI cine (x, y, t) as a `Recording`. It states frame rate and spacing if its units say what they are."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from einops import rearrange

from data_pipelines.formats.camus.images import DAMAGED
from data_pipelines.formats.cine.recording import NO_RATE, NO_SPACING, Recording, frame_rate
from data_pipelines.grey_levels import to_grey_levels
from data_pipelines.notes import note
from data_pipelines.records import UnreadableRecord

MM_PER_UNIT = {"mm": 1.0, "meter": 1000.0, "micron": 0.001}
SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


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
    levels = to_grey_levels(rearrange(pixels, "x y t -> t y x"), record_id, source=str(path))
    frames = np.ascontiguousarray(levels.frames)
    scale, second = MM_PER_UNIT.get(str(units[0])), SECONDS_PER_UNIT.get(str(units[1]))
    spacing_mm = (zooms[1] * scale, zooms[0] * scale) if scale and min(zooms[:2]) > 0 else None
    fps = frame_rate(1 / (frame_time * second)) if second and frame_time > 0 else None
    notes = (
        *levels.notes,
        note("frame rate", "From pixdim[4].") if fps else NO_RATE,
        note("pixel spacing", "From pixdim and the units of the header.") if spacing_mm else NO_SPACING,
    )
    return Recording(frames, fps, spacing_mm, notes=notes)
