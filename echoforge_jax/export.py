"""Exports a trained network: `python -m echoforge_jax.export --workdir=runs/NAME --format=safetensors`.

--format=safetensors writes one file: weights under torchvision-like names, with the configuration, the preprocessing
and the validation score inside; `evaluate --checkpoint=FILE` and `config.training.start_from` read it.
--format=orbax writes an inference folder from such a file, or copies the run's. Exit codes as `echoforge_jax.train`.
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from echoforge_jax.cli import exit_with, parse_flags
from echoforge_jax.config import ConfigError
from echoforge_jax.models.weights_file import DTYPES
from echoforge_jax.trained import load_trained, save_released
from echoforge_jax.training.checkpoint import save_inference
from echoforge_jax.training.log import say

FORMATS = ("safetensors", "orbax")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run, or a .safetensors file to turn back.", required=True)
_FORMAT = flags.DEFINE_enum("format", "safetensors", FORMATS, "What to write.")
_DTYPE = flags.DEFINE_enum("dtype", "float32", list(DTYPES), "Of the kernels in a safetensors file.")
_OUT = flags.DEFINE_string("out", None, "Default: WORKDIR/export.safetensors or WORKDIR/export_orbax.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace what is there.")


def main(_: list[str]) -> None:
    with exit_with():
        workdir = Path(_WORKDIR.value or "")
        beside = workdir.parent if workdir.is_file() else workdir
        name = "export.safetensors" if _FORMAT.value == "safetensors" else "export_orbax"
        out = Path(_OUT.value or beside / name)
        if out.exists() and not _OVERWRITE.value:
            raise ConfigError(f"{out} exists; give --overwrite or another --out")
        variables, _config, card = load_trained(workdir)
        out.parent.mkdir(parents=True, exist_ok=True)
        if _FORMAT.value == "safetensors":
            save_released(out, variables, card, _DTYPE.value)
            say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, kernels {_DTYPE.value}")
        else:
            save_inference(out, variables, card)
            say(f"{out}: an inference folder")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
