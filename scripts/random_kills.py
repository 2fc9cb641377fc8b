"""Kills a training at random moments (SIGKILL), again and again, and compares its end with an undisturbed run.

    python scripts/random_kills.py --kills=50 --out=runs/random_kills

The training is a small network on simulated frames, in one process, with a checkpoint every few steps. Three of four
kills come a moment after some step, the fourth at any time since the start (also while the run is still restoring).
Every kill is written to OUT/kills.jsonl: from which step the run resumed, at which step it was killed, and whether a
checkpoint was being written. The exit code is 0 after that many kills if the last state and all losses are equal to
those of the undisturbed run, bit for bit; otherwise 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from echoforge_jax.errors import FAILED, OK, USAGE
from echoforge_jax.training.run_log import read_metrics

REPOSITORY = Path(__file__).parents[1]
STEPS_BETWEEN_KILLS = 12  # at most, counted from the last checkpoint
START_S = 20.0  # about the time from a start to its first step
STEPS_PER_EPOCH = 20
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
    "pseudo_labels.strategy": "none",
    "training.steps_per_epoch": STEPS_PER_EPOCH,
    "training.log_every_steps": 1,
    "training.checkpoint_every_steps": 4,
    "training.validate_every_epochs": 5,
}


@dataclasses.dataclass(frozen=True)
class Training:
    """One training command, which can be started again and again in the same folder.

    Attributes:
        folder: the folder of the run.
        root: the folder of the simulated frames.
        epochs: epochs of the training.
    """

    folder: Path
    root: Path
    epochs: int

    def start(self, output: int = subprocess.DEVNULL) -> subprocess.Popen:
        """Starts the command in a process of its own; `output` is a file descriptor."""
        fields = FIELDS | {"training.epochs": self.epochs, "data.root": self.root}
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "echoforge_jax.train",
                "--config=quickstart",
                f"--workdir={self.folder}",
                *(f"--config.{name}={value}" for name, value in fields.items()),
            ],
            cwd=REPOSITORY,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
        )

    def last_step(self) -> int:
        """Returns the last step that was logged."""
        return max((line["step"] for line in read_metrics(self.folder)), default=0)

    def unfinished_checkpoints(self) -> list[str]:
        """Lists the checkpoints that are being written."""
        folder = self.folder / "checkpoints"
        return [name for name in (os.listdir(folder) if folder.is_dir() else ()) if "tmp" in name]

    def result(self) -> tuple[str, dict[int, float]]:
        """Returns the last checkpoint's digest, and the loss of every step."""
        checkpoints = self.folder / "checkpoints"
        last = max(int(path.name) for path in checkpoints.iterdir() if path.name.isdigit())
        metadata = json.loads((checkpoints / str(last) / "meta" / "metadata").read_text(encoding="utf-8"))
        losses = {line["step"]: line["loss"] for line in read_metrics(self.folder) if line["kind"] == "train"}
        return metadata["digest"], losses


@dataclasses.dataclass(frozen=True)
class Kill:
    """One kill, as kills.jsonl holds it.

    Attributes:
        kill: its number.
        from_step: the last step before the training was started again.
        at_step: the last step when it was killed.
        torn: checkpoints that were being written.
    """

    kill: int
    from_step: int
    at_step: int
    torn: list[str]


def kill_once(training: Training, number: int, moments: random.Random) -> Kill | None:
    """Starts the training again and kills it at a random moment.

    Args:
        training: the training.
        number: number of this kill; every fourth comes at any time since the start.
        moments: source of the random moments.

    Returns:
        The kill, or None where the training ended before it.
    """
    from_step, torn_before = training.last_step(), training.unfinished_checkpoints()
    wanted_step, delay_s = from_step + moments.randint(0, STEPS_BETWEEN_KILLS), moments.uniform(0, 1.0)
    if number % 4 == 0:
        wanted_step, delay_s = 0, moments.uniform(0, START_S)
    process = training.start()
    while process.poll() is None and training.last_step() < wanted_step:
        time.sleep(0.01)
    time.sleep(delay_s)
    if process.poll() is not None:
        print(f"the run ended before kill {number} (exit code {process.returncode})", file=sys.stderr)
        return None
    process.kill()
    process.wait()
    torn = [name for name in training.unfinished_checkpoints() if name not in torn_before]
    return Kill(number, from_step, training.last_step(), torn)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line; None takes that of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kills", type=int, default=50, help="Sets how many times the training is killed (default: 50)."
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/random_kills"),
        help="Names the folder of both runs, which must be new (default: runs/random_kills).",
    )
    parser.add_argument("--seed", type=int, default=0, help="Seeds the random moments of the kills (default: 0).")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = parse(arguments)
    out, moments, began = options.out.absolute(), random.Random(options.seed), time.monotonic()
    if out.exists():
        print(f"error: {out} exists; remove it or give another --out", file=sys.stderr)
        return USAGE
    out.mkdir(parents=True)
    epochs = max(options.kills * STEPS_BETWEEN_KILLS // STEPS_PER_EPOCH, 5)
    undisturbed, killed = (Training(out / name, out / "simulated", epochs) for name in ("straight", "killed"))
    if undisturbed.start().wait():
        print("error: the undisturbed run failed", file=sys.stderr)
        return FAILED
    kills: list[Kill] = []
    with (out / "kills.jsonl").open("w", encoding="utf-8") as log:
        while len(kills) < options.kills and (kill := kill_once(killed, len(kills) + 1, moments)):
            kills.append(kill)
            log.write(json.dumps(dataclasses.asdict(kill)) + "\n")
            log.flush()
            left_min = (time.monotonic() - began) / len(kills) * (options.kills - len(kills)) / 60
            print(f"kill {len(kills)}/{options.kills} at step {kill.at_step}, {left_min:.0f} min left", file=sys.stderr)
    with (out / "last_start.txt").open("wb") as text:
        code = killed.start(text.fileno()).wait()
    same = code == 0 and killed.result() == undisturbed.result()
    torn = sum(bool(kill.torn) for kill in kills)
    print(
        f"{len(kills)} kills, {torn} while a checkpoint was being written; {killed.last_step()} steps; last state and "
        f"all losses {'equal' if same else 'DIFFER from'} the undisturbed run's, bit for bit"
    )
    return OK if same and len(kills) == options.kills else FAILED


if __name__ == "__main__":
    sys.exit(main())
