"""Finished cells without a training: invented scores, and untrained networks on a small simulated population."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from data_pipelines.simulator.cohort import write_cohort
from echoforge_jax.inference import Predictor
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.reproduction.study import CAMUS, Cell, Study, configured, read_base, set_field
from echoforge_jax.reproduction.tables import TABLES
from echoforge_jax.scoring import evaluate
from echoforge_jax.weights.inference_folder import save_inference
from tests.helpers.study import SMALL, put, scored_cell


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study("small", {CAMUS: read_base(SMALL)}, tmp_path / "results", tmp_path / "work")


@pytest.fixture
def scored(scored_study: Study, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The scored study, with Table 3 cut to the two rows that it holds."""
    monkeypatch.setitem(TABLES, "table3", (TABLES["table3"][0], TABLES["table3"][-1]))
    return scored_study


@pytest.fixture(scope="session")
def scored_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Networks as they come from the initialisation, really scored, for the first and the last row of Table 3."""
    folder = tmp_path_factory.mktemp("scored")
    write_cohort(folder / "work" / "simulated", patients=6, seed=1, frames=4, size=64)
    base = read_base(SMALL, [f"data.root={folder / 'work' / 'simulated'}", "data.size=32", "data.frames=4"])
    for name, value in (("encoder_width", 8), ("channels", 16), ("heads", 2), ("neighbours", 4), ("decoder_layers", 1)):
        set_field(base, f"model.{name}", value)
    base.evaluation.protocols, base.evaluation.batch_clips = ("semi",), 1
    study = Study("small", {CAMUS: base}, folder / "results", folder / "work")
    first, last = TABLES["table3"][0], TABLES["table3"][-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("echoforge_jax.report.folder.write_report", lambda *_, **__: None)  # has its own tests
        for row in (first, last):
            cell = Cell(row.changes)
            config = configured(base, row.changes)
            variables = jax.jit(EchoForge(config.model).init)(jax.random.key(0), jnp.zeros((1, 1, 32, 32)))
            save_inference(study.folder(cell) / "inference", variables, {"config": dataclasses.asdict(config)})
            predictor = Predictor(config.model, config.data.size, variables)
            evaluate(config, predictor, "test", ("semi",), study.folder(cell))
            (study.folder(cell) / "metrics.jsonl").write_text('{"kind": "epoch", "epoch": 1, "loss": 0.5}\n')
            put(study, cell, scored_cell(0, 0.0))
    return study
