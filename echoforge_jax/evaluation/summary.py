"""From the records of one protocol to its summary in metrics.json."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from echoforge_jax.evaluation import statistics
from echoforge_jax.evaluation.ejection_fraction import EF_METHODS, EFMethod
from echoforge_jax.evaluation.limits import withhold
from echoforge_jax.evaluation.protocols import Protocol
from echoforge_jax.evaluation.rows import (
    DISTANCES,
    STEADINESS,
    ClipSteadiness,
    EFPairs,
    FrameScore,
    PatientEF,
    Row,
    by_patient,
    dice_percent,
    distance,
    ef_pairs,
    iou_percent,
)

EF_CLASSES, EF_CLASS_BOUNDS = ("EF <= 40", "40 < EF < 50", "EF >= 50"), (40.0, np.nextafter(50.0, 0.0))
AGREEMENT = ("agreement", "agreement_ci95", "detection", "classes")
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
    "frame_to_frame_dice_excess": "mean Dice of each predicted mask and the next, minus the reference's own: "
    "negative means flicker, positive means that the masks lag behind the heart",
    "area_roughness_ratio": "RMS second difference of the area curve over its mean, prediction / reference",
    "frames_in_pieces": "number of predicted masks of a clip with more than one 4-connected component",
    "withheld": "why a number is null although it can be computed: it is of too few patients (or cases) to be read",
    "undefined": "distances of a frame in which exactly one of the two masks is empty; left out of the mean, counted",
    "ci95": "95 % percentile bootstrap, patients drawn with replacement, 2000 draws; from 5 patients on",
    **{method.name: method.definition for method in EF_METHODS},
    "bias": "prediction - reference, signed, percentage points; the reference EF is measured by the same method",
}


@dataclasses.dataclass(frozen=True)
class ProtocolScores:
    """Everything that one protocol scored.

    Attributes:
        frames: scores of frames.
        patients: ejection fractions of patients.
        clips: steadiness of clips; empty where no clip allows it.
        summary: the protocol's part of metrics.json (`summarise`).
    """

    frames: Sequence[FrameScore]
    patients: Sequence[PatientEF]
    clips: Sequence[ClipSteadiness]
    summary: dict[str, Any]


def summarise(
    frames: Sequence[FrameScore],
    patients: Sequence[PatientEF],
    clips: Sequence[ClipSteadiness] = (),
    *,
    protocol: Protocol,
    split: str,
    seed: int = 0,
) -> dict[str, Any]:
    """Summarises one protocol as nested dicts that JSON can hold; what is undefined is None, never a zero.

    Args:
        frames: scores of frames; of ED and ES only for a protocol that does not score every frame.
        patients: ejection fractions of patients.
        clips: steadiness of clips.
        protocol: the protocol by which the frames were chosen.
        split: the name of the split, e.g. "test".
        seed: seed of the bootstrap.

    Returns:
        protocol, split, n_patients, n_clips, n_frames, dice_percent, iou_percent, distances and boundary F-scores by
        unit (mm and px are never averaged together), by_phase, by_view, by_quality, empty, temporal (None without
        clips), ejection_fraction by method, network_resolution (None; filled in where there is a network),
        definitions.

    Raises:
        ValueError: the protocol scores ED and ES only and a frame lies between them.
    """
    between = sum(row.phase == "between" for row in frames)
    if between and not protocol.every_frame:
        raise ValueError(
            f"protocol {protocol.name!r} scores ED and ES, but {between} rows are of other frames: leave them out"
        )
    summary = {
        "protocol": protocol.name,
        "split": split,
        "n_patients": len({row.patient_id for row in frames}),
        "n_clips": _count_clips(frames),
        "n_frames": len(frames),
        **_overlap_and_distance(frames, seed),
        "by_phase": _grouped(frames, lambda row: row.phase, ("ED", "ES", "between"), seed),
        "by_view": _grouped(frames, lambda row: row.view, ("2CH", "4CH"), seed),
        "by_quality": _grouped(frames, lambda row: row.quality, ("Good", "Medium", "Poor"), seed),
        "empty": {
            "n_frames": len(frames),
            "n_empty_prediction": sum(row.empty_prediction for row in frames),
            "n_empty_reference": sum(row.empty_reference for row in frames),
        },
        "temporal": _temporal(frames, clips, seed) if clips else None,
        "ejection_fraction": {method.name: _ejection_fraction(patients, method, seed) for method in EF_METHODS},
        "network_resolution": None,
        "definitions": DEFINITIONS,
    }
    return _json_able(summary)


def overlap_and_distance(frames: Sequence[FrameScore], seed: int = 0) -> dict[str, Any]:
    """Summarises overlap and distances alone, as `summarise` does.

    Args:
        frames: scores of frames.
        seed: seed of the bootstrap.

    Returns:
        dice_percent, iou_percent, and distances and boundary F-scores by unit.
    """
    return _json_able(_overlap_and_distance(frames, seed))


def _overlap_and_distance(frames: Sequence[FrameScore], seed: int) -> dict[str, Any]:
    percent = {
        name: {key: value for key, value in _mean(frames, measure, seed).items() if key not in ("n", "n_undefined")}
        | {"n_frames": len(frames)}  # overlap is always defined
        for name, measure in (("dice_percent", dice_percent), ("iou_percent", iou_percent))
    }
    by_unit = {unit: [row for row in frames if row.unit == unit] for unit in ("mm", "px")}
    distances = {
        unit: {name: _mean(rows, distance(name), seed) for name in DISTANCES} for unit, rows in by_unit.items()
    }
    return {**percent, "distances": distances}


def _temporal(frames: Sequence[FrameScore], clips: Sequence[ClipSteadiness], seed: int) -> dict[str, Any]:
    """Summarises the steadiness of the clips whose every frame has a reference, and counts all clips."""

    def steadiness(name: str) -> dict[str, Any]:
        return _mean(clips, lambda row: float(getattr(row.steadiness, name)), seed)

    counts = {"n_clips": len(clips), "n_clips_scored": _count_clips(frames)}
    return {**counts, **{name: steadiness(name) for name in STEADINESS}}


def _count_clips(frames: Sequence[FrameScore]) -> int:
    return len({(row.patient_id, row.view) for row in frames})


def _mean(rows: Sequence[Row], measure: Callable[[Row], float], seed: int) -> dict[str, Any]:
    """Averages the defined values over rows, with its interval by patient, SD over rows (ddof 1) and the counts."""
    patients = by_patient(rows, measure)
    values = [value for patient_values in patients.values() for value in patient_values]
    interval = withhold({"ci95": statistics.bootstrap_ci(patients, seed=seed) if values else None}, len(patients))
    spread = withhold({"sd": float(np.std(values, ddof=1)) if len(values) > 1 else None}, len(values))
    withheld = interval.pop("withheld", {}) | spread.pop("withheld", {})
    return {
        "mean": float(np.mean(values)) if values else None,
        **interval,
        **spread,
        "n": len(values),
        "n_undefined": len(rows) - len(values),
        "n_patients": len(patients),
        **({"withheld": withheld} if withheld else {}),
    }


def _grouped(
    frames: Sequence[FrameScore], group: Callable[[FrameScore], str | None], order: Iterable[str], seed: int
) -> dict[str, Any]:
    """Summarises the frames of every group that occurs, those named in `order` first; a missing name is "unknown"."""
    groups: dict[str, list[FrameScore]] = {}
    for row in frames:
        groups.setdefault(group(row) or "unknown", []).append(row)
    names = [name for name in order if name in groups]
    return {name: _overlap_and_distance(groups[name], seed) for name in [*names, *sorted(set(groups) - set(names))]}


def _ejection_fraction(patients: Sequence[PatientEF], method: EFMethod, seed: int) -> dict[str, Any]:
    """Summarises one method: agreement over the patients measured on both sides, counts of them and of the others."""
    results = [row.methods[method] for row in patients]
    stated = [
        (result.prediction_percent, row.ef_stated_percent)
        for result, row in zip(results, patients, strict=True)
        if result.prediction_percent is not None and row.ef_stated_percent is not None
    ]
    pairs = ef_pairs(patients, method)
    return {
        **(_agreement(pairs, seed) if len(pairs) else dict.fromkeys(AGREEMENT)),
        "agreement_with_stated_ef": _shown(statistics.agreement(*np.array(stated, np.float64).T)) if stated else None,
        "unit": "EF percentage points",
        "n": len(pairs),
        "n_patients": len(patients),
        "failures": Counter(result.failure for result in results if result.failure),
        "not_applicable": Counter(result.not_applicable for result in results if result.not_applicable),
    }


def _agreement(pairs: EFPairs, seed: int) -> dict[str, Any]:
    """Compares predicted with reference ejection fractions: the keys of `AGREEMENT`."""
    x, y = pairs.prediction, pairs.reference
    intervals = statistics.agreement_ci95(x, y, seed=seed)
    return {
        "agreement": _shown(statistics.agreement(x, y)),
        "agreement_ci95": withhold(intervals, len(pairs), intervals=True),
        "detection": {
            "ef_at_most_40": _detection(statistics.sensitivity_specificity(x, y, threshold=40.0, inclusive=True)),
            "ef_below_50": _detection(statistics.sensitivity_specificity(x, y, threshold=50.0, inclusive=False)),
        },
        "classes": {"names": EF_CLASSES, "reference_by_prediction": statistics.class_table(x, y, EF_CLASS_BOUNDS)},
    }


def _shown(agreement: Mapping[str, Any]) -> dict[str, Any]:
    return withhold(agreement, agreement["n"])


def _detection(found: Mapping[str, Any]) -> dict[str, Any]:
    """Withholds a share of few cases; the counts stay."""
    parts = [
        withhold({name: found[name] for name in names}, found[names[-1]])
        for names in (("sensitivity", "n_detected", "n_positive"), ("specificity", "n_ruled_out", "n_negative"))
    ]
    withheld = {name: reason for part in parts for name, reason in part.pop("withheld", {}).items()}
    return {**parts[0], **parts[1], **({"withheld": withheld} if withheld else {})}


def _json_able(value: Any) -> Any:
    """Returns the same nest with None for numbers that are not finite (JSON has no nan) and lists for tuples."""
    if isinstance(value, dict):
        return {key: _json_able(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_able(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
