"""Exports a trained network: `python -m echoforge_jax.export --workdir=runs/NAME --format=safetensors`.

--format=safetensors writes one file: weights under torchvision-like names, with the configuration, the preprocessing
and the validation score inside; `evaluate --checkpoint=FILE` and `config.training.start_from` read it.
--format=orbax writes an inference folder from such a file, or copies the run's. --format=stablehlo writes a program
with the weights inside, for CPU, CUDA and TPU, that runs without this package. Exit codes as `echoforge_jax.train`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from absl import app, flags

from echoforge_jax.console import errors_as_messages, parse_flags, say
from echoforge_jax.errors import ConfigError
from echoforge_jax.inference import with_evaluation
from echoforge_jax.weights.inference_folder import save_inference
from echoforge_jax.weights.safetensors_file import DTYPES
from echoforge_jax.weights.stablehlo import save_program
from echoforge_jax.weights.trained import load_trained, save_released

FORMATS = {"safetensors": "export.safetensors", "orbax": "export_orbax", "stablehlo": "export_stablehlo"}
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run, or a .safetensors file to turn back.", required=True)
_FORMAT = flags.DEFINE_enum("format", "safetensors", list(FORMATS), "What to write.")
_DTYPE = flags.DEFINE_enum("dtype", "float32", list(DTYPES), "Of the kernels in a safetensors file.")
_FRAMES = flags.DEFINE_integer("frames", None, "Of a clip, for stablehlo; default: as in training.")
_THRESHOLD = flags.DEFINE_float("threshold", None, "Kept in the configuration: foreground from this probability on.")
_OUT = flags.DEFINE_string("out", None, f"Default: {', '.join(FORMATS.values())} in WORKDIR.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace what is there.")


def main(_: list[str]) -> None:
    with errors_as_messages():
        workdir = Path(_WORKDIR.value or "")
        beside = workdir.parent if workdir.is_file() else workdir
        out = Path(_OUT.value or beside / FORMATS[_FORMAT.value])
        if out.exists() and not _OVERWRITE.value:
            raise ConfigError(f"{out} exists; give --overwrite or another --out")
        variables, config, card = load_trained(workdir)
        if _THRESHOLD.value is not None:
            config = with_evaluation(config, None, _THRESHOLD.value)
            card = {**card, "config": dataclasses.asdict(config)}
        out.parent.mkdir(parents=True, exist_ok=True)
        if _FORMAT.value == "safetensors":
            save_released(out, variables, card, _DTYPE.value)
            say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, kernels {_DTYPE.value}")
        elif _FORMAT.value == "stablehlo":
            save_program(out, variables, card, _FRAMES.value or config.data.frames)
            say(f"{out}: a program; JAX reads it for six months, keep the safetensors file as well")
        else:
            save_inference(out, variables, card)
            say(f"{out}: an inference folder")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
