"""Scores predicted masks against the reference: one row a frame, one row a patient, one summary a protocol.

Rows are plain dicts that can be written as JSON or CSV. The foreground is the LV endocardium (label 1) at the clip's
native size, so that a distance in mm needs no further scaling.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from data_pipelines.records import ENDOCARDIUM, Clip
from echoforge_jax.evaluation import statistics
from echoforge_jax.evaluation.ejection_fraction import MeasurementError, biplane_discs, ef_percent, single_plane_discs
from echoforge_jax.evaluation.overlap import dice, iou
from echoforge_jax.evaluation.surface import surface_distances

PIXELS = (1.0, 1.0)
EF_METHODS = ("biplane_discs", "single_plane_discs")
DISTANCES = ("hd", "hd95", "hd95_directed", "asd_prediction_to_reference", "asd_reference_to_prediction", "assd")
DEFINITIONS = {
    "dice_percent": "2|P and R| / (|P| + |R|) of the LV endocardium, mean over frames; both empty 100, one empty 0",
    "hd": "Hausdorff distance: the largest border distance of either direction",
    "hd95": "95th percentile of the border distances of both directions pooled; often published as HD",
    "hd95_directed": "the larger of the two directions' 95th percentiles",
    "assd": "mean of the border distances of both directions pooled; often published as ASD",
    "undefined": "distances of a frame in which exactly one of the two masks is empty; left out of the mean, counted",
    "ci95": "95 % percentile bootstrap, patients drawn with replacement, 2000 draws",
    "biplane_discs": "20 discs from 4CH and 2CH, length of the instant, the longer of the two views (ASE)",
    "single_plane_discs": "20 discs from 4CH, length of the instant",
    "bias": "prediction - reference, signed, percentage points; the reference EF is measured by the same method",
}
NO_FOUR_CHAMBER, NEEDS_TWO_VIEWS, NEEDS_SPACING = "no 4CH view", "needs 4CH and 2CH", "needs the pixel spacing"
NO_INSTANTS, NOT_LABELLED = "ED or ES is not known", "ED or ES has no mask"


def score_clip(clip: Clip, prediction: UInt8[np.ndarray, "t h w"], frames: Sequence[int]) -> list[dict]:
    """One row for each of `frames`: identity, Dice, IoU and border distances, in mm if the spacing is known, else px.

    Args:
        clip: the reference; its endocardium is `masks == 1`.
        prediction: LV mask 0/1 at the clip's size.
        frames: indices of labelled frames.

    Raises:
        ValueError: the prediction has another shape or other values, or a frame is not labelled or not in the clip.
    """
    if prediction.shape != clip.masks.shape:
        raise ValueError(f"{clip.record_id}: prediction is {prediction.shape}, the masks {clip.masks.shape}")
    if prediction.size and prediction.max() > 1:
        raise ValueError(f"{clip.record_id}: prediction holds {int(prediction.max())}, expected 0/1: pick the LV class")
    rows = []
    for frame in frames:
        if not 0 <= frame < len(clip) or not clip.labelled[frame]:
            raise ValueError(f"{clip.record_id}: frame {frame} has no reference: score labelled frames only")
        predicted, reference = _lv(prediction, frame), _lv(clip.masks, frame)
        rows.append(
            {
                "patient_id": clip.patient_id,
                "view": clip.view,
                "phase": "ED" if frame == clip.ed_index else "ES" if frame == clip.es_index else "between",
                "frame": int(frame),
                "quality": clip.quality,
                "dice": dice(predicted, reference),
                "iou": iou(predicted, reference),
                **dataclasses.asdict(surface_distances(predicted, reference, clip.spacing_mm or PIXELS)),
                "unit": "mm" if clip.spacing_mm else "px",
                "empty_prediction": not predicted.any(),
                "empty_reference": not reference.any(),
            }
        )
    return rows


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


def summarise(
    frame_rows: Sequence[dict], ef_rows: Sequence[dict], *, protocol: str, split: str, seed: int = 0
) -> dict[str, Any]:
    """The numbers of one protocol as nested dicts that JSON can hold; what is undefined is None, never a zero.

    Keys: protocol, split, n_patients, n_clips, n_frames, dice_percent, iou_percent, distances by unit (mm and px are
    never averaged together), by_phase, by_view, by_quality, empty, ejection_fraction by method, definitions.

    Args:
        frame_rows: rows of `score_clip`; for the protocol "semi" of ED and ES only.
        ef_rows: rows of `score_ejection_fraction`.
        protocol: "semi" (ED and ES are scored) or "full" (every frame), or another name.
        split: the name of the split, e.g. "test".
        seed: of the bootstrap.

    Raises:
        ValueError: the protocol is "semi" and a row lies between ED and ES.
    """
    between = sum(row["phase"] == "between" for row in frame_rows)
    if protocol == "semi" and between:
        raise ValueError(f"protocol 'semi' scores ED and ES, but {between} rows are of other frames: leave them out")
    summary = {
        "protocol": protocol,
        "split": split,
        "n_patients": len({row["patient_id"] for row in frame_rows}),
        "n_clips": len({(row["patient_id"], row["view"]) for row in frame_rows}),
        "n_frames": len(frame_rows),
        **_scores(frame_rows, seed),
        "by_phase": _grouped(frame_rows, "phase", ("ED", "ES", "between"), seed),
        "by_view": _grouped(frame_rows, "view", ("2CH", "4CH"), seed),
        "by_quality": _grouped(frame_rows, "quality", ("Good", "Medium", "Poor"), seed),
        "empty": {
            "n_empty_prediction": sum(bool(row["empty_prediction"]) for row in frame_rows),
            "n_empty_reference": sum(bool(row["empty_reference"]) for row in frame_rows),
        },
        "ejection_fraction": {method: _ef_summary(ef_rows, method, seed) for method in EF_METHODS},
        "definitions": DEFINITIONS,
    }
    return _json_able(summary)


def _lv(masks: UInt8[np.ndarray, "t h w"], frame: int) -> Bool[np.ndarray, "h w"]:
    return masks[frame] == ENDOCARDIUM


def _patient_row(patient_id: str, views: dict[str, tuple[Clip, np.ndarray]]) -> dict[str, Any]:
    clips = [clip for clip, _ in views.values()]
    row: dict[str, Any] = {
        "patient_id": patient_id,
        "quality": next((clip.quality for clip in clips if clip.quality), None),
        "views": "+".join(sorted(views)),
        "ef_stated_percent": next((clip.ef_percent for clip in clips if clip.ef_percent is not None), None),
    }
    four, two = views.get("4CH"), views.get("2CH")
    unavailable = NO_FOUR_CHAMBER if four is None else None
    if four and two:
        known = four[0].spacing_mm and two[0].spacing_mm
        row |= _method_columns("biplane_discs", None if known else NEEDS_SPACING, (four, two), "ml")
    else:
        row |= _method_columns("biplane_discs", NEEDS_TWO_VIEWS, (), "ml")
    unit = "ml" if four and four[0].spacing_mm else "px3_per_1000"
    row |= _method_columns("single_plane_discs", unavailable, (four,) if four else (), unit)
    return row


def _method_columns(
    method: str, not_applicable: str | None, cases: tuple[tuple[Clip, np.ndarray], ...], unit: str
) -> dict[str, Any]:
    """The columns of one EF method; a failure on one side leaves the other side's numbers standing."""
    sides = ("reference", "prediction")
    numbers = {f"{side}_{what}": None for what in ("ef_percent", "edv", "esv") for side in sides}
    failures = []
    for side in sides if not not_applicable else ():
        try:
            edv, esv = (_volume(cases, side, instant) for instant in ("ed_index", "es_index"))
            numbers |= {f"{side}_edv": edv, f"{side}_esv": esv, f"{side}_ef_percent": ef_percent(edv, esv)}
        except MeasurementError as error:
            failures.append(f"{side}: {error.reason}")
    columns = {**numbers, "volume_unit": unit, "failure": "; ".join(failures) or None, "not_applicable": not_applicable}
    return {f"{method}_{key}": value for key, value in columns.items()}


def _volume(cases: tuple[tuple[Clip, np.ndarray], ...], side: str, instant: str) -> float:
    """Volume at "ed_index" or "es_index" from one view (single plane) or 4CH and 2CH (biplane)."""
    arguments: list[Any] = []
    for clip, prediction in cases:
        frame = getattr(clip, instant)
        if frame is None:
            raise MeasurementError(NO_INSTANTS)
        if side == "reference" and not clip.labelled[frame]:
            raise MeasurementError(NOT_LABELLED)
        masks = clip.masks if side == "reference" else prediction
        arguments += [_lv(masks, frame), clip.spacing_mm or PIXELS]
    measure: Callable[..., float] = biplane_discs if len(cases) == 2 else single_plane_discs
    return measure(*arguments)


def _scores(rows: Sequence[dict], seed: int) -> dict[str, Any]:
    distances = {}
    for unit in ("mm", "px"):
        of_unit = [row for row in rows if row["unit"] == unit]
        distances[unit] = {name: _mean(of_unit, name, seed) for name in DISTANCES}
    percent = {}
    for name in ("dice", "iou"):
        statistics_percent = _mean(rows, name, seed, scale=100.0)
        statistics_percent["n_frames"] = statistics_percent.pop("n")
        del statistics_percent["n_undefined"]
        percent[f"{name}_percent"] = statistics_percent
    return {**percent, "distances": distances}


def _mean(rows: Sequence[dict], name: str, seed: int, scale: float = 1.0) -> dict[str, Any]:
    """Mean over frames of the defined values, its interval by patient, SD over frames (ddof 1) and the counts."""
    by_patient: dict[str, list[float]] = {}
    for row in rows:
        if np.isfinite(row[name]):
            by_patient.setdefault(row["patient_id"], []).append(scale * row[name])
    values = [value for of_patient in by_patient.values() for value in of_patient]
    return {
        "mean": float(np.mean(values)) if values else None,
        "ci95": list(statistics.bootstrap_ci(by_patient, seed)) if values else None,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "n": len(values),
        "n_undefined": len(rows) - len(values),
        "n_patients": len(by_patient),
    }


def _grouped(rows: Sequence[dict], key: str, order: Iterable[str], seed: int) -> dict[str, Any]:
    """`_scores` of the rows of each value of `key` that occurs, the known ones first; no value is "unknown"."""
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row[key] or "unknown", []).append(row)
    names = [name for name in order if name in groups]
    return {name: _scores(groups[name], seed) for name in [*names, *sorted(set(groups) - set(names))]}


def _ef_summary(ef_rows: Sequence[dict], method: str, seed: int) -> dict[str, Any]:
    """Agreement in EF percentage points over the patients that both sides could measure; the others are counted."""
    reference, prediction = f"{method}_reference_ef_percent", f"{method}_prediction_ef_percent"
    pairs = [(r[prediction], r[reference]) for r in ef_rows if r[prediction] is not None and r[reference] is not None]
    stated = [
        (r[prediction], r["ef_stated_percent"])
        for r in ef_rows
        if r[prediction] is not None and r["ef_stated_percent"] is not None
    ]
    summary: dict[str, Any] = {
        "agreement": None,
        "agreement_ci95": None,
        "detection": None,
        "agreement_with_stated_ef": statistics.agreement(*np.array(stated, np.float64).T) if stated else None,
        "unit": "EF percentage points",
        "n": len(pairs),
        "failures": dict(Counter(r[f"{method}_failure"] for r in ef_rows if r[f"{method}_failure"])),
        "not_applicable": dict(
            Counter(r[f"{method}_not_applicable"] for r in ef_rows if r[f"{method}_not_applicable"])
        ),
    }
    if pairs:
        x, y = np.array(pairs, np.float64).T
        summary["agreement"] = statistics.agreement(x, y)
        summary["agreement_ci95"] = statistics.agreement_ci95(x, y, seed)
        summary["detection"] = {
            "ef_at_most_40": statistics.sensitivity_specificity(x, y, 40.0, inclusive=True),
            "ef_below_50": statistics.sensitivity_specificity(x, y, 50.0, inclusive=False),
        }
    return summary


def _json_able(value: Any) -> Any:
    """The same nest with numbers that are not finite as None (JSON has no nan) and tuples as lists."""
    if isinstance(value, dict):
        return {key: _json_able(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_able(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
