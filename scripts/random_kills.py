"""Kills a training at random moments (SIGKILL), again and again, and compares its end with an undisturbed run.

    python scripts/random_kills.py --kills=50 --out=runs/random_kills
    python scripts/random_kills.py --kills=20 --processes=2 --out=runs/random_kills_2

The training is a small network on simulated frames, with a checkpoint every few steps. It runs in one process, or in
several of which one is killed; the others must end by themselves before the training is started again. Three of four
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
import socket
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
BEAT_S = 20  # a killed process is missed after so long
JOIN_S = 120  # one that is killed before it has joined is waited for so long
ENDS_S = 300.0  # the others must have ended by then
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
        processes: how many processes share the training.
    """

    folder: Path
    root: Path
    epochs: int
    processes: int

    def start(self, output: int = subprocess.DEVNULL) -> list[subprocess.Popen]:
        """Starts the command in processes of its own; `output` is a file descriptor."""
        fields = FIELDS | {"training.epochs": self.epochs, "data.root": self.root}
        command = [sys.executable, "-m", "echoforge_jax.train", "--config=quickstart", f"--workdir={self.folder}"]
        command += [f"--config.{name}={value}" for name, value in fields.items()]
        if self.processes > 1:
            with socket.socket() as free:
                free.bind(("localhost", 0))
                port = free.getsockname()[1]
            command += [f"--coordinator=localhost:{port}", f"--processes={self.processes}"]
            command += [f"--heartbeat_s={BEAT_S}", f"--launch_timeout_s={JOIN_S}"]
        return [
            subprocess.Popen(
                [*command, *([f"--process_id={number}"] if self.processes > 1 else [])],
                cwd=REPOSITORY,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"JAX_PLATFORMS": "cpu"},
            )
            for number in range(self.processes)
        ]

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
        process: which of several processes was killed.
        codes: exit codes of the others.
        seconds: after which the others had ended.
    """

    kill: int
    from_step: int
    at_step: int
    torn: list[str]
    process: int = 0
    codes: list[int] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


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
    processes = training.start()
    while all(process.poll() is None for process in processes) and training.last_step() < wanted_step:
        time.sleep(0.01)
    time.sleep(delay_s)
    if any(process.poll() is not None for process in processes):
        codes = [process.wait(ENDS_S) for process in processes]
        print(f"the run ended before kill {number} (exit codes {codes})", file=sys.stderr)
        return None
    killed, began = moments.randrange(len(processes)), time.monotonic()
    processes[killed].kill()
    codes = [process.wait(ENDS_S) for process in processes]
    torn = [name for name in training.unfinished_checkpoints() if name not in torn_before]
    seconds = round(time.monotonic() - began, 1)
    return Kill(number, from_step, training.last_step(), torn, killed, codes[:killed] + codes[killed + 1 :], seconds)


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
    parser.add_argument(
        "--processes", type=int, default=1, help="Sets how many processes share the training (default: 1)."
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
    undisturbed, killed = (
        Training(out / name, out / "simulated", epochs, options.processes) for name in ("straight", "killed")
    )
    if any([process.wait() for process in undisturbed.start()]):
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
        codes = [process.wait() for process in killed.start(text.fileno())]
    same = not any(codes) and killed.result() == undisturbed.result()
    torn = sum(bool(kill.torn) for kill in kills)
    print(
        f"{len(kills)} kills, {torn} while a checkpoint was being written; {killed.last_step()} steps; last state and "
        f"all losses {'equal' if same else 'DIFFER from'} the undisturbed run's, bit for bit"
    )
    return OK if same and len(kills) == options.kills else FAILED


if __name__ == "__main__":
    sys.exit(main())
