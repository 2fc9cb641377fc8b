"""A released file from the command line: exported, scored on a tree without its run, with test-time scales, refused."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.preprocessing import resize_probability, to_native
from data_pipelines.simulator.cohort import Cohort, write_cohort
from echoforge_jax import errors
from echoforge_jax.config import Config, replace
from echoforge_jax.inference import Ensemble, Predictor, enlarge
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.scoring import evaluate
from echoforge_jax.weights.inference_folder import save_inference
from echoforge_jax.weights.stablehlo import PROGRAM
from echoforge_jax.weights.trained import Trained
from tests.helpers.commands import Ended, run_command
from tests.helpers.jobs import REPOSITORY


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("cohort")
    write_cohort(root, Cohort(patients=3, seed=2, frames=4, size=64))
    return root


@pytest.fixture(scope="module")
def variables(tiny_config: Config):
    return jax.jit(EchoForge(tiny_config.model).init)(jax.random.key(1), jnp.zeros((1, 1, 32, 32)))


@pytest.fixture(scope="module")
def workdir(tiny_config: Config, variables, tmp_path_factory) -> Path:

    folder = tmp_path_factory.mktemp("run")
    save_inference(folder / "inference", variables, {"config": dataclasses.asdict(tiny_config), "epoch": 1})
    return folder


def command(name: str, *flags: str) -> Ended:
    return run_command(f"echoforge_jax.{name}", *flags)


def test_an_exported_file_scores_like_its_run(
    workdir: Path, cohort: Path, tiny_config: Config, variables, tmp_path, monkeypatch
):
    done = command("export", f"--workdir={workdir}")
    assert done.code == 0, done.err
    file = workdir / "export.safetensors"
    jax.tree.map(np.testing.assert_array_equal, Trained.load(file).variables, Trained.load(workdir).variables)
    again = command("export", f"--workdir={workdir}")
    assert again.code == errors.USAGE and "--overwrite" in again.err
    back = command("export", f"--workdir={file}", "--format=orbax", f"--out={tmp_path / 'back'}")
    assert back.code == 0, back.err
    jax.tree.map(np.testing.assert_array_equal, Trained.load(tmp_path / "back").variables, Trained.load(file).variables)

    done = command("evaluate", f"--checkpoint={file}", f"--data={cohort}", "--split=all", f"--out={tmp_path / 'a'}")
    assert done.code == 0, done.err
    assert "mDice" in done.out and "2CH" in done.out and "ES" in done.out
    scored = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert scored["protocols"]["semi"]["n_patients"] == 3

    config = replace(tiny_config, {"data.root": str(cohort)})
    monkeypatch.setattr("echoforge_jax.report.folder.write_report", lambda *_, **__: None)  # drawn once above
    predictor = Predictor(Trained(variables, config, {}))
    expected = evaluate(config, predictor, split="all", protocols=("semi",), out=tmp_path / "b")
    assert scored["protocols"]["semi"]["dice_percent"] == expected["protocols"]["semi"]["dice_percent"]
    for flags, message in (
        ([f"--checkpoint={file}"], "--data"),
        ([f"--checkpoint={file}", f"--workdir={workdir}"], "give either"),
        ([f"--checkpoint={file}", f"--data={cohort}", "--scales=1,big"], "expected numbers"),
        ([f"--checkpoint={file}", f"--data={cohort}", "--threshold=2"], "0 < threshold < 1"),
    ):
        refused = command("evaluate", *flags)
        assert refused.code == errors.USAGE and message in refused.err and "Traceback" not in refused.err


def test_a_network_that_is_not_there_is_named(workdir: Path, cohort: Path):
    done = command("evaluate", f"--checkpoint={workdir},nowhere", f"--data={cohort}")
    assert done.code == errors.USAGE and "nowhere: no such file or folder" in done.err


def test_a_threshold_travels_with_the_file(workdir: Path, variables, tiny_config: Config, tmp_path: Path):
    clip = np.random.default_rng(0).integers(0, 255, (2, 48, 40), np.uint8)
    probability = Predictor(Trained(variables, tiny_config, {})).probabilities([clip])[0]
    middle = float(np.median(probability))
    file = tmp_path / "strict.safetensors"
    done = command("export", f"--workdir={workdir}", f"--out={file}", f"--threshold={middle}")
    assert done.code == 0, done.err
    predictor = Predictor.load(file)
    assert predictor.threshold == predictor.trained.config.evaluation.threshold == pytest.approx(middle)
    mask = predictor.segment(clip).masks
    np.testing.assert_array_equal(mask, to_native(probability, (48, 40), predictor.threshold))
    assert 0.2 < mask.mean() < 0.8


def test_several_networks_are_averaged_at_the_firsts_size(variables, tiny_config: Config):
    clips = [np.random.default_rng(n).integers(0, 255, (2, 48, 40), np.uint8) for n in range(2)]
    larger = replace(tiny_config, {"data.size": 64})
    first, second = Predictor(Trained(variables, tiny_config, {})), Predictor(Trained(variables, larger, {}))
    alone, other = first.probabilities(clips), second.probabilities(clips)
    for mean, a, b in zip(Ensemble([first, second]).probabilities(clips), alone, other, strict=True):
        np.testing.assert_allclose(mean, (a + resize_probability(b, (32, 32))) / 2, atol=1e-6)


def test_an_exported_program_computes_the_same_for_any_number_of_clips(workdir: Path, tiny_config, variables):
    # In a process of its own: the number of clips is a symbol there, which the types checked here do not allow.
    start = [sys.executable, "-m", "echoforge_jax.export", f"--workdir={workdir}", "--format=stablehlo"]
    subprocess.run(start, cwd=REPOSITORY, check=True)
    program = jax.export.deserialize(bytearray((workdir / "export_stablehlo" / PROGRAM).read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    card = json.loads((workdir / "export_stablehlo" / "card.json").read_text())
    assert "(clips, 3, 32, 32)" in card["input"] and card["config"]["model"]["channels"] == 16
    predictor = Predictor(Trained(variables, tiny_config, {}))
    for clips in (1, 3):
        image = np.random.default_rng(clips).random((clips, 3, 32, 32), np.float32)
        np.testing.assert_allclose(program.call(image), predictor.forward(jnp.asarray(image)), atol=1e-5)


def test_test_time_scales_average_where_the_pictures_overlap(tiny_config: Config, variables):
    clip = np.random.default_rng(0).integers(0, 255, (2, 32, 32), np.uint8)
    plain, doubled, mixed = (
        Predictor(Trained(variables, replace(tiny_config, {"evaluation.scales": scales}), {})).probabilities([clip])[0]
        for scales in ((1.0,), (1.0, 1.0), (0.8, 1.0, 1.25))
    )
    np.testing.assert_allclose(doubled, plain, rtol=1e-6)
    assert mixed.min() >= 0 and mixed.max() <= 1 and np.abs(mixed - plain).max() > 1e-4
    ramp = jnp.broadcast_to(jnp.arange(32, dtype=jnp.float32), (1, 1, 32, 32))
    there = enlarge(ramp, 1.25)
    np.testing.assert_allclose(there[0, 0, 16], 15.5 + (np.arange(32) - 15.5) / 1.25, atol=1e-4)
    inner = np.asarray(enlarge(enlarge(ramp, 0.8), 1.25))[0, 0, 4:-4, 4:-4]
    np.testing.assert_allclose(inner, np.asarray(ramp)[0, 0, 4:-4, 4:-4], atol=0.3)
