"""Scores a trained model: `python -m echoforge_jax.evaluate --workdir=runs/NAME --split=test --protocol=semi`.

`--checkpoint=FILE.safetensors --data=TREE` scores a released network, without a run's folder. With `--data=TREE` it
scores another data set than the one it was trained on, e.g. real frames after simulated ones. With `--predictions=TREE
--references=TREE` it scores masks that any other system drew (CAMUS file names), without a model. With
`--against=FOLDER` (repeat it) it compares with the folders of earlier evaluations, paired by patient. Several processes
of a launcher share the clips of a model's evaluation, as in a training (--distributed).
Writes metrics.json, per_frame.csv, per_patient.csv and report.html. Exit codes as `echoforge_jax.train`.
"""

from __future__ import annotations

from echoforge_jax import interruption

if __name__ == "__main__":
    interruption.install()  # before the imports below, which take seconds

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from absl import app, flags

from data_pipelines.local_path import local_path
from echoforge_jax.compilation_flags import COMPILATION_CACHE
from echoforge_jax.config import Config, replace
from echoforge_jax.console import errors_as_messages, parse_flags, say
from echoforge_jax.distributed import processes
from echoforge_jax.distributed.flags import join_cluster
from echoforge_jax.distributed.start import exit_if_process_lost
from echoforge_jax.errors import ConfigError
from echoforge_jax.inference import Ensemble, Predictor, Segmenter
from echoforge_jax.networks import find_network
from echoforge_jax.path_flags import PATH
from echoforge_jax.report.terminal import table
from echoforge_jax.scoring import choose_split, evaluate, evaluate_masks
from echoforge_jax.training.folder_lock import FolderLock, held_by_main, holder_of
from echoforge_jax.weights.trained import Trained

_WORKDIR = flags.DEFINE(PATH, "workdir", None, "The folder of a finished or interrupted training to score.")
_SPLIT = flags.DEFINE_enum(
    "split", None, ["train", "validation", "test", "all"], "The split to score. Without it the configuration decides."
)
_PROTOCOL = flags.DEFINE_multi_enum(
    "protocol",
    [],
    ["semi", "full"],
    "Which frames are scored: semi scores end-diastole and end-systole, full every frame with a reference. May be "
    "repeated. Without it the configuration decides.",
)
_DATA = flags.DEFINE(PATH, "data", None, "The folder of the data set to score. Without it the training's is scored.")
_FORMAT = flags.DEFINE_enum(
    "format",
    None,
    ["camus", "echonet_dynamic", "store"],
    "The format of the data set that --data names. Without it the format of the training's data is taken.",
)
_SCHEME = flags.DEFINE(
    PATH,
    "split_scheme",
    None,
    "How the patients of --data are split, as config.data.split_scheme. Without it the data set's own split is taken.",
)
_PREDICTIONS = flags.DEFINE(PATH, "predictions", None, "A tree of predicted masks to score in place of a model.")
_REFERENCES = flags.DEFINE(PATH, "references", None, "The tree of reference masks that belongs to --predictions.")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "best",
    "Which network is scored. With --workdir: best (highest validation Dice) or last (also of a training in progress). "
    "Without --workdir: the name of a network that ships with the package, a .safetensors file or an inference folder; "
    "then --data says what to score. The probabilities of several, separated by commas, are averaged at the first "
    "one's size.",
)
_SCALES = flags.DEFINE_list(
    "scales",
    None,
    "Test-time augmentation: probabilities are averaged over pictures enlarged by these factors, e.g. 0.9,1,1.1.",
)
_THRESHOLD = flags.DEFINE_float(
    "threshold", None, "A pixel is foreground from this probability on. Without it the network's own value is taken."
)
_AGAINST = flags.DEFINE_multi_string(
    "against", [], "The folder of another evaluation to compare with, paired by patient. May be repeated."
)
_OUT = flags.DEFINE(
    PATH,
    "out",
    None,
    "The folder for the results. Without it they are written into WORKDIR/evaluation_[DATA_]SPLIT[_last], "
    "evaluation_CHECKPOINT_DATA_SPLIT or evaluation_PREDICTIONS.",
)


@dataclasses.dataclass(frozen=True)
class Scored:
    """An evaluation that was written.

    Attributes:
        folder: Where it lies.
        result: What its metrics.json holds; {} on other processes than the main one.
    """

    folder: Path
    result: dict[str, Any]


def main(_: list[str]) -> None:
    """Runs the command."""
    with errors_as_messages(COMPILATION_CACHE.value):
        _check_flags()
        against = [Path(local_path(folder)) for folder in _AGAINST.value]
        if _PREDICTIONS.value and _REFERENCES.value:
            scored = _score_masks(Path(_PREDICTIONS.value), Path(_REFERENCES.value), against)
        else:
            join_cluster(Path(_OUT.value or _WORKDIR.value or "evaluation"))
            with exit_if_process_lost():
                scored = _score_model(against)
                processes.wait_for_all("everything is scored")
                if not processes.is_main():
                    return
        print(table(scored.result))
        print(f"report: {scored.folder / 'report.html'}")


def _check_flags() -> None:
    trees = _PREDICTIONS.value, _REFERENCES.value
    ways = bool(_WORKDIR.value), _names_a_network(), any(trees)
    if any(trees) != all(trees) or sum(ways) != 1:
        raise ConfigError(
            "give either --workdir=FOLDER, or --checkpoint=FILE and --data=TREE, or --predictions=TREE and "
            "--references=TREE"
        )
    if _names_a_network() and not _DATA.value:
        raise ConfigError(f"--checkpoint={_CHECKPOINT.value} needs --data=TREE, the data set to score")
    if _WORKDIR.value and not Path(_WORKDIR.value).is_dir():
        raise FileNotFoundError(f"--workdir={_WORKDIR.value} is no folder; expected that of a training")


def _names_a_network() -> bool:
    return _CHECKPOINT.value not in ("best", "last")


def _score_masks(predictions: Path, references: Path, against: Sequence[Path]) -> Scored:
    out = Path(_OUT.value or f"evaluation_{predictions.resolve().name}")
    protocols = _PROTOCOL.value or ["semi"]
    with FolderLock(out):
        return Scored(out, evaluate_masks(predictions, references, protocols=protocols, out=out, against=against))


def _score_model(against: Sequence[Path]) -> Scored:
    networks = [_with_flags(network) for network in _load_networks()]
    predictors = [Predictor(network) for network in networks]
    segmenter: Segmenter = predictors[0] if len(predictors) == 1 else Ensemble(predictors)
    config = _on_named_data(networks[0].config)
    split = _SPLIT.value or choose_split(config)
    out = Path(_OUT.value) if _OUT.value else Path(_WORKDIR.value or "") / f"evaluation_{_name_of_results(split)}"
    protocols = _PROTOCOL.value or config.evaluation.protocols
    with held_by_main(out):
        return Scored(out, evaluate(config, segmenter, split=split, protocols=protocols, out=out, against=against))


def _load_networks() -> list[Trained]:
    workdir, which = Path(_WORKDIR.value or ""), str(_CHECKPOINT.value)
    if _WORKDIR.value and (holder := holder_of(workdir)):
        say(f"the training goes on ({holder}): what it has saved so far is scored")
    if which == "last":
        if jax.process_count() > 1:
            raise ConfigError("--checkpoint=last is read by one process alone: start without a launcher, or score best")
        from echoforge_jax.training.restore import load_last  # a whole training's state: only needed here

        last = load_last(workdir)
        say(f"the state after step {last.step}")
        return [last.trained]
    paths = [find_network(local_path(name)) for name in which.split(",")] if _names_a_network() else [workdir]
    return [Trained.load(path) for path in paths]


def _with_flags(network: Trained) -> Trained:
    """The network with the test-time scales and the threshold of the command line."""
    changes: dict[str, Any] = {}
    if _SCALES.value:
        try:
            changes["evaluation.scales"] = tuple(map(float, _SCALES.value))
        except ValueError as error:
            raise ConfigError(
                f"--scales={','.join(_SCALES.value)}: {error}; expected numbers, e.g. 0.9,1,1.1"
            ) from error
    if _THRESHOLD.value is not None:
        changes["evaluation.threshold"] = _THRESHOLD.value
    return network.with_config(replace(network.config, changes)) if changes else network


def _on_named_data(config: Config) -> Config:
    if not _DATA.value:
        return config
    changes = {"data.root": _DATA.value, "data.split_scheme": _SCHEME.value, "data.simulate.patients": None}
    return replace(config, changes | ({"data.format": _FORMAT.value} if _FORMAT.value else {}))


def _name_of_results(split: str) -> str:
    name = f"{Path(_DATA.value).resolve().name}_{split}" if _DATA.value else split
    name += "_last" if _CHECKPOINT.value == "last" else ""
    name += f"_scales{'_'.join(_SCALES.value)}" if _SCALES.value else ""
    name += f"_threshold{_THRESHOLD.value:g}" if _THRESHOLD.value is not None else ""
    networks = [] if _WORKDIR.value else [Path(file).stem for file in str(_CHECKPOINT.value).split(",")]
    return "_".join([*networks, name])


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
