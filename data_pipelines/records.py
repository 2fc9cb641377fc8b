"""Records that pass between readers, training and evaluation: clips, and what was left out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Bool, UInt8

from data_pipelines.errors import DataError
from data_pipelines.notes import Note
from data_pipelines.reasons import REASONS

BACKGROUND, ENDOCARDIUM, MYOCARDIUM, ATRIUM = 0, 1, 2, 3
LABEL_NAMES = ("background", "LV endocardium", "myocardium", "left atrium")
VIEWS = ("2CH", "4CH")
QUALITIES = ("Good", "Medium", "Poor")

EntryT = TypeVar("EntryT")


class UnreadableRecord(DataError):
    """One record cannot be used.

    Attributes:
        record_id: the record.
        reason: one of `REASONS`, the same for every record with the same fault, so that faults can be counted.
        detail: what was found, what was expected and what to do.
    """

    def __init__(self, record_id: str, reason: str, detail: str):
        """Makes the error; its message holds all three.

        Args:
            record_id: the record.
            reason: one of `REASONS`, e.g. "truncated file".
            detail: what was found, what was expected and what to do.

        Raises:
            KeyError: the reason is not one of `REASONS`: add it there, with its meaning and advice.
        """
        if reason not in REASONS:
            raise KeyError(reason)
        super().__init__(f"{record_id}: {reason}: {detail}")
        self.record_id, self.reason, self.detail = record_id, reason, detail


@dataclasses.dataclass(frozen=True)
class Clip:
    """Grey frames of one apical view of one patient, with the reference masks that exist.

    Attributes:
        frames: grey levels 0..255, (t, h, w); row 0 is nearest to the probe.
        label_map: labels 0 background, 1 LV endocardium, 2 myocardium, 3 left atrium, (t, h, w); zero where
            `has_reference` is False.
        has_reference: whether frame t has a reference mask, (t,).
        ed_index: end-diastolic frame, or None where it is not known.
        es_index: end-systolic frame, or None where it is not known.
        spacing_mm: pixel spacing (row_mm, column_mm), or None where it is not known. It is never a guess.
        fps: frames per second, or None.
        patient_id: e.g. "patient0001".
        view: "2CH", "4CH" or "" where it is not known.
        quality: "Good", "Medium", "Poor" or None.
        ef_percent: ejection fraction stated by the data set, per cent, or None.
        volumes_ml: (EDV, ESV) stated by the data set, ml, or None.
        notes: what the reader found beside the data: where values come from, and which statements disagreed.
        record_name: the name of the record before its view is added, where it is not the patient's: a patient may have
            several cines of one view. "" stands for the patient's.
    """

    frames: UInt8[np.ndarray, "t h w"]
    label_map: UInt8[np.ndarray, "t h w"]
    has_reference: Bool[np.ndarray, " t"]
    ed_index: int | None
    es_index: int | None
    spacing_mm: tuple[float, float] | None
    fps: float | None
    patient_id: str
    view: str
    quality: str | None = None
    ef_percent: float | None = None
    volumes_ml: tuple[float, float] | None = None
    notes: tuple[Note, ...] = ()
    record_name: str = ""

    @property
    def record_id(self) -> str:
        """Names the record: `record_name`, or the patient, and the view if it is known: "patient0001_4CH"."""
        name = self.record_name or self.patient_id
        return f"{name}_{self.view}" if self.view else name

    def with_notes(self, known: Iterable[Note]) -> Clip:
        """Returns the same clip with what was known of its record before it was read; no note stands there twice."""
        return dataclasses.replace(self, notes=tuple(dict.fromkeys([*known, *self.notes])))

    def __len__(self) -> int:
        return len(self.frames)


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A record that was left out, and why.

    Attributes:
        record_id: the record.
        reason: one of `REASONS`, as in `UnreadableRecord`.
        detail: what was found, what was expected and what to do.
    """

    record_id: str
    reason: str
    detail: str


def summarise_skipped(skipped: Iterable[Skipped]) -> str:
    """Writes one line for each reason, the most frequent first: count, reason, the first three records by name."""
    skipped = list(skipped)
    lines = []
    for reason, count in Counter(record.reason for record in skipped).most_common():
        names = [record.record_id for record in skipped if record.reason == reason]
        lines.append(f"{count} x {reason}: {', '.join(names[:3])}{', ...' if count > 3 else ''}")
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Index(Generic[EntryT]):
    """The records of a split, before any of them is read.

    Attributes:
        entries: what the format's `read` takes, one for each record.
        skipped: records that the data set names and that cannot be read.
        notes: what is known of records before they are read, by record.
    """

    entries: list[EntryT]
    skipped: list[Skipped]
    notes: Mapping[str, tuple[Note, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SampledClip:
    """t frames of one clip at network size, ED first and ES last.

    Attributes:
        frames: grey levels 0..255, (t, size, size).
        label_map: labels as in `Clip.label_map`, (t, size, size); zero where `has_reference` is False. Data sets that
            mark the cavity alone have no 2 and 3.
        has_reference: whether frame t has a mask, (t,): a reference, or one that `propagation` has carried there.
        may_train: whether the training may use that mask as a label, (t,).
        spacing_mm: pixel spacing (row_mm, column_mm) at network size, or None where it is not known.
        record_id: the record, e.g. "patient0001_4CH".
        patient_id: e.g. "patient0001".
        view: "2CH", "4CH" or "" where it is not known.
        decided: whether the label of a pixel is decided, (t, size, size); None where every pixel is. Only carried
            masks (`data_pipelines.propagation`) leave pixels undecided; their label is 0.
    """

    frames: UInt8[np.ndarray, "t h w"]
    label_map: UInt8[np.ndarray, "t h w"]
    has_reference: Bool[np.ndarray, " t"]
    may_train: Bool[np.ndarray, " t"]
    spacing_mm: tuple[float, float] | None
    record_id: str
    patient_id: str
    view: str
    decided: Bool[np.ndarray, "t h w"] | None = None

    @property
    def cavity(self) -> UInt8[np.ndarray, "t h w"]:
        """Mask of the left-ventricular cavity (label 1), 0 or 1, (t, size, size)."""
        return cavity_mask(self.label_map)

    def without_labels(self) -> SampledClip:
        """Returns the same clip for a training that may not use its labels."""
        return dataclasses.replace(self, may_train=np.zeros_like(self.may_train))


@dataclasses.dataclass(frozen=True)
class UnlabelledCine:
    """All frames of a cine without ED, ES or masks, at network size; each draw takes about half a heart cycle of it.

    Attributes:
        frames: grey levels 0..255, (t, size, size), at least as many as a draw takes.
        fps: frames per second, or None where it is not known.
        spacing_mm: pixel spacing (row_mm, column_mm) at network size, or None where it is not known.
        record_id: the record.
        patient_id: the patient, or the name of the file.
        view: "2CH", "4CH" or "" where it is not known.
    """

    frames: UInt8[np.ndarray, "t h w"]
    fps: float | None
    spacing_mm: tuple[float, float] | None
    record_id: str
    patient_id: str
    view: str


def cavity_mask(label_map: UInt8[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Reduces labels to the left-ventricular cavity: 1 where the label is 1, else 0."""
    return (label_map == ENDOCARDIUM).astype(np.uint8)
