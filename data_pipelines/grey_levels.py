"""From stored samples to grey levels 0..255: one rule for every reader.

Grey levels 0..255 are taken as they are. Another range is scaled where the samples or their file tell which range it
is, and refused where they do not. Nothing is rounded to a handful of levels, and the decision is made once for all
frames of a record:

    levels = to_grey_levels(samples, record_id, source=str(path), stated=StatedRange(0, 4095, "cal_min and cal_max"))
    Recording(levels.frames, ..., notes=levels.notes)
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Shaped, UInt8

from data_pipelines.notes import Note, note
from data_pipelines.records import UnreadableRecord

WHITE = 255
LABELS_END = 3  # samples of 0..3 alone are labels, or levels that somebody rounded
DIM = 100  # a record of 0..255 without a brighter sample is rare: percent and decibels look like that
DARK_PART = 0.2  # a record whose brightest sample lies below this part of a range does not tell that it has this range
OVERSHOOT = 0.05  # interpolation leaves a range of 0..1 by so much
STRETCHES = {257: "8 bits repeated in 16", 256: "8 bits in the upper half of 16", 16: "8 bits in the upper part of 12"}


@dataclasses.dataclass(frozen=True)
class StatedRange:
    """The range of samples that a file states.

    Attributes:
        low: the sample that is black.
        high: the sample that is white.
        by: what states it, e.g. "cal_min and cal_max" or "BitsStored".
    """

    low: float | int
    high: float | int
    by: str


@dataclasses.dataclass(frozen=True)
class GreyLevels:
    """Grey frames, and how they were made.

    Attributes:
        frames: grey levels 0..255, (t, h, w).
        notes: one note of the code "grey levels", and one of "grey levels doubtful" where somebody should look.
    """

    frames: UInt8[np.ndarray, "t h w"]
    notes: tuple[Note, ...]


def to_grey_levels(
    samples: Shaped[np.ndarray, "t h w"], record_id: str, *, source: str, stated: StatedRange | None = None
) -> GreyLevels:
    """Brings the samples of a whole record to grey levels 0..255.

    Whole numbers within 0..255 stay as they are, which gives uint8 back bit by bit. Fractions within 0..1, and within
    -1..1 where black is -1, are scaled. 8 bits that were stretched to 12 or 16 are brought back. Any other range is
    scaled if the file states it.

    Args:
        samples: all frames of the record, integers or floats.
        record_id: the record, for the message of a fault.
        source: the file or files, for the message of a fault.
        stated: the range that the file states, or None.

    Raises:
        UnreadableRecord: "grey level out of range": nothing tells how the samples become grey levels.
    """
    rule = _Samples.of(samples, record_id, source)
    stated = stated if stated and math.isfinite(stated.low) and stated.low < stated.high < math.inf else None
    doubts = []
    if rule.is_whole and rule.low >= 0 and rule.high <= WHITE:
        if 0 < rule.high <= LABELS_END:
            raise rule.fault("these are labels, or levels that were rounded to 0 and 1: give the picture as 0..255")
        fits = stated and samples.dtype != np.uint8 and rule.fills(stated)
        frames, how = (rule.scaled(stated), _says(stated)) if stated and fits else (samples, "As stored.")
        if rule.low < rule.high <= DIM and frames is samples:
            doubts.append(f"The brightest sample is {rule.high:g} of 255; percent or decibels look like that.")
    elif stated and rule.fills(stated):
        frames, how = rule.scaled(stated), _says(stated)
    elif not rule.is_whole and rule.low >= -OVERSHOOT and DARK_PART <= rule.high <= 1 + OVERSHOOT:
        frames, how = rule.scaled(StatedRange(0, 1, "the samples")), "Scaled from 0..1."
        if stated and stated.high > 1 + OVERSHOOT:
            doubts.append(f"{_says(stated)} The samples are fractions {rule.range}: 0..1 was taken.")
    elif not rule.is_whole and abs(rule.low + 1) <= OVERSHOOT and DARK_PART <= rule.high <= 1 + OVERSHOOT:
        frames, how = rule.scaled(StatedRange(-1, 1, "the samples")), "Scaled from -1..1."
    elif not rule.is_whole and rule.low >= 0 and DIM * (1 + OVERSHOOT) < rule.high <= WHITE:
        rule.check_every_frame()
        frames, how = samples, "As stored, rounded to whole numbers."
    elif factor := rule.stretch():
        frames, how = samples / factor, f"{STRETCHES[factor]}: divided by {factor}."
    else:
        raise rule.fault(_advice(rule, stated))
    grey = frames if frames.dtype == np.uint8 else np.rint(frames).clip(0, WHITE).astype(np.uint8)
    return GreyLevels(grey, (note("grey levels", how), *(note("grey levels doubtful", text) for text in doubts)))


@dataclasses.dataclass(frozen=True)
class _Samples:
    """Samples and what is seen of them.

    Attributes:
        values: the samples.
        low: the smallest.
        high: the largest.
        is_whole: whether every sample is a whole number.
        record_id: the record.
        source: the file.
    """

    values: np.ndarray
    low: float
    high: float
    is_whole: bool
    record_id: str
    source: str

    @classmethod
    def of(cls, values: np.ndarray, record_id: str, source: str) -> _Samples:
        low, high = float(values.min()), float(values.max())  # nan where one sample is
        whole = values.dtype.kind in "biu" or (math.isfinite(low + high) and np.array_equal(np.rint(values), values))
        samples = cls(values, low, high, bool(whole), record_id, source)
        if not math.isfinite(low) or not math.isfinite(high):
            raise samples.fault("some samples are not finite: give numbers 0..255")
        return samples

    @property
    def range(self) -> str:
        return f"{self.low:.6g}..{self.high:.6g}"

    def fault(self, advice: str) -> UnreadableRecord:
        kind = "whole numbers" if self.is_whole else "fractions"
        detail = f"{self.source}: {kind} {self.range} ({self.values.dtype}), expected grey levels 0..255: {advice}"
        return UnreadableRecord(self.record_id, "grey level out of range", detail)

    def fills(self, stated: StatedRange) -> bool:
        """Says whether the samples lie in the stated range and fill enough of it to bear it out."""
        width = stated.high - stated.low
        inside = stated.low - 0.001 * width <= self.low and self.high <= stated.high + 0.001 * width
        return inside and self.high >= stated.low + DARK_PART * width

    def scaled(self, stated: StatedRange) -> np.ndarray:
        """Brings the stated range to 0..255."""
        return (self.values.astype(np.float64) - stated.low) * (WHITE / (stated.high - stated.low))

    def check_every_frame(self) -> None:
        """Refuses frames of two ranges in one record: one of 0..1 among those of 0..255."""
        tops = self.values.reshape(len(self.values), -1).max(axis=1)
        if ((tops > 0) & (tops <= 1 + OVERSHOOT)).any():
            dim, bright = int(tops.argmin()) + 1, int(tops.argmax()) + 1
            found = f"frame {dim} ends at {tops[dim - 1]:.4g} and frame {bright} at {tops[bright - 1]:.4g}"
            raise self.fault(f"{found}: bring all frames to one range")

    def stretch(self) -> int | None:
        """Returns the factor by which 8 bits were stretched, where every sample is a multiple of it."""
        if not self.is_whole or self.low < 0 or self.high <= WHITE:
            return None
        wide = self.values.astype(np.int64)
        for factor in STRETCHES:
            if self.high / factor <= WHITE and self.high / factor > DARK_PART * WHITE and not (wide % factor).any():
                return factor
        return None


def _says(stated: StatedRange) -> str:
    return f"{stated.by} state the range {stated.low:g}..{stated.high:g}."


def _advice(rule: _Samples, stated: StatedRange | None) -> str:
    """Says what the samples look like, and what to do."""
    if stated:
        return f"{_says(stated)} The samples do not have that range: correct one of the two"
    if rule.low < 0:
        kind = "normalised to mean 0" if not rule.is_whole else "signed"
        return f"they look {kind}: give the grey levels before that step"
    if not rule.is_whole and rule.high <= WHITE:
        return "they may be percent, decibels or a dark part of 0..1: scale them to 0..255"
    bits = max(8, math.ceil(math.log2(rule.high + 1)))
    return f"they need {bits} bits, and nothing says which level is white: state cal_max or scale them to 0..255"
