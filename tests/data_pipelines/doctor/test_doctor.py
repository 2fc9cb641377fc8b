"""The doctor: what each layout is taken for, the report as JSON, and the exit codes."""

import json

import pytest

from data_pipelines import prepare
from data_pipelines.doctor import report as doctor
from data_pipelines.formats import echonet_dynamic
from data_pipelines.simulator.clip import ClipSettings, simulate_clip
from data_pipelines.simulator.cohort import Cohort, write_cohort
from data_pipelines.simulator.patient import Patient


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("healthy") / "tree"
    write_cohort(root, Cohort(patients=3, seed=3, frames=3, size=64))
    return root


def test_a_whole_tree_is_healthy_and_counted(tree, capsys, tmp_path):
    assert doctor.main([str(tree), "--json", str(tmp_path / "report.json")]) == doctor.HEALTHY
    shown = capsys.readouterr().out
    assert "CAMUS, NIfTI" in shown and "6 records of 3 patients read" in shown and shown.rstrip().endswith("healthy")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["splits"]["train"] == ["patient0001"] and report["counts"]["views"] == {"2CH": 3, "4CH": 3}
    assert report["counts"]["sizes"] == {"64x64": 6} and report["counts"]["ef_percent"]["known"] == 6


def test_a_prepared_store_and_cines_are_recognised(tree, tmp_path):
    prepared = prepare.prepare("camus", tmp_path / "data", source=tree)
    assert doctor.diagnose(prepared.folder).tree.layout == "prepared store of camus"
    videos = tmp_path / "videos"
    clip = simulate_clip(Patient(0, 1), "4CH", ClipSettings(frames=4, size=64))
    echonet_dynamic.write_tree([clip], videos, {"patient0001": "TRAIN"})
    cines = doctor.diagnose(videos / "Videos")
    assert cines.tree.layout == "a folder of cines" and cines.counts["frames"] == 4


def test_a_path_without_data_is_refused_with_what_was_expected(tmp_path, capsys):
    assert doctor.main([str(tmp_path / "nowhere")]) == doctor.UNUSABLE
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    assert doctor.main([str(tmp_path)]) == doctor.UNUSABLE
    shown = capsys.readouterr().err
    assert "is not there" in shown and "expected patient0001" in shown
