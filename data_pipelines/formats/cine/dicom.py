"""Reads DICOM multi-frame ultrasound (PS3.3 C.8.5): grey frames, frame rate, spacing, view and 2D region.

Only the elements named here are read from a file: no name, id or date of a patient enters the memory. Spacing comes
from the Sequence of Ultrasound Regions or from Pixel Spacing; nothing else is a calibration, and nothing is guessed.
"""

from __future__ import annotations

import re
import struct
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pydicom
from jaxtyping import Shaped, UInt8
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi

from data_pipelines.formats.cine.recording import Recording, frame_rate
from data_pipelines.notes import Note, note
from data_pipelines.records import UnreadableRecord

HEADER = [
    "SOPClassUID",
    "Modality",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SequenceOfUltrasoundRegions",
    "PixelSpacing",
    "FrameTime",
    "FrameTimeVector",
    "CineRate",
    "RecommendedDisplayFrameRate",
    "ViewName",
    "ViewCodeSequence",
]
PIXELS = [
    "PixelData",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in ("Red", "Green", "Blue")),
    *(f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
]
VOLUME_CLASS = "1.2.840.10008.5.1.4.1.1.6.2"  # Enhanced US Volume Storage: its frames are slices
ULTRASOUND_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.3",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.6",
    "1.2.840.10008.5.1.4.1.1.6.1",
)
TWO_DIMENSIONAL, TISSUE, CENTIMETRES = 1, 1, 3  # Region Spatial Format, Region Data Type, Physical Units
VIEW_CODES = {"399214001": "4CH", "G-A19C": "4CH", "399232001": "2CH", "G-A19B": "2CH"}  # SNOMED CT and RT
VIEW_NAME = re.compile(r"\b(?:apical[\s_-]*|ap?)(2|two|4|four)[\s_-]*c(?:h|hamber)?s?\b", re.IGNORECASE)
_ONE_AT_A_TIME = threading.Lock()  # collecting warnings changes the state of the whole process
# pydicom has no common error: on a broken file it and its decoders raise one of these
DAMAGED = (
    ValueError,
    TypeError,
    RuntimeError,
    AttributeError,
    KeyError,
    IndexError,
    OSError,
    EOFError,
    NotImplementedError,
    MemoryError,
    ArithmeticError,
    struct.error,
    BytesLengthException,
)


def read(path: Path, record_id: str) -> Recording:
    """Reads the frames of a DICOM ultrasound cine as grey levels, by luminance where they are coloured.

    YBR gives its Y, RGB and palettes 0.299 R + 0.587 G + 0.114 B: a colour Doppler overlay becomes grey with the tissue
    around it. 8-bit grey levels are taken as stored; others pass the file's window (VOI), or are scaled by the bits
    stored where there is none.

    Args:
        path: the file.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: with one of the reasons "not a DICOM file", "not ultrasound", "three-dimensional volume", "no
            pixel data", "one frame only", "zero frames", "no two-dimensional tissue region", "compression not
            supported", "pixel format not supported", "header garbled" and "truncated file".
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # caught, not shown: pydicom's warnings quote the values of the header
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=HEADER)
        except InvalidDicomError as error:
            detail = f"{path} has no DICM after 128 bytes: export it again as DICOM Part 10, or rename it"
            raise UnreadableRecord(record_id, "not a DICOM file", detail) from error
        except DAMAGED as error:
            raise _truncated(path, record_id, f"cannot be decoded ({_kind(error)})") from error
        try:
            count, view = _check(header, path, record_id), _view(header)
            fps, rate_notes = _fps(header)
            limit, spacing_mm, spacing_note = _geometry(header, record_id)
        except UnreadableRecord:
            raise
        except DAMAGED as error:
            detail = f"{path}: an element does not hold what its tag promises ({_kind(error)}): export the file again"
            raise UnreadableRecord(record_id, "header garbled", detail) from error
        try:
            image = pydicom.dcmread(path, specific_tags=PIXELS)
            if any("End of file" in str(warning.message) for warning in caught):
                raise _truncated(path, record_id, "the file ends within its pixel data")
            frames, grey_note = _frames(image, path, record_id)
        except UnreadableRecord:
            raise
        except DAMAGED as error:
            raise _truncated(path, record_id, f"cannot be decoded ({_kind(error)})") from error
    if len(frames) < count:
        raise _truncated(path, record_id, f"{len(frames)} of {count} frames could be decoded")
    notes = (note("grey levels", grey_note), *rate_notes, spacing_note)
    return Recording(frames, fps, spacing_mm, view, limit, notes)


def _truncated(path: Path, record_id: str, symptom: str) -> UnreadableRecord:
    return UnreadableRecord(record_id, "truncated file", f"{path}: {symptom}: fetch it again")


def _kind(error: Exception) -> str:
    """Names the type of an error. Its text, which may quote bytes of the header, stays in `__cause__`."""
    return type(error).__name__


def _check(header: pydicom.Dataset, path: Path, record_id: str) -> int:
    """Checks that the file is an ultrasound cine, and returns its number of frames."""
    modality, sop_class = header.get("Modality"), str(header.get("SOPClassUID", ""))
    if modality != "US" and not (modality in (None, "", "OT") and sop_class in ULTRASOUND_CLASSES):
        detail = f"{path} has Modality {modality!r}, expected 'US': leave it out"
        raise UnreadableRecord(record_id, "not ultrasound", detail)
    if sop_class == VOLUME_CLASS:
        detail = f"{path} is an Enhanced US Volume: export a two-dimensional cine of it"
        raise UnreadableRecord(record_id, "three-dimensional volume", detail)
    if "Rows" not in header or "Columns" not in header:
        raise UnreadableRecord(record_id, "no pixel data", f"{path} has no Rows and Columns: a report, or cut off")
    number = header.get("NumberOfFrames")
    if number is not None and int(number) <= 0:
        raise UnreadableRecord(record_id, "zero frames", f"{path} states NumberOfFrames {int(number)}")
    if number is None or int(number) == 1:
        raise UnreadableRecord(record_id, "one frame only", f"{path} is a still picture, expected a cine")
    return int(number)


def _fps(header: pydicom.Dataset) -> tuple[float | None, tuple[Note, ...]]:
    """Reads the frame rate and says where it comes from.

    Frame Time comes first, then Frame Time Vector (median), Cine Rate and Recommended Display Frame Rate.
    """
    if (time_ms := header.get("FrameTime")) and (fps := frame_rate(1000 / float(time_ms))):
        return fps, (note("frame rate", "From Frame Time."),)
    vector = header.get("FrameTimeVector")
    steps_ms = np.array([float(v) for v in vector][1:] if isinstance(vector, MultiValue) else [])
    if (steps_ms > 0).any():
        middle_ms = float(np.median(steps_ms[steps_ms > 0]))
        if fps := frame_rate(1000 / middle_ms):
            notes = [note("frame rate", "From Frame Time Vector (median).")]
            if np.ptp(steps_ms) > 0.5 * middle_ms:
                text = f"Steps of {steps_ms.min():.1f} to {steps_ms.max():.1f} ms in Frame Time Vector."
                notes.append(note("uneven frame times", text))
            return fps, tuple(notes)
    for name in ("CineRate", "RecommendedDisplayFrameRate"):
        if (rate := header.get(name)) and (fps := frame_rate(float(rate))):
            return fps, (note("frame rate is one of display", f"From {name}, {fps:g} frames/s."),)
    return None, (note("frame rate unknown", "The header states none."),)


def _geometry(
    header: pydicom.Dataset, record_id: str
) -> tuple[tuple[slice, slice] | None, tuple[float, float] | None, Note]:
    """Reads the box (rows, columns) of the largest 2D tissue region, (row_mm, column_mm), and where that comes from."""
    regions = [
        region
        for region in header.get("SequenceOfUltrasoundRegions") or []
        if region.get("RegionSpatialFormat") is not None and region.get("RegionDataType") is not None
    ]
    kinds = [(int(region.RegionSpatialFormat), int(region.RegionDataType)) for region in regions]
    tissue = [region for region, kind in zip(regions, kinds, strict=True) if kind == (TWO_DIMENSIONAL, TISSUE)]
    if regions and not tissue:
        detail = f"regions (spatial format, data type) {kinds}, expected (1, 1): M-mode, spectrum or colour alone"
        raise UnreadableRecord(record_id, "no two-dimensional tissue region", detail)
    limit = None
    if tissue:
        boxes = [_box(region, int(header.get("Rows", 0)), int(header.get("Columns", 0))) for region in tissue]
        largest = int(np.argmax([(rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in boxes]))
        region, (rows, columns) = tissue[largest], boxes[largest]
        if min(rows.stop - rows.start, columns.stop - columns.start) >= 16:  # else the coordinates are no box
            limit = rows, columns
        units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
        deltas_mm = [10 * abs(float(region.get(f"PhysicalDelta{axis}") or 0)) for axis in "YX"]
        if units == (CENTIMETRES, CENTIMETRES) and _lengths(deltas_mm):
            return limit, (deltas_mm[0], deltas_mm[1]), note("pixel spacing", "From the region of ultrasound.")
    pixel_mm = [float(value) for value in header.get("PixelSpacing") or []]
    if len(pixel_mm) == 2 and _lengths(pixel_mm):
        return limit, (pixel_mm[0], pixel_mm[1]), note("pixel spacing", "From Pixel Spacing.")
    return limit, None, note("pixel spacing unknown", "The header states none.")


def _lengths(values: list[float]) -> bool:
    return bool(np.isfinite(values).all() and min(values) > 0)


def _box(region: pydicom.Dataset, height: int, width: int) -> tuple[slice, slice]:
    """Reads (rows, columns) of a region within the picture; its corners are pixels of it, counted from 0."""
    x0, y0, x1, y1 = (int(region.get(f"RegionLocation{name}") or 0) for name in ("MinX0", "MinY0", "MaxX1", "MaxY1"))
    top, left = min(max(y0, 0), height), min(max(x0, 0), width)
    return slice(top, max(top, min(y1 + 1, height))), slice(left, max(left, min(x1 + 1, width)))


def _view(header: pydicom.Dataset) -> str:
    """Reads "2CH" or "4CH" where View Code Sequence or View Name says so and they agree, else ""."""
    codes = {VIEW_CODES.get(str(item.get("CodeValue", ""))) for item in header.get("ViewCodeSequence") or []}
    names = {f"{'2' if n.lower() in ('2', 'two') else '4'}CH" for n in VIEW_NAME.findall(str(header.get("ViewName")))}
    views = (codes | names) - {None}
    return str(views.pop()) if len(views) == 1 else ""


def _frames(image: pydicom.Dataset, path: Path, record_id: str) -> tuple[UInt8[np.ndarray, "t h w"], str]:
    """Decodes the pixels as grey levels, and says how they were made."""
    if not image.get("PixelData"):
        raise UnreadableRecord(record_id, "no pixel data", f"{path} has a header but no Pixel Data: fetch it again")
    syntax = image.file_meta.get("TransferSyntaxUID")
    try:
        available = get_decoder(syntax).is_available if syntax else False
    except NotImplementedError:
        available = False
    if not available:
        detail = f"{path} is in {getattr(syntax, 'name', syntax)}: convert it to JPEG baseline, JPEG 2000, RLE or none"
        raise UnreadableRecord(record_id, "compression not supported", detail)
    interpretation, bits = image.get("PhotometricInterpretation"), int(image.get("BitsStored", 8))
    try:
        grey = list(_decode(image, str(interpretation), bits))
    except _Unsupported as error:
        detail = f"{path}: {error}: convert it to MONOCHROME2, RGB or YBR_FULL"
        raise UnreadableRecord(record_id, "pixel format not supported", detail) from error
    if not grey:
        raise UnreadableRecord(record_id, "zero frames", f"{path} has Pixel Data without a frame")
    if not str(interpretation).startswith("MONOCHROME"):
        return np.stack(grey), f"Luminance of {interpretation}."
    return np.stack(grey), f"{_scale(image, bits).capitalize()}."


class _Unsupported(Exception):
    """The pixel format cannot be read here."""


def _scale(image: pydicom.Dataset, bits: int) -> str:
    """Says what brings a grey sample to 0..255."""
    if bits == 8 and not image.get("PixelRepresentation"):
        return "as stored"
    if image.get("VOILUTSequence"):
        return "through the file's VOI LUT"
    return "through the file's window" if "WindowCenter" in image and "WindowWidth" in image else f"{bits} bits stored"


def _decode(image: pydicom.Dataset, interpretation: str, bits: int) -> Iterator[UInt8[np.ndarray, "h w"]]:
    """Yields grey frames one by one, so that one colour frame at a time is in memory."""
    for pixels, properties in _decoded(image):
        # what the decoder reports counts: pydicom corrects it by the JPEG header, and JPEG 2000 comes back as RGB
        colours = str(properties["photometric_interpretation"])
        if interpretation.startswith("MONOCHROME") and pixels.ndim == 2:
            grey = _grey(pixels, image, bits)
            yield 255 - grey if interpretation == "MONOCHROME1" else grey
        elif colours == "PALETTE COLOR" and pixels.ndim == 2:
            rgb = apply_color_lut(pixels, image)
            yield cv2.cvtColor((rgb if rgb.dtype == np.uint8 else rgb >> 8).astype(np.uint8), cv2.COLOR_RGB2GRAY)
        elif pixels.ndim == 3 and bits == 8 and colours in ("YBR_FULL", "YBR_FULL_422"):
            yield np.ascontiguousarray(pixels[..., 0])
        elif pixels.ndim == 3 and bits == 8 and colours == "RGB":
            yield cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
        else:
            raise _Unsupported(f"{colours}, shape {pixels.shape}, {bits} bits stored")


def _decoded(image: pydicom.Dataset) -> Iterator[tuple[np.ndarray, dict]]:
    """Yields pydicom's frames with the properties that it found.

    Native frames take one call each: pydicom 3.0 miscounts the bytes of YBR_FULL_422 after the first frame of a call.
    """
    syntax = image.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        yield from get_decoder(syntax).iter_array(image, raw=True)
        return
    for index in range(int(image.NumberOfFrames)):
        yield get_decoder(syntax).as_array(image, index=index, raw=True, validate=index == 0)


def _grey(pixels: Shaped[np.ndarray, "h w"], image: pydicom.Dataset, bits: int) -> UInt8[np.ndarray, "h w"]:
    """Brings samples to 0..255 as `_scale` says (window: PS3.3 C.11.2.1.2)."""
    how = _scale(image, bits)
    if how == "as stored":
        return pixels.astype(np.uint8)
    values = np.asarray(apply_modality_lut(pixels, image))
    if how.endswith("VOI LUT"):
        unit = apply_voi(values, image) / (2.0 ** int(image.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    elif how.endswith("window"):
        centre, width = (float(np.ravel(image[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
        function = image.get("VOILUTFunction") or "LINEAR"
        if function == "SIGMOID":
            unit = 1 / (1 + np.exp(-4 * (values - centre) / width))
        elif function == "LINEAR_EXACT":
            unit = (values - centre) / width + 0.5
        else:
            unit = (values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5
    else:
        lowest = -(2 ** (bits - 1)) if image.get("PixelRepresentation") else 0
        unit = (pixels.astype(np.float64) - lowest) / (2.0**bits - 1)
    return np.rint(255 * np.clip(unit, 0, 1)).astype(np.uint8)
