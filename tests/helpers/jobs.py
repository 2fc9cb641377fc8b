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


def free_port() -> int:
    """Returns a port that no process listens on."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


class Job:
    """A training, or an evaluation of one, in processes of its own.

    Args:
        workdir: folder of the training.
        processes: how many processes share it.
        devices: how many CPU devices they hold together.
        environments: further variables of single processes, by their number.
        evaluate: flags of `echoforge_jax.evaluate`, which is then started; None for a training.
        report: whether the report is drawn, which takes a third of the time.
        flags: further flags of a training.
        changes: fields of the configuration that differ from `SMALL`.
    """

    def __init__(
        self,
        workdir: Path,
        processes: int = 1,
        devices: int = 4,
        *,
        environments: Mapping[int, Mapping[str, str]] = MappingProxyType({}),
        evaluate: Sequence[str] | None = None,
        report: bool = False,
        flags: Sequence[str] = (),
        **changes: object,
    ):
        start = [sys.executable, "-m", *([] if report else ["tests.helpers.without_report"])]
        if evaluate is not None:
            command = [*start, "echoforge_jax.evaluate", f"--workdir={workdir}", *evaluate]
        else:
            command = [*start, "echoforge_jax.train", "--config=configs/quickstart.py", f"--workdir={workdir}"]
            command += [f"--config.{name}={value}" for name, value in (SMALL | changes).items()]
            command += flags
        if processes > 1:
            command += [f"--coordinator=localhost:{free_port()}", f"--processes={processes}", "--heartbeat_s=30"]
        flags = f"{FAST_COMPILATION} --xla_force_host_platform_device_count={devices // processes}"
        self.processes = [
            subprocess.Popen(
                [*command, *([f"--process_id={number}"] if processes > 1 else [])],
                cwd=REPOSITORY,
                env={**os.environ, "XLA_FLAGS": flags, **environments.get(number, {})},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for number in range(processes)
        ]
        self.printed = [""] * processes

    def wait(self) -> list[str]:
        """Waits until all processes have ended and returns what each printed."""
        try:
            for number, process in enumerate(self.processes):
                if process.stdout is not None and not process.stdout.closed:
                    self.printed[number] = process.communicate(timeout=900)[0]
            return self.printed
        finally:
            for process in self.processes:
                process.kill()

    def kill(self, number: int = 0) -> str:
        """Kills one process (SIGKILL) and returns what it had printed."""
        self.processes[number].kill()
        self.printed[number] = self.processes[number].communicate()[0]
        return self.printed[number]

    @property
    def codes(self) -> list[int]:
        return [process.returncode for process in self.processes]


def losses(workdir: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read_metrics(workdir) if line["kind"] == "train"}


def wait_for_step(job: Job, workdir: Path, step: int, seconds: float = 900) -> None:
    """Waits until that step has been logged, or a process has ended, or time is up."""
    deadline = time.monotonic() + seconds
    while max(losses(workdir), default=0) < step and time.monotonic() < deadline:
        if any(process.poll() is not None for process in job.processes):
            return
        time.sleep(0.02)
