"""Decodes MetaImage (.mhd with its .raw), by SimpleITK, which the extra `mhd` installs."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from data_pipelines.formats.image_file import ImageFile, describe, read_bytes
from data_pipelines.formats.placement import Placement
from data_pipelines.notes import note
from data_pipelines.records import UnreadableRecord

TO_RAS = np.array([-1.0, -1.0, 1.0])  # MetaImage counts to the patient's left and to the back
PLACE = r"^\s*(TransformMatrix|Rotation|Orientation|Offset|Position|Origin|ElementSpacing)\s*="


def read_mhd_file(path: Path, record_id: str) -> ImageFile:
    """Reads one MetaImage file of one number for each pixel.

    Args:
        path: the .mhd file.
        record_id: the record, for the message of a fault.

    Raises:
        FileNotFoundError: the header is missing.
        UnreadableRecord: with one of the reasons "not readable", "empty file", "not an image", "header garbled", "data
            file missing", "truncated file", "zero frames" and "pixel format not supported".
        ImportError: SimpleITK is not installed.
    """
    try:
        import SimpleITK as sitk
    except ImportError as error:
        raise ImportError("the .mhd release of CAMUS needs SimpleITK: pip install 'echoforge_jax[mhd]'") from error
    content = read_bytes(path, record_id)
    header = content.decode(errors="replace")
    if not re.search(r"^\s*(NDims|DimSize)\s*=", header, re.MULTILINE):
        raise UnreadableRecord(record_id, "not an image", f"{path} is no MetaImage header but {describe(content)}")
    data = re.search(r"^\s*ElementDataFile\s*=\s*(.+?)\s*$", header, re.MULTILINE)
    stored = path.with_name(data[1]) if data and data[1] != "LOCAL" else None
    if stored is not None and not stored.is_file():
        raise UnreadableRecord(record_id, "data file missing", f"{path} names {stored.name}, which is missing: add it")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size, channels = reader.GetSize(), reader.GetNumberOfComponents()
        if channels != 1 or not 2 <= len(size) <= 3:
            detail = f"{path}: {channels} numbers for each pixel in {len(size)} dimensions, expected 1 in 2 or 3"
            raise UnreadableRecord(record_id, "pixel format not supported", f"{detail}: convert it")
        notes = []
        if stored is not None and not re.search(r"^\s*CompressedData\s*=\s*True", header, re.MULTILINE | re.IGNORECASE):
            pixel = _bytes_of_pixel(header)
            there, needed = stored.stat().st_size, math.prod(size) * pixel
            if pixel and there < needed:
                detail = f"{stored} holds {there} bytes, its header {tuple(size)} needs {needed}: fetch it again"
                raise UnreadableRecord(record_id, "truncated file", detail)
            if pixel and there > needed:
                text = f"{there - needed} bytes follow the {needed} that the header announces; they were not read."
                notes.append(note("bytes beyond the image", text))
        image = reader.Execute()
    except RuntimeError as error:
        last = str(error).strip().splitlines()[-1]
        raise UnreadableRecord(record_id, "header garbled", f"{path}: {last}: export it again") from error
    pixels = sitk.GetArrayFromImage(image)  # (t, y, x) or (y, x)
    if pixels.size == 0:
        raise UnreadableRecord(record_id, "zero frames", f"{path} has shape {pixels.shape} (t, row, column)")
    return ImageFile(
        path,
        pixels.reshape(-1, *pixels.shape[-2:]),
        _spacing(image.GetSpacing(), header),
        _placement(image) if re.search(PLACE, header, re.MULTILINE) else (),
        notes=tuple(notes),
    )


def _spacing(lengths: tuple[float, ...], header: str) -> tuple[float, float] | None:
    """Returns (row_mm, column_mm); None where the header is silent, for which ITK says 1, 1."""
    stated = re.search(r"^\s*Element(Spacing|Size)\s*=", header, re.MULTILINE)
    spacing_mm = (lengths[1], lengths[0])
    return spacing_mm if stated and all(0 < mm < math.inf for mm in spacing_mm) else None


def _placement(image) -> tuple[Placement, ...]:  # SimpleITK is no dependency
    """Reads TransformMatrix, Offset and ElementSpacing of an image."""
    dimension = image.GetDimension()
    directions = np.asarray(image.GetDirection(), np.float64).reshape(dimension, dimension)

    def in_space(vector: np.ndarray) -> np.ndarray:
        return np.pad(vector, (0, 3 - len(vector))) * TO_RAS

    column, row = (in_space(directions[:, axis] * image.GetSpacing()[axis]) for axis in (0, 1))
    return (Placement(column, row, in_space(np.asarray(image.GetOrigin(), np.float64)), "TransformMatrix"),)


def _bytes_of_pixel(header: str) -> int:
    """Returns how many bytes a pixel has on disk, 0 where the type is not known."""
    found = re.search(r"^\s*ElementType\s*=\s*MET_(\w+)", header, re.MULTILINE)
    sizes = {"CHAR": 1, "SHORT": 2, "INT": 4, "FLOAT": 4, "DOUBLE": 8, "LONG_LONG": 8}
    return sizes.get(found[1].removeprefix("U").upper(), 0) if found else 0
