"""Cells: one configuration, one seed, trained and scored once, kept as a small JSON.

Cells that several tables share are one cell. A finished cell is never run again; one that was cut goes on from its
checkpoint. All cells of a study grow from one base configuration a data set, which is written beside them.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echoforge_jax.config import Config, default_config, differences, flatten, read_config
from echoforge_jax.errors import ConfigError
from echoforge_jax.provenance import git_commit
from echoforge_jax.train import run
from echoforge_jax.training.loop import Outcome

ROOT = Path(__file__).resolve().parents[2]
CAMUS, ECHONET = "camus", "echonet"
Changes = dict[str, Any]
SHORT = {  # of the fields that cells change, in a cell's name; True: the value follows
    "semi.flamerise": ("without_flamerise", False),
    "model.anchors": ("anchors", True),
    "model.neighbours": ("k", True),
    "data.labelled_fraction": ("labels", True),
    "model.temperature": ("temperature", True),
    "semi.reforging_residual": ("residual", False),
    "semi.seed_weight": ("seed_weight", True),
    "semi.lambda_max": ("lambda", True),
    "optimizer.ema_decay": ("average", True),
    "semi.teacher": ("teacher", True),
    "semi.strong_student": ("strong", False),
    "semi.own_weight": ("own", True),
    "semi.burn_in": ("from", True),
    "data.labelled_clips_per_batch": ("rows", True),
    "data.batch_clips": ("of", True),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One configuration and one seed on one data set (CAMUS or ECHONET)."""

    changes: Changes
    seed: int = 0
    data: str = CAMUS

    @property
    def name(self) -> str:
        """The same for the same fields, whichever table asks: the defaults' cell is "full"."""
        defaults = default_config()
        changed = {
            name: value
            for name, value in self.changes.items()
            if name == "data.batch_clips" or get_field(defaults, name) != value  # base configurations differ in it
        }
        parts = [] if self.data == CAMUS else [self.data]
        if changed.pop("semi.pseudo_labels", None) == "none":
            modules = [("tsf", "temporal_fusion"), ("arc", "anchor_recalibration")]
            parts += [part for part, field in modules if changed.pop(f"model.{field}", True)] or ["baseline"]
        else:
            strategy = self.changes.get("semi.pseudo_labels", "reforging")
            parts.append("full" if strategy == "reforging" else strategy)
            if strategy == "mean_teacher":  # has an average in any case
                changed.pop("optimizer.ema_decay", None)
        for name, (short, with_value) in SHORT.items():
            if name in changed:
                value = changed[name]
                text = f"{100 * value:g}" if name == "data.labelled_fraction" else f"{value}"
                parts.append(f"{short}{text}" if with_value else short)
        return f"{'_'.join(parts)}_seed{self.seed}"


@dataclasses.dataclass(frozen=True)
class Study:
    """Where the cells of one scale lie and what they grow from.

    Attributes:
        scale: "small", "paper", "real", "real_small" or "real_long".
        bases: data set -> base configuration (a `ConfigDict`); a data set without one is left out.
        results: folder of finished cells and tables, kept for good.
        work: folder of checkpoints and predictions, which may be lost.
    """

    scale: str
    bases: dict[str, Any]
    results: Path
    work: Path

    def file(self, cell: Cell) -> Path:
        return self.results / f"{cell.name}.json"

    def folder(self, cell: Cell) -> Path:
        return self.work / cell.name

    def is_finished(self, cell: Cell) -> bool:
        return self.file(cell).is_file()

    def load(self, cell: Cell) -> dict[str, Any] | None:
        """What `summarise_cell` found, or None where the cell is not finished."""
        return json.loads(self.file(cell).read_text(encoding="utf-8")) if self.is_finished(cell) else None

    def check_bases(self, *, write: bool = True) -> None:
        """Writes each base configuration on first use; later it has to be the same (but for where the data lie).

        Raises:
            ConfigError: the finished cells were made with another one; the fields are named.
        """
        for data, base in self.bases.items():
            record = self.results / f"base_{data}.json"
            now = flatten(json.loads(json.dumps(dataclasses.asdict(read_config(base)))))
            now.pop("data.root")
            now["model.pretrained"] = Path(now["model.pretrained"]).name
            if not record.is_file():
                if write:
                    record.parent.mkdir(parents=True, exist_ok=True)
                    record.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
                continue
            differing = differences(json.loads(record.read_text(encoding="utf-8")), now)
            if differing:
                raise ConfigError(
                    f"the cells in {self.results} were made with another base configuration:\n"
                    + "\n".join(f"  {line}" for line in differing)
                    + "\ngive another --results folder"
                )

    def run(self, cell: Cell) -> Outcome:
        """Trains and scores one cell, and writes its JSON."""
        config = configured(self.bases[cell.data], cell.changes, cell.seed)
        if config.data.simulate.patients and not config.data.root:  # one population for all cells of a data set
            root = self.work / ("simulated" if cell.data == CAMUS else f"simulated_{cell.data}")
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, root=str(root)))
        start, commit = time.monotonic(), git_commit()
        if run(config, self.folder(cell)) is Outcome.INTERRUPTED:
            return Outcome.INTERRUPTED
        result = {
            "data": cell.data,
            "seed": cell.seed,
            "changes": cell.changes,
            "commit": (commit or "unknown")[:12],
            "date": time.strftime("%Y-%m-%d"),
            "minutes_of_the_last_session": round((time.monotonic() - start) / 60, 1),
            "epochs": config.training.epochs,
            **summarise_cell(self.folder(cell)),
        }
        self.file(cell).parent.mkdir(parents=True, exist_ok=True)
        self.file(cell).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        return Outcome.FINISHED


def configured(base: Any, changes: Changes, seed: int = 0) -> Config:
    """The configuration of a cell: a base (a `ConfigDict`, left as it is) with some fields changed.

    Raises:
        ConfigError: a field does not exist, cannot hold the value, or does not go with the others.
    """
    values = base.copy_and_resolve_references()
    for name, value in changes.items():
        set_field(values, name, value)
    values.seed = seed
    return read_config(values)


def summarise_cell(folder: Path) -> dict[str, Any]:
    """What tables need of a finished run: by protocol the patients' mean Dice, distances and EF, and the last epoch's
    monitors."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    with (folder / "per_frame.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    protocols = {}
    for protocol, summary in metrics["protocols"].items():
        by_patient: dict[str, list[float]] = {}
        for row in rows:
            if row["protocol"] == protocol:
                by_patient.setdefault(row["patient_id"], []).append(100 * float(row["dice"]))
        protocols[protocol] = {
            "dice_percent_by_patient": {key: round(float(np.mean(v)), 4) for key, v in sorted(by_patient.items())},
            "frames": summary["n_frames"],
            "dice_percent": summary["dice_percent"]["mean"],
            "dice_percent_by_phase": {key: of["dice_percent"]["mean"] for key, of in summary["by_phase"].items()},
            "distances": {
                unit: {key: found[key]["mean"] for key in ("hd", "hd95", "assd")}
                for unit, found in summary["distances"].items()
                if found["hd"]["n"]
            },
            "ejection_fraction": {
                method: {key: found["agreement"][key] for key in ("pearson_r", "bias", "sd", "n")}
                for method, found in summary["ejection_fraction"].items()
                if found["agreement"]
            },
            "temporal": summary["temporal"]
            and {
                key: summary["temporal"][key]["mean"] for key in ("frame_to_frame_dice_excess", "area_roughness_ratio")
            },
        }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    last = next((line for line in reversed(lines) if line.get("kind") == "epoch"), {})
    return {
        "simulated": metrics["simulated"],
        "split": metrics["split"],
        "protocols": protocols,
        "last_epoch": {key: value for key, value in last.items() if isinstance(value, int | float)},
    }


def read_base(path: Path, settings: Sequence[str] = ()) -> Any:
    """`get_config()` of a file, with fields set from "data.root=PATH" texts.

    Raises:
        ConfigError: the file is missing, or a field does not exist or cannot hold the value.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is missing; expected a file with get_config()")
    spec = importlib.util.spec_from_file_location("reproduced_config", path)
    assert spec and spec.loader
    if str(ROOT) not in sys.path:  # configurations import each other from the project's root
        sys.path.insert(0, str(ROOT))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config()
    for setting in settings:
        name, _, text = setting.partition("=")
        set_field(config, name, text)
    return config


def get_field(config: Any, name: str) -> Any:
    """The value of "part.field"."""
    for part in name.split("."):
        config = config[part]
    return config


def set_field(config: Any, name: str, value: Any) -> None:
    """Sets "part.field"; a text is read as the field's own kind.

    Raises:
        ConfigError: the field does not exist or cannot hold the value.
    """
    *parts, field = name.split(".")
    holder = config
    try:
        for part in parts:
            holder = holder[part]
        kind = type(holder[field])
        if isinstance(value, str) and kind is not str:
            value = {"true": True, "false": False}[value.lower()] if kind is bool else kind(value)
        holder[field] = value
    except (KeyError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(f"--set {name}: {error}") from error
