"""The `Clip` record: what every reader returns and every writer takes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, UInt8

from data_pipelines.errors import DataError

BACKGROUND, ENDOCARDIUM, MYOCARDIUM, ATRIUM = 0, 1, 2, 3
LABEL_NAMES = ("background", "LV endocardium", "myocardium", "left atrium")
VIEWS = ("2CH", "4CH")
QUALITIES = ("Good", "Medium", "Poor")


class UnreadableRecord(DataError):
    """One record cannot be used.

    `reason` is a short fixed phrase, the same for every record with the same fault, so that faults can be counted;
    `detail` says what was found, what was expected and what to do.
    """

    def __init__(self, record_id: str, reason: str, detail: str):
        super().__init__(f"{record_id}: {reason}: {detail}")
        self.record_id, self.reason, self.detail = record_id, reason, detail


@dataclasses.dataclass(frozen=True)
class Clip:
    """Grey frames of one apical view of one patient, with the masks that exist.

    Attributes:
        frames: grey levels 0..255, (t, h, w); row 0 is nearest to the probe.
        label_map: labels 0 background, 1 LV endocardium, 2 myocardium, 3 left atrium, (t, h, w); zero where
            `has_reference` is False.
        has_reference: whether frame t has a reference mask, (t,).
        ed_index: end-diastolic frame, or None where it is not known.
        es_index: end-systolic frame, or None where it is not known.
        spacing_mm: (row_mm, column_mm), or None where it is not known. Never a guess.
        fps: frames per second, or None.
        patient_id: e.g. "patient0001".
        view: "2CH", "4CH" or "" where it is not known.
        quality: "Good", "Medium", "Poor" or None.
        ef_percent: ejection fraction stated by the data set, per cent, or None.
        volumes_ml: (EDV, ESV) stated by the data set, ml, or None.
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

    @property
    def record_id(self) -> str:
        return f"{self.patient_id}_{self.view}" if self.view else self.patient_id

    def __len__(self) -> int:
        return len(self.frames)


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A record that was left out, and why."""

    record_id: str
    reason: str
    detail: str


def summarise_skipped(skipped: Sequence[Skipped] | Iterable[Skipped]) -> str:
    """One line a reason, most frequent first: count, reason, the first three records by name."""
    skipped = list(skipped)
    lines = []
    for reason, count in Counter(s.reason for s in skipped).most_common():
        names = [s.record_id for s in skipped if s.reason == reason]
        lines.append(f"{count} x {reason}: {', '.join(names[:3])}{', ...' if count > 3 else ''}")
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class SampledClip:
    """t frames of one clip at network size, ED first and ES last.

    Attributes:
        frames: grey levels, (t, size, size).
        label_map: as in `Clip.label_map`, (t, size, size); zero where `has_reference` is False. Data sets that mark the
            cavity alone have no 2 and 3.
        has_reference: whether frame t has a reference mask, (t,).
        may_train: whether the training may use that mask, (t,).
        spacing_mm: (row_mm, column_mm) at network size, or None.
    """

    frames: UInt8[np.ndarray, "t h w"]
    label_map: UInt8[np.ndarray, "t h w"]
    has_reference: Bool[np.ndarray, " t"]
    may_train: Bool[np.ndarray, " t"]
    spacing_mm: tuple[float, float] | None
    record_id: str
    patient_id: str
    view: str

    @property
    def cavity(self) -> UInt8[np.ndarray, "t h w"]:
        """LV endocardium 0/1 (UNDECIDED where `propagation` left it so), (t, size, size)."""
        return cavity_of(self.label_map)

    def without_labels(self) -> SampledClip:
        """The same clip for a training that may not use its labels."""
        return dataclasses.replace(self, may_train=np.zeros_like(self.may_train))


@dataclasses.dataclass(frozen=True)
class UnlabelledCine:
    """All frames of a cine without ED, ES or masks, at network size; each draw is about half a heart cycle of it.

    Attributes:
        frames: grey levels, (t, size, size), at least as many as a draw takes.
        fps: frames per second, or None.
    """

    frames: UInt8[np.ndarray, "t h w"]
    fps: float | None
    spacing_mm: tuple[float, float] | None
    record_id: str
    patient_id: str
    view: str


def cavity_of(label_map: UInt8[np.ndarray, "*s"]) -> UInt8[np.ndarray, "*s"]:
    """Labels without the structures around the cavity."""
    return np.where((label_map == MYOCARDIUM) | (label_map == ATRIUM), np.uint8(0), label_map)
