"""Kills a training at random moments (SIGKILL), again and again, and compares its end with an undisturbed run.

    python scripts/random_kills.py --kills=50 --out=runs/random_kills

A small network on simulated frames, one process, checkpoints every few steps. Three of four kills come a moment after
some step, the fourth at any time since the start (also while the run is still restoring). Every kill is logged (from
which step, at which, whether a checkpoint was being written) in OUT/kills.jsonl. Exit code 0: that many kills, and the
last state and all losses are equal to those of the undisturbed run, bit for bit; 1: not so.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from absl import app, flags

from echoforge_jax.training.recorder import read_metrics

_KILLS = flags.DEFINE_integer("kills", 50, "How many.", lower_bound=1)
_OUT = flags.DEFINE_string("out", "runs/random_kills", "Folder of both runs; must be new.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the moments.")
REPOSITORY = Path(__file__).parents[1]
STEPS_A_KILL = 12  # at most, from the last checkpoint on
START_S = 20.0  # about what a start takes, to the first step
FIELDS = {
    "data.simulate.patients": 12,
    "data.simulate.size": 64,
    "data.simulate.frames": 5,
    "data.size": 32,
    "data.frames": 3,
    "model.encoder_width": 8,
    "model.channels": 16,
    "model.heads": 2,
    "model.temporal_fusion": False,
    "model.anchor_recalibration": False,
    "semi.pseudo_labels": "none",
    "training.steps_per_epoch": 20,
    "training.log_every_steps": 1,
    "training.checkpoint_every_steps": 4,
    "training.validate_every_epochs": 5,
}


def start(workdir: Path, root: Path, kills: int, output: int = subprocess.DEVNULL) -> subprocess.Popen:
    """The training command, in a process of its own."""
    fields = FIELDS | {"training.epochs": max(kills * STEPS_A_KILL // 20, 5), "data.root": root}
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "echoforge_jax.train",
            "--config=configs/quickstart.py",
            f"--workdir={workdir}",
            *(f"--config.{name}={value}" for name, value in fields.items()),
        ],
        cwd=REPOSITORY,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )


def steps_done(workdir: Path) -> int:
    return max((line["step"] for line in read_metrics(workdir)), default=0)


def half_written(workdir: Path) -> list[str]:
    """Checkpoints that are being written."""
    folder = workdir / "checkpoints"
    return [name for name in (os.listdir(folder) if folder.is_dir() else ()) if "tmp" in name]


def final(workdir: Path) -> tuple[str, dict[int, float]]:
    """The last checkpoint's digest, and the loss of every step."""
    last = max(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())
    meta = json.loads((workdir / "checkpoints" / str(last) / "meta" / "metadata").read_text())
    return meta["digest"], {line["step"]: line["loss"] for line in read_metrics(workdir) if line["kind"] == "train"}


def main(_: list[str]) -> int:
    out, moments, began = Path(_OUT.value).absolute(), random.Random(_SEED.value), time.monotonic()
    if out.exists():
        print(f"error: {out} exists; remove it or give another --out", file=sys.stderr)
        return 2
    out.mkdir(parents=True)
    root, straight, killed = out / "simulated", out / "straight", out / "killed"
    if start(straight, root, _KILLS.value).wait():
        print("error: the undisturbed run failed", file=sys.stderr)
        return 1
    log, kills = (out / "kills.jsonl").open("w"), 0
    for number in range(1, _KILLS.value + 1):
        before, old = steps_done(killed), half_written(killed)
        wanted, delay_s = before + moments.randint(0, STEPS_A_KILL), moments.uniform(0, 1.0)
        if number % 4 == 0:
            wanted, delay_s = 0, moments.uniform(0, START_S)
        process = start(killed, root, _KILLS.value)
        while process.poll() is None and steps_done(killed) < wanted:
            time.sleep(0.01)
        time.sleep(delay_s)
        if process.poll() is not None:
            print(f"the run ended before kill {number} (exit code {process.returncode})", file=sys.stderr)
            break
        process.kill()
        process.wait()
        kills += 1
        torn = [name for name in half_written(killed) if name not in old]
        found = {"kill": number, "from_step": before, "at_step": steps_done(killed), "torn": torn}
        log.write(json.dumps(found) + "\n")
        log.flush()
        left_min = (time.monotonic() - began) / number * (_KILLS.value - number) / 60
        print(f"kill {number}/{_KILLS.value} at step {found['at_step']}, {left_min:.0f} min left", file=sys.stderr)
    with (out / "last_start.txt").open("wb") as text:
        code = start(killed, root, _KILLS.value, text.fileno()).wait()
    same = code == 0 and final(killed) == final(straight)
    torn = sum(bool(json.loads(line)["torn"]) for line in (out / "kills.jsonl").read_text().splitlines())
    print(
        f"{kills} kills, {torn} while a checkpoint was being written; {steps_done(killed)} steps; last state and "
        f"all losses {'equal' if same else 'DIFFER from'} the undisturbed run's, bit for bit"
    )
    return 0 if same and kills == _KILLS.value else 1


if __name__ == "__main__":
    app.run(main)
