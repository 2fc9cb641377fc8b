"""One image file of CAMUS as an array and back, NIfTI (.nii.gz) or MetaImage (.mhd), and checks of its labels.

On disk an array is (x, y[, t]); here it is (t, row, column). A fault is an `UnreadableRecord` with a fixed reason.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import math
import re
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from einops import rearrange
from jaxtyping import Shaped, UInt8
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from data_pipelines.records import ATRIUM, ENDOCARDIUM, UnreadableRecord

DAMAGED = (
    OSError,
    EOFError,
    zlib.error,
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    ValueError,
    RuntimeError,
    LookupError,
    ArithmeticError,
    MemoryError,
)


@dataclasses.dataclass(frozen=True)
class LoadedImage:
    """One image file.

    Attributes:
        pixels: grey levels or labels as stored, (t, h, w).
        spacing_mm: pixel spacing (row_mm, column_mm), or None where the header does not give it in mm.
    """

    pixels: Shaped[np.ndarray, "t h w"]
    spacing_mm: tuple[float, float] | None


def nifti_bytes(pixels: UInt8[np.ndarray, "*t h w"], spacing_mm: tuple[float, float] | None) -> bytes:
    """Encodes pixels as a gzipped NIfTI-1 file.

    Args:
        pixels: grey levels or labels of a frame or of a sequence; stored as (x, y) or (x, y, t).
        spacing_mm: pixel spacing (row_mm, column_mm); None writes zooms of 1 in an unknown unit.

    Returns:
        The file. Its bytes depend on the arguments alone: the gzip header has no time and no name.
    """
    row_mm, column_mm = spacing_mm or (1.0, 1.0)
    on_disk = rearrange(pixels, "h w -> w h" if pixels.ndim == 2 else "t h w -> w h t")
    affine = np.diag([-column_mm, -row_mm, 1.0, 1.0])  # x to the left, y to the back: the identity for ITK
    image = nib.Nifti1Image(np.ascontiguousarray(on_disk, dtype=np.uint8), affine)
    image.header.set_xyzt_units("mm" if spacing_mm else "unknown", "unknown")
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=buffer, mtime=0) as file:
        file.write(image.to_bytes())
    return buffer.getvalue()


def load_image(path: Path, record_id: str) -> LoadedImage:
    """Reads one image file.

    Args:
        path: a .nii.gz or .mhd file.
        record_id: the record that it belongs to, for the message of a fault.

    Raises:
        FileNotFoundError: the file is missing, or the data file that an .mhd header names.
        UnreadableRecord: with one of the reasons "truncated file" (also: not an image at all), "zero frames", "not a
            grey image" and "not readable".
        ImportError: an .mhd file needs SimpleITK, which is not installed.
    """
    try:
        image = _load_mhd(path) if path.suffix == ".mhd" else _load_nifti(path)
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise UnreadableRecord(record_id, "not readable", f"{path}: {error.strerror}: make it readable") from error
    except DAMAGED as error:
        raise UnreadableRecord(record_id, "truncated file", f"{path}: {error}: fetch it again") from error
    pixels, spacing_mm = image.pixels, image.spacing_mm
    if pixels.size == 0:
        raise UnreadableRecord(record_id, "zero frames", f"{path} has shape {pixels.shape} (t, row, column)")
    if pixels.dtype.kind not in "uif":
        detail = f"{path} holds {pixels.dtype} pixels, expected one grey level or label each: convert it"
        raise UnreadableRecord(record_id, "not a grey image", detail)
    return LoadedImage(pixels, spacing_mm if spacing_mm and all(0 < mm < math.inf for mm in spacing_mm) else None)


def _load_nifti(path: Path) -> LoadedImage:
    content = gzip.decompress(path.read_bytes())  # checks length and checksum
    image = nib.Nifti1Image.from_bytes(content)
    x, y, *rest = image.shape  # (x, y), (x, y, t) or (x, y, 1, t)
    pixels = np.asarray(image.dataobj).reshape(x, y, int(np.prod(rest)))
    header = nib.Nifti1Header(content[: nib.Nifti1Header.sizeof_hdr], check=False)  # the image's own turns a 0 into 1
    column_mm, row_mm = (float(str(zoom)) for zoom in header["pixdim"][1:3])  # 0.308, not 0.30799999833
    in_mm = image.header.get_xyzt_units()[0] == "mm"
    return LoadedImage(rearrange(pixels, "x y t -> t y x"), (row_mm, column_mm) if in_mm else None)


def _load_mhd(path: Path) -> LoadedImage:
    try:
        import SimpleITK as sitk
    except ImportError as error:
        raise ImportError("the .mhd release of CAMUS needs SimpleITK: pip install 'echoforge_jax[mhd]'") from error
    header = path.read_text(errors="replace")
    data = re.search(r"^ElementDataFile\s*=\s*(.+?)\s*$", header, re.MULTILINE)
    if data and data[1] != "LOCAL" and not path.with_name(data[1]).is_file():
        raise FileNotFoundError(f"{path} names {data[1]}, which is missing")
    image = sitk.ReadImage(str(path))
    if (channels := image.GetNumberOfComponentsPerPixel()) != 1 or image.GetDimension() not in (2, 3):
        raise ValueError(f"{channels} channels in {image.GetDimension()} dimensions, expected 1 in 2 or 3")
    column_mm, row_mm = image.GetSpacing()[:2]  # 1, 1 where the header is silent
    stated = re.search(r"^Element(Spacing|Size)\s*=", header, re.MULTILINE)
    pixels = sitk.GetArrayFromImage(image)  # (t, y, x) or (y, x)
    return LoadedImage(pixels.reshape(-1, *pixels.shape[-2:]), (row_mm, column_mm) if stated else None)


def check_masks(
    masks: Shaped[np.ndarray, "t h w"], shape: tuple[int, ...], record_id: str
) -> UInt8[np.ndarray, "t h w"]:
    """Checks the size and the labels of masks, and returns them as uint8.

    Args:
        masks: labels as stored.
        shape: (t, h, w) of the images that they belong to.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "mask of another size", or "label out of range" (labels are 0, 1, 2, 3).
    """
    if masks.shape != tuple(shape):
        raise UnreadableRecord(record_id, "mask of another size", f"mask {masks.shape}, image {tuple(shape)} (t, h, w)")
    labels = masks.astype(np.uint8) if masks.min() >= 0 and masks.max() <= ATRIUM else None
    if labels is None or not np.array_equal(labels, masks):
        detail = f"{masks.min()}..{masks.max()}, expected 0, 1, 2, 3 and nothing between: was the mask interpolated?"
        raise UnreadableRecord(record_id, "label out of range", detail)
    return labels


def check_anatomy(mask: UInt8[np.ndarray, "h w"], record_id: str) -> None:
    """Checks that the atrium lies below the ventricle, as in every apical view; without both labels checks nothing.

    `data_pipelines.doctor` counts the records without an atrium and looks at the shape of the sector instead.

    Args:
        mask: labels of one frame.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "axes transposed": the atrium's centroid is not further below the LV's than to its side.
    """
    if not ((mask == ATRIUM).any() and (mask == ENDOCARDIUM).any()):
        return
    ventricle, atrium = (np.argwhere(mask == label).mean(axis=0) for label in (ENDOCARDIUM, ATRIUM))
    down, across = atrium - ventricle
    if down <= abs(across):
        cause = "upside down" if -down > abs(across) else "transposed (NIfTI axes are x, y, not row, column)"
        detail = f"the atrium's centroid lies {down:.0f} rows below and {across:.0f} columns beside the LV's"
        raise UnreadableRecord(record_id, "axes transposed", f"{detail}, expected below: the image looks {cause}")
