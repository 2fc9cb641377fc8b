"""Finished cells without a training: invented scores, and untrained networks on a small simulated population."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from data_pipelines.simulator.cohort import Cohort, write_cohort
from echoforge_jax.config import stored_form
from echoforge_jax.inference import Predictor
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.reproduction.cell_result import (
    CellResult,
    CellScores,
    Distances,
    EjectionFractionAgreement,
    read_scores,
)
from echoforge_jax.reproduction.rows import CAMUS, TABLES
from echoforge_jax.reproduction.study import Cell, Study, configured, read_base
from echoforge_jax.scoring import evaluate
from echoforge_jax.weights.inference_folder import save_inference
from echoforge_jax.weights.trained import Trained

SMALL = "ablations/small"
TINY_SETTINGS = (
    "data.size=32",
    "data.frames=4",
    "model.encoder_width=8",
    "model.channels=16",
    "model.heads=2",
    "model.neighbours=4",
    "model.decoder_layers=1",
    "evaluation.protocols=('semi',)",
    "evaluation.batch_clips=1",
)


def invented_scores(seed: int = 0, shift: float = 0.0, unit: str = "mm", method: str = "biplane_discs") -> CellScores:
    """Scores of eight patients, Dice 90 % and more, `shift` points better."""
    dice = {f"patient{i:04d}": 90 + i / 10 + shift + 0.01 * seed for i in range(8)}
    return CellScores(
        dice_percent_by_patient=dice,
        frames=16,
        dice_percent=sum(dice.values()) / len(dice),
        dice_percent_by_phase={},
        distances={unit: Distances(hd=6.0, hd95=5.0 - shift, assd=2.0)},
        ejection_fraction={method: EjectionFractionAgreement(pearson_r=0.9, bias=-1.0, sd=3.0, n=8)},
    )


def write_cell(study: Study, cell: Cell, scores: CellScores) -> CellResult:
    """Writes a finished cell with these scores under the protocol "semi"."""
    result = CellResult(
        data=cell.data,
        seed=cell.seed,
        changes=cell.changes,
        commit="abc",
        date="2026-11-27",
        minutes_of_the_last_session=1.0,
        epochs=3,
        simulated=True,
        split="test",
        protocols={"semi": scores},
        last_epoch={},
    )
    result.write(study.result_file(cell))
    return result


def make_scored_study(folder: Path) -> Study:
    """A study whose cells of the first and the last row of Table 3 are networks as the initialisation leaves them,
    really scored on two simulated test clips."""
    study = Study("small", {}, folder / "results", folder / "work")
    data = study.work / "simulated"
    write_cohort(data, Cohort(patients=6, seed=1, frames=4, size=64))
    study = dataclasses.replace(study, bases={CAMUS: read_base(SMALL, [f"data.root={data}", *TINY_SETTINGS])})
    with pytest.MonkeyPatch.context() as patch:
        # The report and its pictures have their own tests.
        patch.setattr("echoforge_jax.report.folder.write_report", lambda *_, **__: None)
        patch.setattr("echoforge_jax.report.folder.overlay_grid", lambda *_, **__: b"")
        for row in (TABLES["table3"][0], TABLES["table3"][-1]):
            cell = Cell.from_row(row, 0)
            config = configured(study.bases[CAMUS], row.changes)
            variables = jax.jit(EchoForge(config.model).init)(jax.random.key(0), jnp.zeros((1, 1, 32, 32)))
            folder = study.run_folder(cell)
            save_inference(folder / "inference", variables, {"config": stored_form(config)})
            predictor = Predictor(Trained(variables, config, {}))
            evaluate(config, predictor, split="test", protocols=("semi",), out=folder)
            write_cell(study, cell, read_scores(folder)["semi"])
    return study
