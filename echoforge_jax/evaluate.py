"""Scores a trained model: `python -m echoforge_jax.evaluate --workdir=runs/NAME --split=test --protocol=semi`.

Writes metrics.json, per_frame.csv, per_patient.csv and report.html. Exit codes as `echoforge_jax.train`.
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from echoforge_jax.cli import exit_with, parse_flags
from echoforge_jax.inference import Predictor
from echoforge_jax.scoring import choose_split, evaluate, table

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished or interrupted training.", required=True)
_SPLIT = flags.DEFINE_enum("split", None, ["train", "validation", "test"], "What to score; default: the config's.")
_PROTOCOL = flags.DEFINE_multi_enum("protocol", [], ["semi", "full"], "ED and ES, or every frame; may be repeated.")
_OUT = flags.DEFINE_string("out", None, "Folder for the results; default: WORKDIR/evaluation_SPLIT.")


def main(_: list[str]) -> None:
    with exit_with():
        workdir = Path(_WORKDIR.value)
        predictor, config, _card = Predictor.load(workdir / "inference")
        split = _SPLIT.value or choose_split(config)
        out = Path(_OUT.value) if _OUT.value else workdir / f"evaluation_{split}"
        result = evaluate(config, predictor, split, _PROTOCOL.value or config.evaluation.protocols, out)
        print(table(result))
        print(f"report: {out / 'report.html'}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
