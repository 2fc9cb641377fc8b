"""Several processes as one training: the same losses, one log, a common stop, and a resumption by another number."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from echoforge_jax import cli
from echoforge_jax.training.log import read_metrics
from tests.conftest import FAST_COMPILATION

REPOSITORY = Path(__file__).parents[2]
STEPS = 5
SMALL = {
    "data.simulate.patients": 6, "data.simulate.size": 64, "data.simulate.frames": 5, "data.simulate.processes": 1,
    "data.size": 32, "data.frames": 3, "model.encoder_width": 8, "model.channels": 16, "model.heads": 2,
    "model.temporal_fusion": False, "model.anchor_recalibration": False, "semi.pseudo_labels": "none",
    "training.epochs": 4, "training.log_every_steps": 1, "training.checkpoint_every_steps": 1,
}  # fmt: skip


class Job:
    """`processes` processes of one training, with `2 / processes` devices each."""

    def __init__(self, workdir: Path, processes: int, **changes):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        fields = SMALL | changes
        command = [
            sys.executable, "-m", "echoforge_jax.train", "--config=configs/quickstart.py", f"--workdir={workdir}",
            *(f"--config.{name}={value}" for name, value in fields.items()),
        ]  # fmt: skip
        together = [f"--coordinator=localhost:{port}", f"--processes={processes}"] if processes > 1 else []
        environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {
            "XLA_FLAGS": f"{FAST_COMPILATION} --xla_force_host_platform_device_count={2 // processes}"
        }
        self.processes = [
            subprocess.Popen(
                [*command, *together, *([f"--process_id={i}"] if together else [])], cwd=REPOSITORY, env=environment,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for i in range(processes)
        ]  # fmt: skip

    def wait(self) -> list[str]:
        """What each process printed, when all have ended."""
        try:
            return [process.communicate(timeout=400)[0] for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()

    @property
    def codes(self) -> list[int]:
        return [process.returncode for process in self.processes]


def losses(workdir: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read_metrics(workdir) if line["kind"] == "train"}


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """One process with both devices, stopped by its step limit: no evaluation."""
    workdir = tmp_path_factory.mktemp("one") / "run"
    job = Job(workdir, 1, **{"training.max_steps": STEPS})
    printed = job.wait()
    assert job.codes == [cli.INTERRUPTED], printed
    return workdir


def test_a_signal_to_one_of_two_stops_both_and_one_process_goes_on(straight: Path, tmp_path: Path):
    workdir = tmp_path / "run"
    job = Job(workdir, 2, **{"training.max_steps": STEPS - 1})
    deadline = time.monotonic() + 300
    while not losses(workdir) and time.monotonic() < deadline and job.processes[1].poll() is None:
        time.sleep(0.05)
    job.processes[1].send_signal(signal.SIGTERM)
    printed = job.wait()
    assert job.codes == [cli.INTERRUPTED] * 2, printed
    assert "process 0 of 2 holds 1 of 2 devices" in printed[0] and "stopped and saved at step" in printed[0]
    assert "stopped and saved" not in printed[1] and "train: " not in printed[1]  # one process speaks
    expected = losses(straight)
    assert losses(workdir) == pytest.approx({step: expected[step] for step in losses(workdir)}, abs=1e-6)
    saved = max(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())
    assert saved == max(losses(workdir))

    job = Job(workdir, 1, **{"training.max_steps": STEPS})
    (printed,) = job.wait()
    assert job.codes == [cli.INTERRUPTED] and f"resumed from step {saved}" in printed, printed
    assert losses(workdir) == pytest.approx(expected, abs=1e-6) and len(expected) == STEPS
