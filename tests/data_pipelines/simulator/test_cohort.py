"""Simulated data sets on disk: they read back as CAMUS and EchoNet trees, and an interruption changes no byte."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest

from data_pipelines.formats import camus, echonet_dynamic
from data_pipelines.records import ENDOCARDIUM, QUALITIES, VIEWS
from data_pipelines.simulator import __main__ as command
from data_pipelines.simulator.clip import ClipSettings
from data_pipelines.simulator.cohort import STATE_FILE, Cohort, split_by_number, write_cohort
from data_pipelines.simulator.patient import Patient
from data_pipelines.simulator.truth import TRUTH_FILE
from tests.helpers.simulated import simulated_clip

COHORT = Cohort(patients=3, seed=7, frames=3, size=64)
ECHONET = Cohort(patients=3, seed=1, frames=75, size=48, tree="echonet")


@pytest.fixture(scope="module", autouse=True)
def equal_clips_are_simulated_once():
    """Clips are pure functions of their arguments (test_clip.py), so this process simulates each of them once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_pipelines.simulator.cohort.simulate_clip", simulated_clip)
        yield


class Interrupted(Exception):
    """What stands for an interruption here."""


def interrupt_after(patients: int):
    def progress(finished: int, _: int) -> None:
        if finished == patients:
            raise Interrupted

    return progress


def bytes_of(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def truth_of(folder) -> list[dict[str, str]]:
    with (folder / TRUTH_FILE).open(newline="") as file:
        return list(csv.DictReader(file))


# ---- a CAMUS tree --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def camus_tree(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort") / "tree"
    calls = []
    write_cohort(out, COHORT, progress=lambda finished, patients: calls.append((finished, patients)))
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    return out


def test_truth_lists_the_volumes_of_every_view(camus_tree):
    rows = truth_of(camus_tree)
    expected = [(f"patient{number:04d}", view) for number in (1, 2, 3) for view in VIEWS]
    assert [(row["patient"], row["view"]) for row in rows] == expected
    for row in rows:
        edv_ml, esv_ml = float(row["edv_ml"]), float(row["esv_ml"])
        assert 100 * (1 - esv_ml / edv_ml) == pytest.approx(float(row["ef_percent"]), abs=1e-3)
        assert row["quality"] in QUALITIES


@pytest.mark.parametrize(
    ("split", "file_name"),
    [("train", "subgroup_training.txt"), ("validation", "subgroup_validation.txt"), ("test", "subgroup_testing.txt")],
)
def test_every_split_reads_back_as_camus(camus_tree, split, file_name):
    expected = COHORT.split()[split]
    assert (camus_tree / "database_split" / file_name).read_text().split() == expected
    listed = camus.index(camus_tree, split)
    assert {entry.patient_id for entry in listed.entries} == set(expected) and not listed.skipped


def test_written_clip_is_the_simulated_clip(camus_tree):
    entries = camus.index(camus_tree, "train").entries
    read = camus.read(next(entry for entry in entries if entry.view == "4CH"))
    patient = Patient(COHORT.seed, 1)
    assert patient.half_cycle("4CH") == "ejection"
    made = simulated_clip(patient, "4CH", ClipSettings(frames=3, size=64))
    assert np.array_equal(read.frames, made.frames) and np.array_equal(read.label_map, made.label_map)
    assert read.spacing_mm == pytest.approx(made.spacing_mm, rel=1e-5)
    assert (read.quality, read.ed_index, read.es_index) == (made.quality, 0, 2)


def test_half_sequences_that_run_backwards_on_disk_read_from_end_diastole_to_end_systole(tmp_path):
    """One half sequence in ten runs backwards, as in the real release."""
    patient = next(
        patient
        for seed in range(20)
        for number in (1, 2, 3)
        if (patient := Patient(seed, number)).half_cycle("4CH") == "filling"
    )
    write_cohort(tmp_path / "tree", dataclasses.replace(COHORT, seed=patient.seed))
    entries = camus.index(tmp_path / "tree", "all").entries
    entry = next(entry for entry in entries if entry.record_id == f"{patient.name}_4CH")
    info = (entry.path / "Info_4CH.cfg").read_text()
    assert "ED: 3" in info and "ES: 1" in info
    made = simulated_clip(patient, "4CH", ClipSettings(frames=3, size=64, cycle="filling"))
    assert np.array_equal(camus.read(entry).frames, made.frames[::-1])
    halves = [Patient(0, number).half_cycle("4CH") for number in range(400)]
    assert 0.05 < halves.count("filling") / 400 < 0.15


def test_complete_cohort_is_not_written_again(camus_tree, capsys):
    before = {path: path.stat().st_mtime_ns for path in camus_tree.rglob("*")}
    write_cohort(camus_tree, COHORT)
    flags = ["--patients", "3", "--seed", "7", "--frames", "3", "--size", "64", "--out", str(camus_tree)]
    assert command.main(flags) == 0
    assert "already complete" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in camus_tree.rglob("*")} == before


def test_interrupted_cohort_continues_in_two_processes_to_the_same_bytes(camus_tree, tmp_path):
    out = tmp_path / "tree"
    with pytest.raises(Interrupted):
        write_cohort(out, COHORT, progress=interrupt_after(1))
    assert '"complete": false' in (out / STATE_FILE).read_text()
    with (out / TRUTH_FILE).open("a") as file:
        file.write("patient0002,2CH,101.0")  # a line cut short
    first_patient = sorted((out / "patient0001").iterdir())
    written = [path.stat().st_mtime_ns for path in first_patient]
    calls = []
    write_cohort(out, COHORT, processes=2, progress=lambda finished, patients: calls.append(finished))
    assert calls == [1, 2, 3]
    assert [path.stat().st_mtime_ns for path in first_patient] == written
    assert bytes_of(out) == bytes_of(camus_tree)


# ---- an EchoNet tree -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def echonet_tree(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort") / "echonet"
    write_cohort(out, ECHONET)
    return out


def test_echonet_tree_reads_back_as_echonet(echonet_tree):
    names = sorted(path.name for path in echonet_tree.iterdir())
    assert names == ["FileList.csv", "Videos", "VolumeTracings.csv", STATE_FILE, TRUTH_FILE]
    truth = {row["patient"]: row for row in truth_of(echonet_tree)}
    for split in ("train", "validation", "test"):
        listed = echonet_dynamic.index(echonet_tree, split)
        (entry,) = listed.entries
        clip = echonet_dynamic.read(entry)
        assert not listed.skipped and clip.fps == 50 and 12 <= len(clip) <= 22
        assert (clip.label_map[0] == ENDOCARDIUM).sum() > (clip.label_map[-1] == ENDOCARDIUM).sum()
        assert float(truth[entry.patient_id]["ef_percent"]) == pytest.approx(entry.stated.ef_percent, abs=1e-4)


def test_interrupted_echonet_cohort_continues_to_the_same_bytes(echonet_tree, tmp_path):
    out = tmp_path / "again"
    with pytest.raises(Interrupted):
        write_cohort(out, ECHONET, progress=interrupt_after(2))
    assert not (out / "FileList.csv").exists()
    write_cohort(out, ECHONET)
    assert bytes_of(out) == bytes_of(echonet_tree)


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [["--patients", "4"], ["--format", "echonet", "--patients", "3"]])
def test_folder_with_another_cohort_is_refused(camus_tree, capsys, flags):
    with pytest.raises(ValueError, match=r"found a cohort made with .* expected .*another folder"):
        write_cohort(camus_tree, dataclasses.replace(COHORT, seed=8))
    assert command.main([*flags, "--out", str(camus_tree)]) == 2
    assert "found a cohort made with" in capsys.readouterr().err


def test_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holiday.jpg.*choose another folder"):
        write_cohort(tmp_path, COHORT)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_too_few_patients_are_refused_and_leave_no_folder(tmp_path):
    with pytest.raises(ValueError, match="patients is 2; expected at least 3"):
        write_cohort(tmp_path / "tree", Cohort(patients=2, seed=0))
    assert not (tmp_path / "tree").exists()


def test_unknown_tree_is_refused():
    with pytest.raises(ValueError, match="tree is 'dicom'; expected one of camus, echonet"):
        Cohort(patients=3, seed=0, tree="dicom")


@pytest.mark.parametrize(
    ("patients", "sizes"), [(3, (1, 1, 1)), (10, (7, 1, 2)), (40, (28, 4, 8)), (500, (350, 50, 100))]
)
def test_split_is_seven_to_one_to_two_by_number(patients, sizes):
    split = split_by_number(patients)
    assert tuple(len(split[name]) for name in ("train", "validation", "test")) == sizes
    everyone = [name for names in split.values() for name in names]
    assert everyone == [f"patient{number:04d}" for number in range(1, patients + 1)]
