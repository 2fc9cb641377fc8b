"""Cells and studies: a cell is one configuration and one seed, trained and scored once and kept as a small JSON file.

Cells that several tables share are one cell. A finished cell is never run again; an interrupted one resumes from its
checkpoint. All cells of a study start from one base configuration for each data set, which is written beside them.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from echoforge_jax.config import Config, differences, flatten, read_config, replace, stored_form
from echoforge_jax.config.files import load_config_file
from echoforge_jax.errors import ConfigError
from echoforge_jax.provenance import code_version
from echoforge_jax.reproduction.cell_result import CellResult, read_metrics_file, read_scores
from echoforge_jax.reproduction.reading import named, read_json
from echoforge_jax.reproduction.rows import CAMUS, Changes, Row
from echoforge_jax.train import run
from echoforge_jax.training.loop import Outcome
from echoforge_jax.training.run_log import read_metrics

ABBREVIATIONS = {  # how a cell's name writes a changed field; {} stands for the value
    "flamerise.enabled": "without_flamerise",
    "model.anchors": "anchors{}",
    "model.neighbours": "k{}",
    "data.labelled_fraction": "labels{}",
    "model.temperature": "temperature{}",
    "loss.seed_weight": "seed_weight{}",
    "flamerise.lambda_max": "lambda{}",
    "optimizer.ema_decay": "average{}",
    "pseudo_labels.teacher": "teacher{}",
    "pseudo_labels.strong_student": "strong",
    "pseudo_labels.own_weight": "own{}",
    "flamerise.burn_in": "from{}",
    "data.labelled_clips_per_batch": "rows{}",
    "data.batch_clips": "of{}",
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One configuration and one seed on one data set.

    Attributes:
        changes: the fields that the cell sets in the base configuration of its data set.
        seed: seed of the training.
        data: the data set, CAMUS or ECHONET.
    """

    changes: Changes
    seed: int = 0
    data: str = CAMUS

    @classmethod
    def from_row(cls, row: Row, seed: int) -> Cell:
        """Makes the cell of a table's row.

        Args:
            row: the row, which names the fields to change and the data set.
            seed: seed of the training.
        """
        return cls(row.changes, seed, row.data)

    @property
    def name(self) -> str:
        """The name of the cell's file and folder: equal for equal fields, whichever table asks."""
        return f"{self.configuration_name}_seed{self.seed}"

    @property
    def configuration_name(self) -> str:
        """The name without the seed. The cell with the default fields is "full"."""
        defaults = flatten(dataclasses.asdict(Config()))
        changed = {
            field: value
            for field, value in self.changes.items()
            # Base configurations differ in the size of a batch, so it is written whenever a cell sets it.
            if field == "data.batch_clips" or defaults[field] != value
        }
        parts = [] if self.data == CAMUS else [self.data]
        strategy = self.changes.get("pseudo_labels.strategy", "reforging")
        changed.pop("pseudo_labels.strategy", None)
        if strategy is None:
            modules = [("tsf", "temporal_fusion"), ("arc", "anchor_recalibration")]
            parts += [part for part, field in modules if changed.pop(f"model.{field}", True)] or ["baseline"]
        else:
            parts.append("full" if strategy == "reforging" else strategy)
            if strategy == "mean_teacher":  # always keeps an average
                changed.pop("optimizer.ema_decay", None)
        for field, abbreviation in ABBREVIATIONS.items():
            if field in changed:
                value = changed[field]
                parts.append(abbreviation.format(f"{100 * value:g}" if field == "data.labelled_fraction" else value))
        return "_".join(parts)


@dataclasses.dataclass(frozen=True)
class Study:
    """The cells of one scale: where they lie and what they start from.

    Attributes:
        scale: "small", "paper", "real", "real_small" or "real_long".
        bases: base configuration by data set; a data set without one is left out of every table.
        results: folder of finished cells and tables, which is kept for good.
        work: folder of checkpoints and predictions, which may be lost.
    """

    scale: str
    bases: Mapping[str, Config]
    results: Path
    work: Path

    def result_file(self, cell: Cell) -> Path:
        """Returns where the JSON file of a finished cell lies."""
        return self.results / f"{cell.name}.json"

    def run_folder(self, cell: Cell) -> Path:
        """Returns the folder that a cell is trained in."""
        return self.work / cell.name

    def is_finished(self, cell: Cell) -> bool:
        """Says whether a cell is trained and scored."""
        return self.result_file(cell).is_file()

    def read(self, cell: Cell) -> CellResult | None:
        """Reads a cell's result; returns None where the cell is not finished."""
        return CellResult.read(self.result_file(cell)) if self.is_finished(cell) else None

    def finished(self, row: Row, seeds: int) -> list[CellResult]:
        """Reads the finished cells of a row.

        Args:
            row: a row of a table.
            seeds: cells with seeds 0 to `seeds` - 1 are read.
        """
        results = (self.read(Cell.from_row(row, seed)) for seed in range(seeds))
        return [result for result in results if result]

    def trained_folder(self, cell: Cell) -> Path:
        """Returns the run folder of a finished cell, which holds its trained network.

        Raises:
            ConfigError: the network is lost.
        """
        folder = self.run_folder(cell)
        if not (folder / "inference" / "card.json").is_file():
            raise ConfigError(
                f"{folder} holds no trained network, and the figure needs its masks; remove {self.result_file(cell)} "
                "and run the same command again to train the cell anew"
            )
        return folder

    def check_bases(self, *, write: bool = True) -> None:
        """Writes each base configuration on first use, and checks later that it is the same.

        Where the data and the pretrained weights lie may differ.

        Args:
            write: False only checks.

        Raises:
            ConfigError: the finished cells were made with another base configuration; the fields are named.
        """
        for data, base in self.bases.items():
            record = self.results / f"base_{data}.json"
            fields = _recorded_fields(base)
            if record.is_file():
                stored = read_json(record)
                with named(record):
                    differing = differences(stored, fields)
                if differing:
                    raise ConfigError(
                        f"the cells in {self.results} were made with another base configuration:\n"
                        + "\n".join(f"  {line}" for line in differing)
                        + "\ngive another --results folder"
                    )
            elif write:
                record.parent.mkdir(parents=True, exist_ok=True)
                record.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")

    def run(self, cell: Cell) -> Outcome:
        """Trains and scores one cell, and writes its JSON file unless the training is interrupted."""
        config = configured(self.bases[cell.data], cell.changes, cell.seed)
        if config.data.simulate.patients and not config.data.root:  # one population for all cells of a data set
            root = self.work / ("simulated" if cell.data == CAMUS else f"simulated_{cell.data}")
            config = replace(config, {"data.root": str(root)})
        start, commit, folder = time.monotonic(), code_version().short, self.run_folder(cell)
        if run(config, folder) is Outcome.INTERRUPTED:
            return Outcome.INTERRUPTED
        metrics = read_metrics_file(folder)
        epochs = [line for line in read_metrics(folder) if line.get("kind") == "epoch"]
        last_epoch = epochs[-1] if epochs else {}
        CellResult(
            data=cell.data,
            seed=cell.seed,
            changes=cell.changes,
            commit=commit,
            date=time.strftime("%Y-%m-%d"),
            minutes_of_the_last_session=round((time.monotonic() - start) / 60, 1),
            epochs=config.training.epochs,
            simulated=metrics["simulated"],
            split=metrics["split"],
            protocols=read_scores(folder),
            last_epoch={name: value for name, value in last_epoch.items() if isinstance(value, int | float)},
        ).write(self.result_file(cell))
        return Outcome.FINISHED


def configured(base: Config, changes: Changes, seed: int = 0) -> Config:
    """Returns the configuration of a cell.

    Args:
        base: base configuration of the cell's data set.
        changes: fields that the cell sets, by dotted name.
        seed: seed of the training.

    Raises:
        ConfigError: a field does not exist, cannot hold the value, or does not go with the others.
    """
    return replace(base, {**changes, "seed": seed})


def read_base(name_or_path: str | Path, settings: Sequence[str] = ()) -> Config:
    """Reads a base configuration.

    Args:
        name_or_path: name of a configuration that ships with the project ("ablations/small"), or a file with
            get_config().
        settings: texts such as "data.root=PATH", each of which sets a field.

    Raises:
        ConfigError: the configuration is not found, or a field does not exist or cannot hold the value.
    """
    values = load_config_file(name_or_path)
    for setting in settings:
        name, _, text = setting.partition("=")
        _set_field(values, name, text)
    return read_config(values)


def _recorded_fields(base: Config) -> dict[str, Any]:
    """The fields of a base configuration that its cells depend on, flat and as JSON holds them."""
    fields = flatten(stored_form(base))
    fields.pop("data.root")
    if fields["model.pretrained"]:
        fields["model.pretrained"] = Path(fields["model.pretrained"]).name
    return fields


def _set_field(values: ml_collections.ConfigDict, name: str, text: str) -> None:
    """Sets "section.field" from a text, which is read as the field's own type."""
    *sections, field = name.split(".")
    holder: Any = values
    try:
        for section in sections:
            holder = holder[section]
        holder[field] = _parse(text, holder.get_type(field))
    except (KeyError, AttributeError, ValueError, TypeError, SyntaxError) as error:
        raise ConfigError(f"--set {name}: {error}") from error


def _parse(text: str, kind: type) -> Any:
    if kind is str:
        return text
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    return ast.literal_eval(text) if kind is tuple else kind(text)
