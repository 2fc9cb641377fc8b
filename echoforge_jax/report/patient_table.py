"""The table of patients in a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from echoforge_jax.evaluation.ejection_fraction import BIPLANE_DISCS, SINGLE_PLANE_DISCS
from echoforge_jax.evaluation.rows import FrameScore, PatientEF, by_patient, dice_percent, distance, mean_by_patient

SHOWN_METHODS = (BIPLANE_DISCS, SINGLE_PLANE_DISCS)


@dataclasses.dataclass(frozen=True)
class PatientLine:
    """One patient in the table.

    Attributes:
        patient_id: e.g. "patient0001".
        quality: "Good", "Medium", "Poor" or None.
        n_frames: number of scored frames.
        dice_percent: mean over the frames, or None without a frame.
        worst_dice_percent: the smallest of the frames, or None without a frame.
        hd95: mean over the frames where it is defined, in `unit`; None where there are none, or frames in two units.
        assd: the same for the average symmetric surface distance.
        unit: "mm", "px", "mm and px", or "" without a frame.
        n_undefined: number of frames without a defined distance.
        ef_percent: EF of the reference and of the prediction by each of `SHOWN_METHODS`; None where it failed.
        ef_stated_percent: EF that the data set states, or None.
        notes: failures of the methods of ejection fraction, and warnings of the readers.
    """

    patient_id: str
    quality: str | None
    n_frames: int
    dice_percent: float | None
    worst_dice_percent: float | None
    hd95: float | None
    assd: float | None
    unit: str
    n_undefined: int
    ef_percent: tuple[float | None, ...]
    ef_stated_percent: float | None
    notes: str


def patient_table(frames: Sequence[FrameScore], patients: Sequence[PatientEF]) -> list[PatientLine]:
    """Makes one line for each patient, lowest mean Dice first.

    Args:
        frames: scores of frames.
        patients: ejection fractions of patients.
    """
    mean_dice, every_dice = mean_by_patient(frames, dice_percent), by_patient(frames, dice_percent)
    hd95, assd = mean_by_patient(frames, distance("hd95")), mean_by_patient(frames, distance("assd"))
    ef_rows = {row.patient_id: row for row in patients}
    own_frames: dict[str, list[FrameScore]] = {}
    for row in frames:
        own_frames.setdefault(row.patient_id, []).append(row)
    lines = []
    for patient_id in dict.fromkeys([*own_frames, *ef_rows]):
        rows, ef = own_frames.get(patient_id, []), ef_rows.get(patient_id)
        units = sorted({row.unit for row in rows})
        line = PatientLine(
            patient_id=patient_id,
            quality=next((row.quality for row in rows if row.quality), None),
            n_frames=len(rows),
            dice_percent=mean_dice.get(patient_id),
            worst_dice_percent=min(every_dice.get(patient_id, []), default=None),
            hd95=hd95.get(patient_id) if len(units) == 1 else None,
            assd=assd.get(patient_id) if len(units) == 1 else None,
            unit=" and ".join(units),
            n_undefined=sum(not np.isfinite(row.distances.hd95) for row in rows),
            ef_percent=_ef_percent(ef),
            ef_stated_percent=ef.ef_stated_percent if ef else None,
            notes=_notes(ef),
        )
        lines.append(line)
    return sorted(lines, key=lambda line: np.inf if line.dice_percent is None else line.dice_percent)


def _ef_percent(ef: PatientEF | None) -> tuple[float | None, ...]:
    if ef is None:
        return (None,) * (2 * len(SHOWN_METHODS))
    results = [ef.methods[method] for method in SHOWN_METHODS]
    return tuple(percent for result in results for percent in (result.reference_percent, result.prediction_percent))


def _notes(ef: PatientEF | None) -> str:
    if ef is None:
        return ""
    failures = [f"EF: {result.failure}" for result in ef.methods.values() if result.failure]
    return "; ".join(dict.fromkeys(filter(None, [*failures, ef.warnings])))
