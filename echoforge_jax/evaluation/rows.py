"""The records of an evaluation: a score for each frame, ejection fractions for each patient, steadiness for each clip.

Only here do they become columns of CSV files, and only here are those columns read back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from echoforge_jax.evaluation.ejection_fraction import EF_METHODS, EFMethod, EjectionFraction, Failure
from echoforge_jax.evaluation.surface import SurfaceDistances
from echoforge_jax.evaluation.temporal import Steadiness

NOT_MEASURED = "the file is older than the method"
DISTANCES = tuple(field.name for field in dataclasses.fields(SurfaceDistances))
STEADINESS = tuple(field.name for field in dataclasses.fields(Steadiness) if field.name != "n_frames")


@dataclasses.dataclass(frozen=True)
class FrameScore:
    """The scores of one predicted mask.

    Attributes:
        patient_id: e.g. "patient0001".
        view: "2CH", "4CH" or "" where it is not known.
        phase: "ED", "ES", or "between" for every other frame.
        frame: index of the frame in the scored clip.
        quality: "Good", "Medium", "Poor" or None.
        dice: Dice coefficient, 0..1.
        iou: intersection over union, 0..1.
        distances: border distances in `unit` (nan where exactly one of the two masks is empty) and boundary F-scores.
        unit: "mm", or "px" where the pixel spacing is not known.
        empty_prediction: whether nothing was predicted.
        empty_reference: whether the reference mask is empty.
    """

    patient_id: str
    view: str
    phase: str
    frame: int
    quality: str | None
    dice: float
    iou: float
    distances: SurfaceDistances
    unit: str
    empty_prediction: bool
    empty_reference: bool

    def columns(self) -> dict[str, Any]:
        """Returns the columns of per_frame.csv; every distance has its own."""
        return _flat(self)

    @classmethod
    def from_columns(cls, columns: Mapping[str, str]) -> FrameScore:
        """Reads a row of per_frame.csv. A distance that an older file does not have is nan."""
        return cls(
            patient_id=columns["patient_id"],
            view=columns["view"],
            phase=columns["phase"],
            frame=int(columns["frame"]),
            quality=columns["quality"] or None,
            dice=float(columns["dice"]),
            iou=float(columns["iou"]),
            distances=SurfaceDistances(**{name: float(columns.get(name, "nan")) for name in DISTANCES}),
            unit=columns["unit"],
            empty_prediction=columns["empty_prediction"] == "True",
            empty_reference=columns["empty_reference"] == "True",
        )


@dataclasses.dataclass(frozen=True)
class EFResult:
    """The ejection fraction of one patient by one method, from the reference masks and from the predicted masks.

    Attributes:
        reference: measured on the reference masks, or why that failed.
        prediction: measured on the predicted masks, or why that failed.
        volume_unit: "ml", "px3_per_1000" (thousands of cubic pixels) where the pixel spacing is not known, or
            "share_of_edv".
        not_applicable: why the method does not apply to this patient's clips (both sides then fail with this reason);
            None where it applies.
    """

    reference: EjectionFraction | Failure
    prediction: EjectionFraction | Failure
    volume_unit: str
    not_applicable: str | None = None

    @property
    def reference_percent(self) -> float | None:
        """The ejection fraction of the reference masks, per cent; None where it could not be measured."""
        return _measured(self.reference, "percent")

    @property
    def prediction_percent(self) -> float | None:
        """The ejection fraction of the predicted masks, per cent; None where it could not be measured."""
        return _measured(self.prediction, "percent")

    @property
    def failure(self) -> str | None:
        """Which sides failed and why; None where both were measured or the method does not apply."""
        if self.not_applicable:
            return None
        sides = {"reference": self.reference, "prediction": self.prediction}
        reasons = [f"{side}: {ef.reason}" for side, ef in sides.items() if isinstance(ef, Failure)]
        return "; ".join(reasons) or None

    def columns(self) -> dict[str, Any]:
        """Returns the columns of one method in per_patient.csv, without the method's name."""
        sides = {"reference": self.reference, "prediction": self.prediction}
        return {
            **{f"{side}_ef_percent": _measured(ef, "percent") for side, ef in sides.items()},
            **{f"{side}_{volume}": _measured(ef, volume) for volume in ("edv", "esv") for side, ef in sides.items()},
            "volume_unit": self.volume_unit,
            "failure": self.failure,
            "not_applicable": self.not_applicable,
        }

    @classmethod
    def from_columns(cls, columns: Mapping[str, str]) -> EFResult:
        """Reads the columns of one method, without the method's name; a file older than the method has none."""
        if not columns:
            failure = Failure(NOT_MEASURED)
            return cls(failure, failure, "", not_applicable=NOT_MEASURED)
        failures = dict(text.split(": ", 1) for text in columns["failure"].split("; ") if text)

        def side(name: str) -> EjectionFraction | Failure:
            values = [columns[f"{name}_{what}"] for what in ("ef_percent", "edv", "esv")]
            if all(values):
                return EjectionFraction(*map(float, values))
            return Failure(columns["not_applicable"] or failures[name])

        return cls(side("reference"), side("prediction"), columns["volume_unit"], columns["not_applicable"] or None)


@dataclasses.dataclass(frozen=True)
class PatientEF:
    """The ejection fractions of one patient.

    Attributes:
        patient_id: e.g. "patient0001".
        quality: the first quality that a clip of the patient states, or None.
        views: the patient's views, e.g. "2CH+4CH".
        ef_stated_percent: the ejection fraction that the data set states, per cent, or None. It was measured by another
            method, so it is never mixed with the results below.
        methods: the result of every method.
        warnings: what the readers of the patient's clips warn of, as "4CH: uneven frame times; ..."; "" without any.
    """

    patient_id: str
    quality: str | None
    views: str
    ef_stated_percent: float | None
    methods: Mapping[EFMethod, EFResult]
    warnings: str = ""

    def columns(self) -> dict[str, Any]:
        """Returns the columns of per_patient.csv: the identity, nine columns for every method, then the warnings."""
        identity = {name: getattr(self, name) for name in ("patient_id", "quality", "views", "ef_stated_percent")}
        measured = {
            f"{method.name}_{name}": value
            for method, result in self.methods.items()
            for name, value in result.columns().items()
        }
        return identity | measured | {"warnings": self.warnings}

    @classmethod
    def from_columns(cls, columns: Mapping[str, str]) -> PatientEF:
        """Reads a row of per_patient.csv."""
        methods = {}
        for method in EF_METHODS:
            prefix = f"{method.name}_"
            own = {name.removeprefix(prefix): value for name, value in columns.items() if name.startswith(prefix)}
            methods[method] = EFResult.from_columns(own)
        stated = columns["ef_stated_percent"]
        return cls(
            patient_id=columns["patient_id"],
            quality=columns["quality"] or None,
            views=columns["views"],
            ef_stated_percent=float(stated) if stated else None,
            methods=methods,
            warnings=columns.get("warnings", ""),  # absent in older files
        )


@dataclasses.dataclass(frozen=True)
class ClipSteadiness:
    """The steadiness of the predicted masks of one clip.

    Attributes:
        patient_id: e.g. "patient0001".
        view: "2CH", "4CH" or "" where it is not known.
        quality: "Good", "Medium", "Poor" or None.
        steadiness: the measurements.
        warnings: what the reader of the clip warns of, as codes of notes; "" without any.
    """

    patient_id: str
    view: str
    quality: str | None
    steadiness: Steadiness
    warnings: str = ""

    def columns(self) -> dict[str, Any]:
        """Returns the columns of per_clip.csv; every measurement has its own."""
        return _flat(self)


Row = TypeVar("Row", FrameScore, PatientEF, ClipSteadiness)


def dice_percent(row: FrameScore) -> float:
    """Returns the Dice coefficient in per cent."""
    return 100 * row.dice


def iou_percent(row: FrameScore) -> float:
    """Returns the intersection over union in per cent."""
    return 100 * row.iou


def distance(name: str) -> Callable[[FrameScore], float]:
    """Returns the measure of a frame that is called `name` in `SurfaceDistances`, e.g. "hd95"."""
    return lambda row: getattr(row.distances, name)


def by_patient(rows: Iterable[Row], measure: Callable[[Row], float]) -> dict[str, list[float]]:
    """Groups the defined values of a measure by patient.

    Args:
        rows: records of frames, patients or clips.
        measure: the value of a record; one that is not finite is undefined and left out.

    Returns:
        patient_id -> values in the order of the rows; patients without a defined value are left out.
    """
    values: dict[str, list[float]] = {}
    for row in rows:
        value = measure(row)
        if np.isfinite(value):
            values.setdefault(row.patient_id, []).append(value)
    return values


def mean_by_patient(rows: Iterable[Row], measure: Callable[[Row], float]) -> dict[str, float]:
    """Averages the defined values of a measure over the records of each patient.

    Args:
        rows: records of frames, patients or clips.
        measure: the value of a record; one that is not finite is undefined and left out.

    Returns:
        patient_id -> mean; patients without a defined value are left out.
    """
    return {patient_id: float(np.mean(values)) for patient_id, values in by_patient(rows, measure).items()}


@dataclasses.dataclass(frozen=True)
class EFPairs:
    """Ejection fractions of the patients that one method could measure on both sides.

    Attributes:
        prediction: from the predicted masks, per cent, (n,).
        reference: from the reference masks, per cent, (n,).
    """

    prediction: Float[np.ndarray, " n"]
    reference: Float[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.prediction)


def ef_pairs(rows: Sequence[PatientEF], method: EFMethod) -> EFPairs:
    """Pairs the predicted and the reference ejection fractions of the patients that a method measured on both sides.

    Args:
        rows: one record for each patient.
        method: the method.

    Returns:
        The pairs in the order of the rows.
    """
    results = [row.methods[method] for row in rows]
    pairs = [(result.prediction_percent, result.reference_percent) for result in results]
    both = [pair for pair in pairs if None not in pair]
    return EFPairs(*np.array(both, np.float64).reshape(-1, 2).T)


def _measured(ef: EjectionFraction | Failure, name: str) -> float | None:
    return getattr(ef, name) if isinstance(ef, EjectionFraction) else None


def _flat(row: FrameScore | ClipSteadiness) -> dict[str, Any]:
    """Returns the fields of a record; a record among them is replaced by its own fields."""
    columns: dict[str, Any] = {}
    for name, value in dataclasses.asdict(row).items():
        columns |= value if isinstance(value, dict) else {name: value}
    return columns
