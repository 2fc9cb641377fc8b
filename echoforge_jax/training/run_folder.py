"""The folder of a run: its configuration and versions are written once, and a later command must agree with them."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import sys
from pathlib import Path

from data_pipelines.files import write_atomically
from echoforge_jax.config import Config, differences, flatten, read_config, stored_form
from echoforge_jax.console import say
from echoforge_jax.distributed.start import PRESENCE
from echoforge_jax.errors import ConfigError
from echoforge_jax.models.layers.convolution import ConvImplementation
from echoforge_jax.provenance import git_commit

RECORD = "config.json"
MAY_DIFFER_ON_RESUME = (  # the results stay the same, up to the order of sums on another mesh
    "training.mesh",
    "training.split_from",
    "training.max_steps",
    "training.keep_checkpoints",
    "training.log_every_steps",
    "training.checkpoint_every_epochs",
    "training.checkpoint_every_steps",
    "model.rematerialise",
    "data.workers",
    "data.worker_processes",
    "data.root",  # a checkpoint knows its clips by their digest
    "evaluation.split",
    "evaluation.protocols",
    "evaluation.batch_clips",
    "evaluation.processes",
)
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "scipy", "nibabel")


def claim(workdir: Path, config: Config, *, convolutions: ConvImplementation) -> None:
    """Makes the folder of a run, or checks that it belongs to a run of the same configuration.

    Fields that may differ and do are named, and the folder's record follows them.

    Args:
        workdir: the folder.
        config: the configuration of the run.
        convolutions: the forms in which convolutions are compiled; kept in the record, since results on two machines
            are equal bit for bit only where the forms are.

    Raises:
        ConfigError: the folder holds a run of another configuration (the fields are named), or something else.
    """
    record = workdir / RECORD
    if record.exists():
        _check_record(workdir, config, convolutions)
        return
    if workdir.exists() and any(path.name not in ("simulated", PRESENCE) for path in workdir.iterdir()):
        raise ConfigError(f"{workdir} is not empty and holds no run (config.json is missing); use another --workdir")
    workdir.mkdir(parents=True, exist_ok=True)
    content = {
        "config": stored_form(config),
        "command": sys.argv,
        "git_commit": git_commit(),
        "python": sys.version.split()[0],
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "convolutions": dataclasses.asdict(convolutions),
    }
    record.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _check_record(workdir: Path, config: Config, convolutions: ConvImplementation) -> None:
    record, now = workdir / RECORD, stored_form(config)
    content = json.loads(record.read_text(encoding="utf-8"))
    before = flatten(stored_form(read_config(content["config"])))
    differing = differences(before, flatten(now), ignored=MAY_DIFFER_ON_RESUME)
    if differing:
        lines = "\n".join(f"  config.{line}" for line in differing)
        raise ConfigError(f"{workdir} holds a run of another configuration:\n{lines}\nuse another --workdir")
    if allowed := differences(before, flatten(now)):
        say("with other values than before: " + "; ".join(f"config.{line}" for line in allowed))
        write_atomically(record, json.dumps({**content, "config": now}, indent=1).encode())
    if content.get("convolutions", forms := dataclasses.asdict(convolutions)) != forms:
        say(
            f"this machine compiles convolutions in other forms ({forms}) than the one that began the run "
            f"({content['convolutions']}): results agree up to rounding"
        )


def read_run_config(workdir: Path) -> Config:
    """Reads the configuration of a run's folder.

    Raises:
        ConfigError: the folder holds no run.
    """
    if not (workdir / RECORD).is_file():
        raise ConfigError(f"{workdir} holds no run ({RECORD} is missing)")
    return read_config(json.loads((workdir / RECORD).read_text(encoding="utf-8"))["config"])


def is_done(workdir: Path) -> bool:
    """Whether the run was trained, evaluated and reported (metrics.json is written last)."""
    return (workdir / "metrics.json").is_file()
