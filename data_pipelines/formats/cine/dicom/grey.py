"""Brings grey samples of any depth to 0..255: through the VOI table or window of the file, else by the bits in use.

8-bit levels are taken as stored. Bits Stored, window and rescaling are checked against the values that are there; what
is empty or impossible is left out of account, and a note says so (PS3.3 C.7.6.3.1, C.11.1, C.11.2).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer, Shaped, UInt8
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from data_pipelines.formats.cine.dicom.elements import DAMAGED, Elements
from data_pipelines.formats.cine.dicom.layout import Layout
from data_pipelines.grey_levels import to_grey_levels
from data_pipelines.notes import Note, note

DEPTHS = (1, 8, 10, 12, 14, 16, 24, 32, 64)
WHITE, BLACK = 0.5, 0.98  # share of the pixels above the darkest that a window that fits leaves below 255, above 0
OVERLAY_BITS = 0x60000102  # Overlay Bit Position: a drawing in the unused bits
TABLE_BITS = 16  # up to this depth every value is looked up in a table

Window = Callable[[Float[np.ndarray, " *n"]], Float[np.ndarray, " *n"]]


@dataclasses.dataclass(frozen=True)
class Levels:
    """Grey levels and where they come from.

    Attributes:
        frames: grey levels 0..255, (t, h, w).
        notes: how the samples became grey levels, and which statements disagreed with them.
    """

    frames: UInt8[np.ndarray, "t h w"]
    notes: tuple[Note, ...]


def to_levels(
    samples: Shaped[np.ndarray, "t h w"], layout: Layout, header: Elements, path: Path, record_id: str
) -> Levels:
    """Brings the samples of all frames to 0..255.

    Args:
        samples: as decoded; integers may hold the value in any bits, as the layout says.
        layout: how the samples are stored.
        header: the header.
        path: of the file, for messages.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "grey level out of range".
    """
    if samples.dtype.kind == "f":
        levels, how, notes = _floating(samples, header, path, record_id)
    else:
        values, stored, notes = _in_use(samples, layout, header)
        if stored == 1:
            levels, how = (values * 255).astype(np.uint8), "One bit stored: black and white"
        elif stored == 8 and not layout.signed:
            levels, how = values.astype(np.uint8), "As stored"
        else:
            levels, how, more = _deep(values, stored, layout, header)
            notes += more
    if layout.interpretation == "MONOCHROME1":
        levels = 255 - levels
    return Levels(levels, (note("grey levels", f"{how}."), *notes))


def _floating(
    samples: Float[np.ndarray, "t h w"], header: Elements, path: Path, record_id: str
) -> tuple[UInt8[np.ndarray, "t h w"], str, list[Note]]:
    if (window := _window(header)) is not None and np.isfinite(samples).all():
        return np.stack([_bytes(window(one.astype(np.float64))) for one in samples]), "Through the file's window", []
    found = to_grey_levels(samples, record_id, source=str(path))
    return found.frames, found.notes[0].text.rstrip("."), list(found.notes[1:])


def _in_use(
    samples: Integer[np.ndarray, "t h w"], layout: Layout, header: Elements
) -> tuple[Integer[np.ndarray, "t h w"], int, list[Note]]:
    """Takes the bits out of the samples that hold the value, and says how many these are."""
    allocated = 8 * samples.dtype.itemsize if layout.allocated > 1 else 1
    unsigned = samples.view(f"u{samples.dtype.itemsize}")
    stored, shift = min(layout.stored, allocated), max(min(layout.high_bit, allocated - 1) + 1 - layout.stored, 0)
    used = int(np.bitwise_or.reduce(unsigned, axis=None))
    notes: list[Note] = []
    beyond = used & ~(((1 << stored) - 1) << shift)
    if beyond and not layout.signed and OVERLAY_BITS not in header:
        zeros = (used & -used).bit_length() - 1
        top = used.bit_length()
        shift = top - stored if zeros and zeros >= top - stored else 0
        stored = stored if shift else next(depth for depth in DEPTHS if depth >= top)
        text = (
            f"Bits Stored is {layout.stored} with High Bit {layout.high_bit}, the samples use bits {zeros} to {top - 1}"
        )
        notes.append(note("bits corrected", f"{text}; {stored} bits were taken."))
    if not layout.signed:
        values = (unsigned >> shift) & ((1 << stored) - 1) if shift or beyond else unsigned
        return values, stored, notes
    values = (unsigned >> shift).view(f"i{samples.dtype.itemsize}")
    lift = allocated - stored
    return (values << lift) >> lift, stored, notes


def _deep(
    values: Integer[np.ndarray, "t h w"], stored: int, layout: Layout, header: Elements
) -> tuple[UInt8[np.ndarray, "t h w"], str, list[Note]]:
    """Passes values through the VOI table or window where it fits them, else scales them by the bits in use."""
    low, high = int(values.min()), int(values.max())
    notes: list[Note] = []
    table_like = high - low < 1 << TABLE_BITS
    domain = np.arange(low, high + 1, dtype=np.float64) if table_like else None
    counts = np.zeros(high - low + 1 if table_like else 0, np.int64)
    for one in values if table_like else ():
        counts += np.bincount(_above(one, low), minlength=len(counts))
    for make, how in ((_voi_table, "Through the file's VOI LUT"), (_window, "Through the file's window")):
        if (function := make(header)) is None:
            continue
        if domain is None:
            return np.stack([_bytes(function(one.astype(np.float64))) for one in values]), how, notes
        lookup = _bytes(function(domain))
        if misfit := _misfit(lookup, counts):
            what = how.removeprefix("Through the file's ")
            notes.append(note("window ignored", f"The {what} leaves the picture {misfit}: values are {low} to {high}."))
            continue
        return _look_up(lookup, values, low), how, notes
    bits, lowest = _depth(low, high, stored, layout)
    if bits != stored or lowest != (-(2 ** (stored - 1)) if layout.signed else 0):
        text = (
            f"{stored} bits are stated, the values are {low} to {high}; they were scaled from {lowest} and {bits} bits."
        )
        notes.append(note("bits corrected", text))
    scale = 2.0**bits - 1
    if domain is not None:
        levels = _look_up(_bytes((domain - lowest) / scale), values, low)
    else:
        levels = np.stack([_bytes((one.astype(np.float64) - lowest) / scale) for one in values])
    return levels, "As stored" if bits == 8 and not lowest else f"{bits} bits stored", notes


def _above(values: Integer[np.ndarray, "*shape"], low: int) -> Integer[np.ndarray, " n"]:
    return values.ravel().astype(np.int64) - low


def _look_up(
    lookup: UInt8[np.ndarray, " n"], values: Integer[np.ndarray, "t h w"], low: int
) -> UInt8[np.ndarray, "t h w"]:
    """Gives every value its level, where the first entry of the table belongs to `low`."""
    return np.stack([lookup[_above(one, low)].reshape(one.shape) for one in values])


def _depth(low: int, high: int, stored: int, layout: Layout) -> tuple[int, int]:
    """Returns (bits, lowest value) of the range that the values use."""
    if layout.signed and low < 0:
        return stored, -(2 ** (stored - 1))
    return bits_in_use(high, stored, is_container=stored == layout.allocated or layout.signed), 0


def bits_in_use(highest: int, stored: int, *, is_container: bool) -> int:
    """Returns the bits of the range that samples from 0 use.

    Bits Stored is believed unless samples go beyond it, it is only the size of the container, or it is sixteen times
    the range in use.

    Args:
        highest: the highest sample.
        stored: Bits Stored.
        is_container: whether Bits Stored is no more than the size of the container (16 of 16).
    """
    fits = next(depth for depth in DEPTHS if depth >= max(highest.bit_length(), 8))
    return fits if is_container or fits > stored or (fits == 8 and stored >= 12) else stored


def _misfit(lookup: UInt8[np.ndarray, " n"], counts: Integer[np.ndarray, " n"]) -> str:
    """Says "white" or "black" where a window makes nearly one level of the pixels that are not the darkest, else ""."""
    above = counts[1:]
    if len(above) < 2 or not above.sum():
        return ""
    if above[lookup[1:] == 255].sum() > WHITE * above.sum():
        return "white"
    return "black" if above[lookup[1:] == 0].sum() > BLACK * above.sum() else ""


def _voi_table(header: Elements) -> Window | None:
    """Returns the function of the first VOI table that can be applied, to 0..1."""
    if not (tables := header.items("VOILUTSequence")):
        if "VOILUTSequence" in header:
            header.ignore("VOILUTSequence", "is empty")
        return None
    entries = tables[0].numbers("LUTDescriptor")
    modality = _modality(header)

    def apply(values: Float[np.ndarray, " *n"]) -> Float[np.ndarray, " *n"]:
        whole = np.rint(modality(values)).astype(np.int64)
        return np.asarray(apply_voi(whole, header.dataset)) / (2.0 ** int(entries[2]) - 1)

    try:
        apply(np.arange(2.0))
    except DAMAGED:
        header.ignore("VOILUTSequence", "holds no table that can be applied")
        return None
    return apply


def _window(header: Elements) -> Window | None:
    """Returns the function of the first possible window, to 0..1 (PS3.3 C.11.2.1.2)."""
    centres, widths = header.numbers("WindowCenter"), header.numbers("WindowWidth")
    linear = (function := header.text("VOILUTFunction") or "LINEAR") not in ("SIGMOID", "LINEAR_EXACT")
    pairs = [
        (centre, width)
        for centre, width in zip(centres, widths, strict=False)
        if math.isfinite(centre) and math.isfinite(width) and width > 0 and not (linear and width < 1)
    ]
    if not pairs:
        for name, values in (("WindowCenter", centres), ("WindowWidth", widths)):
            if name in header:
                header.ignore(name, "is empty" if not values else "gives no possible window")
        return None
    centre, width = pairs[0]
    modality = _modality(header)

    def apply(stored: Float[np.ndarray, " *n"]) -> Float[np.ndarray, " *n"]:
        values = modality(stored)
        if function == "SIGMOID":
            return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
        if function == "LINEAR_EXACT":
            return (values - centre) / width + 0.5
        return (values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5

    return apply


def _modality(header: Elements) -> Window:
    """Returns the function of the modality table, else of Rescale Slope and Intercept where these are possible."""
    if header.items("ModalityLUTSequence"):
        try:
            apply_modality_lut(np.arange(2), header.dataset)
            return lambda values: np.asarray(apply_modality_lut(np.rint(values).astype(np.int64), header.dataset))
        except DAMAGED:
            header.ignore("ModalityLUTSequence", "holds no table that can be applied")
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    for name, value in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
        if name in header and (value is None or not math.isfinite(value) or (name == "RescaleSlope" and value == 0)):
            header.ignore(name, "is empty" if value is None else f"is {value:g}")
            return lambda values: values.astype(np.float64)
    return lambda values: values * (1.0 if slope is None else slope) + (0.0 if intercept is None else intercept)


def _bytes(unit: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    return np.rint(255 * np.clip(np.nan_to_num(unit), 0, 1)).astype(np.uint8)
