"""DICOM files of every kind for the tests, written by pydicom and Pillow: `KINDS` are (path, frames) -> the grey levels
that a reader must find there, and how far it may be off.
"""

import io
import warnings

import cv2
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless, generate_uid

MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3.1"
RAMP = np.arange(256)
ITEM = b"\xfe\xff\x00\xe0"  # what begins a fragment


def picture(n=4, shape=(64, 80)):
    """A smooth grey clip, bright at the top and to the left, so that a flip of any axis shows."""
    noise = np.random.default_rng(0).normal(0, 200, (n, *shape)).astype(np.float32)
    down, across = np.linspace(180, 60, shape[0])[:, None], np.linspace(20, -20, shape[1])
    return np.stack([cv2.GaussianBlur(f, (0, 0), 3) + down + across for f in noise]).clip(0, 255).astype(np.uint8)


def coloured(frames):
    """RGB of which the luminance is not one of the channels."""
    grey = frames.astype(np.int16)
    return np.stack([grey + 30, grey - 10, grey - 40], axis=-1).clip(0, 255).astype(np.uint8)


def luminance(rgb):
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in rgb])


def region(x0, y0, x1, y1, kind=(1, 1), units=(3, 3), delta_cm=(0.03, 0.05)):
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = *kind, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = x0, y0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = x1, y1
    item.PhysicalUnitsXDirection, item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX, item.PhysicalDeltaY = delta_cm
    return item


def write(path, pixels, interpretation="MONOCHROME2", syntax=ExplicitVRLittleEndian, payload=None, **elements):
    """A multi-frame file of `pixels` (t, h, w[, 3]), stored as they are unless `payload` holds the encoded bytes."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID, ds.file_meta.MediaStorageSOPClassUID = syntax, MULTI_FRAME
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid(entropy_srcs=["a"])
    ds.SOPClassUID, ds.Modality, ds.PatientName, ds.PatientID = MULTI_FRAME, "US", "Secret^Name", "SECRET-1"
    ds.NumberOfFrames, ds.Rows, ds.Columns = pixels.shape[:3]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 3 if pixels.ndim == 4 else 1, interpretation
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.itemsize
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 4:
        ds.PlanarConfiguration = 0
    ds.add_new("PixelData", "OW" if pixels.itemsize == 2 else "OB", pixels.tobytes() if payload is None else payload)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that pydicom would not write
        for name, value in elements.items():
            if value is None:
                delattr(ds, name)
            else:
                setattr(ds, name, value)
    if "HighBit" not in elements:
        ds.HighBit = max(ds.BitsStored - 1, 0)
    ds["PixelData"].is_undefined_length = ds.file_meta.TransferSyntaxUID.is_encapsulated
    ds.save_as(path, enforce_file_format=True)
    return path


def encoded(pictures, has_bot=True, **options):
    """Each picture compressed by Pillow, encapsulated, with or without a table of offsets."""
    streams = []
    for pixels in pictures:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, **options)
        streams.append(buffer.getvalue() + b"\0" * (len(buffer.getvalue()) % 2))
    return encapsulate(streams, has_bot=has_bot)


def ybr(rgb):
    return np.stack([np.asarray(Image.fromarray(frame).convert("YCbCr")) for frame in rgb])


JPEG = {"format": "JPEG", "quality": 95}
LOSSLESS = {"format": "JPEG2000", "irreversible": False, "no_jp2": True}


def grey_file(path, frames):
    return write(path, frames), frames, 0


def inverted_file(path, frames):
    return write(path, 255 - frames, "MONOCHROME1"), frames, 0


def rgb_file(path, frames):
    return write(path, coloured(frames), "RGB"), luminance(coloured(frames)), 0


def planar_file(path, frames):
    payload = np.ascontiguousarray(np.moveaxis(coloured(frames), -1, 1)).tobytes()
    written = write(path, coloured(frames), "RGB", payload=payload, PlanarConfiguration=1)
    return written, luminance(coloured(frames)), 0


def ybr_full_file(path, frames):
    return write(path, ybr(coloured(frames)), "YBR_FULL"), luminance(coloured(frames)), 1


def ybr_422_file(path, frames):
    """Stored as Y1 Y2 Cb Cr for each two pixels of a row."""
    full = ybr(coloured(frames))
    pairs = full.reshape(*full.shape[:2], -1, 2, 3)
    packed = np.stack([pairs[..., 0, 0], pairs[..., 1, 0], pairs[..., 0, 1], pairs[..., 0, 2]], axis=-1)
    return write(path, full, "YBR_FULL_422", payload=packed.tobytes()), luminance(coloured(frames)), 1


def palette_file(path, frames):
    luts = {}
    for name, values in (("Red", RAMP), ("Green", 255 - RAMP), ("Blue", RAMP // 2)):
        luts[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        luts[f"{name}PaletteColorLookupTableData"] = (values.astype("<u2") * 257).tobytes()
    rgb = np.stack([frames, 255 - frames, frames // 2], axis=-1)
    return write(path, frames, "PALETTE COLOR", **luts), luminance(rgb), 1


def rle_grey_file(path, frames):
    ds = pydicom.dcmread(write(path, frames))
    ds.compress(RLELossless)
    ds.save_as(path)
    return path, frames, 0


def rle_rgb_file(path, frames):
    ds = pydicom.dcmread(write(path, coloured(frames), "RGB"))
    ds.compress(RLELossless)
    ds.save_as(path)
    return path, luminance(coloured(frames)), 0


def jpeg_grey_file(path, frames):
    return write(path, frames, syntax=JPEGBaseline8Bit, payload=encoded(frames, **JPEG)), frames, 4


def jpeg_422_file(path, frames):
    rgb = coloured(frames)
    payload = encoded(rgb, **JPEG, subsampling="4:2:2")
    return write(path, rgb, "YBR_FULL_422", JPEGBaseline8Bit, payload), luminance(rgb), 5


def jpeg_called_rgb_file(path, frames):
    """A frequent fault: the header says RGB, the stream is JFIF and so YBR."""
    rgb = coloured(frames)
    return write(path, rgb, "RGB", JPEGBaseline8Bit, encoded(rgb, **JPEG)), luminance(rgb), 5


def jpeg_true_rgb_file(path, frames):
    rgb = coloured(frames)
    return write(path, rgb, "RGB", JPEGBaseline8Bit, encoded(rgb, **JPEG, keep_rgb=True)), luminance(rgb), 5


def jpeg2000_grey_file(path, frames):
    return write(path, frames, syntax=JPEG2000Lossless, payload=encoded(frames, **LOSSLESS)), frames, 0


def jpeg2000_rgb_file(path, frames):
    rgb = coloured(frames)
    return write(path, rgb, "YBR_RCT", JPEG2000Lossless, encoded(rgb, **LOSSLESS, mct=1)), luminance(rgb), 0


KINDS = (
    grey_file,
    inverted_file,
    rgb_file,
    planar_file,
    ybr_full_file,
    ybr_422_file,
    palette_file,
    rle_grey_file,
    rle_rgb_file,
    jpeg_grey_file,
    jpeg_422_file,
    jpeg_called_rgb_file,
    jpeg_true_rgb_file,
    jpeg2000_grey_file,
    jpeg2000_rgb_file,
)
