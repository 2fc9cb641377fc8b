"""Tables from finished cells: shared cells have one name, pairs are by patient and seed, nothing finished is run."""

import dataclasses
import json
from pathlib import Path

import pytest

from echoforge_jax.config import Config
from echoforge_jax.errors import ConfigError
from echoforge_jax.evaluation.statistics import compare_paired
from echoforge_jax.reproduction.cell_result import CellResult, read_scores
from echoforge_jax.reproduction.rows import CAMUS, ECHONET, FULL, TABLES
from echoforge_jax.reproduction.speed import measure_speed, write_table2
from echoforge_jax.reproduction.study import Cell, Study, configured, read_base
from echoforge_jax.reproduction.table_files import write_table, write_table1
from tests.helpers.study import SMALL, invented_scores, write_cell

RESULTS = Path(__file__).parents[2] / "docs" / "results"
MADE_FROM_THE_COMMITTED_CELLS = {
    "small": ("table1", "table3", "table4", "table5", "table6", "fig7", "labels", "defaults"),
    "real": ("parts",),
    "real_small": ("few_labels10", "few_labels25", "exposure", "parts"),
}


def names(table):
    return [Cell.from_row(row, 0).name for row in TABLES[table]]


def test_the_same_configuration_is_one_cell_in_every_table():
    full = Cell(FULL).name
    assert full == "full_seed0" == names("table3")[3] == names("table5")[2] == names("table4")[1] == names("fig7")[3]
    assert full == names("table6")[-1] == names("labels")[-1] == names("table1")[0]
    assert names("table3")[:3] == ["baseline_seed0", "tsf_seed0", "tsf_arc_seed0"] and names("table1")[1] != full
    assert names("table6")[1:5] == ["deformation_seed0", "registration_seed0", "mean_teacher_seed0", "threshold_seed0"]
    every = [Cell.from_row(row, 0) for rows in TABLES.values() for row in rows]
    base = configured(Config(), {"data.batch_clips": 8})  # "exposure" is for bases of eight rows
    different = {(configured(base, cell.changes), cell.data) for cell in every}
    assert len({cell.name for cell in every}) == len(different) == 47


@pytest.mark.parametrize("name", [SMALL, "ablations/small_echonet"])
def test_every_cell_is_a_valid_configuration(name):
    base = read_base(name, ["training.epochs=3", "data.in_memory=true", "data.views=('4CH',)"])
    assert base.training.epochs == 3 and base.data.views == ("4CH",)
    for rows in TABLES.values():
        for row in rows:
            configured(base, row.changes)
    with pytest.raises(ConfigError, match="learning"):
        read_base(SMALL, ["optimizer.learning=3"])
    with pytest.raises(ConfigError, match="epochs"):
        read_base(SMALL, ["training.epochs=many"])
    with pytest.raises(ConfigError, match="did you mean ablations/small"):
        read_base("ablations/smal")


def test_cells_of_another_base_are_refused_by_name(study: Study):
    study.check_bases(write=False)
    assert not study.results.exists()
    study.check_bases()
    moved = Study("small", {CAMUS: read_base(SMALL, ["data.root=elsewhere"])}, study.results, study.work)
    moved.check_bases()
    longer = Study("small", {CAMUS: read_base(SMALL, ["training.epochs=7"])}, study.results, study.work)
    with pytest.raises(ConfigError, match=r"training.epochs: 20 there, 7 now"):
        longer.check_bases()
    record = study.results / "base_camus.json"
    values = json.loads(record.read_text())
    del values["flamerise.lambda_max"]  # a field that the older cells did not have yet: its default counts
    record.write_text(json.dumps(values))
    study.check_bases()


def test_a_table_pairs_by_patient_and_seed(study: Study):
    for row, shift in zip(TABLES["table3"], (0, 1, 0.5, 2), strict=True):
        for seed in range(2) if row.label != "+ TSF + ARC" else (0,):
            write_cell(study, Cell.from_row(row, seed), invented_scores(seed, shift))
    text = write_table(study, "table3", 3)
    lines = json.loads((study.results / "table3.json").read_text())["semi"]
    assert [line["seeds"] for line in lines] == [2, 2, 1, 2]
    assert [line["against_first"]["difference"] for line in lines[1:]] == pytest.approx([1, 0.5, 2])
    assert lines[1]["against_first"]["p_signed_rank"] == pytest.approx(2 / 2**8)
    assert lines[1]["against_first"]["p_signed_rank_holm"] == pytest.approx(6 / 2**8)
    assert "7 of 12 cells finished. SIMULATED" in text and "| + TSF | 2 | 91.36 [" in text and "92.36" in text
    assert (study.results / "table3.csv").read_text().count("\n") == 5
    assert write_table(study, "table4", 3).startswith("# table4")  # its full cell is Table 3's
    write_cell(study, Cell.from_row(TABLES["table3"][2], 1), invented_scores(1, 0.5))
    assert "8 of 8 cells finished" in write_table(study, "table3", 1)  # asked for one seed, all rows have two


def test_table_1_sets_other_systems_beside_ours(scored: Study, tmp_path):
    folder, baseline = (scored.run_folder(Cell.from_row(row, 0)) for row in (TABLES["table3"][-1], TABLES["table3"][0]))
    ours, theirs = (read_scores(run)["semi"] for run in (folder, baseline))
    assert ours.frames == 4 and set(ours.dice_percent_by_patient) == {"patient0006"}
    study = Study("small", {**scored.bases, ECHONET: Config()}, tmp_path, scored.work)
    write_cell(study, Cell(FULL), ours)
    write_cell(study, Cell(FULL, 0, ECHONET), invented_scores(0, 1.0, "px", "single_plane_discs"))
    text = write_table1(study, 1, {CAMUS: {"itself": folder, "base": baseline}, ECHONET: {}})
    lines = json.loads((tmp_path / "table1.json").read_text())
    itself, other = lines[CAMUS]["semi"][1:]
    assert itself["ours_minus_this"]["difference"] == pytest.approx(0, abs=1e-3)
    expected = compare_paired(
        *({patient: [dice] for patient, dice in run.dice_percent_by_patient.items()} for run in (ours, theirs)), seed=0
    )
    assert other["ours_minus_this"]["difference"] == pytest.approx(expected["difference"], abs=1e-3)
    assert lines[ECHONET]["semi"][0]["distance_unit"] == "px" and "table1, echonet" in text and "93.63" in text
    with pytest.raises(ConfigError, match="per_frame"):
        write_table1(study, 1, {CAMUS: {"none": tmp_path}, ECHONET: {}})


def test_a_cell_is_read_as_it_was_written(study: Study):
    cell = Cell(FULL, 3, ECHONET)
    assert study.read(cell) is None
    written = write_cell(study, cell, invented_scores())
    assert study.read(cell) == written == CellResult.read(study.result_file(cell))


@pytest.mark.parametrize("scale", ["small", "real", "real_small"])
def test_committed_tables_are_made_again_from_the_committed_cells(scale, tmp_path):
    """Byte for byte, where no cell was added since; every committed cell can be read."""
    files = list((RESULTS / scale).glob("*_seed*.json"))
    assert files and all(CellResult.read(file).protocols["semi"].dice_percent_by_patient for file in files)
    for file in files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    study = Study(scale, {CAMUS: Config(), ECHONET: Config()}, tmp_path, tmp_path)
    for name in MADE_FROM_THE_COMMITTED_CELLS[scale]:
        text = write_table1(study, 1, {CAMUS: {}, ECHONET: {}}) if name == "table1" else write_table(study, name, 1)
        for kind in ("md", "csv", "json"):
            assert (tmp_path / f"{name}.{kind}").read_bytes() == (RESULTS / scale / f"{name}.{kind}").read_bytes()
        assert text


def test_table_2_is_measured_and_keeps_other_devices(scored: Study):
    rows = TABLES["table3"]
    lines = measure_speed(scored, rounds=1, stream_frames=6, batch_clips=1, say=lambda _: None, rows=rows)
    assert [line.row for line in lines] == ["baseline", "+ TSF + ARC (EchoForge)"]
    assert lines[0].parameters_m < lines[1].parameters_m < 1
    for line in lines:
        assert line.frames_per_s > 0 and line.streamed_frames == 6
        assert 0 < line.latency_ms_p50 <= line.latency_ms_p95 <= line.latency_ms_p99
    write_table2(scored, [dataclasses.replace(line, device="another") for line in lines])
    text = write_table2(scored, lines)
    assert text.count("| another |") == 2 and text == write_table2(scored, lines) and "RTX 3090" in text


@pytest.mark.parametrize("content", ["", "{", "[]", '{"protocols": 3}', '{"protocols": {"semi": {}}}'])
def test_a_garbled_file_of_a_study_is_named(study: Study, content):
    cell = Cell.from_row(TABLES["table3"][0], 0)
    write_cell(study, cell, invented_scores())
    study.result_file(cell).write_text(content)
    with pytest.raises(ConfigError, match=r"baseline_seed0\.json is garbled.*remove it"):
        write_table(study, "table3", 1)


@pytest.mark.parametrize("content", ["", "[]", "3"])
def test_a_garbled_base_configuration_is_named(study: Study, content):
    study.results.mkdir(parents=True, exist_ok=True)
    (study.results / "base_camus.json").write_text(content)
    with pytest.raises(ConfigError, match=r"base_camus\.json is garbled"):
        study.check_bases()
