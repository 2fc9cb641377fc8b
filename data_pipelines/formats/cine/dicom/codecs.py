"""Decodes one compressed picture, by the codec that its own header shows and not by the transfer syntax of the file.

JPEG and JPEG 2000 are read by Pillow. JPEG Lossless and JPEG-LS need the extra `dicom`, JPEG of 12 bits a package under
the GPL that no extra installs.
"""

from __future__ import annotations

import dataclasses
import io

import numpy as np
from jaxtyping import Shaped
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import JPEG2000, UID, JPEGExtended12Bit, JPEGLossless, JPEGLSNearLossless, RLELossless

from data_pipelines.formats.cine.dicom.elements import quiet
from data_pipelines.formats.cine.dicom.streams import Stream

EXTRA = "pip install 'echoforge_jax[dicom]'"


@dataclasses.dataclass(frozen=True)
class _Decoder:
    """How pydicom decodes a codec.

    Attributes:
        syntax: transfer syntax of the codec.
        plugins: pydicom's plugins, the preferred one first.
        install: the command that installs one.
    """

    syntax: UID
    plugins: tuple[str, ...]
    install: str


DECODERS = {
    "JPEG": _Decoder(JPEGExtended12Bit, ("pylibjpeg",), "pip install pylibjpeg pylibjpeg-libjpeg (GPL)"),
    "JPEG Lossless": _Decoder(JPEGLossless, ("gdcm", "pylibjpeg"), f"{EXTRA} (or: pip install python-gdcm)"),
    "JPEG-LS": _Decoder(JPEGLSNearLossless, ("pyjpegls", "gdcm", "pylibjpeg"), f"{EXTRA} (or: pip install pyjpegls)"),
    "JPEG 2000": _Decoder(JPEG2000, ("pillow", "pylibjpeg"), "pip install pylibjpeg pylibjpeg-openjpeg"),
    "HTJ2K": _Decoder(JPEG2000, ("pillow", "pylibjpeg"), "pip install pylibjpeg pylibjpeg-openjpeg"),
}


class NoDecoder(Exception):
    """No decoder for this codec is installed; the message says which command installs one."""


def is_installed(codec: str) -> bool:
    """Tells whether some decoder of a codec is installed."""
    decoder = DECODERS[codec]
    return codec == "JPEG" or any(name in get_decoder(decoder.syntax).available_plugins for name in decoder.plugins)


def decode(data: bytes, stream: Stream, *, luma_only: bool = False) -> Shaped[np.ndarray, "h w *samples"]:
    """Decodes a picture to the samples that it stores, (h, w) or (h, w, 3): no colours are converted.

    JPEG 2000 with a component transform comes as RGB.

    Args:
        data: the compressed picture.
        stream: what `streams.examine` found in it.
        luma_only: only the first of three components is needed.

    Raises:
        NoDecoder: none is installed.
        ValueError, OSError, RuntimeError and others of pydicom and Pillow: the picture is damaged.
    """
    if stream.codec == "JPEG" and stream.bits == 8:
        return _decode_jpeg(data, stream, luma_only)
    decoder = DECODERS[stream.codec]
    deep_colours = stream.components > 1 and stream.bits > 8  # Pillow reduces them to 8 bits
    plugins = [name for name in decoder.plugins if not (name == "pillow" and (deep_colours or stream.bits > 16))]
    available = get_decoder(decoder.syntax).available_plugins
    plugin = next((name for name in plugins if name in available), None)
    if plugin is None:
        raise NoDecoder(f"the pictures are {stream.codec} of {stream.bits} bits: {decoder.install}")
    if stream.codec in ("JPEG 2000", "HTJ2K"):
        data = data[data.index(b"\xff\x4f\xff\x51") :]  # the boxes of JP2 may ask for a conversion of colours
    allocated = 8 if stream.bits <= 8 else 16 if stream.bits <= 16 else 32
    options = _options(stream.rows, stream.columns, stream.components, allocated, stream.bits, int(stream.signed))
    with quiet():
        samples, _ = get_decoder(decoder.syntax).as_array(
            encapsulate([data]), index=0, raw=True, validate=False, decoding_plugin=plugin, **options
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
    options = _options(*shape, bits_allocated, bits_allocated, 0)
    with quiet():
        samples, _ = get_decoder(RLELossless).as_array(
            encapsulate([data]), index=0, raw=True, validate=False, **options
        )
    return samples


def _options(rows: int, columns: int, samples: int, allocated: int, stored: int, signed: int) -> dict:
    return {
        "rows": rows,
        "columns": columns,
        "number_of_frames": 1,
        "samples_per_pixel": samples,
        "bits_allocated": allocated,
        "bits_stored": stored,
        "pixel_representation": signed,
        "planar_configuration": 0,
        "photometric_interpretation": "MONOCHROME2" if samples == 1 else "RGB",
    }


def _decode_jpeg(data: bytes, stream: Stream, luma_only: bool) -> Shaped[np.ndarray, "h w *samples"]:
    """Decodes JPEG of 8 bits by libjpeg, which is kept from converting colours."""
    if stream.components not in (1, 3):
        raise ValueError(f"{stream.components} components")
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    if stream.components == 3:
        mode = "L" if luma_only else "YCbCr"
        image.draft(mode, None)
        image.tile = [image.tile[0]._replace(args=(mode, "YCbCr"))]  # as if stored so: nothing is converted
    return np.asarray(image)
