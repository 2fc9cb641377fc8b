"""Decodes one compressed picture, by the codec that its own header shows and not by the transfer syntax of the file.

Pillow reads JPEG and JPEG Lossless of 8 bits, JPEG 2000 and HTJ2K. The extra `dicom` (imagecodecs, BSD licence) reads
the rest: JPEG-LS, JPEG of 12 bits, JPEG Lossless of more than 8 bits, JPEG 2000 in colours of more than 8 bits.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
from types import ModuleType

import numpy as np
from jaxtyping import Shaped
from PIL import Image, features
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import JPEG2000, RLELossless

from data_pipelines.formats.cine.dicom.elements import quiet
from data_pipelines.formats.cine.dicom.streams import Codec, Stream

INSTALL = "pip install 'echoforge_jax[dicom]' (or: pip install imagecodecs)"
OF_JPEG_2000 = ("JPEG 2000", "HTJ2K")
FIRST_WITH_LOSSLESS = 3  # version of libjpeg-turbo


class NoDecoder(Exception):
    """No decoder for this codec is installed; the message says which command installs one."""


def is_installed(codec: Codec, bits: int = 8, components: int = 1) -> bool:
    """Tells whether a decoder is installed.

    Args:
        codec: the codec.
        bits: bits of a sample.
        components: samples for each pixel.
    """
    return _by_pillow(codec, bits, components) or importlib.util.find_spec("imagecodecs") is not None


def decode(data: bytes, stream: Stream, *, luma_only: bool = False) -> Shaped[np.ndarray, "h w *samples"]:
    """Decodes a picture to the samples that it stores, (h, w) or (h, w, 3): no colours are converted.

    JPEG 2000 with a component transform comes as RGB.

    Args:
        data: the compressed picture.
        stream: what `streams.examine` found in it.
        luma_only: only the first of three components is needed.

    Raises:
        NoDecoder: none is installed.
        ValueError, OSError, RuntimeError and others of pydicom, Pillow and imagecodecs: the picture is damaged.
    """
    if not is_installed(stream.codec, stream.bits, stream.components):
        raise NoDecoder(f"the pictures are {stream.codec} of {stream.bits} bits: {INSTALL}")
    if stream.codec in OF_JPEG_2000:
        data = data[data.index(b"\xff\x4f\xff\x51") :]  # the boxes of JP2 may ask for a conversion of colours
    if not _by_pillow(stream.codec, stream.bits, stream.components):
        return _decode_by_extra(data, stream, importlib.import_module("imagecodecs"))
    if stream.codec not in OF_JPEG_2000:
        return _decode_jpeg(data, stream, luma_only and stream.codec == "JPEG")
    options = _options(stream.rows, stream.columns, stream.components, stream.bits, int(stream.signed))
    with quiet():
        samples, _ = get_decoder(JPEG2000).as_array(
            encapsulate([data]), index=0, raw=True, validate=False, decoding_plugin="pillow", **options
        )
    return samples


def decode_rle(data: bytes, shape: tuple[int, int, int], bits_allocated: int) -> Shaped[np.ndarray, "h w *samples"]:
    """Decodes a picture of RLE Lossless (PS3.5 annex G) to unsigned samples, (h, w) or (h, w, 3).

    Args:
        data: the fragment.
        shape: (rows, columns, samples per pixel).
        bits_allocated: bits of a sample, 8, 16 or 32.

    Raises:
        ValueError and others of pydicom: the picture is damaged.
    """
    options = _options(*shape, bits_allocated, 0)
    with quiet():
        samples, _ = get_decoder(RLELossless).as_array(
            encapsulate([data]), index=0, raw=True, validate=False, **options
        )
    return samples


def _by_pillow(codec: Codec, bits: int, components: int) -> bool:
    if codec in OF_JPEG_2000:
        return bits <= 8 or (bits <= 16 and components == 1)
    if codec == "JPEG Lossless":
        version = features.version_feature("libjpeg_turbo") or "0"
        return bits == 8 and int(version.split(".")[0]) >= FIRST_WITH_LOSSLESS
    return codec == "JPEG" and bits == 8


def _options(rows: int, columns: int, samples: int, bits: int, signed: int) -> dict:
    """Describes one picture to pydicom."""
    return {
        "rows": rows,
        "columns": columns,
        "number_of_frames": 1,
        "samples_per_pixel": samples,
        "bits_allocated": 8 if bits <= 8 else 16 if bits <= 16 else 32,
        "bits_stored": bits,
        "pixel_representation": signed,
        "planar_configuration": 0,
        "photometric_interpretation": "MONOCHROME2" if samples == 1 else "RGB",
    }


def _decode_jpeg(data: bytes, stream: Stream, luma_only: bool) -> Shaped[np.ndarray, "h w *samples"]:
    """Decodes JPEG of 8 bits by libjpeg, which is kept from converting colours."""
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    if stream.components == 3:
        mode = "L" if luma_only else "YCbCr"
        image.draft(mode, None)
        image.tile = [image.tile[0]._replace(args=(mode, "YCbCr"))]  # as if stored so: nothing is converted
    return np.asarray(image)


def _decode_by_extra(data: bytes, stream: Stream, imagecodecs: ModuleType) -> Shaped[np.ndarray, "h w *samples"]:
    if stream.codec == "JPEG-LS":
        return imagecodecs.jpegls_decode(data)
    if stream.codec in OF_JPEG_2000:
        return imagecodecs.jpeg2k_decode(data)
    kept = {"colorspace": "YCBCR", "outcolorspace": "YCBCR"} if stream.components == 3 else {}
    return imagecodecs.jpeg8_decode(data, **kept)
