"""Decodes NIfTI-1 and NIfTI-2, packed or not, in one file or as .hdr and .img, whatever the name says.

Every statement of the header is read by itself, so that one that is impossible takes no other with it. On disk an array
is (x, y[, t]) or (x, y, 1, t), with axes of length 1 anywhere; here it is (t, row, column).
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import nibabel as nib
import numpy as np
from einops import rearrange
from jaxtyping import Shaped
from nibabel.spatialimages import HeaderDataError

from data_pipelines.formats.image_file import ImageFile, describe, read_bytes, unpack
from data_pipelines.formats.nifti_header import placements_of, rate_of, spacing_of
from data_pipelines.grey_levels import StatedRange
from data_pipelines.notes import Note, note
from data_pipelines.records import UnreadableRecord

HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
MAGICS = {b"n+1": False, b"n+2": False, b"ni1": True, b"ni2": True}  # whether the pixels lie in a file of their own
LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclasses.dataclass(frozen=True)
class _Content:
    """A header and the bytes of the pixels.

    Attributes:
        header: the header, as stored.
        data: the bytes from the first pixel on.
        notes: what was found on the way.
    """

    header: nib.Nifti1Header
    data: memoryview
    notes: list[Note]


def read_nifti_file(path: Path, record_id: str) -> ImageFile:
    """Reads one NIfTI file.

    Args:
        path: the file; of a pair, the .hdr file.
        record_id: the record, for the message of a fault.

    Raises:
        FileNotFoundError: the file is missing.
        UnreadableRecord: with one of the reasons "not readable", "empty file", "truncated file", "damaged file", "not
            an image", "header garbled", "data file missing", "zero frames" and "pixel format not supported".
    """
    content = _read_content(path, record_id)
    header, notes = content.header, content.notes
    samples, more = _samples(content, path, record_id)
    notes += more
    axes = [axis for axis, length in enumerate(samples.shape) if length != 1]
    in_plane = tuple(axes[:2]) if len(axes) >= 2 else (0, 1)
    time = [axis for axis in axes if axis not in in_plane]
    if samples.ndim < 2 or len(time) > 1 or (time and time[0] > 3) or max(in_plane) > 2:
        detail = f"{path} has shape {samples.shape}, expected (x, y), (x, y, t) or (x, y, 1, t)"
        detail += ": a volume, or several numbers for each pixel: export a cine of grey levels"
        raise UnreadableRecord(record_id, "pixel format not supported", detail)
    if samples.size == 0:
        raise UnreadableRecord(record_id, "zero frames", f"{path} has shape {samples.shape} (x, y, t)")
    pixels = np.transpose(samples, (*in_plane, *(axis for axis in range(samples.ndim) if axis not in in_plane)))
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    has_colours = pixels.dtype.names is not None
    if has_colours:
        pixels = _grey(pixels)
    placements = placements_of(header, in_plane)
    spacing, spacing_notes = spacing_of(header, in_plane, placements)
    rate = rate_of(header, time[0] if time else None)
    low, high = float(header["cal_min"]), float(header["cal_max"])
    return ImageFile(
        path,
        np.array(rearrange(pixels, "x y t -> t y x"), pixels.dtype.newbyteorder("="), order="C"),
        spacing,
        placements,
        fps=rate.fps,
        stated=StatedRange(low, high, "cal_min and cal_max") if math.isfinite(low) and low < high < math.inf else None,
        has_colours=has_colours,
        notes=(*notes, *spacing_notes, *rate.notes),
    )


def _read_content(path: Path, record_id: str) -> _Content:
    """Reads the header, and finds the pixels behind it or in the .img file."""
    content, surplus = unpack(read_bytes(path, record_id), path, record_id)
    orders = {int.from_bytes(content[:4], name): name for name in ("little", "big")}
    size = next((size for size in HEADERS if size in orders), None)
    if size is None:
        raise UnreadableRecord(record_id, "not an image", f"{path} is no NIfTI but {describe(content)}")
    if len(content) < size:
        detail = f"{path} ends after {len(content)} bytes, a header alone has {size}: fetch it again"
        raise UnreadableRecord(record_id, "truncated file", detail)
    order = "<" if orders[size] == "little" else ">"
    header = HEADERS[size](content[:size], endianness=order, check=False)
    magic = bytes(header["magic"])[:3]
    if magic not in MAGICS:
        detail = f"{path} has the marker {magic!r}, expected one of NIfTI (n+1, n+2, ni1, ni2)"
        detail += ": Analyze 7.5 states no orientation; convert it to NIfTI"
        raise UnreadableRecord(record_id, "not an image", detail)
    offset = float(header["vox_offset"])
    offset = int(offset) if math.isfinite(offset) and offset >= 0 else 0
    notes = []
    if MAGICS[magic]:
        pixels = next((p for p in (path.with_suffix(s) for s in (".img", ".IMG", ".img.gz")) if p.is_file()), None)
        if pixels is None:
            detail = f"{path} says that the pixels lie in {path.with_suffix('.img').name}, which is missing: add it"
            raise UnreadableRecord(record_id, "data file missing", detail)
        content, surplus = unpack(read_bytes(pixels, record_id), pixels, record_id)
    else:
        offset = max(offset, size + 4)
    if surplus:
        notes.append(note("bytes beyond the image", f"{surplus} bytes follow the packed data; they were not read."))
    return _Content(header, memoryview(content)[offset:], notes)


def _samples(content: _Content, path: Path, record_id: str) -> tuple[Shaped[np.ndarray, "..."], list[Note]]:
    """Decodes the samples in the order of the axes on disk, scaled as the header says."""
    header = content.header
    count, *lengths = np.asarray(header["dim"]).tolist()
    shape = lengths[:count] if 1 <= count <= len(lengths) else [-1]
    if min(shape) < 0:
        detail = f"{path}: the header states dim = {[count, *lengths]}, expected 1 to 7 lengths: export it again"
        raise UnreadableRecord(record_id, "header garbled", detail)
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        code = int(header["datatype"])
        detail = f"{path}: the header states data type {code}, which is none of NIfTI: export it again"
        raise UnreadableRecord(record_id, "header garbled", detail) from error
    if dtype.kind not in "uif" and not (dtype.names and set("RGB") <= set(dtype.names)):
        detail = f"{path} holds {dtype} samples, expected one grey level or label for each pixel: convert it"
        raise UnreadableRecord(record_id, "pixel format not supported", detail)
    needed, there = math.prod(shape) * dtype.itemsize, len(content.data)
    if there < needed:
        detail = f"{path} holds {there} bytes of pixels, its header {tuple(shape)} of {dtype} needs {needed}"
        raise UnreadableRecord(record_id, "truncated file", f"{detail}: fetch it again")
    notes = []
    frame = math.prod(shape[:2]) * dtype.itemsize
    if there > needed and frame:
        notes.append(_surplus_note(content.data[needed:], frame, shape))
        if notes[-1].code == "frame count contradicted":
            shape[-1] = there // (needed // shape[-1])
    samples = np.frombuffer(content.data, dtype, math.prod(shape)).reshape(shape, order="F")
    scaled, scale_notes = _scaled(samples, header)
    return scaled, [*notes, *scale_notes]


def _surplus_note(surplus: memoryview, frame: int, shape: list[int]) -> Note:
    """Says what lies behind the pixels that the header announces: more frames of a cine, or something else."""
    count = len(surplus) // frame
    if len(shape) in (3, 4) and shape[-1] > 1 and len(surplus) == count * frame and any(surplus):
        text = f"The header states {shape[-1]} frames, the file holds {shape[-1] + count}; all were read."
        return note("frame count contradicted", text)
    return note("bytes beyond the image", f"{len(surplus)} bytes follow the pixels; they were not read.")


def _scaled(samples: Shaped[np.ndarray, "..."], header: nib.Nifti1Header) -> tuple[np.ndarray, list[Note]]:
    """Applies scl_slope and scl_inter; a slope of 0 or one that is no number states nothing."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if samples.dtype.names or not math.isfinite(slope) or slope == 0 or (slope, inter) == (1, 0):
        return samples, []
    notes = []
    if not math.isfinite(inter):
        text = f"scl_slope is {slope:g} and scl_inter {inter:g}, which is no number; 0 was taken."
        notes, inter = [note("stated value not used", text)], 0.0
    return (samples if (slope, inter) == (1, 0) else samples.astype(np.float64) * slope + inter), notes


def _grey(pixels: np.ndarray) -> np.ndarray:
    """Returns the luminance of colours; the one channel where all three are equal."""
    red, green, blue = (pixels[name] for name in "RGB")
    if (red == green).all() and (green == blue).all():
        return red
    return np.rint(np.stack([red, green, blue], axis=-1) @ LUMINANCE).astype(np.uint8)
