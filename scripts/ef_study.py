"""Studies the ejection fraction of a released network: its bias, what removes it, and an interval that holds.

    python scripts/ef_study.py --checkpoint=camus-small --data=CAMUS_TREE --predictions=DIR --out=FILE.json

Predictions (foreground probabilities of ED and ES) are saved, so that a second run only measures. Patients 351 to 400
are held back: the network was trained on patients 1 to 350. Whatever is fitted is fitted on patients 1 to 350, or on
the other folds of patients 351 to 400, never on the patient that is scored.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

import echoforge_jax as ef
from data_pipelines.preprocessing import resize_probability
from data_pipelines.records import ENDOCARDIUM, VIEWS, UnreadableRecord
from data_pipelines.sampling import ed_to_es
from data_pipelines.source import CamusSource
from echoforge_jax.evaluation.discs import MeasurementError, measure_discs
from echoforge_jax.evaluation.ejection_fraction import (
    BIPLANE_DISCS_UNSCALED,
    SINGLE_PLANE_DISCS,
    EFMethod,
    EjectionFraction,
    Failure,
    ViewDiscs,
)
from echoforge_jax.evaluation.statistics import agreement, agreement_ci95
from echoforge_jax.measurement.interval import conformal_interval, cross_fit, fit_line

FIRST_HELD_BACK = 351
FOLDS, SEED, COVERAGE = 10, 0, 0.9
METHODS = (BIPLANE_DISCS_UNSCALED, SINGLE_PLANE_DISCS)
SQUARE = (1.0, 1.0)
# How a mask is cut out of a probability map: the threshold, and the SD (pixels) of a Gaussian before it.
CUTS = {
    "threshold 0.5": (0.5, 0.0),
    "threshold 0.6": (0.6, 0.0),
    "threshold 0.7": (0.7, 0.0),
    "smoothed by 2 px": (0.5, 2.0),
}
FINER = 2  # "finer pixels": the probability map is enlarged by this factor before the threshold


def predict(checkpoint: str, data: Path, out: Path) -> None:
    """Saves the probabilities and references of ED and ES of every record that is not there yet.

    Args:
        checkpoint: name or path of the network.
        data: the CAMUS tree.
        out: folder of the predictions.
    """
    out.mkdir(parents=True, exist_ok=True)
    source = CamusSource(data)
    missing = [entry for entry in source.index("all").entries if not (out / f"{_record(entry)}.npz").exists()]
    network = ef.load(checkpoint) if missing else None
    for entry in missing:
        try:
            clip = ed_to_es(source.read(entry))
        except UnreadableRecord as error:
            print(error)
            continue
        assert network is not None
        instants = np.array([clip.ed_index, clip.es_index], int)
        probability = network.segment(clip).probability[instants].astype(np.float16)
        reference = clip.label_map[instants] == ENDOCARDIUM
        np.savez_compressed(out / f"{clip.record_id}.npz", probability=probability, reference=reference)


def _record(entry: Any) -> str:
    return f"{entry.patient_id}_{entry.view}"


def masks_of(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the reference masks, then those of every cut, each (2, h, w): ED and ES.

    Args:
        path: a saved prediction.
    """
    saved = np.load(path)
    reference = saved["reference"]
    yield "reference", reference
    shape = reference.shape[1:]
    native = resize_probability(saved["probability"].astype(np.float32), shape)
    for name, (threshold, sigma) in CUTS.items():
        smoothed = ndimage.gaussian_filter(native, (0, sigma, sigma)) if sigma else native
        yield name, smoothed >= threshold
    fine = resize_probability(saved["probability"].astype(np.float32), (FINER * shape[0], FINER * shape[1]))
    yield "finer pixels", fine >= 0.5


def measure(predictions: Path, every: int) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Measures every patient: method -> cut -> "patientNNNN" -> EF in per cent; a failure is left out.

    Args:
        predictions: folder of saved predictions.
        every: of the patients that were not held back, each so-and-so-many-th is measured.
    """
    result: dict[str, dict[str, dict[str, Any]]] = {method.name: {} for method in METHODS}
    patients = sorted({path.stem.split("_")[0] for path in predictions.glob("*.npz")})
    for patient in patients:
        number = int(patient.removeprefix("patient"))
        if number < FIRST_HELD_BACK and number % every:
            continue
        views: dict[str, dict[str, ViewDiscs | Failure]] = {}
        for view in VIEWS:
            path = predictions / f"{patient}_{view}.npz"
            if path.exists():
                for name, masks in masks_of(path):
                    views.setdefault(name, {})[view] = _view(masks)
        for name, discs in views.items():
            for method in METHODS:
                percent = _percent(method, discs)
                if percent is not None:
                    result[method.name].setdefault(name, {})[patient] = percent
    return result


def _view(masks: np.ndarray) -> ViewDiscs | Failure:
    try:
        return ViewDiscs(*(measure_discs(_cropped(mask), SQUARE) for mask in masks))
    except MeasurementError as error:
        return Failure(error.reason)


def _cropped(mask: np.ndarray) -> np.ndarray:
    """Cuts the empty margin off, which changes no length."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else mask


def _percent(method: EFMethod, views: dict[str, ViewDiscs | Failure]) -> float | None:
    if not set(method.views) <= set(views):
        return None
    result = method.measure(views)
    return result.percent if isinstance(result, EjectionFraction) else None


def compare(prediction: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """Returns agreement and its 95 % interval.

    Args:
        prediction: EF of the network's masks, per cent.
        reference: EF of the reference masks, per cent.
    """
    return {"agreement": agreement(prediction, reference), "ci95": agreement_ci95(prediction, reference, seed=SEED)}


def study(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Compares every cut on the trained and on the held-back patients, and measures the interval.

    Args:
        measured: cut -> patient -> EF in per cent, with the cut "reference".
    """
    reference = measured["reference"]
    out: dict[str, Any] = {"cuts": {}}
    kept = {}
    for name, values in measured.items():
        if name == "reference":
            continue
        both = sorted(set(values) & set(reference))
        x, y = (np.array([side[patient] for patient in both]) for side in (values, reference))
        held = np.array([int(patient.removeprefix("patient")) >= FIRST_HELD_BACK for patient in both])
        kept[name] = (x, y, held)
        out["cuts"][name] = {"trained": compare(x[~held], y[~held]), "held_back": compare(x[held], y[held])}
    x, y, held = kept["threshold 0.5"]
    trained_line = fit_line(x[~held], y[~held])
    out["line_from_trained"] = compare(trained_line(x[held]), y[held])
    corrected = cross_fit(x[held], y[held], fit_line, folds=FOLDS, seed=SEED)
    out["line_cross_fitted"] = compare(corrected, y[held])
    shift = cross_fit(x[held], y[held], _fit_shift, folds=FOLDS, seed=SEED)
    out["shift_cross_fitted"] = compare(shift, y[held])
    out["interval"] = {
        "from_trained": _coverage(x[held], y[held], conformal_interval((y - x)[~held], coverage=COVERAGE)),
        "cross_fitted": _cross_coverage(x[held], y[held]),
    }
    out["residuals_held_back"] = sorted(np.round(y - x, 3)[held].tolist())
    return out


def _fit_shift(x: np.ndarray, y: np.ndarray) -> Any:
    shift = float((y - x).mean())
    return lambda new: new + shift


def _coverage(x: np.ndarray, y: np.ndarray, interval: Any) -> dict[str, float]:
    low, high = x + interval.low, x + interval.high
    covered = (low <= y) & (y <= high)
    return {"coverage": float(covered.mean()), "n": len(x), "width": float((high - low).mean())}


def _cross_coverage(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Averages over 200 divisions into folds, because one division of 50 patients is a matter of luck."""
    results = []
    for seed in range(200):
        fold = np.random.default_rng(seed).permutation(len(x)) % FOLDS
        for one in range(FOLDS):
            interval = conformal_interval((y - x)[fold != one], coverage=COVERAGE)
            results.append(_coverage(x[fold == one], y[fold == one], interval))
    total = sum(row["n"] for row in results)
    return {
        "coverage": sum(row["coverage"] * row["n"] for row in results) / total,
        "n": len(x),
        "width": sum(row["width"] * row["n"] for row in results) / total,
    }


def main() -> None:
    """Runs the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="Name or path of the network.")
    parser.add_argument("--data", type=Path, required=True, help="The CAMUS tree with patients 1 to 400.")
    parser.add_argument("--predictions", type=Path, required=True, help="The folder for the predictions.")
    parser.add_argument("--out", type=Path, required=True, help="The JSON file for the numbers.")
    parser.add_argument("--measure_only", action="store_true", help="Take the predictions that are there.")
    parser.add_argument("--every", type=int, default=1, help="Measure each n-th patient of 1 to 350. Default: 1.")
    options = parser.parse_args()
    if not options.measure_only:
        predict(options.checkpoint, options.data, options.predictions)
    measured = measure(options.predictions, options.every)
    options.out.write_text(json.dumps({name: study(cuts) for name, cuts in measured.items()}, indent=1))


if __name__ == "__main__":
    main()
