"""The folder of a run: its configuration and versions are written when
it begins, and a later command must agree with them once something is saved."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from data_pipelines.files import make_folder, write_atomically
from echoforge_jax.config import Config, differences, flatten, read_config, stored_form
from echoforge_jax.console import say
from echoforge_jax.distributed.folder import PRESENCE
from echoforge_jax.errors import ConfigError
from echoforge_jax.models.layers.convolution import ConvImplementation
from echoforge_jax.provenance import code_version
from echoforge_jax.training.folder_lock import LOCK

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
LOGS = ("metrics.jsonl", "tensorboard", "inference", "inference.new")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "scipy", "nibabel")


def check(workdir: Path, config: Config) -> None:
    """Checks, before data are read, that a folder may become or go on being that of a run of a configuration.

    A folder without a checkpoint has nothing to lose: any configuration may take it.

    Args:
        workdir: the folder.
        config: the configuration of the run.

    Raises:
        ConfigError: the folder holds a run of another configuration (the fields are named), or something else.
    """
    record = workdir / RECORD
    if not record.exists():
        if workdir.exists() and any(not _is_ours(path.name) for path in workdir.iterdir()):
            raise ConfigError(
                f"{workdir} is not empty and holds no run (config.json is missing); use another --workdir"
            )
        return
    if not has_checkpoint(workdir):
        return
    differing = differences(_stored(workdir), flatten(stored_form(config)), ignored=MAY_DIFFER_ON_RESUME)
    if differing:
        lines = "\n".join(f"  config.{line}" for line in differing)
        advice = "use another --workdir"
        if any(line.startswith("training.epochs:") for line in differing):
            advice += (
                f", and start there from this run's network: --config.training.start_from={workdir} (the schedules "
                "depend on the number of epochs, so a training cannot be made longer)"
            )
        raise ConfigError(f"{workdir} holds a run of another configuration:\n{lines}\n{advice}")


def claim(workdir: Path, config: Config, *, convolutions: ConvImplementation) -> None:
    """Writes what run a folder belongs to, once data and weights have been read.

    Fields that may differ from those of a run with a checkpoint and do are named, and the folder's record follows
    them. Without a checkpoint the folder is begun anew: what an earlier start left there is removed.

    Args:
        workdir: the folder.
        config: the configuration of the run.
        convolutions: the forms in which convolutions are compiled; kept in the record, since results on two machines
            are equal bit for bit only where the forms are.

    Raises:
        ConfigError: as `check`.
    """
    check(workdir, config)
    record, now = workdir / RECORD, stored_form(config)
    forms = dataclasses.asdict(convolutions)
    if record.exists() and has_checkpoint(workdir):
        content = json.loads(record.read_text(encoding="utf-8"))
        if allowed := differences(_stored(workdir), flatten(now)):
            say("with other values than before: " + "; ".join(f"config.{line}" for line in allowed))
            write_atomically(record, json.dumps({**content, "config": now}, indent=1).encode())
        if content.get("convolutions", forms) != forms:
            say(
                f"this machine compiles convolutions in other forms ({forms}) than the one that began the run "
                f"({content['convolutions']}): results agree up to rounding"
            )
        return
    make_folder(workdir)
    for name in LOGS:
        if (workdir / name).is_dir():
            shutil.rmtree(workdir / name)
        else:
            (workdir / name).unlink(missing_ok=True)
    content = {
        "config": now,
        "command": sys.argv,
        **dataclasses.asdict(code_version()),
        "python": sys.version.split()[0],
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "convolutions": forms,
    }
    write_atomically(record, json.dumps(content, indent=1).encode())


def has_checkpoint(workdir: Path) -> bool:
    """Tells whether a run has saved anything in a folder, also what cannot be read any more."""
    saved = [path.name for name in ("checkpoints", "best") for path in (workdir / name).glob("*")]
    return any(name.isdigit() for name in saved) or any(workdir.glob("unreadable_*"))


def _is_ours(name: str) -> bool:
    return name in ("simulated", PRESENCE, LOCK) or name.startswith((f".{LOCK}", ".config.json."))


def _stored(workdir: Path) -> dict[str, Any]:
    """The fields with which a run was begun, flat.

    Raises:
        ConfigError: config.json cannot be read.
    """
    return flatten(stored_form(read_run_config(workdir)))


def read_run_config(workdir: Path) -> Config:
    """Reads the configuration of a run's folder.

    Raises:
        ConfigError: the folder holds no run.
    """
    record = workdir / RECORD
    if not record.is_file():
        raise ConfigError(f"{workdir} holds no run ({RECORD} is missing)")
    try:
        return read_config(json.loads(record.read_text(encoding="utf-8"))["config"])
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{record} cannot be read ({error}); expected what a training writes") from error


def is_done(workdir: Path) -> bool:
    """Whether the run was trained, evaluated and reported (metrics.json is written last)."""
    return (workdir / "metrics.json").is_file()
