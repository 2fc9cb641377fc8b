"""Scores a trained model: `python -m echoforge_jax.evaluate --workdir=runs/NAME --split=test --protocol=semi`.

With `--data=TREE` it scores another data set than the one it was trained on, e.g. real frames after simulated ones.
Writes metrics.json, per_frame.csv, per_patient.csv and report.html. Exit codes as `echoforge_jax.train`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from absl import app, flags

from echoforge_jax.cli import exit_with, parse_flags
from echoforge_jax.inference import Predictor
from echoforge_jax.scoring import choose_split, evaluate, table

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished or interrupted training.", required=True)
_SPLIT = flags.DEFINE_enum("split", None, ["train", "validation", "test"], "What to score; default: the config's.")
_PROTOCOL = flags.DEFINE_multi_enum("protocol", [], ["semi", "full"], "ED and ES, or every frame; may be repeated.")
_DATA = flags.DEFINE_string("data", None, "Root of the data set to score; default: the one trained on.")
_FORMAT = flags.DEFINE_enum("format", "camus", ["camus", "echonet_dynamic", "store"], "Of --data.")
_SCHEME = flags.DEFINE_string("split_scheme", "auto", "Of --data, as config.data.split_scheme.")
_OUT = flags.DEFINE_string("out", None, "Folder for the results; default: WORKDIR/evaluation_[DATA_]SPLIT.")


def main(_: list[str]) -> None:
    with exit_with():
        workdir = Path(_WORKDIR.value)
        predictor, config, _card = Predictor.load(workdir / "inference")
        if _DATA.value:
            data = dataclasses.replace(
                config.data, root=_DATA.value, format=_FORMAT.value, split_scheme=_SCHEME.value,
                simulate=dataclasses.replace(config.data.simulate, patients=0),
            )  # fmt: skip
            config = dataclasses.replace(config, data=data)
        split = _SPLIT.value or choose_split(config)
        name = f"{Path(_DATA.value).resolve().name}_{split}" if _DATA.value else split
        out = Path(_OUT.value) if _OUT.value else workdir / f"evaluation_{name}"
        result = evaluate(config, predictor, split, _PROTOCOL.value or config.evaluation.protocols, out)
        print(table(result))
        print(f"report: {out / 'report.html'}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
