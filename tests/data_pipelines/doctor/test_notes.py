"""The doctor shows every note: grouped and short as text, whole as JSON."""

import dataclasses
import json

import pytest

from data_pipelines import prepare
from data_pipelines.doctor import report as doctor
from data_pipelines.formats import camus
from data_pipelines.notes import note
from data_pipelines.store import Camus
from tests.helpers.trees import make_clip

NAMES = [f"patient{number:04d}" for number in range(1, 7)]


def notes_of(name):
    """Three notes on every record; the text of the first is its own."""
    return (
        note("frame rate", f"From FrameRate of {name}."),
        note("uneven frame times", f"Steps of 20.0 to 20{name[-1]}.0 ms."),
        note("pixel spacing", "From the header."),
    )


@pytest.fixture
def tree(tmp_path, monkeypatch):
    root = tmp_path / "tree"
    for number, name in enumerate(NAMES):
        clip = make_clip(patient_id=name)
        camus.write_clip(dataclasses.replace(clip, frames=clip.frames + number), root)
    camus.write_split(root, {"train": NAMES[:4], "validation": NAMES[4:5], "test": NAMES[5:]})
    read, index = camus.read, camus.index

    def read_with_notes(entry):
        return dataclasses.replace(read(entry), notes=notes_of(entry.patient_id))

    def index_with_notes(*arguments, **options):
        apart = {"patient0009 (1)": (note("frames missing", "The folder is not read."),)}
        return dataclasses.replace(index(*arguments, **options), notes=apart)

    monkeypatch.setattr(Camus, "read", staticmethod(read_with_notes))
    monkeypatch.setattr(camus, "read", read_with_notes)
    monkeypatch.setattr(camus, "index", index_with_notes)
    return root


def examine(path, file, capsys):
    code = doctor.main([str(path), "--json", str(file)])
    return code, capsys.readouterr().out, json.loads(file.read_text())


@pytest.mark.parametrize("prepared", [False, True])
def test_text_groups_by_code_and_json_holds_every_text(tree, tmp_path, capsys, prepared):
    path = prepare.prepare("camus", tmp_path / "data", source=tree).folder if prepared else tree
    code, text, report = examine(path, tmp_path / "report.json", capsys)
    assert code == 1
    assert "6 x uneven frame times: all records\n      Steps of 20.0 to 201.0 ms. (5 other texts.)" in text
    assert "1 x frames missing: patient0009 (1)\n      The folder is not read." in text
    assert text.index("uneven frame times") < text.index("notes\n") < text.index("6 x frame rate")
    assert "--json FILE writes every text" in text
    for name in NAMES:
        assert report["notes"][f"{name}_4CH"] == [dataclasses.asdict(one) for one in notes_of(name)]
    assert report["notes"]["patient0009 (1)"][0]["text"] == "The folder is not read."


def test_json_holds_the_fault_of_every_record_that_is_left_out(tree, tmp_path, capsys):
    for name in NAMES[:2]:
        (tree / name / "Info_4CH.cfg").write_text(f"what is this, {name}")
    _, text, report = examine(tree, tmp_path / "report.json", capsys)
    details = {record["record_id"]: record["detail"] for record in report["left_out"] if "cfg" in record["reason"]}
    assert [NAMES[i] in details[f"{NAMES[i]}_4CH"] for i in (0, 1)] == [True, True]
    assert "2 x cfg garbled: patient0001_4CH, patient0002_4CH\n" in text


def test_an_unknown_spacing_has_one_name(tmp_path, capsys):
    for name in NAMES[:3]:
        camus.write_clip(make_clip(patient_id=name, spacing_mm=None), tmp_path / "tree")
    _, text, report = examine(tmp_path / "tree", tmp_path / "report.json", capsys)
    assert text.count("spacing unknown") == 1 and len(report["notes"]) == 3
