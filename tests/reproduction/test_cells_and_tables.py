"""Tables from finished cells: shared cells have one name, pairs are by patient and seed, nothing finished is run."""

import json

import pytest

from echoforge_jax.config import default_config, read_config
from echoforge_jax.errors import ConfigError
from echoforge_jax.evaluation.statistics import compare_paired
from echoforge_jax.reproduction.speed import measure_speed, write_table2
from echoforge_jax.reproduction.study import CAMUS, ECHONET, Cell, Study, configured, read_base, summarise_cell
from echoforge_jax.reproduction.tables import FULL, TABLES, write_table, write_table1
from tests.helpers.study import SMALL, put, scored_cell


def names(table):
    return [Cell(row.changes, 0, row.data).name for row in TABLES[table]]


def test_the_same_configuration_is_one_cell_in_every_table():
    full = Cell(FULL).name
    assert full == "full_seed0" == names("table3")[3] == names("table5")[2] == names("table4")[1] == names("fig7")[3]
    assert full == names("table6")[-1] == names("labels")[-1] == names("table1")[0]
    assert names("table3")[:3] == ["baseline_seed0", "tsf_seed0", "tsf_arc_seed0"] and names("table1")[1] != full
    assert names("table6")[1:5] == ["deformation_seed0", "registration_seed0", "mean_teacher_seed0", "threshold_seed0"]
    every = [Cell(row.changes, 0, row.data) for rows in TABLES.values() for row in rows]
    base = default_config()
    base.data.batch_clips = 8  # "exposure" is for bases of eight rows
    different = {(configured(base, cell.changes), cell.data) for cell in every}
    assert len({cell.name for cell in every}) == len(different) == 48


@pytest.mark.parametrize("file", ["small.py", "small_echonet.py"])
def test_every_cell_is_a_valid_configuration(file):
    base = read_base(SMALL.with_name(file), ["training.epochs=3", "data.in_memory=true"])
    assert read_config(base).training.epochs == 3
    for rows in TABLES.values():
        for row in rows:
            configured(base, row.changes)
    with pytest.raises(ConfigError, match="learning"):
        read_base(SMALL, ["optimizer.learning=3"])
    with pytest.raises(ConfigError, match="epochs"):
        read_base(SMALL, ["training.epochs=many"])


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
    del values["semi.lambda_max"]  # a field that the older cells did not have yet: its default counts
    record.write_text(json.dumps(values))
    study.check_bases()


def test_a_table_pairs_by_patient_and_seed(study: Study):
    for row, shift in zip(TABLES["table3"], (0, 1, 0.5, 2), strict=True):
        for seed in range(2) if row.label != "+ TSF + ARC" else (0,):
            put(study, Cell(row.changes, seed), scored_cell(seed, shift))
    text = write_table(study, "table3", 3)
    lines = json.loads((study.results / "table3.json").read_text())["semi"]
    assert [line["seeds"] for line in lines] == [2, 2, 1, 2]
    assert [line["against_first"]["difference"] for line in lines[1:]] == pytest.approx([1, 0.5, 2])
    assert lines[1]["against_first"]["p_signed_rank"] == pytest.approx(2 / 2**8)
    assert lines[1]["against_first"]["p_signed_rank_holm"] == pytest.approx(6 / 2**8)
    assert "7 of 12 cells finished. SIMULATED" in text and "| + TSF | 2 | 91.36 [" in text and "92.36" in text
    assert (study.results / "table3.csv").read_text().count("\n") == 5
    assert write_table(study, "table4", 3).startswith("# table4")  # its full cell is Table 3's
    put(study, Cell(TABLES["table3"][2].changes, 1), scored_cell(1, 0.5))
    assert "8 of 8 cells finished" in write_table(study, "table3", 1)  # asked for one seed, all rows have two


def test_table_1_sets_other_systems_beside_ours(scored: Study, tmp_path):
    folder = scored.folder(Cell(FULL))
    ours = summarise_cell(folder)["protocols"]["semi"]
    assert ours["frames"] == 4 and set(ours["dice_percent_by_patient"]) == {"patient0006"}
    study = Study("small", scored.bases | {ECHONET: None}, tmp_path, scored.work)
    put(study, Cell(FULL), scored_cell(0, 1.0) | {"protocols": {"semi": ours}})
    put(study, Cell(FULL, 0, ECHONET), scored_cell(0, 1.0, "px", "single_plane_discs"))
    baseline = scored.folder(Cell(TABLES["table3"][0].changes))
    text = write_table1(study, 1, {CAMUS: {"itself": folder, "base": baseline}, ECHONET: {}})
    lines = json.loads((tmp_path / "table1.json").read_text())
    itself, other = lines[CAMUS]["semi"][1:]
    assert itself["ours_minus_this"]["difference"] == pytest.approx(0, abs=1e-3)
    theirs = summarise_cell(baseline)["protocols"]["semi"]["dice_percent_by_patient"]
    expected = compare_paired(
        *({k: [v] for k, v in d.items()} for d in (ours["dice_percent_by_patient"], theirs)), seed=0
    )
    assert other["ours_minus_this"]["difference"] == pytest.approx(expected["difference"], abs=1e-3)
    assert lines[ECHONET]["semi"][0]["distance_unit"] == "px" and "table1, echonet" in text and "93.63" in text
    with pytest.raises(ConfigError, match="per_frame"):
        write_table1(study, 1, {CAMUS: {"none": tmp_path}, ECHONET: {}})


def test_table_2_is_measured_and_keeps_other_devices(scored: Study):
    rows = TABLES["table3"]
    lines = measure_speed(scored, rounds=1, stream_frames=6, batch_clips=1, say=lambda _: None, rows=rows)
    assert [line["row"] for line in lines] == ["baseline", "+ TSF + ARC (EchoForge)"]
    assert lines[0]["parameters_m"] < lines[1]["parameters_m"] < 1
    for line in lines:
        assert line["frames_per_s"] > 0 and line["streamed_frames"] == 6
        assert 0 < line["latency_ms_p50"] <= line["latency_ms_p95"] <= line["latency_ms_p99"]
    write_table2(scored, [line | {"device": "another"} for line in lines])
    text = write_table2(scored, lines)
    assert text.count("| another |") == 2 and text == write_table2(scored, lines) and "RTX 3090" in text
