"""The name of a file is not the patient: records and patients of folders of cines."""

from pathlib import Path

import pytest

from data_pipelines.formats import cine
from tests.helpers.dicom_files import picture, write

DICOM = bytes(128) + b"DICM"


def names(root, *paths):
    """Lays files out below a folder and returns {path: (record id, patient id)}; what they hold does not matter."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(DICOM)
    entries = cine.index(root).entries
    return {str(entry.path.relative_to(root)): (entry.record_id, entry.patient_id) for entry in entries}


@pytest.mark.parametrize(
    "expected",
    [
        {"b.avi": ("b", "b"), "a.mp4": ("a", "a"), "c d.dcm": ("c d", "c d")},  # a flat folder: as ever
        {
            "PAT1/ST0/IM_0001": ("PAT1-ST0-IM_0001", "PAT1"),
            "PAT2/ST0/IM_0001": ("PAT2-ST0-IM_0001", "PAT2"),
            "PAT2/ST0/IM_0002": ("IM_0002", "PAT2"),
        },
        {
            "PAT1/ST0/IM_0001": ("ST0-IM_0001", "PAT1"),
            "PAT1/ST1/IM_0001": ("ST1-IM_0001", "PAT1"),
            "PAT2/x.avi": ("x", "PAT2"),
        },
        {"a.avi": ("a.avi", "a.avi"), "a.mp4": ("a.mp4", "a.mp4"), "b.avi": ("b", "b")},
        {"p/IM1.dcm": ("IM1.dcm", "p"), "p/IM1": ("IM1", "p"), "q/IM2.dcm": ("IM2", "q")},
        {"A.avi": ("A.avi", "A.avi"), "a.avi": ("a.avi-2", "a.avi-2")},
        {"x/A.avi": ("x-A", "x"), "y/a.avi": ("y-a", "y")},
        {"p1.dcm": ("p1.dcm", "p1"), "p1_4CH.mp4": ("p1_4CH.mp4", "p1_4CH")},  # the view of p1 may be 4CH
        {"2CH/p1.avi": ("2CH-p1", "p1"), "4CH/p1.avi": ("4CH-p1", "p1"), "4CH/p2.avi": ("p2", "p2")},
        {"A4C/P1/x.avi": ("A4C-P1-x", "P1"), "A2C/P1/x.avi": ("A2C-P1-x", "P1")},
        {"DICOM/P1/IM": ("P1-IM", "P1"), "DICOM/P2/IM": ("P2-IM", "P2")},
        {"train/P1/IM": ("train-P1-IM", "train-P1"), "test/P1/IM": ("test-P1-IM", "test-P1")},
        {"train/a.avi": ("train-a", "train-a"), "test/a.avi": ("test-a", "test-a")},
        {"P1.avi": ("P1", "P1.avi"), "P1/x.avi": ("x", "P1")},
        {"a/b-c.avi": ("b-c", "a"), "a-b/c.avi": ("c", "a-b"), "c/c.avi": ("c-c", "c"), "c/b-c.mp4": ("c-b-c", "c")},
        {"A/p1/x.avi": ("A-p1-x", "A"), "B/p1/x.avi": ("B-p1-x", "B")},
        {"2024-01-05/IM.dcm": ("2024-01-05-IM", "2024-01-05"), "2024-01-06/IM.dcm": ("2024-01-06-IM", "2024-01-06")},
    ],
)
def test_records_and_patients_are_told_apart(tmp_path, expected):
    found = names(tmp_path, *expected)
    if "a/b-c.avi" in expected:
        expected = expected | {"a/b-c.avi": ("a-b-c", "a"), "a-b/c.avi": ("a-b-c-2", "a-b")}
    assert len({record.casefold() for record, _ in found.values()}) == len(found)
    assert found == expected


def test_a_folder_of_pictures_and_its_subfolders(tmp_path):
    for name in ("P1/f1.png", "P1/f2.png", "P1/st/f1.png", "P2/st/f1.png", "P2/v.avi"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    entries = cine.index(tmp_path).entries
    assert [(entry.record_id, entry.patient_id) for entry in entries] == [
        ("P1", "P1"),
        ("P1-st", "P1"),
        ("v", "P2"),
        ("P2-st", "P2"),
    ]


def test_two_patients_with_one_file_name_are_two_records(tmp_path):
    for number, patient in enumerate(("PAT1", "PAT2")):
        folder = tmp_path / patient / "ST0"
        folder.mkdir(parents=True)
        write(folder / "IM_0001", picture(4) + number, ViewName="A4C")
    clips = [cine.read(entry) for entry in cine.index(tmp_path).entries]
    assert [(clip.record_id, clip.patient_id) for clip in clips] == [
        ("PAT1-ST0-IM_0001_4CH", "PAT1"),
        ("PAT2-ST0-IM_0001_4CH", "PAT2"),
    ]
    assert cine.read(tmp_path / "PAT2" / "ST0" / "IM_0001").record_id == "IM_0001_4CH"


def test_the_folder_one_stands_in_has_a_name(tmp_path, monkeypatch):
    (tmp_path / "case 7").mkdir()
    (tmp_path / "case 7" / "f1.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path / "case 7")
    (entry,) = cine.index(Path()).entries
    assert (entry.record_id, entry.patient_id) == ("case 7", "case 7")
