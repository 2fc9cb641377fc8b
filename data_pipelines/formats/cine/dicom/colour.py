"""Tells whether three samples are RGB or YCbCr, and makes grey levels of them.

Header and stream state it, and both are wrong now and then (a JPEG of YCbCr under RGB is green). The pixels themselves
decide where they can: most of an ultrasound picture is dark or grey. In RGB the second and third sample rise with the
first, and dark pixels are (0, 0, 0), which no colour has in YCbCr; in YCbCr they stay near 128.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8

from data_pipelines.formats.cine.dicom.streams import Colours, Stream
from data_pipelines.notes import Note, note

GAMUT_TOLERANCE = 16.0  # grey levels that the loss of a codec may take a colour out of RGB
LEAST_SPREAD = 25.0  # variance of the first sample, below which a picture is too flat to tell
LOOKED_AT = 100_000  # pixels
ROUGHER = 0.7  # the other order of samples is taken where it is smoother than this times the stated one


@dataclasses.dataclass(frozen=True)
class Judged:
    """What three samples are.

    Attributes:
        colours: "RGB" or "YBR".
        note: which statements are wrong, or None.
    """

    colours: Colours
    note: Note | None = None


def stated_colours(interpretation: str, stream: Stream | None) -> Colours:
    """Reads which colours the decoded samples have by Photometric Interpretation; "" where it does not say.

    Args:
        interpretation: of the header.
        stream: header of the compressed picture, None for others.
    """
    if interpretation in ("YBR_RCT", "YBR_ICT"):
        return "RGB" if stream is not None and stream.transformed else ""
    return "YBR" if interpretation.startswith("YBR") else "RGB" if interpretation == "RGB" else ""


def judge(samples: UInt8[np.ndarray, "h w 3"], interpretation: str, stream: Stream | None) -> Judged:
    """Decides between RGB and YCbCr by the pixels, else by the compressed picture, else by the header.

    Args:
        samples: a picture as it is stored.
        interpretation: Photometric Interpretation of the header, "" where it is absent.
        stream: header of the compressed picture, None for others.
    """
    stated, shown = stated_colours(interpretation, stream), stream.colours if stream is not None else ""
    seen = look(samples)
    colours = seen or shown or stated or "RGB"
    if colours == stated or (interpretation in ("YBR_RCT", "YBR_ICT") and colours == "RGB"):
        return Judged(colours)
    why = f"the {stream.evidence} of the stream" if stream is not None and shown == colours else "the pixels"
    what = "Photometric Interpretation is " + (interpretation or "absent")
    return Judged(colours, note("colour space corrected", f"{what}, {why} show {colours}; {colours} was taken."))


def look(samples: UInt8[np.ndarray, "h w 3"]) -> Colours:
    """Judges by the pixels alone: "" where they do not tell."""
    step = max(1, round((samples.shape[0] * samples.shape[1] / LOOKED_AT) ** 0.5))
    first, second, third = np.moveaxis(samples[::step, ::step].reshape(-1, 3).astype(np.float64), -1, 0)
    blue, red = second - 128, third - 128
    as_rgb = np.stack([first + 1.402 * red, first - 0.344136 * blue - 0.714136 * red, first + 1.772 * blue])
    impossible = ((as_rgb < -GAMUT_TOLERANCE) | (as_rgb > 255 + GAMUT_TOLERANCE)).any(axis=0).mean()
    others = (second + third) / 2
    spread = first.var()
    slope = ((first - first.mean()) * (others - others.mean())).mean() / spread if spread > 1 else 0.0
    if impossible >= 0.25 or slope >= 0.6:
        return "RGB"
    return "YBR" if impossible <= 0.02 and abs(slope) <= 0.25 and spread >= LEAST_SPREAD else ""


def luminance(samples: Shaped[np.ndarray, "h w samples"], colours: Colours) -> UInt8[np.ndarray, "h w"]:
    """Gives Y of YCbCr, or 0.299 R + 0.587 G + 0.114 B.

    Args:
        samples: a picture, 0..255; of YCbCr the luma alone is enough.
        colours: what its samples are.
    """
    if colours == "YBR":
        return np.ascontiguousarray(samples[..., 0])
    return cv2.cvtColor(np.ascontiguousarray(samples), cv2.COLOR_RGB2GRAY)


def arrange(content: Shaped[np.ndarray, " n"], shape: tuple[int, int], planar: bool) -> Shaped[np.ndarray, "h w 3"]:
    """Brings samples by plane, or by pixel, to (h, w, 3).

    Args:
        content: the samples of one picture as they are stored.
        shape: (h, w).
        planar: whether all samples of red come first, then green, then blue.
    """
    return np.moveaxis(content.reshape(3, *shape), 0, -1) if planar else content.reshape(*shape, 3)


def is_planar(content: Shaped[np.ndarray, " n"], shape: tuple[int, int], stated: bool) -> bool:
    """Tells whether samples are stored by plane: as stated, unless the picture is far smoother the other way.

    Args:
        content: the samples of one picture as they are stored.
        shape: (h, w).
        stated: Planar Configuration of the header.
    """
    as_stated, otherwise = (_roughness(arrange(content, shape, planar)) for planar in (stated, not stated))
    return not stated if otherwise < ROUGHER * as_stated else stated


def _roughness(picture: Shaped[np.ndarray, "h w 3"]) -> float:
    values = picture.astype(np.float32)
    if min(values.shape[:2]) < 2:
        return 0.0
    return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())
