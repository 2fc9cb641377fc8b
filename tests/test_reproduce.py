"""Tables from finished cells: shared cells have one name, pairs are by patient and seed, nothing finished is run."""

import json

import pytest

from echoforge_jax.config import ConfigError, read_config
from scripts import reproduce
from scripts.reproduce import FULL, TABLES, cell_name, read_base, write_table


def cell(seed, shift):
    dice = {f"patient{i:04d}": 90 + i / 10 + shift + 0.01 * seed for i in range(8)}
    return {
        "seed": seed, "changes": {}, "commit": "abc", "simulated": True, "split": "test", "epochs": 3,
        "protocols": {"semi": {
            "dice_percent_by_patient": dice, "distances": {"mm": {"hd": 6.0, "hd95": 5.0 - shift, "assd": 2.0}},
            "ejection_fraction": {"biplane_discs": {"pearson_r": 0.9, "bias": -1.0, "sd": 3.0, "n": 8}},
        }},
    }  # fmt: skip


def test_the_same_configuration_is_one_cell_in_every_table():
    assert cell_name(TABLES["table3"][3].changes, 0) == cell_name(TABLES["table5"][2].changes, 0)
    assert cell_name(TABLES["table4"][1].changes, 0) == cell_name(TABLES["fig7"][3].changes, 0) == cell_name(FULL, 0)
    assert cell_name(TABLES["table3"][2].changes, 1) == cell_name(TABLES["table5"][0].changes, 1) == "tsf_arc_seed1"
    names = {cell_name(row.changes, 0) for rows in TABLES.values() for row in rows}
    assert len(names) == 13


def test_every_cell_is_a_valid_configuration():
    base = read_base(reproduce.ROOT / "configs/ablations/small.py", ["training.epochs=3", "data.in_memory=true"])
    assert read_config(base).training.epochs == 3
    for rows in TABLES.values():
        for row in rows:
            values = base.copy_and_resolve_references()
            for name, value in row.changes.items():
                reproduce._set(values, name, value)
            read_config(values)
    with pytest.raises(ConfigError, match="learning"):
        read_base(reproduce.ROOT / "configs/ablations/small.py", ["optimiser.learning=3"])
    with pytest.raises(ConfigError, match="epochs"):
        read_base(reproduce.ROOT / "configs/ablations/small.py", ["training.epochs=many"])


def test_a_cell_of_another_base_is_not_taken_for_finished(tmp_path):
    path = reproduce.ROOT / "configs/ablations/small.py"
    base, moved, longer = (read_base(path, [s]) for s in ("seed=0", "data.root=elsewhere", "training.epochs=7"))
    assert reproduce.digest(base) == reproduce.digest(moved) != reproduce.digest(longer)
    (tmp_path / "cell.json").write_text(json.dumps({"base": reproduce.digest(base)}))
    assert reproduce.is_finished(tmp_path / "cell.json", reproduce.digest(moved))
    assert not reproduce.is_finished(tmp_path / "other.json", reproduce.digest(base))
    with pytest.raises(ConfigError, match="another base"):
        reproduce.is_finished(tmp_path / "cell.json", reproduce.digest(longer))


def test_a_table_pairs_by_patient_and_seed(tmp_path, capsys):
    for row, shift in zip(TABLES["table3"], (0, 1, 0.5, 2), strict=True):
        for seed in range(2) if row.label != "+ TSF + ARC" else (0,):
            (tmp_path / f"{cell_name(row.changes, seed)}.json").write_text(json.dumps(cell(seed, shift)))
    write_table("table3", TABLES["table3"], 3, tmp_path, "small")
    lines = json.loads((tmp_path / "table3.json").read_text())["semi"]
    assert [line["seeds"] for line in lines] == [2, 2, 1, 2]
    assert [line["against_first"]["difference"] for line in lines[1:]] == pytest.approx([1, 0.5, 2])
    assert lines[1]["against_first"]["p_signed_rank"] == pytest.approx(2 / 2**8)
    assert lines[1]["against_first"]["p_signed_rank_holm"] == pytest.approx(6 / 2**8)
    text = (tmp_path / "table3.md").read_text()
    assert "7 of 12 cells finished. SIMULATED" in text and "| + TSF | 2 | 91.36 [" in text and "92.36" in text
    assert (tmp_path / "table3.csv").read_text().count("\n") == 5 and "baseline" in capsys.readouterr().out
