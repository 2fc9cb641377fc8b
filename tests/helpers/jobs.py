"""Trainings in processes of their own, for tests that start, signal, kill and resume them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from echoforge_jax.training.run_log import read_metrics
from tests.helpers.xla import FAST_COMPILATION

REPOSITORY = Path(__file__).parents[2]
SMALL = {
    "data.simulate.patients": 6,
    "data.simulate.size": 64,
    "data.simulate.frames": 5,
    "data.simulate.processes": 1,
    "data.size": 32,
    "data.frames": 3,
    "model.encoder_width": 8,
    "model.channels": 16,
    "model.heads": 2,
    "model.temporal_fusion": False,
    "model.anchor_recalibration": False,
    "pseudo_labels.strategy": "none",
    "training.epochs": 4,
    "training.log_every_steps": 1,
    "training.checkpoint_every_steps": 1,
    "training.split_from": 256,
    "evaluation.processes": 1,
}


class Job:
    """`processes` processes of one training, with `devices / processes` devices each, or, where `evaluate` gives
    arguments, of the evaluation of one; `environments` holds further variables of single processes."""

    def __init__(
        self,
        workdir: Path,
        processes: int = 1,
        devices: int = 4,
        environments: Mapping[int, Mapping[str, str]] = MappingProxyType({}),
        evaluate: Sequence[str] = (),
        **changes,
    ):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        fields = SMALL | changes
        command = [sys.executable, "-m", "echoforge_jax.evaluate", f"--workdir={workdir}", *evaluate]
        if not evaluate:
            command[2:] = ["echoforge_jax.train", "--config=configs/quickstart.py", f"--workdir={workdir}"]
            command += [f"--config.{name}={value}" for name, value in fields.items()]
        together = [f"--coordinator=localhost:{port}", f"--processes={processes}", "--heartbeat_s=30"]
        together = together if processes > 1 else []
        environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {
            "XLA_FLAGS": f"{FAST_COMPILATION} --xla_force_host_platform_device_count={devices // processes}"
        }
        self.processes = [
            subprocess.Popen(
                [*command, *together, *([f"--process_id={i}"] if together else [])],
                cwd=REPOSITORY,
                env={**environment, **environments.get(i, {})},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for i in range(processes)
        ]

        self.printed = [""] * processes

    def wait(self) -> list[str]:
        """What each process printed, when all have ended."""
        try:
            for place, process in enumerate(self.processes):
                if process.stdout is not None and not process.stdout.closed:
                    self.printed[place] = process.communicate(timeout=400)[0]
            return self.printed
        finally:
            for process in self.processes:
                process.kill()

    def kill(self, place: int = 0) -> str:
        """Kills one process (SIGKILL); what it had printed."""
        self.processes[place].kill()
        self.printed[place] = self.processes[place].communicate()[0]
        return self.printed[place]

    @property
    def codes(self) -> list[int]:
        return [process.returncode for process in self.processes]


def losses(workdir: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read_metrics(workdir) if line["kind"] == "train"}


def wait_for_step(job: Job, workdir: Path, step: int, seconds: float = 300) -> None:
    """Returns when that step has been logged, or a process has ended, or time is up."""
    deadline = time.monotonic() + seconds
    while max(losses(workdir), default=0) < step and time.monotonic() < deadline:
        if any(process.poll() is not None for process in job.processes):
            return
        time.sleep(0.02)
