"""Several processes as one training: the same losses on any number, one log, a common stop, each frame scored once."""

import csv
import signal
from pathlib import Path

import pytest

from echoforge_jax import errors
from echoforge_jax.training.run_log import read_metrics
from tests.helpers.jobs import Job, losses, wait_for_step

SPLIT = {"training.mesh": "(('data', 2), ('fsdp', 2))"}
# Every save takes a second, so that a signal comes before the eight steps are over.
SLOW = """
import shutil, time
usage = shutil.disk_usage
shutil.disk_usage = lambda root: (time.sleep(1), usage(root))[1]
"""


def test_an_evaluation_is_shared_unevenly_and_scores_each_frame_once(straight: Path, tmp_path: Path):
    """Eight clips over three processes, four to a batch."""
    outputs = {processes: tmp_path / f"by {processes}" for processes in (1, 3)}
    jobs = {
        processes: Job(straight, processes, devices=processes, evaluate=["--split=train", f"--out={out}"])
        for processes, out in outputs.items()
    }
    for processes, job in jobs.items():
        printed = job.wait()
        assert job.codes == [errors.OK] * processes, printed
        assert "mDice" in printed[0] and all("mDice" not in text for text in printed[1:])
    found = {processes: rows(out) for processes, out in outputs.items()}
    assert [key(row) for row in found[3]] == [key(row) for row in found[1]]
    assert len({key(row) for row in found[1]}) == len(found[1]) > 30
    for ours, theirs in zip(found[3], found[1], strict=True):
        assert float(ours["dice"]) == pytest.approx(float(theirs["dice"]), abs=1e-4)


EVERYTHING = {
    "model.temporal_fusion": True,
    "model.anchor_recalibration": True,
    "pseudo_labels.strategy": "reforging",
    "flamerise.enabled": False,
    "optimizer.ema_decay": 0.9,
    "training.epochs": 3,
}


@pytest.mark.slow
def test_the_whole_method_has_the_same_losses_in_two_processes(tmp_path: Path):
    """Every part on, pseudo-labels from the first epoch: 2 processes x 2 devices against 1 x 4."""
    logs = {}
    for processes in (1, 2):
        job = Job(tmp_path / f"by {processes}", processes, **EVERYTHING)
        printed = job.wait()
        assert job.codes == [errors.OK] * processes, printed
        lines = read_metrics(tmp_path / f"by {processes}")
        logs[processes] = [line["loss"] for line in lines], [line.get("validation_dice_percent", 0.0) for line in lines]
        assert any(line.get("lambda") == 1.0 for line in lines)
    assert logs[2][0] == pytest.approx(logs[1][0], abs=5e-4)
    assert logs[2][1] == pytest.approx(logs[1][1], abs=0.1)


def rows(workdir: Path) -> list[dict[str, str]]:
    with (workdir / "per_frame.csv").open() as file:
        return list(csv.DictReader(file))


def key(row: dict[str, str]) -> tuple[str, ...]:
    return row["protocol"], row["patient_id"], row["view"], row["frame"]


@pytest.mark.parametrize(
    ("between", "tolerance"),
    [
        pytest.param([(4, SPLIT)], 5e-4, id="four, arrays split"),  # sums in another order, which Adam amplifies
        pytest.param([(4, {}), (1, {}), (2, {}), (1, {}), (4, {})], 5e-4, id="every pair", marks=pytest.mark.slow),
    ],
)
def test_other_processes_go_on(between: list[tuple[int, dict]], tolerance: float, straight: Path, tmp_path: Path):
    """A signal to one of two processes stops both; others go on by a step each; two finish and score."""
    workdir, expected = tmp_path / "run", losses(straight)
    assert len(expected) == 8
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    job = Job(workdir, 2, environments={0: {"PYTHONPATH": str(tmp_path)}})
    wait_for_step(job, workdir, 1)
    job.processes[1].send_signal(signal.SIGTERM)
    printed = job.wait()
    assert job.codes == [errors.INTERRUPTED] * 2, printed
    assert "process 0 of 2 holds 2 of 4 devices" in printed[0] and "stopped and saved at step" in printed[0]
    assert "stopped and saved" not in printed[1] and "train: " not in printed[1]  # one process speaks
    saved = max(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())
    assert saved == max(losses(workdir)) < 8 - len(between)

    for step, (processes, mesh) in enumerate(between, saved):
        job = Job(workdir, processes, **mesh, **{"training.max_steps": step + 1})
        printed = job.wait()
        assert job.codes == [errors.INTERRUPTED] * processes and f"resumed from step {step}" in printed[0], printed
    job = Job(workdir, 2)
    printed = job.wait()
    assert job.codes == [errors.OK] * 2 and f"resumed from step {saved + len(between)}" in printed[0], printed
    before = {step: loss for step, loss in expected.items() if step <= saved}
    assert {step: losses(workdir)[step] for step in before} == pytest.approx(before, abs=5e-6)
    assert losses(workdir) == pytest.approx(expected, abs=tolerance)
    steps = [line["step"] for line in read_metrics(workdir) if line["kind"] == "train"]
    assert steps == sorted(set(steps))  # one process writes each line, once

    found, one = rows(workdir), rows(straight)
    assert [key(row) for row in found] == [key(row) for row in one]  # each frame once, as in one process
    assert len({key(row) for row in found}) == len(found) and not (workdir / "shares").exists()
    for ours, theirs in zip(found, one, strict=True):
        assert float(ours["dice"]) == pytest.approx(float(theirs["dice"]), abs=0.05)
