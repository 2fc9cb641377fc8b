"""Kills at any moment: the run goes on from the last whole checkpoint, and ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from echoforge_jax import errors
from echoforge_jax.weights.inference_folder import load_inference
from tests.helpers.jobs import Job, losses, wait_for_step

# A disk that is full as soon as the second step is saved, for one process.
FULL = """
import pathlib, shutil, types
usage = shutil.disk_usage
full = lambda root: (pathlib.Path(root) / "checkpoints/2").exists()
shutil.disk_usage = lambda root: types.SimpleNamespace(free=0) if full(root) else usage(root)
"""


def saved_steps(workdir: Path) -> list[int]:
    """Of the whole checkpoints."""
    folder = workdir / "checkpoints"
    return sorted(int(p.name) for p in (folder.iterdir() if folder.is_dir() else ()) if p.name.isdigit())


def half_written(workdir: Path) -> list[str]:
    return [name for name in os.listdir(workdir / "checkpoints") if "tmp" in name]


def kill_while_saving(job: Job, checkpoints: Path) -> None:
    """Kills the process while a checkpoint is half-written (it may be just whole by then)."""
    while job.processes[0].poll() is None:
        if any("tmp" in name for name in (os.listdir(checkpoints) if checkpoints.is_dir() else ())):
            job.kill()
        time.sleep(0.0005)


def test_three_kills_change_nothing(straight: Path, tmp_path: Path):
    """One while a checkpoint is being written, one at a random moment, one after a step."""
    workdir, moments = tmp_path / "run", random.Random(7)
    job = Job(workdir)
    wait_for_step(job, workdir, 1)
    kill_while_saving(job, workdir / "checkpoints")
    for _ in range(2):
        if not half_written(workdir):  # it was just whole
            kill_while_saving(Job(workdir), workdir / "checkpoints")
    torn = half_written(workdir)
    assert torn, "no kill came while a checkpoint was half-written"
    job = Job(workdir)
    before = max(losses(workdir))
    wait_for_step(job, workdir, before + 1)
    time.sleep(moments.uniform(0, 0.3))
    printed = job.kill()
    for name in torn:
        assert f"{name} was being written when an earlier run ended" in printed, printed
    job = Job(workdir)
    wait_for_step(job, workdir, max(losses(workdir)) + 1)
    job.kill()
    job = Job(workdir)
    (printed,) = job.wait()
    assert job.codes == [errors.OK], printed
    assert losses(workdir) == losses(straight) and not half_written(workdir)
    ours, theirs = (load_inference(folder / "inference")[0] for folder in (workdir, straight))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert (workdir / "per_frame.csv").read_bytes() == (straight / "per_frame.csv").read_bytes()


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_used(straight: Path, tmp_path: Path):
    workdir = tmp_path / "run"
    subprocess.run(["cp", "-r", str(straight), str(workdir)], check=True)
    (workdir / "metrics.json").unlink()
    steps = saved_steps(workdir)
    last = workdir / "checkpoints" / str(steps[-1])
    for data in (last / "state").glob("**/d/*"):
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    job = Job(workdir, 2, **{"data.root": straight / "simulated"})
    printed, _ = job.wait()
    assert job.codes == [errors.OK] * 2, job.printed
    assert f"{last} cannot be read" in printed and f"resumed from step {steps[-2]}" in printed
    assert (workdir / f"unreadable_{steps[-1]}").is_dir() and last.is_dir()  # written anew
    assert losses(workdir) == pytest.approx(losses(straight), abs=1e-4)  # the last step's sums in another order


def test_none_saves_where_one_process_has_no_space(tmp_path: Path):
    workdir = tmp_path / "run"
    (tmp_path / "sitecustomize.py").write_text(FULL)
    job = Job(workdir, 2, devices=2, environments={1: {"PYTHONPATH": str(tmp_path)}})
    printed = job.wait()
    assert job.codes == [errors.STORAGE] * 2, printed
    last = saved_steps(workdir)[-1]
    assert "the disk is full: [Errno 28] 0 MB free" in printed[0]
    assert f"the last good checkpoint is step {last};" in printed[0]


@pytest.mark.parametrize("killed", [1, pytest.param(0, marks=pytest.mark.slow)])  # 0 coordinates
def test_the_others_end_when_one_is_killed_and_a_new_start_goes_on(killed: int, tmp_path: Path):
    workdir = tmp_path / "run"
    job = Job(workdir, 2, devices=2, **{"training.epochs": 500})
    while not saved_steps(workdir) and job.processes[0].poll() is None:
        time.sleep(0.02)
    job.kill(killed)
    started, left = time.monotonic(), 1 - killed
    printed = job.wait()[left]
    assert time.monotonic() - started < 90
    assert job.codes[left] in (errors.LAUNCH, -signal.SIGABRT), printed
    assert "another was probably lost" in printed or "another task died" in printed or "leader task" in printed
    done = saved_steps(workdir)[-1]
    job = Job(workdir, 1, devices=2, **{"training.epochs": 500, "training.max_steps": done + 1})
    (printed,) = job.wait()
    assert job.codes == [errors.INTERRUPTED] and f"resumed from step {done}" in printed, printed


@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_before_the_first_step_ends_all_in_time_and_the_same_command_goes_on(processes: int, tmp_path: Path):
    """It comes while the first programs are compiled; one of several processes gets it."""
    workdir, cold = tmp_path / "run", {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    job = Job(workdir, processes, devices=processes, environments=dict.fromkeys(range(processes), cold))
    while not (workdir / "config.json").exists() and job.processes[0].poll() is None:
        time.sleep(0.02)
    job.processes[-1].send_signal(signal.SIGTERM)
    began = time.monotonic()
    printed = job.wait()
    assert job.codes == [errors.INTERRUPTED] * processes, printed
    assert time.monotonic() - began < 20 and not (workdir / "run.lock").exists()
    again = Job(workdir, processes, devices=processes, **{"training.max_steps": 1})
    printed = again.wait()
    assert again.codes == [errors.INTERRUPTED] * processes and "saved at step" in printed[0], printed


def test_two_trainings_in_one_folder_the_second_is_refused_or_takes_over(tmp_path: Path):
    workdir, long = tmp_path / "run", {"training.epochs": 500}
    first = Job(workdir, devices=1, **long)
    wait_for_step(first, workdir, 1)
    second = Job(workdir, devices=1, **long)
    (printed,) = second.wait()
    assert second.codes == [errors.USAGE], printed
    assert f"is in use by process {first.processes[0].pid} on" in printed and "--take_over" in printed
    third = Job(workdir, devices=1, flags=["--take_over"], **long)
    (printed,) = first.wait()
    assert first.codes == [errors.FOLDER_LOST] and "taken over by" in printed and "Traceback" not in printed, printed
    wait_for_step(third, workdir, max(losses(workdir), default=0) + 1)
    third.processes[0].send_signal(signal.SIGTERM)
    (printed,) = third.wait()
    assert third.codes == [errors.INTERRUPTED] and "saved at step" in printed, printed
