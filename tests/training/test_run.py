"""Whole runs as a user starts them: end to end, resumed bit for bit, interrupted, and refused with a clear message."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from data_pipelines.batches import TrainingBatches
from data_pipelines.simulator.cohort import Cohort, write_cohort
from echoforge_jax import errors
from echoforge_jax.config import Config, DataConfig, SimulationConfig, read_config, replace
from echoforge_jax.errors import CheckpointError, ConfigError, NonFiniteLoss
from echoforge_jax.inference import Predictor
from echoforge_jax.models.layers.convolution import ConvImplementation
from echoforge_jax.train import _simulate, run
from echoforge_jax.training import loop
from echoforge_jax.training.checkpoint import Checkpoints, abstract_state
from echoforge_jax.training.loop import Outcome, train
from echoforge_jax.training.profiling import StepRange
from echoforge_jax.training.program import Program
from echoforge_jax.training.restore import load_last
from echoforge_jax.training.run_folder import claim
from echoforge_jax.training.run_log import read_metrics
from echoforge_jax.training.state import TrainState
from echoforge_jax.training.validation import Validator
from echoforge_jax.weights.trained import Trained
from tests.helpers.commands import run_command
from tests.helpers.jobs import Job, wait_for_step
from tests.helpers.trainer import share_compiled_parts


@pytest.fixture(scope="module", autouse=True)
def compiled_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        share_compiled_parts(patch)
        yield


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    """Six simulated patients: 4 train (8 clips), 1 validation, 1 test."""
    root = tmp_path_factory.mktemp("cohort")
    write_cohort(root, Cohort(patients=6, seed=1, frames=5, size=64))
    return root


@pytest.fixture(scope="module")
def run_config(tiny_config: Config, cohort: Path) -> Config:
    """Three epochs of two steps, pseudo-labels from the second: both compiled steps and two refreshes."""
    return replace(
        tiny_config,
        {
            "data.root": str(cohort),
            "flamerise.burn_in": 0.34,
            "flamerise.ramp_end": 0.67,
            "training.epochs": 3,
            "training.log_every_steps": 1,
        },
    )


@pytest.fixture(scope="module")
def finished(compiled_once: None, run_config: Config, tmp_path_factory) -> Path:
    """One uninterrupted run with its evaluation."""
    workdir = tmp_path_factory.mktemp("runs") / "straight"
    assert run(run_config, workdir) is Outcome.FINISHED
    return workdir


def last_state(config: Config, workdir: Path) -> TrainState:
    target = Program.build(config).shapes
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with Checkpoints(workdir, config.training.keep_checkpoints) as checkpoints:
        return jax.tree.map(np.asarray, checkpoints.restore(abstract_state(target, here)).state)


@pytest.fixture(scope="module")
def finished_state(finished: Path, run_config: Config) -> TrainState:
    return last_state(run_config, finished)


def test_the_last_state_can_be_scored_too(
    finished: Path, finished_state: TrainState, run_config: Config, tmp_path: Path
):
    last = load_last(finished)
    jax.tree.map(np.testing.assert_array_equal, last.trained.variables["params"], finished_state.params["network"])
    assert last.step == 6 and last.trained.config.model == run_config.model
    for folder, message in ((tmp_path, "config.json"), (tmp_path / "new", "config.json")):
        with pytest.raises(ConfigError, match=message):
            load_last(folder)
    shutil.copy(finished / "config.json", tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        load_last(tmp_path)


def test_a_run_leaves_everything_a_reader_needs(finished: Path, run_config: Config):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert set(metrics["protocols"]) == {"semi", "full"}
    assert metrics["protocols"]["semi"]["n_frames"] == 4 and metrics["protocols"]["full"]["n_frames"] == 10
    small = metrics["protocols"]["semi"]["network_resolution"]
    assert small["size"] == run_config.data.size and small["dice_percent"]["n_frames"] == 4
    assert metrics["protocols"]["full"]["temporal"]["n_clips"] > 0
    report = (finished / "report.html").read_text()
    assert "http://" not in report and "https://" not in report and "Dice" in report
    frames = (finished / "per_frame.csv").read_text().splitlines()
    assert len(frames) == 1 + 4 + 10 and frames[0].startswith("protocol,patient_id")
    about = json.loads((finished / "config.json").read_text())
    assert read_config(about["config"]) == run_config and "jax" in about["packages"]
    assert about["convolutions"]["matrix_products_for_1x1"] is True
    lines = read_metrics(finished)
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert [line["lambda"] for line in lines if line["kind"] == "epoch" and "lambda" in line] == [1.0, 1.0]
    board = b"".join(file.read_bytes() for file in (finished / "tensorboard").iterdir())
    every_step = (
        "loss",
        "bce",
        "dice_loss",
        "unsupervised",
        "lambda",
        "tau",
        "confident_share",
        "pseudo_dice_percent",
        "learning_rate",
        "gradient_norm",
        "step_s",
        "data_wait_share",
        "checkpoint_s",
        "clips_per_s",
        "host_memory_gib",
    )
    for name in (*(f"train/{name}" for name in every_step), "epoch/validation_dice_percent"):
        assert name.encode() in board, name


def test_slow_input_is_said_and_steps_can_be_traced(run_config: Config, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "SLOW_INPUT", -1.0)
    train(replace(run_config, {"training.max_steps": 2}), tmp_path, profile=StepRange(2, 2))  # the first step compiles
    assert "slow input: the device waited for data" in capsys.readouterr().err
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_a_finished_run_says_so_and_touches_nothing(finished: Path, run_config: Config, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert run(run_config, finished) is Outcome.FINISHED
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == before
    shown = capsys.readouterr()
    assert "done already" in shown.err and "mDice" in shown.out and "report.html" in shown.out


def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    finished: Path, finished_state: TrainState, run_config: Config, tmp_path: Path
):
    """Stopped in the middle of an epoch without, and of one with pseudo-labels, then resumed to the end."""
    for stop_at in (1, 5, None):
        outcome = train(replace(run_config, {"training.max_steps": stop_at}), tmp_path)
    assert outcome is Outcome.FINISHED
    jax.tree.map(np.testing.assert_array_equal, finished_state, last_state(run_config, tmp_path))
    timing = {"clips_per_s", "step_s", "data_wait_share", "checkpoint_s", "host_memory_gib"}
    for one, other in zip(read_metrics(finished), read_metrics(tmp_path), strict=True):
        assert {k: v for k, v in one.items() if k not in timing} == {k: v for k, v in other.items() if k not in timing}


def test_the_last_checkpoints_and_the_best_are_kept(finished: Path, run_config: Config):
    kept = sorted(int(p.name) for p in (finished / "checkpoints").iterdir() if p.name.isdigit())
    assert kept == [4, 6]
    epochs = [line for line in read_metrics(finished) if line["kind"] == "epoch"]
    best = max(epochs, key=lambda line: line["validation_dice_percent"])
    assert [int(p.name) for p in (finished / "best").iterdir() if p.name.isdigit()] == [best["step"]]
    best_network = Trained.load(finished / "inference")
    assert best_network.card["step"] == best["step"] and best_network.config == run_config
    sizes = [
        sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        for folder in (finished / "inference", finished / "checkpoints" / "6")
    ]
    assert sizes[0] < 0.5 * sizes[1]


def test_streaming_equals_the_whole_clip_and_no_reference_is_read(finished: Path):
    predictor = Predictor.load(finished / "inference")
    frames = np.random.default_rng(0).integers(0, 255, (4, 40, 48), dtype=np.uint8)
    whole = predictor.probabilities([frames])[0]
    memory, streamed = predictor.start_stream(), []
    for frame in frames:
        memory, probability = predictor.stream_frame(memory, frame[None])
        streamed.append(probability[0])
    np.testing.assert_allclose(whole, np.stack(streamed), atol=1e-5)
    mask = predictor.segment(frames).masks
    assert mask.shape == frames.shape and set(np.unique(mask)) <= {0, 1}


def test_what_may_change_is_said(finished: Path, run_config: Config, capsys):
    convolutions = ConvImplementation.for_this_machine()
    claim(finished, replace(run_config, {"data.workers": 5, "data.root": "elsewhere"}), convolutions=convolutions)
    said = capsys.readouterr().err
    assert "config.data.workers: 2 there, 5 now" in said and "'elsewhere' now" in said
    claim(finished, run_config, convolutions=convolutions)  # and back: the record follows
    assert "'elsewhere' there" in capsys.readouterr().err
    claim(finished, run_config, convolutions=convolutions)
    assert not capsys.readouterr().err
    claim(finished, run_config, convolutions=ConvImplementation.plain())
    assert "compiles convolutions in other forms" in capsys.readouterr().err


def test_another_configuration_in_the_same_folder_is_refused(finished: Path, run_config: Config):
    with pytest.raises(ConfigError, match=r"config\.seed: 0 there, 1 now"):
        run(replace(run_config, {"seed": 1}), finished)


def test_more_epochs_than_the_run_had_are_refused_with_the_way(finished: Path, run_config: Config):
    with pytest.raises(ConfigError, match=rf"(?s)epochs: 3 there, 9 now.*training\.start_from={finished}") as refused:
        run(replace(run_config, {"training.epochs": 9}), finished)
    assert "cannot be made longer" in str(refused.value)


def test_a_start_that_fails_claims_nothing_and_a_corrected_one_takes_the_folder(
    run_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    workdir = tmp_path / "run"
    for wrong in (
        {"data.root": str(tmp_path / "nowhere")},
        {"training.start_from": "nowhere"},
        {"data.batch_clips": 3},
    ):
        with pytest.raises((ConfigError, FileNotFoundError)):
            run(replace(run_config, wrong), workdir)
        assert not workdir.exists()
    claim(workdir, replace(run_config, {"seed": 5}), convolutions=ConvImplementation.plain())
    (workdir / "metrics.jsonl").write_text(json.dumps({"kind": "train", "step": 0, "epoch": 1}) + "\n")
    capsys.readouterr()
    claim(workdir, run_config, convolutions=ConvImplementation.plain())  # nothing was saved yet
    assert capsys.readouterr().err == "" and os.listdir(workdir) == ["config.json"]
    assert read_config(json.loads((workdir / "config.json").read_text())["config"]) == run_config


def test_other_simulated_patients_replace_those_of_a_start_that_saved_nothing(tmp_path: Path):
    wrong = Config(data=DataConfig(simulate=SimulationConfig(3, 5, 32, processes=1)))
    right = replace(wrong, {"data.simulate.size": 64})
    for config in (wrong, right):
        root = tmp_path / "simulated"
        _simulate(replace(config, {"data.root": str(root)}), tmp_path)
        assert json.loads((root / "cohort.json").read_text())["arguments"]["size"] == config.data.simulate.size
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    with pytest.raises(ConfigError, match="found a cohort made with"):
        _simulate(replace(wrong, {"data.root": str(tmp_path / "simulated")}), tmp_path)


def test_a_validation_is_given_up_at_a_signal_and_made_up_for(
    finished: Path, finished_state: TrainState, run_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    dice_percent = Validator.dice_percent

    def signalled(self: Validator, variables: dict, **options: Any) -> float | None:
        os.kill(os.getpid(), signal.SIGTERM)
        return dice_percent(self, variables, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Validator, "dice_percent", signalled)
        for step in (2, 2, 2):  # each start gives the same validation up again
            assert train(run_config, tmp_path) is Outcome.INTERRUPTED
            assert int(last_state(run_config, tmp_path).step) == step
            assert [line["kind"] for line in read_metrics(tmp_path)] == ["train", "train"]
    assert train(run_config, tmp_path) is Outcome.FINISHED
    jax.tree.map(np.testing.assert_array_equal, finished_state, last_state(run_config, tmp_path))
    scores = [[line.get("validation_dice_percent") for line in read_metrics(folder)] for folder in (finished, tmp_path)]
    assert scores[0] == scores[1]


def test_a_foreign_folder_is_not_overwritten(run_config: Config, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds no run"):
        run(run_config, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_non_finite_loss_names_the_step_and_keeps_the_last_checkpoint(
    finished: Path, run_config: Config, tmp_path: Path, monkeypatch
):
    original = loop.TrainingBatches.batch

    def poisoned(self, step):
        batch = original(self, step)
        if step == 3:
            batch = batch._replace(image=np.full_like(batch.image, np.nan))
        return batch

    monkeypatch.setattr(loop.TrainingBatches, "batch", poisoned)
    with pytest.raises(NonFiniteLoss, match=r"step 4: loss nan.*last checkpoint is kept"):
        train(run_config, tmp_path)
    assert int(last_state(run_config, tmp_path).step) == 2


def test_a_full_disk_is_named_and_the_last_checkpoint_kept(
    run_config: Config, finished: Path, finished_state: TrainState, tmp_path, monkeypatch
):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with Checkpoints(workdir, 2) as checkpoints, pytest.raises(CheckpointError, match=r"disk is full.*step 6"):
        checkpoints.save(finished_state.replace(step=np.int32(7)), {})
    assert int(last_state(run_config, workdir).step) == 6


def test_a_checkpoint_of_another_model_is_refused(run_config: Config, finished: Path, tmp_path: Path):
    shutil.copytree(finished / "checkpoints", tmp_path / "checkpoints")
    other = replace(run_config, {"model.channels": 24, "model.heads": 3})
    with pytest.raises(CheckpointError, match=r"does not fit.*is stored as \(16,\), this run has \(24,\)"):
        last_state(other, tmp_path)


def test_other_epochs_than_the_checkpoints_are_refused(run_config: Config, finished: Path, tmp_path: Path):
    shutil.copytree(finished / "checkpoints", tmp_path / "checkpoints")
    with pytest.raises(CheckpointError, match=r"made with 2 steps an epoch, the data now give 3 on 4 devices"):
        train(replace(run_config, {"training.steps_per_epoch": 3}), tmp_path)


def test_other_clips_than_the_checkpoints_are_refused(run_config: Config, finished: Path, tmp_path: Path, monkeypatch):
    shutil.copytree(finished / "checkpoints", tmp_path / "checkpoints")
    monkeypatch.setattr(TrainingBatches, "digest", "other")
    with pytest.raises(CheckpointError, match=r"other training clips than .* now holds"):
        train(run_config, tmp_path)


def test_a_signal_late_in_a_step_still_saves(run_config: Config, tmp_path: Path, monkeypatch):
    """It comes after the loop has decided whether this step is saved."""
    original = loop.RunLog.write

    def write(self, kind, step, epoch, values):
        original(self, kind, step, epoch, values)
        if (kind, step) == ("train", 1):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop.RunLog, "write", write)
    assert train(run_config, tmp_path) is Outcome.INTERRUPTED
    assert int(last_state(run_config, tmp_path).step) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"sise": 128}}, r"config\.data\.sise is not a field; did you mean config\.data\.size"),
        ({"data": {"size": 100}}, r"size is 100; expected a multiple of 16"),
        ({"data": {"size": "128"}}, r"config\.data\.size is '128' \(str\); expected int"),
        ({"model": {"norm": "layer"}}, r"config\.model\.norm is 'layer'; expected one of"),
        ({"flamerise": {"burn_in": 0.9}}, r"burn_in"),
        ({"training": {"epochs": 0}}, r"epochs"),
        ({"model": {"anchors": 5}}, r"anchors"),
    ],
)
def test_configuration_faults_are_named(change: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        read_config(change)


def test_a_batch_the_devices_cannot_share_is_refused(run_config: Config, tmp_path: Path):
    bad = replace(run_config, {"data.batch_clips": 3})
    with pytest.raises(ConfigError, match="use a multiple"):
        train(bad, tmp_path)


def test_sigterm_saves_and_exits_with_its_code_and_the_command_resumes(tmp_path: Path):
    workdir = tmp_path / "run"
    seldom = {"training.epochs": 50, "training.checkpoint_every_epochs": 50, "training.checkpoint_every_steps": 0}
    job = Job(workdir, devices=1, **seldom)
    wait_for_step(job, workdir, 2)
    job.processes[0].send_signal(signal.SIGTERM)
    (printed,) = job.wait()
    assert job.codes == [errors.INTERRUPTED], printed
    assert "stopped and saved at step" in printed
    (saved,) = (int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())
    again = Job(workdir, devices=1, **seldom, **{"training.max_steps": saved + 1})
    (printed,) = again.wait()
    assert again.codes == [errors.INTERRUPTED], printed
    assert f"resumed from step {saved}" in printed and f"saved at step {saved + 1}" in printed


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("data.root=nowhere/at_all", "nowhere/at_all"),
        ("model.pretrained=missing.safetensors", "missing.safetensors"),
        ("data.sise=3", "sise"),
    ],
)
def test_the_command_refuses_with_a_message_and_a_code(field: str, message: str, cohort: Path, tmp_path: Path):
    flags = "--config=camus_semi", f"--workdir={tmp_path / 'run'}", f"--config.data.root={cohort}"
    ended = run_command("echoforge_jax.train", *flags, f"--config.{field}")
    assert message in ended.err and "Traceback" not in ended.err
    assert ended.code == errors.USAGE
