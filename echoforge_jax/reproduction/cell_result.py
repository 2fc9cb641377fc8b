"""A finished cell as a record: what the tables need of one trained and scored run, and its JSON file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echoforge_jax.evaluation.rows import FrameScore, dice_percent, mean_by_patient
from echoforge_jax.report.folder import read_frames
from echoforge_jax.reproduction.reading import named, read_json


@dataclasses.dataclass(frozen=True)
class Distances:
    """Mean contour distances over frames, in one unit; None where no frame has one.

    Attributes:
        hd: Hausdorff distance.
        hd95: its 95th percentile.
        assd: average symmetric surface distance.
    """

    hd: float | None
    hd95: float | None
    assd: float | None


@dataclasses.dataclass(frozen=True)
class EjectionFractionAgreement:
    """Agreement of predicted and reference ejection fractions by one method.

    Attributes:
        pearson_r: correlation; None where it is undefined.
        bias: mean of prediction minus reference, in percentage points.
        sd: standard deviation of the differences, in percentage points; None for one patient.
        n: patients.
    """

    pearson_r: float | None
    bias: float | None
    sd: float | None
    n: int


@dataclasses.dataclass(frozen=True)
class CellScores:
    """Scores of one run under one protocol.

    Attributes:
        dice_percent_by_patient: each patient's mean Dice over frames, in per cent.
        frames: scored frames.
        dice_percent: mean Dice over frames, in per cent.
        dice_percent_by_phase: the same for ED and ES frames.
        distances: by unit ("mm" or "px"), the units that some frame has.
        ejection_fraction: by method, the methods that some patient has.
        temporal: means of the temporal measures; None under a protocol that scores single frames.
    """

    dice_percent_by_patient: Mapping[str, float]
    frames: int
    dice_percent: float
    dice_percent_by_phase: Mapping[str, float | None]
    distances: Mapping[str, Distances]
    ejection_fraction: Mapping[str, EjectionFractionAgreement]
    temporal: Mapping[str, float | None] | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CellScores:
        """Reads the part of a cell's JSON that belongs to one protocol."""
        distances = {unit: Distances(**means) for unit, means in values["distances"].items()}
        methods = {
            method: EjectionFractionAgreement(**numbers) for method, numbers in values["ejection_fraction"].items()
        }
        return cls(**{**values, "distances": distances, "ejection_fraction": methods})


@dataclasses.dataclass(frozen=True)
class CellResult:
    """A finished cell. The names of the attributes are those of its JSON file.

    Attributes:
        data: data set, "camus" or "echonet".
        seed: seed of the training.
        changes: fields that the cell set in its base configuration, by the names that they had when it was trained.
        commit: the first digits of the commit that trained it, or "unknown".
        date: day on which it was finished, YYYY-MM-DD.
        minutes_of_the_last_session: wall time of the command that finished it.
        epochs: epochs of the training.
        simulated: whether the clips were simulated.
        split: the split that was scored.
        protocols: scores by protocol.
        last_epoch: numbers that the training logged at its last epoch.
    """

    data: str
    seed: int
    changes: Mapping[str, Any]
    commit: str
    date: str
    minutes_of_the_last_session: float
    epochs: int
    simulated: bool
    split: str
    protocols: Mapping[str, CellScores]
    last_epoch: Mapping[str, float | int]

    @classmethod
    def read(cls, file: Path) -> CellResult:
        """Reads a cell's JSON file; the oldest files do not name their data set, which is CAMUS.

        Raises:
            ConfigError: the file is garbled.
        """
        values = read_json(file)
        with named(file):
            names = {field.name for field in dataclasses.fields(cls)}
            known = {"data": "camus"} | {name: value for name, value in values.items() if name in names}
            protocols = {name: CellScores.from_json(scores) for name, scores in values["protocols"].items()}
            return cls(**{**known, "protocols": protocols})

    def write(self, file: Path) -> None:
        """Writes the cell's JSON file, and makes its folder."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")


def read_scores(run_folder: Path) -> dict[str, CellScores]:
    """Reads the scores of a finished run, by protocol, from its metrics.json and per_frame.csv."""
    frames = read_frames(run_folder)
    return {
        protocol: _protocol_scores(summary, frames[protocol])
        for protocol, summary in read_metrics_file(run_folder)["protocols"].items()
    }


def read_metrics_file(run_folder: Path) -> dict[str, Any]:
    """Reads metrics.json of a scored run."""
    return read_json(run_folder / "metrics.json")


def _protocol_scores(summary: Mapping[str, Any], frames: list[FrameScore]) -> CellScores:
    temporal = summary["temporal"]
    return CellScores(
        dice_percent_by_patient={
            patient: round(mean, 4) for patient, mean in sorted(mean_by_patient(frames, dice_percent).items())
        },
        frames=summary["n_frames"],
        dice_percent=summary["dice_percent"]["mean"],
        dice_percent_by_phase={phase: part["dice_percent"]["mean"] for phase, part in summary["by_phase"].items()},
        distances={
            unit: Distances(**{name: means[name]["mean"] for name in ("hd", "hd95", "assd")})
            for unit, means in summary["distances"].items()
            if means["hd"]["n"]
        },
        ejection_fraction={
            method: EjectionFractionAgreement(
                **{name: part["agreement"][name] for name in ("pearson_r", "bias", "sd", "n")}
            )
            for method, part in summary["ejection_fraction"].items()
            if part["agreement"]
        },
        temporal=temporal
        and {name: temporal[name]["mean"] for name in ("frame_to_frame_dice_excess", "area_roughness_ratio")},
    )
