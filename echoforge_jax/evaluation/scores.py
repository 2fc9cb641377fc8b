"""From clips and predicted masks to scores: one record for each frame, each clip and each patient.

The foreground is the LV endocardium (label 1) at the clip's own size, so that a distance in mm needs no scaling.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from data_pipelines.notes import warnings_of
from data_pipelines.records import ENDOCARDIUM, Clip
from echoforge_jax.evaluation.discs import MeasurementError, measure_discs
from echoforge_jax.evaluation.ejection_fraction import (
    EF_METHODS,
    IN_SHARES,
    EFMethod,
    Failure,
    ViewDiscs,
    single_plane_discs,
)
from echoforge_jax.evaluation.overlap import dice, iou
from echoforge_jax.evaluation.rows import ClipSteadiness, EFResult, FrameScore, PatientEF
from echoforge_jax.evaluation.surface import surface_distances
from echoforge_jax.evaluation.temporal import temporal_consistency

NO_FOUR_CHAMBER, NEEDS_TWO_VIEWS, NEEDS_SPACING = "no 4CH view", "needs 4CH and 2CH", "needs the pixel spacing"
NO_INSTANTS, NO_REFERENCE = "ED or ES is not known", "ED or ES has no mask"
PIXELS = (1.0, 1.0)  # the spacing where it is not known
ML, THOUSAND_CUBIC_PIXELS, SHARE_OF_EDV = "ml", "px3_per_1000", "share_of_edv"
WORTH_PROCESSES = 1000  # frames; starting two processes costs as much time as scoring that many


class Case(NamedTuple):
    """A clip and the masks that were predicted for it.

    Attributes:
        clip: the clip with its reference; the left ventricle is `label_map == 1`.
        prediction: predicted mask of the left ventricle 0/1 at the clip's size, (t, h, w).
    """

    clip: Clip
    prediction: UInt8[np.ndarray, "t h w"]


@dataclasses.dataclass(frozen=True)
class VolumeCurve:
    """The single-plane volume of a ventricle in every frame of a clip.

    Attributes:
        prediction: from the predicted masks, (t,); nan where a mask cannot be measured.
        reference: from the reference masks, (t,); nan also where there is no reference.
        unit: "ml", or "px3_per_1000" (thousands of cubic pixels) where the pixel spacing is not known.
        fps: frames per second, or None.
        ed_index: end-diastolic frame, or None where it is not known.
        es_index: end-systolic frame, or None where it is not known.
    """

    prediction: Float[np.ndarray, " t"]
    reference: Float[np.ndarray, " t"]
    unit: str
    fps: float | None
    ed_index: int | None
    es_index: int | None


def score_clip(case: Case, frames: Sequence[int]) -> list[FrameScore]:
    """Scores frames of one clip: Dice, IoU and border distances, in mm if the spacing is known, else in pixels.

    Args:
        case: the clip and its predicted masks.
        frames: indices of frames that have a reference.

    Returns:
        One record for each of `frames`.

    Raises:
        ValueError: the prediction has another shape or other values, or a frame has no reference or is not in the clip.
    """
    clip, prediction = case
    if prediction.shape != clip.label_map.shape:
        raise ValueError(f"{clip.record_id}: prediction is {prediction.shape}, the masks {clip.label_map.shape}")
    if prediction.size and prediction.max() > 1:
        raise ValueError(f"{clip.record_id}: prediction holds {int(prediction.max())}, expected 0/1: pick the LV class")
    rows = []
    for frame in frames:
        if not 0 <= frame < len(clip) or not clip.has_reference[frame]:
            raise ValueError(f"{clip.record_id}: frame {frame} has no reference: score labelled frames only")
        predicted, reference = prediction[frame] == ENDOCARDIUM, clip.label_map[frame] == ENDOCARDIUM
        row = FrameScore(
            patient_id=clip.patient_id,
            view=clip.view,
            phase="ED" if frame == clip.ed_index else "ES" if frame == clip.es_index else "between",
            frame=int(frame),
            quality=clip.quality,
            dice=dice(predicted, reference),
            iou=iou(predicted, reference),
            distances=surface_distances(predicted, reference, clip.spacing_mm or PIXELS),
            unit="mm" if clip.spacing_mm else "px",
            empty_prediction=not predicted.any(),
            empty_reference=not reference.any(),
        )
        rows.append(row)
    return rows


def score_clips(cases: Sequence[Case], frames: Sequence[Sequence[int]], *, processes: int = 1) -> list[FrameScore]:
    """Scores frames of every clip, in order. The result does not depend on the number of processes.

    Args:
        cases: clips and their predicted masks.
        frames: for each case the indices of the frames to score.
        processes: worker processes. Little work is done in this process whatever their number.

    Returns:
        The records of `score_clip`, case after case.
    """
    if processes < 2 or sum(map(len, frames)) < WORTH_PROCESSES:
        return [row for case, indices in zip(cases, frames, strict=True) for row in score_clip(case, indices)]
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads of an accelerator's runtime
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        rows = pool.map(score_clip, cases, frames, chunksize=max(1, len(cases) // (8 * processes)))
        return [row for clip_rows in rows for row in clip_rows]


def score_steadiness(case: Case) -> ClipSteadiness | None:
    """Measures the steadiness of a clip's masks; None for a clip of two frames or with a frame without a reference."""
    clip, prediction = case
    if len(clip) < 3 or not clip.has_reference.all():
        return None
    steadiness = temporal_consistency(prediction == ENDOCARDIUM, clip.label_map == ENDOCARDIUM)
    return ClipSteadiness(clip.patient_id, clip.view, clip.quality, steadiness, "; ".join(_warnings(clip)))


def score_ejection_fraction(cases: Sequence[Case]) -> list[PatientEF]:
    """Measures the ejection fraction of every patient by every method, on the reference and on the predicted masks.

    Both sides are measured in the same way. A clip without a stated view counts as 4CH.

    Returns:
        One record for each patient, in the order of the cases.

    Raises:
        ValueError: a patient has the same view twice.
    """
    patients: dict[str, dict[str, Case]] = {}
    for case in cases:
        views = patients.setdefault(case.clip.patient_id, {})
        view = case.clip.view or "4CH"
        if view in views:
            raise ValueError(f"{case.clip.patient_id}: two clips of view {view}: give one a view")
        views[view] = case
    return [_score_patient(patient_id, views) for patient_id, views in patients.items()]


def volume_curve(case: Case) -> VolumeCurve:
    """Measures the single-plane volume of every frame of a clip by the discs of the frame's own masks."""
    clip, prediction = case
    reference = _frame_volumes(clip.label_map, clip.spacing_mm)
    reference[~clip.has_reference] = np.nan
    return VolumeCurve(
        prediction=_frame_volumes(prediction, clip.spacing_mm),
        reference=reference,
        unit=ML if clip.spacing_mm else THOUSAND_CUBIC_PIXELS,
        fps=clip.fps,
        ed_index=clip.ed_index,
        es_index=clip.es_index,
    )


def _frame_volumes(
    masks: UInt8[np.ndarray, "t h w"], spacing_mm: tuple[float, float] | None
) -> Float[np.ndarray, " t"]:
    volumes = np.full(len(masks), np.nan)
    for t, mask in enumerate(masks):
        try:
            volumes[t] = single_plane_discs(measure_discs(mask == ENDOCARDIUM, spacing_mm or PIXELS))
        except MeasurementError:
            continue
    return volumes


def _score_patient(patient_id: str, views: Mapping[str, Case]) -> PatientEF:
    clips = [case.clip for case in views.values()]
    references = {view: _view_discs(clip, clip.label_map, clip.has_reference) for view, (clip, _) in views.items()}
    predictions = {
        view: _view_discs(clip, prediction, np.ones(len(clip), bool)) for view, (clip, prediction) in views.items()
    }
    methods = {}
    for method in EF_METHODS:
        reason = _not_applicable(method, views)
        unit = _volume_unit(method, views)
        methods[method] = (
            EFResult(Failure(reason), Failure(reason), unit, not_applicable=reason)
            if reason
            else EFResult(method.measure(references), method.measure(predictions), unit)
        )
    return PatientEF(
        patient_id=patient_id,
        quality=next((clip.quality for clip in clips if clip.quality), None),
        views="+".join(sorted(views)),
        ef_stated_percent=next((clip.ef_percent for clip in clips if clip.ef_percent is not None), None),
        methods=methods,
        warnings="; ".join(f"{view}: {code}" for view, (clip, _) in views.items() for code in _warnings(clip)),
    )


def _warnings(clip: Clip) -> tuple[str, ...]:
    """The codes of the reader's warnings, each once."""
    return tuple(dict.fromkeys(one.code for one in warnings_of(clip.notes)))


def _not_applicable(method: EFMethod, views: Mapping[str, Case]) -> str | None:
    """Returns why a method does not apply to a patient's views, or None where it does."""
    if not set(method.views) <= set(views):
        return NEEDS_TWO_VIEWS if len(method.views) > 1 else NO_FOUR_CHAMBER
    if method.needs_spacing and not all(case.clip.spacing_mm for case in views.values()):
        return NEEDS_SPACING
    return None


def _volume_unit(method: EFMethod, views: Mapping[str, Case]) -> str:
    """Returns the unit of a method's volumes."""
    if method.volumes == IN_SHARES:
        return SHARE_OF_EDV
    spacing_known = "4CH" in views and views["4CH"].clip.spacing_mm is not None
    return ML if method.needs_spacing or spacing_known else THOUSAND_CUBIC_PIXELS


def _view_discs(clip: Clip, masks: UInt8[np.ndarray, "t h w"], has_mask: Bool[np.ndarray, " t"]) -> ViewDiscs | Failure:
    """Measures the discs of one view at ED and ES, or returns why there are none."""
    discs = []
    for frame in (clip.ed_index, clip.es_index):
        if frame is None:
            return Failure(NO_INSTANTS)
        if not has_mask[frame]:
            return Failure(NO_REFERENCE)
        try:
            discs.append(measure_discs(masks[frame] == ENDOCARDIUM, clip.spacing_mm or PIXELS))
        except MeasurementError as error:
            return Failure(error.reason)
    return ViewDiscs(*discs)
