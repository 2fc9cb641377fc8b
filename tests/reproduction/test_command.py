"""The command line: what it lists, prints and refuses, without a training."""

import json
import re

import pytest

from echoforge_jax.config import Config, read_config
from echoforge_jax.reproduction import command
from echoforge_jax.reproduction.rows import CAMUS, FULL
from echoforge_jax.reproduction.study import Cell, Study
from echoforge_jax.training.loop import Outcome
from tests.helpers.study import invented_scores, write_cell


@pytest.fixture
def folders(tmp_path):
    return [f"--results={tmp_path / 'results'}", f"--workdir={tmp_path / 'work'}"]


def test_a_dry_run_lists_the_cells_and_writes_nothing(folders, tmp_path, capsys):
    assert command.main(["table3", "table5", "fig5", "--dry_run", *folders]) == 0
    assert (
        "5 cells, 0 finished; to run: baseline_seed0, tsf_seed0, tsf_arc_seed0, full_seed0, " in capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("row", ["+ TSF", "tsf"])
def test_the_configuration_of_a_row_is_printed(row, folders, capsys):
    assert command.main(["table3", f"--print_config={row}", "--set=data.size=64", *folders]) == 0
    config = read_config(json.loads(capsys.readouterr().out))
    assert config.model.temporal_fusion and not config.model.anchor_recalibration and config.data.size == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--print_config=tsp"], r"table3 has no such row; expected one of 'baseline' \(baseline\), "),
        (["--set=model.size=3"], "model.size"),
        (["--against=folder"], "expected NAME=FOLDER"),
        (["--config=nowhere.py"], "nowhere.py"),
    ],
)
def test_faults_of_the_command_line_are_messages(arguments, message, folders, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["table3", *arguments, *folders])
    assert stop.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_an_interrupted_cell_ends_the_command_with_its_own_code(folders, monkeypatch, capsys):
    monkeypatch.setattr(Study, "run", lambda study, cell: Outcome.INTERRUPTED)
    assert command.main(["table3", *folders]) == 75
    assert "baseline_seed0 is interrupted and saved" in capsys.readouterr().err


def test_finished_cells_become_tables_without_a_training(folders, tmp_path, capsys):
    study = Study("small", {CAMUS: Config()}, tmp_path / "results" / "small", tmp_path / "work")
    write_cell(study, Cell(FULL), invented_scores())
    assert command.main(["table4", "--finished_only", *folders]) == 0
    assert "| 2 anchors | 1 |" in capsys.readouterr().out
    assert {file.name for file in study.results.iterdir()} > {
        "table4.md",
        "table4.csv",
        "table4.json",
        "base_camus.json",
    }
