"""Exports a trained network: `python -m echoforge_jax.export --workdir=runs/NAME --format=safetensors`.

--format=safetensors writes one file: weights under torchvision-like names, with the configuration, the preprocessing
and the validation score inside; `evaluate --checkpoint=FILE` and `config.training.start_from` read it.
--format=orbax writes an inference folder from such a file, or copies the run's. --format=stablehlo writes a program
with the weights inside, for CPU, CUDA and TPU, that runs without this package. Exit codes as `echoforge_jax.train`.
"""

from __future__ import annotations

from echoforge_jax import interruption

if __name__ == "__main__":
    interruption.install()  # before the imports below, which take seconds

import contextlib
from pathlib import Path

from absl import app, flags

from data_pipelines.files import make_folder
from echoforge_jax.compilation_flags import COMPILATION_CACHE
from echoforge_jax.config import replace
from echoforge_jax.console import errors_as_messages, parse_flags, say
from echoforge_jax.errors import ConfigError
from echoforge_jax.networks import find_network
from echoforge_jax.path_flags import PATH
from echoforge_jax.training.folder_lock import FolderLock
from echoforge_jax.training.run_folder import RECORD
from echoforge_jax.weights.inference_folder import save_inference
from echoforge_jax.weights.safetensors_file import DTYPES, DType
from echoforge_jax.weights.stablehlo import save_program
from echoforge_jax.weights.trained import Trained

OUTPUTS = {"safetensors": "export.safetensors", "orbax": "export_orbax", "stablehlo": "export_stablehlo"}
_WORKDIR = flags.DEFINE(
    PATH, "workdir", None, "The folder of a run to export, or a .safetensors file to turn into another format."
)
flags.mark_flag_as_required("workdir")
_FORMAT = flags.DEFINE_enum("format", "safetensors", list(OUTPUTS), "The format that is written.")
_DTYPE = flags.DEFINE_enum("dtype", "float32", list(DTYPES), "The type of the kernels in a safetensors file.")
_FRAMES = flags.DEFINE_integer(
    "frames",
    None,
    "The frames of a clip that a stablehlo program takes. Without it as many as in the training.",
    lower_bound=1,
)
_THRESHOLD = flags.DEFINE_float(
    "threshold",
    None,
    "A pixel is foreground from this probability on; kept in the exported configuration. Without it the network's own "
    "value is kept.",
)
_OUT = flags.DEFINE(
    PATH, "out", None, f"The file or folder that is written. Without it {', '.join(OUTPUTS.values())} in WORKDIR."
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replaces the file or folder that is there already.")


def main(_: list[str]) -> None:
    """Runs the command."""
    with errors_as_messages(COMPILATION_CACHE.value):
        source = find_network(_WORKDIR.value or "")
        out = Path(_OUT.value or (source.parent if source.is_file() else source) / OUTPUTS[_FORMAT.value])
        if out.exists() and not _OVERWRITE.value:
            raise ConfigError(f"{out} exists; give --overwrite or another --out")
        trained = Trained.load(source)
        if _THRESHOLD.value is not None:
            trained = trained.with_config(replace(trained.config, {"evaluation.threshold": _THRESHOLD.value}))
        is_in_run = (out.parent / RECORD).is_file()
        with FolderLock(out.parent) if is_in_run else contextlib.nullcontext():
            _write(trained, out)


def _write(trained: Trained, out: Path) -> None:
    make_folder(out.parent)
    if _FORMAT.value == "safetensors":
        dtype: DType = "float16" if _DTYPE.value == "float16" else "float32"
        trained.save(out, dtype)
        say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, kernels {_DTYPE.value}")
    elif _FORMAT.value == "stablehlo":
        save_program(out, trained, frames=_FRAMES.value or trained.config.data.frames)
        say(f"{out}: a program; JAX reads it for six months, keep the safetensors file as well")
    else:
        save_inference(out, trained.variables, trained.card)
        say(f"{out}: an inference folder")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
