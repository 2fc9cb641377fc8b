"""Scores predicted masks against the reference: one row a frame, one row a clip, one summary a protocol.

Rows are plain dicts that can be written as JSON or CSV. The foreground is the LV endocardium (label 1) at the clip's
native size, so that a distance in mm needs no further scaling.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from data_pipelines.records import ENDOCARDIUM, Clip
from echoforge_jax.evaluation import statistics
from echoforge_jax.evaluation.overlap import dice, iou
from echoforge_jax.evaluation.patients import EF_METHODS, PIXELS
from echoforge_jax.evaluation.surface import surface_distances
from echoforge_jax.evaluation.temporal import temporal_consistency

EF_CLASSES, EF_CLASS_BOUNDS = ("EF <= 40", "40 < EF < 50", "EF >= 50"), (40.0, np.nextafter(50.0, 0.0))
DISTANCES = ("hd", "hd95", "hd95_directed", "asd_prediction_to_reference", "asd_reference_to_prediction", "assd")
TEMPORAL = (
    "frame_to_frame_dice",
    "frame_to_frame_dice_excess",
    "area_roughness",
    "area_roughness_ratio",
    "frames_in_pieces",
)
DEFINITIONS = {
    "dice_percent": "2|P and R| / (|P| + |R|) of the LV endocardium, mean over frames; both empty 100, one empty 0",
    "hd": "Hausdorff distance: the largest border distance of either direction",
    "hd95": "95th percentile of the border distances of both directions pooled; often published as HD",
    "hd95_directed": "the larger of the two directions' 95th percentiles",
    "assd": "mean of the border distances of both directions pooled; often published as ASD",
    "asd_prediction_to_reference": "mean distance of the prediction's border points to the reference's border",
    "asd_reference_to_prediction": "mean distance of the reference's border points to the prediction's border",
    "boundary_f_1": "boundary F-score: harmonic mean of the shares of border points within 1 mm (1 px where the "
    "spacing is not known) of the other border",
    "boundary_f_2": "the same within 2 mm (2 px)",
    "frame_to_frame_dice_excess": "mean Dice of each predicted mask and the next, minus the reference's own: negative "
    "is flicker, positive lags",
    "area_roughness_ratio": "RMS second difference of the area curve over its mean, prediction / reference",
    "frames_in_pieces": "predicted masks of more than one 4-connected component, a clip",
    "undefined": "distances of a frame in which exactly one of the two masks is empty; left out of the mean, counted",
    "ci95": "95 % percentile bootstrap, patients drawn with replacement, 2000 draws",
    "biplane_discs": "20 discs from 4CH and 2CH, length of the instant, the longer of the two views (ASE)",
    "single_plane_discs": "20 discs from 4CH, length of the instant",
    "folland": "three segments from 4CH (Folland 1979): (A_m + (A_m + A_p) / 2 + A_p / 3) L / 3, circles a third of "
    "the length from either end",
    "camus_official": "20 discs from 4CH and 2CH, ONE disc height for ED and ES, as in CAMUS's published "
    "numbers: reads low",
    "bias": "prediction - reference, signed, percentage points; the reference EF is measured by the same method",
}
WORTH_PROCESSES = 1000  # frames; starting two processes costs as much as scoring that many


def score_clip(clip: Clip, prediction: UInt8[np.ndarray, "t h w"], frames: Sequence[int]) -> list[dict]:
    """One row for each of `frames`: identity, Dice, IoU and border distances, in mm if the spacing is known, else px.

    Args:
        clip: the reference; its endocardium is `masks == 1`.
        prediction: LV mask 0/1 at the clip's size.
        frames: indices of labelled frames.

    Raises:
        ValueError: the prediction has another shape or other values, or a frame is not labelled or not in the clip.
    """
    if prediction.shape != clip.label_map.shape:
        raise ValueError(f"{clip.record_id}: prediction is {prediction.shape}, the masks {clip.label_map.shape}")
    if prediction.size and prediction.max() > 1:
        raise ValueError(f"{clip.record_id}: prediction holds {int(prediction.max())}, expected 0/1: pick the LV class")
    rows = []
    for frame in frames:
        if not 0 <= frame < len(clip) or not clip.has_reference[frame]:
            raise ValueError(f"{clip.record_id}: frame {frame} has no reference: score labelled frames only")
        predicted, reference = _lv(prediction, frame), _lv(clip.label_map, frame)
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


def score_clips(
    cases: Sequence[tuple[Clip, UInt8[np.ndarray, "t h w"]]], frames: Sequence[Sequence[int]], processes: int = 1
) -> list[dict]:
    """`score_clip` of every case, in order. The rows do not depend on `processes`; small work stays in this one."""
    arguments = [(clip, mask, wanted) for (clip, mask), wanted in zip(cases, frames, strict=True)]
    if processes < 2 or sum(len(wanted) for wanted in frames) < WORTH_PROCESSES:
        return [row for one in arguments for row in score_clip(*one)]
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads of an accelerator's runtime
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        rows = pool.map(_score_reference, arguments, chunksize=max(1, len(arguments) // (8 * processes)))
        return [row for of_clip in rows for row in of_clip]


def _score_reference(arguments: tuple[Clip, np.ndarray, Sequence[int]]) -> list[dict]:
    return score_clip(*arguments)


def score_temporal(clip: Clip, prediction: UInt8[np.ndarray, "t h w"]) -> dict | None:
    """One row of `temporal_consistency` for a clip of three or more frames that all have a reference; else None."""
    if len(clip) < 3 or not clip.has_reference.all():
        return None
    return {
        "patient_id": clip.patient_id,
        "view": clip.view,
        "quality": clip.quality,
        **temporal_consistency(prediction == ENDOCARDIUM, clip.label_map == ENDOCARDIUM),
    }


def summarise(
    frame_rows: Sequence[dict],
    ef_rows: Sequence[dict],
    temporal_rows: Sequence[dict] = (),
    *,
    protocol: str,
    split: str,
    seed: int = 0,
) -> dict[str, Any]:
    """The numbers of one protocol as nested dicts that JSON can hold; what is undefined is None, never a zero.

    Keys: protocol, split, n_patients, n_clips, n_frames, dice_percent, iou_percent, distances and boundary F-scores by
    unit (mm and px are never averaged together), by_phase, by_view, by_quality, empty, temporal (None without rows),
    ejection_fraction by method, definitions.

    Args:
        frame_rows: rows of `score_clip`; for the protocol "semi" of ED and ES only.
        ef_rows: rows of `patients.score_ejection_fraction`.
        temporal_rows: rows of `score_temporal`.
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
        "temporal": {"n_clips": len(temporal_rows), **{name: _mean(temporal_rows, name, seed) for name in TEMPORAL}}
        if temporal_rows
        else None,
        "ejection_fraction": {method: _ef_summary(ef_rows, method, seed) for method in EF_METHODS},
        "network_resolution": None,  # filled in where a network was at hand
        "definitions": DEFINITIONS,
    }
    return _json_able(summary)


def overlap_and_distance(frame_rows: Sequence[dict], seed: int = 0) -> dict[str, Any]:
    """dice_percent, iou_percent and distances by unit of rows of `score_clip`, as in `summarise`."""
    return _json_able(_scores(frame_rows, seed))


def _lv(masks: UInt8[np.ndarray, "t h w"], frame: int) -> Bool[np.ndarray, "h w"]:
    return masks[frame] == ENDOCARDIUM


def _scores(rows: Sequence[dict], seed: int) -> dict[str, Any]:
    distances = {}
    for unit in ("mm", "px"):
        of_unit = [row for row in rows if row["unit"] == unit]
        distances[unit] = {name: _mean(of_unit, name, seed) for name in (*DISTANCES, "boundary_f_1", "boundary_f_2")}
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
        "classes": None,
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
        summary["classes"] = {
            "names": list(EF_CLASSES),
            "reference_by_prediction": statistics.class_table(x, y, EF_CLASS_BOUNDS),
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
