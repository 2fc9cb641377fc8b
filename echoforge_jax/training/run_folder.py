"""The folder of a run: its configuration and versions are written once, and a later command must agree with them."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import sys
from pathlib import Path

from data_pipelines.files import write_atomically
from echoforge_jax.config import Config, differences, flatten
from echoforge_jax.console import say
from echoforge_jax.distributed.start import PRESENCE
from echoforge_jax.errors import ConfigError
from echoforge_jax.provenance import git_commit

MAY_DIFFER_ON_RESUME = (  # what is computed stays the same (up to the order of sums over another mesh)
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
    "data.root",  # checkpoints know their clips
    "evaluation.split",
    "evaluation.protocols",
    "evaluation.batch_clips",
    "evaluation.processes",
)
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "scipy", "nibabel")


def claim(workdir: Path, config: Config) -> None:
    """Makes the folder, or checks that it belongs to a run of the same configuration; fields that may differ and do are
    named, and the record follows them.

    Raises:
        ConfigError: the folder holds a run of another configuration (the fields are named), or something else.
    """
    record = workdir / "config.json"
    now = json.loads(json.dumps(dataclasses.asdict(config)))
    if record.exists():
        about = json.loads(record.read_text())
        before = flatten(about["config"])
        every = differences(before, flatten(now))
        differing = [f"  config.{line}" for line in differences(before, flatten(now), free=MAY_DIFFER_ON_RESUME)]
        if every and not differing:
            say("with other values than before: " + "; ".join(f"config.{line}" for line in every))
            write_atomically(record, json.dumps({**about, "config": now}, indent=1).encode())
        if differing:
            raise ConfigError(
                f"{workdir} holds a run of another configuration:\n" + "\n".join(differing) + "\nuse another --workdir"
            )
        return
    if workdir.exists() and any(p.name not in ("simulated", PRESENCE) for p in workdir.iterdir()):
        raise ConfigError(f"{workdir} is not empty and holds no run (config.json is missing); use another --workdir")
    workdir.mkdir(parents=True, exist_ok=True)
    about = {
        "config": now,
        "command": sys.argv,
        "git_commit": git_commit(),
        "python": sys.version.split()[0],
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    record.write_text(json.dumps(about, indent=1))


def is_done(workdir: Path) -> bool:
    """Whether the run was trained, evaluated and reported (metrics.json is written last)."""
    return (workdir / "metrics.json").is_file()
