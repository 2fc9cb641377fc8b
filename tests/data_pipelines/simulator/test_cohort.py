"""Cohorts on disk: CAMUS and EchoNet trees with their truth, complete, refused or gone on with, to the same bytes."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from data_pipelines.formats import camus, echonet_dynamic
from data_pipelines.records import QUALITIES, VIEWS
from data_pipelines.simulator import __main__ as command
from data_pipelines.simulator.clip import simulate_clip
from data_pipelines.simulator.cohort import STATE_FILE, TRUTH_FILE, half_cycle_of, split_by_number, write_cohort

COHORT = {"patients": 3, "seed": 7, "frames": 3, "size": 64}


def bytes_of(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort") / "tree"
    calls = []
    write_cohort(out, **COHORT, progress=lambda finished, patients: calls.append((finished, patients)))
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    return out


def test_cohort_reads_back_as_camus(cohort):
    with (cohort / TRUTH_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["patient"], row["view"]) for row in rows] == [
        (f"patient{number:04d}", view) for number in (1, 2, 3) for view in VIEWS
    ]
    for row in rows:
        edv_ml, esv_ml = float(row["edv_ml"]), float(row["esv_ml"])
        assert 100 * (1 - esv_ml / edv_ml) == pytest.approx(float(row["ef_percent"]), abs=1e-3)
        assert row["quality"] in QUALITIES
    for subgroup, split in (("training", "train"), ("validation", "validation"), ("testing", "test")):
        expected = split_by_number(3)[split]
        assert (cohort / "database_split" / f"subgroup_{subgroup}.txt").read_text().split() == expected
        listed = camus.index(cohort, split)
        assert {entry.patient_id for entry in listed.entries} == set(expected) and not listed.skipped


def test_written_clip_is_the_simulated_clip(cohort):
    entries = camus.index(cohort, "train").entries
    entry = next(entry for entry in entries if entry.view == "4CH")
    read = camus.read(entry)
    assert half_cycle_of(COHORT["seed"], 1, "4CH") == "ejection"
    made = simulate_clip(COHORT["seed"], 1, "4CH", frames=3, size=64)
    assert np.array_equal(read.frames, made.frames) and np.array_equal(read.label_map, made.label_map)
    assert read.spacing_mm == pytest.approx(made.spacing_mm, rel=1e-5)
    assert (read.quality, read.ed_index, read.es_index) == (made.quality, 0, 2)


def test_complete_cohort_is_left_alone(cohort, capsys):
    before = {path: path.stat().st_mtime_ns for path in cohort.rglob("*")}
    write_cohort(cohort, **COHORT)
    flags = ["--patients", "3", "--seed", "7", "--frames", "3", "--size", "64", "--out", str(cohort)]
    assert command.main(flags) == 0
    assert "already complete" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in cohort.rglob("*")} == before


def test_other_arguments_on_the_same_folder_are_refused(cohort, capsys):
    with pytest.raises(ValueError, match=r"found a cohort made with .* expected .*another folder"):
        write_cohort(cohort, **{**COHORT, "seed": 8})
    assert command.main(["--patients", "4", "--out", str(cohort)]) == 2
    assert "found a cohort made with" in capsys.readouterr().err


def test_foreign_folder_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holiday.jpg.*choose another folder"):
        write_cohort(tmp_path, **COHORT)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_too_few_patients_leave_no_folder(tmp_path):
    with pytest.raises(ValueError, match="patients is 2; expected at least 3"):
        write_cohort(tmp_path / "tree", patients=2, seed=0)
    assert not (tmp_path / "tree").exists()


def test_interrupted_cohort_goes_on_to_the_same_bytes(cohort, tmp_path):
    class Interrupted(Exception):
        pass

    def interrupt(finished: int, patients: int) -> None:
        if finished == 1:
            raise Interrupted

    out = tmp_path / "tree"
    with pytest.raises(Interrupted):
        write_cohort(out, **COHORT, progress=interrupt)
    assert '"complete": false' in (out / STATE_FILE).read_text()
    with (out / TRUTH_FILE).open("a") as file:
        file.write("patient0002,2CH,101.0")  # a line cut short
    first_patient = sorted((out / "patient0001").iterdir())
    written = [path.stat().st_mtime_ns for path in first_patient]
    calls = []
    write_cohort(out, **COHORT, processes=2, progress=lambda finished, patients: calls.append(finished))
    assert calls == [1, 2, 3]
    assert [path.stat().st_mtime_ns for path in first_patient] == written
    assert bytes_of(out) == bytes_of(cohort)


@pytest.mark.parametrize(
    ("patients", "sizes"), [(3, (1, 1, 1)), (10, (7, 1, 2)), (40, (28, 4, 8)), (500, (350, 50, 100))]
)
def test_split_is_seven_to_one_to_two_by_number(patients, sizes):
    split = split_by_number(patients)
    assert tuple(len(names) for names in split.values()) == sizes
    everyone = [name for names in split.values() for name in names]
    assert everyone == [f"patient{number:04d}" for number in range(1, patients + 1)]


def test_some_half_sequences_run_backwards_and_read_forwards(tmp_path):
    """As in the real release: ES first on disk, ED first in the `Clip`."""
    seed, patient = next((s, p) for s in range(20) for p in (1, 2, 3) if half_cycle_of(s, p, "4CH") == "filling")
    write_cohort(tmp_path / "tree", **{**COHORT, "seed": seed})
    entries = camus.index(tmp_path / "tree", "all").entries
    entry = next(e for e in entries if e.record_id == f"patient{patient:04d}_4CH")
    info = (entry.path / "Info_4CH.cfg").read_text()
    assert "ED: 3" in info and "ES: 1" in info
    read, made = camus.read(entry), simulate_clip(seed, patient, "4CH", frames=3, size=64, cycle="filling")
    assert np.array_equal(read.frames, made.frames[::-1])
    draws = [half_cycle_of(0, patient, "4CH") for patient in range(400)]
    assert 0.05 < draws.count("filling") / 400 < 0.15


ECHONET = {"patients": 3, "seed": 1, "frames": 75, "size": 48, "tree": "echonet"}


def test_an_echonet_cohort_reads_back_and_goes_on_after_an_interruption(tmp_path):
    write_cohort(tmp_path / "whole", **ECHONET)
    assert sorted(p.name for p in (tmp_path / "whole").iterdir()) == [
        "FileList.csv",
        "Videos",
        "VolumeTracings.csv",
        STATE_FILE,
        TRUTH_FILE,
    ]
    for split in ("train", "validation", "test"):
        listed = echonet_dynamic.index(tmp_path / "whole", split)
        (entry,) = listed.entries
        clip = echonet_dynamic.read(entry)
        assert not listed.skipped and clip.fps == 50 and 12 <= len(clip) <= 22
        assert (clip.label_map[0] == 1).sum() > (clip.label_map[-1] == 1).sum()
    with (tmp_path / "whole" / TRUTH_FILE).open(newline="") as file:
        truth = {row["patient"]: row for row in csv.DictReader(file)}
    assert float(truth[entry.patient_id]["ef_percent"]) == pytest.approx(entry.ef_percent, abs=1e-4)

    def interrupt(finished: int, patients: int) -> None:
        if finished == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cohort(tmp_path / "again", **ECHONET, progress=interrupt)
    assert not (tmp_path / "again" / "FileList.csv").exists()
    write_cohort(tmp_path / "again", **ECHONET, processes=2)
    assert bytes_of(tmp_path / "again") == bytes_of(tmp_path / "whole")
    other = ["--format", "echonet", "--patients", "4", "--out", str(tmp_path / "whole")]
    assert command.main(other) == 2
