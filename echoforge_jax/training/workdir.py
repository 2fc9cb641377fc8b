"""The folder of a run: its configuration and versions are written once, and a later command must agree with them."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from data_pipelines.formats.camus_images import write_atomically
from echoforge_jax.cluster import ROLL
from echoforge_jax.config import Config, ConfigError
from echoforge_jax.training.log import say

FREE_TO_CHANGE = (  # what is computed stays the same (up to the order of sums over another mesh)
    "training.mesh", "training.split_from", "training.max_steps", "training.keep_checkpoints",
    "training.log_every_steps", "training.checkpoint_every_epochs", "training.checkpoint_every_steps",
    "model.rematerialise", "data.workers", "data.worker_processes", "data.root",  # checkpoints know their clips
    "evaluation.split", "evaluation.protocols", "evaluation.batch_clips", "evaluation.processes",
)  # fmt: skip
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
        before = flat(about["config"])
        every = differences(before, flat(now))
        differing = [f"  config.{line}" for line in differences(before, flat(now), free=FREE_TO_CHANGE)]
        if every and not differing:
            say("with other values than before: " + "; ".join(f"config.{line}" for line in every))
            write_atomically(record, json.dumps({**about, "config": now}, indent=1).encode())
        if differing:
            raise ConfigError(
                f"{workdir} holds a run of another configuration:\n" + "\n".join(differing) + "\nuse another --workdir"
            )
        return
    if workdir.exists() and any(p.name not in ("simulated", ROLL) for p in workdir.iterdir()):
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


def differences(before: dict[str, Any], now: dict[str, Any], free: Collection[str] = ()) -> list[str]:
    """Fields in which two flat configurations differ, as text. A field that came later had its default before."""
    default = flat(json.loads(json.dumps(dataclasses.asdict(Config()))))
    return [
        f"{name}: {then!r} there, {value!r} now"
        for name, value in now.items()
        if (then := before.get(name, default.get(name))) != value and name not in free
    ]


def is_done(workdir: Path) -> bool:
    """Whether the run was trained, evaluated and reported (metrics.json is written last)."""
    return (workdir / "metrics.json").is_file()


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with names such as "data.size"."""
    out: dict[str, Any] = {}
    for name, value in tree.items():
        out |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return out


def git_commit() -> str | None:
    """Of the code that runs, where it is a git checkout."""
    here = Path(__file__).parent
    found = subprocess.run(["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None
