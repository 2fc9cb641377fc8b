"""Ejection fraction of each patient by four named methods, and the volume through a clip.

Rows are plain dicts that can be written as JSON or CSV. What could not be measured is None with a reason that can be
counted; every method measures the reference masks the same way as the predicted ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.records import ENDOCARDIUM, Clip
from echoforge_jax.evaluation.ejection_fraction import (
    Discs,
    MeasurementError,
    biplane_discs,
    camus_official,
    ef_percent,
    folland,
    measure_discs,
    single_plane_discs,
)

EF_METHODS = ("biplane_discs", "single_plane_discs", "folland", "camus_official")
TWO_VIEWS = ("biplane_discs", "camus_official")
NO_FOUR_CHAMBER, NEEDS_TWO_VIEWS, NEEDS_SPACING = "no 4CH view", "needs 4CH and 2CH", "needs the pixel spacing"
NO_INSTANTS, NOT_LABELLED = "ED or ES is not known", "ED or ES has no mask"
SIDES, INSTANTS = ("reference", "prediction"), ("ed_index", "es_index")
PIXELS = (1.0, 1.0)


def score_ejection_fraction(cases: Sequence[tuple[Clip, UInt8[np.ndarray, "t h w"]]]) -> list[dict]:
    """One row a patient, in order of appearance, from the clip and the predicted LV mask of each of its views.

    Columns: patient_id, quality, views, ef_stated_percent (the data set's own, made by another method: never mixed with
    the rest), and for each method M of EF_METHODS: M_reference_ef_percent, M_prediction_ef_percent,
    M_{reference,prediction}_{edv,esv}, M_volume_unit ("ml", or "px3_per_1000" where the spacing is not known),
    M_failure (a countable reason) and M_not_applicable (why the method does not apply to these data). What could
    not be measured is None. A clip without a stated view counts as 4CH.

    Raises:
        ValueError: a patient has the same view twice.
    """
    patients: dict[str, dict[str, tuple[Clip, np.ndarray]]] = {}
    for clip, prediction in cases:
        views = patients.setdefault(clip.patient_id, {})
        view = clip.view or "4CH"
        if view in views:
            raise ValueError(f"{clip.patient_id}: two clips of view {view}: give one a view")
        views[view] = clip, prediction
    return [_patient_row(patient_id, views) for patient_id, views in patients.items()]


def volume_curve(clip: Clip, prediction: UInt8[np.ndarray, "t h w"]) -> dict[str, Any]:
    """Single-plane volume of every frame of a clip, by the discs of each frame's own mask.

    Returns:
        patient_id, view, fps, ed_index, es_index, unit ("ml" or "px3_per_1000"), and the vectors "reference" (nan where
        there is no mask) and "prediction"; nan where a mask cannot be measured.
    """
    unlabelled = [t for t in range(len(clip)) if not clip.has_reference[t]]
    reference = _volumes_of(clip.label_map, clip.spacing_mm)
    reference[unlabelled] = np.nan
    return {
        "patient_id": clip.patient_id,
        "view": clip.view,
        "fps": clip.fps,
        "ed_index": clip.ed_index,
        "es_index": clip.es_index,
        "unit": "ml" if clip.spacing_mm else "px3_per_1000",
        "reference": reference,
        "prediction": _volumes_of(prediction, clip.spacing_mm),
    }


def _volumes_of(masks: UInt8[np.ndarray, "t h w"], spacing_mm: tuple[float, float] | None) -> Float[np.ndarray, " t"]:
    volumes = np.full(len(masks), np.nan)
    for t, mask in enumerate(masks):
        try:
            volumes[t] = single_plane_discs(measure_discs(mask == ENDOCARDIUM, spacing_mm or PIXELS))
        except MeasurementError:
            continue
    return volumes


def _patient_row(patient_id: str, views: dict[str, tuple[Clip, np.ndarray]]) -> dict[str, Any]:
    clips = [clip for clip, _ in views.values()]
    row: dict[str, Any] = {
        "patient_id": patient_id,
        "quality": next((clip.quality for clip in clips if clip.quality), None),
        "views": "+".join(sorted(views)),
        "ef_stated_percent": next((clip.ef_percent for clip in clips if clip.ef_percent is not None), None),
    }
    four, two = views.get("4CH"), views.get("2CH")
    known = all(clip.spacing_mm for clip in clips)
    both = NEEDS_TWO_VIEWS if not (four and two) else None if known else NEEDS_SPACING
    discs: dict[tuple[str, str, str], Discs | MeasurementError] = {
        (view, side, instant): _measure(case, side, instant)
        for view, case in views.items()
        for side in SIDES
        for instant in INSTANTS
    }
    for method in EF_METHODS:
        not_applicable = both if method in TWO_VIEWS else None if four else NO_FOUR_CHAMBER
        unit = "ml" if method in TWO_VIEWS or (four and four[0].spacing_mm) else "px3_per_1000"
        row |= _method_columns(method, not_applicable, discs, unit)
    return row


def _measure(case: tuple[Clip, np.ndarray], side: str, instant: str) -> Discs | MeasurementError:
    """The discs of one mask, or why there are none: every method that needs them meets the same reason."""
    clip, prediction = case
    frame = getattr(clip, instant)
    if frame is None:
        return MeasurementError(NO_INSTANTS)
    if side == "reference" and not clip.has_reference[frame]:
        return MeasurementError(NOT_LABELLED)
    try:
        return measure_discs(
            (clip.label_map if side == "reference" else prediction)[frame] == ENDOCARDIUM, clip.spacing_mm or PIXELS
        )
    except MeasurementError as error:
        return error


def _method_columns(
    method: str, not_applicable: str | None, discs: Mapping[tuple[str, str, str], Discs | MeasurementError], unit: str
) -> dict[str, Any]:
    """The columns of one EF method; a failure on one side leaves the other side's numbers standing."""
    numbers = {f"{side}_{what}": None for what in ("ef_percent", "edv", "esv") for side in SIDES}
    failures = []
    for side in SIDES if not not_applicable else ():
        try:
            edv, esv = _volumes(method, side, discs)
            numbers |= {f"{side}_edv": edv, f"{side}_esv": esv, f"{side}_ef_percent": ef_percent(edv, esv)}
        except MeasurementError as error:
            failures.append(f"{side}: {error.reason}")
    columns = {**numbers, "volume_unit": unit, "failure": "; ".join(failures) or None, "not_applicable": not_applicable}
    return {f"{method}_{key}": value for key, value in columns.items()}


def _volumes(
    method: str, side: str, discs: Mapping[tuple[str, str, str], Discs | MeasurementError]
) -> tuple[float, float]:
    """EDV and ESV by one method."""
    found: dict[tuple[str, str], Discs] = {}
    for view in ("4CH", "2CH") if method in TWO_VIEWS else ("4CH",):
        for instant in INSTANTS:
            one = discs[view, side, instant]
            if isinstance(one, MeasurementError):
                raise MeasurementError(one.reason)
            found[view, instant] = one
    ed, es = INSTANTS
    if method == "camus_official":
        return camus_official(found["4CH", ed], found["4CH", es], found["2CH", ed], found["2CH", es])
    if method == "biplane_discs":
        return biplane_discs(found["4CH", ed], found["2CH", ed]), biplane_discs(found["4CH", es], found["2CH", es])
    volume = single_plane_discs if method == "single_plane_discs" else folland
    return volume(found["4CH", ed]), volume(found["4CH", es])
