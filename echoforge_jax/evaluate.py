"""Scores a trained model: `python -m echoforge_jax.evaluate --workdir=runs/NAME --split=test --protocol=semi`.

`--checkpoint=FILE.safetensors --data=TREE` scores a released network, without a run's folder.
With `--data=TREE` it scores another data set than the one it was trained on, e.g. real frames after simulated ones.
With `--predictions=TREE --references=TREE` it scores masks that any other system drew (CAMUS file names), without a
model. With `--against=FOLDER` (repeat it) it compares with the folders of earlier evaluations, paired by patient.
Several processes of a launcher share the clips of a model's evaluation, as in a training (--distributed).
Writes metrics.json, per_frame.csv, per_patient.csv and report.html. Exit codes as `echoforge_jax.train`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
from absl import app, flags

from echoforge_jax.config import Config
from echoforge_jax.console import errors_as_messages, parse_flags, say
from echoforge_jax.distributed import processes
from echoforge_jax.distributed.flags import join_cluster
from echoforge_jax.distributed.start import exit_if_process_lost
from echoforge_jax.errors import ConfigError
from echoforge_jax.inference import Predictor, with_evaluation
from echoforge_jax.report.terminal import table
from echoforge_jax.scoring import choose_split, evaluate, evaluate_masks

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished or interrupted training.")
_SPLIT = flags.DEFINE_enum("split", None, ["train", "validation", "test", "all"], "Default: the config's.")
_PROTOCOL = flags.DEFINE_multi_enum("protocol", [], ["semi", "full"], "ED and ES, or every frame; may be repeated.")
_DATA = flags.DEFINE_string("data", None, "Root of the data set to score; default: the one trained on.")
_FORMAT = flags.DEFINE_enum(
    "format", None, ["camus", "echonet_dynamic", "store"], "Of --data; default: of the data trained on."
)
_SCHEME = flags.DEFINE_string("split_scheme", None, "Of --data, as config.data.split_scheme; default: auto.")
_PREDICTIONS = flags.DEFINE_string("predictions", None, "Tree of predicted masks, instead of --workdir.")
_REFERENCES = flags.DEFINE_string("references", None, "Tree of reference masks for --predictions.")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "best",
    "Of --workdir: best (validation Dice) or last (also of a training in progress). Or, without --workdir, a trained "
    "network: a .safetensors file or an inference folder; then --data says what to score. Several, separated by "
    "commas: their probabilities are averaged at the first one's size.",
)
_SCALES = flags.DEFINE_list(
    "scales", None, "Test-time augmentation: probabilities averaged over pictures enlarged by these, e.g. 0.9,1,1.1."
)
_THRESHOLD = flags.DEFINE_float("threshold", None, "Foreground from this probability on; default: the network's own.")
_AGAINST = flags.DEFINE_multi_string("against", [], "Folder of another evaluation to compare with; may be repeated.")
_OUT = flags.DEFINE_string(
    "out",
    None,
    "Folder for the results; default: WORKDIR/evaluation_[DATA_]SPLIT[_last], evaluation_CHECKPOINT_DATA_SPLIT or "
    "evaluation_PREDICTIONS.",
)


def main(_: list[str]) -> None:
    with errors_as_messages():
        against = [Path(folder) for folder in _AGAINST.value]
        trees = _PREDICTIONS.value, _REFERENCES.value
        named = _CHECKPOINT.value not in ("best", "last")
        ways = bool(_WORKDIR.value), named, any(trees)
        if any(trees) != all(trees) or sum(ways) != 1:
            raise ConfigError(
                "give either --workdir=FOLDER, or --checkpoint=FILE and --data=TREE, or --predictions=TREE and "
                "--references=TREE"
            )
        if named and not _DATA.value:
            raise ConfigError(f"--checkpoint={_CHECKPOINT.value} needs --data=TREE, the data set to score")
        if _PREDICTIONS.value and _REFERENCES.value:
            predictions, references = Path(_PREDICTIONS.value), Path(_REFERENCES.value)
            out = Path(_OUT.value or f"evaluation_{predictions.resolve().name}")
            result = evaluate_masks(predictions, references, _PROTOCOL.value or ["semi"], out, against)
        else:
            if _WORKDIR.value and not Path(_WORKDIR.value).is_dir():
                raise FileNotFoundError(f"--workdir={_WORKDIR.value} is no folder; expected that of a training")
            join_cluster(Path(_OUT.value or _WORKDIR.value or "evaluation"))
            with exit_if_process_lost():
                out, result = _evaluate_model(against)
                processes.wait_for_all("everything is scored")
                if not processes.is_main():
                    return
        print(table(result))
        print(f"report: {out / 'report.html'}")


def _evaluate_model(against: list[Path]) -> tuple[Path, dict[str, Any]]:
    workdir, which = Path(_WORKDIR.value or ""), _CHECKPOINT.value
    loaded: list[tuple[Predictor, Config]] = []
    if which == "last":
        if jax.process_count() > 1:
            raise ConfigError("--checkpoint=last is read by one process alone: start without a launcher, or score best")
        predictor, config, step = Predictor.load_last(workdir)
        loaded = [(predictor, config)]
        say(f"the state after step {step}")
    else:
        files = [workdir] if which == "best" else [Path(file) for file in which.split(",")]
        loaded = [Predictor.load(file)[:2] for file in files]
    scales, threshold = _SCALES.value, _THRESHOLD.value
    if scales or threshold is not None:
        configs = [with_evaluation(config, scales, threshold) for _, config in loaded]
        loaded = [(Predictor.of(c, old.variables), c) for c, (old, _) in zip(configs, loaded, strict=True)]
    predictor, config = loaded[0]
    predictor.others = tuple(other for other, _ in loaded[1:])
    if _DATA.value:
        data = dataclasses.replace(
            config.data,
            root=_DATA.value,
            format=_FORMAT.value or config.data.format,
            split_scheme=_SCHEME.value or "auto",
            simulate=dataclasses.replace(config.data.simulate, patients=0),
        )
        config = dataclasses.replace(config, data=data)
    split = _SPLIT.value or choose_split(config)
    name = f"{Path(_DATA.value).resolve().name}_{split}" if _DATA.value else split
    name += "_last" if which == "last" else ""
    name += f"_scales{'_'.join(_SCALES.value)}" if _SCALES.value else ""
    name += f"_threshold{_THRESHOLD.value:g}" if _THRESHOLD.value is not None else ""
    if not _WORKDIR.value:
        name = "_".join([*(Path(file).stem for file in which.split(",")), name])
    out = Path(_OUT.value) if _OUT.value else workdir / f"evaluation_{name}"
    return out, evaluate(config, predictor, split, _PROTOCOL.value or config.evaluation.protocols, out, against)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
