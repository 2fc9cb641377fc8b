"""The doctor: every finding on a small tree made for it, the exit codes, the sheet, and that it writes nothing else."""

import dataclasses
import json
import re

import cv2
import numpy as np
import pytest

from data_pipelines.doctor import report as doctor
from data_pipelines.doctor import sheet as doctor_sheet
from data_pipelines.doctor.checks import sector_offset
from data_pipelines.doctor.layouts import recognise
from data_pipelines.formats import camus
from data_pipelines.formats import echonet_dynamic as echonet
from data_pipelines.formats.echonet_dynamic.video import write_video
from data_pipelines.notes import NOTE_KINDS
from data_pipelines.records import ATRIUM, ENDOCARDIUM
from tests.helpers.trees import edit_csv, make_clip, make_video_clip, remove, write_mhd_tree

NAMES = ["patient0001", "patient0002", "patient0003"]


def different(clip, number):
    """The same picture, each grey level a little brighter: no two patients share a frame."""
    return dataclasses.replace(clip, frames=clip.frames + np.uint8(number))


def write_tree(root, first=None):
    """Three patients in three splits; the 4CH of the first is `first`."""
    for number, name in enumerate(NAMES):
        for view in ("2CH", "4CH"):
            clip = (
                first if first is not None and (number, view) == (0, "4CH") else make_clip(patient_id=name, view=view)
            )
            camus.write_clip(different(clip, number), root)
    camus.write_split(root, {"training": NAMES[:1], "validation": NAMES[1:2], "testing": NAMES[2:]})


def run(root, *options):
    """(exit code, report as JSON); the tree is as it was."""
    file = root.parent / "report.json"
    before = sorted(root.rglob("*"))
    code = doctor.main([str(root), "--json", str(file), *options])
    assert sorted(root.rglob("*")) == before
    report = json.loads(file.read_text(encoding="utf-8"))
    assert report["exit_code"] == code
    return code, report


INFOS = {code for code, kind in NOTE_KINDS.items() if kind.severity == "info"}  # readers may add some at any time


def titles(report, kind):
    found = {finding["title"]: finding["records"] for finding in report["findings"] if finding["kind"] == kind}
    return {title: records for title, records in found.items() if title not in INFOS}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "Bäume 木"


def test_a_healthy_camus_tree(root, capsys):
    write_tree(root)
    code, report = run(root)
    assert (code, {finding["kind"] for finding in report["findings"]}) == (0, {"notes"})
    assert titles(report, "notes") == {"anisotropic spacing": [f"{n}_{v}" for n in NAMES for v in ("2CH", "4CH")]}
    counts = report["counts"]
    assert (report["layout"], counts["patients"], counts["records"]) == ("CAMUS, NIfTI", 3, 6)
    assert counts["views"] == {"2CH": 3, "4CH": 3} and counts["sizes"] == {"72x60": 6} and counts["frames"] == 36
    assert counts["row_mm"] == {"known": 6, "min": 0.308, "median": 0.308, "max": 0.308}
    assert counts["quality"] == {"Good": 6} and counts["ef_percent"]["median"] == pytest.approx(55.2, abs=0.1)
    assert report["splits"] == dict(zip(("train", "validation", "test"), ([name] for name in NAMES), strict=True))
    assert report["split_scheme"] == "official"
    text = capsys.readouterr().out
    assert "6 records of 3 patients read\n" in text and text.endswith("healthy\n")


def erased(clip, label):
    return dataclasses.replace(clip, label_map=np.where(clip.label_map == label, 0, clip.label_map).astype(np.uint8))


def painted(clip, where, value, what="label_map"):
    array = getattr(clip, what).copy()
    array[where] = value
    return dataclasses.replace(clip, **{what: array})


@pytest.mark.parametrize(
    ("change", "kind", "title"),
    [
        (lambda c: dataclasses.replace(c, ed_index=5, es_index=0), "suspicious", "ES area larger than ED area"),
        (
            lambda c: dataclasses.replace(
                c, frames=c.frames[::-1], label_map=c.label_map[::-1], ed_index=5, es_index=0
            ),
            "notes",
            "half sequence runs from ES to ED",
        ),
        (lambda c: painted(c, np.s_[0, 70, 3], ENDOCARDIUM), "suspicious", "LV mask in several pieces"),
        (lambda c: painted(c, np.s_[0, 26, 30], 0), "suspicious", "LV mask with holes"),
        (lambda c: painted(c, np.s_[0, 25:28, :31], ENDOCARDIUM), "suspicious", "LV touches the border of the picture"),
        (lambda c: painted(c, np.s_[3], 7, "frames"), "suspicious", "blank or very dark frame"),
        (lambda c: painted(c, np.s_[3, :40], 250, "frames"), "suspicious", "saturated frame"),
        (lambda c: painted(c, np.s_[3], c.frames[2], "frames"), "notes", "frames repeated within a clip"),
        (lambda c: painted(c, np.s_[5], c.label_map[0]), "suspicious", "EF of the masks not plausible"),
        (lambda c: dataclasses.replace(c, ef_percent=40.0, volumes_ml=None), "notes", "EF far from the mask areas"),
        (lambda c: dataclasses.replace(c, ef_percent=20.0, volumes_ml=None), "suspicious", "EF contradicts the masks"),
        (lambda c: erased(c, ATRIUM), "notes", "anatomy not checkable: no atrium label"),
        (
            lambda c: dataclasses.replace(c, has_reference=np.zeros(6, bool), label_map=0 * c.label_map),
            "missing",
            "ED or ES without mask",
        ),
        (lambda c: make_clip(patient_id="patient0001"), None, None),
    ],
)
def test_each_fault_of_a_clip_gives_its_finding(root, change, kind, title):
    write_tree(root, change(make_clip()))
    code, report = run(root)
    for name in ("missing", "suspicious", "notes"):
        expected = {} if name != kind else {title: ["patient0001_4CH"]}
        found = titles(report, name)
        for usual in ("anisotropic spacing", "axes look right where no atrium tells"):
            found.pop(usual, None)
        if name == kind or name == "suspicious":
            assert found.items() >= expected.items() and len(found) <= len(expected) + (kind == "notes")
    assert code == (1 if kind in ("missing", "suspicious") else 0)


def test_missing_and_unreadable_parts_are_named(root, capsys):
    write_tree(root)
    remove(root, "half_sequence", "half_sequence_gt")
    (root / "patient0002" / "Info_2CH.cfg").unlink()
    for path in (root / "patient0003").glob("*_2CH_*.nii.gz"):
        path.unlink()
    broken = root / "patient0003" / "patient0003_4CH_half_sequence.nii.gz"
    broken.write_bytes(broken.read_bytes()[:99])
    (root / "database_split" / "subgroup_validation.txt").write_text("patient0777\n")
    (root / "database_split" / "subgroup_testing.txt").write_text("")
    code, report = run(root)
    assert code == 1 and titles(report, "unreadable") == {"truncated file": ["patient0003_4CH"]}
    assert titles(report, "missing") == {
        "split without a patient": ["test"],
        "patient of a split missing": ["patient0777"],
        "view missing": ["patient0003_2CH"],
        "Info_*.cfg missing": ["patient0002_2CH"],
        "sequence missing": ["patient0001_4CH"],
    }
    assert titles(report, "notes")["patient in no split"] == ["patient0002", "patient0003"]
    assert "1 x truncated file: patient0003_4CH\n      " in capsys.readouterr().out


def test_identical_frames_and_patients_in_two_splits(root):
    write_tree(root)
    for number in (1, 2):
        camus.write_clip(make_clip(patient_id=NAMES[number]), root)  # as 4CH of the first
    camus.write_split(root, {"training": NAMES[:2], "testing": NAMES[2:]})
    same = ["patient0001_2CH", *(f"{name}_4CH" for name in NAMES)]
    assert titles(run(root)[1], "suspicious") == {"identical frames in two splits": same}
    camus.write_split(root, {"training": NAMES, "testing": []})
    assert titles(run(root)[1], "suspicious") == {"identical frames of two patients": same}
    camus.write_split(root, {"training": NAMES, "testing": NAMES[2:]})
    code, report = run(root)
    assert code == 1 and titles(report, "suspicious").keys() == {
        "patient in two splits",
        "identical frames of two patients",
    }
    assert any("patient0003 in ['train', 'test']" in finding["detail"] for finding in report["findings"])
    (root / "database_split" / "subgroup_testing.txt").unlink()
    assert "database_split/subgroup_*.txt missing" in titles(run(root)[1], "missing")
    assert "splits by scheme 'absent.json' cannot be made" in titles(
        run(root, "--split_scheme", "absent.json")[1], "missing"
    )
    assert run(root, "--split_scheme", "ratio")[1]["splits"]["validation"] == NAMES[1:2]


def fan(apex="top"):
    """A sector on black, 80 x 100, with its apex on one side."""
    rows, columns = np.mgrid[:80, :100]
    down, across = rows - 3.0, columns - 50.0
    inside = (np.hypot(down, across) < 70) & (np.abs(across) < down)
    grey = (inside * np.random.default_rng(0).integers(60, 160, inside.shape)).astype(np.uint8)
    return np.rot90(grey, {"top": 0, "left": 1, "bottom": 2, "right": 3}[apex])[None].copy()


def test_the_offset_of_the_sector_points_away_from_its_apex():
    expected = {"top": (1, 0), "bottom": (-1, 0), "left": (0, 1), "right": (0, -1)}
    for apex, direction in expected.items():
        offset = sector_offset(fan(apex))
        assert (np.sign(np.round(offset, 2)) == direction).all(), (apex, offset)
    assert sector_offset(np.full((2, 50, 50), 90, np.uint8)) is None
    assert sector_offset(np.zeros((2, 50, 50), np.uint8)) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a, None),
        (lambda a: a[:, ::-1], "apex is at the bottom"),
        (lambda a: np.swapaxes(a, 1, 2), "apex is at the left.*LV is 0[.].*expected taller"),
    ],
)
def test_without_an_atrium_the_shape_hints_at_wrong_axes(root, change, words):
    frames = np.repeat(fan(), 6, axis=0)[:, :72, 20:80]
    clip = erased(make_clip(frames=frames, spacing_mm=None), ATRIUM)
    write_tree(root, dataclasses.replace(clip, frames=change(clip.frames), label_map=change(clip.label_map)))
    code, report = run(root)
    hints = {finding["title"]: finding["detail"] for finding in report["findings"]}
    if words is None:
        assert code == 0 and "apex is on top" in hints["axes look right where no atrium tells"]
    else:
        assert code == 1 and re.search(words, hints["axes may be transposed or upside down"])


def test_the_mhd_release(root):
    pytest.importorskip("SimpleITK", reason="the .mhd release needs SimpleITK")
    for number, name in enumerate(NAMES):
        write_mhd_tree(root, different(make_clip(patient_id=name), number))
    code, report = run(root, "--threads", "1")
    assert (code, report["layout"], report["counts"]["records"]) == (1, "CAMUS, .mhd/.raw", 3)
    assert titles(report, "missing").keys() == {
        "split without a patient",
        "database_split/subgroup_*.txt missing",
        "view missing",
        "sequence missing",
    }


def test_echonet(root):
    clips = [different(make_video_clip(n=4, patient_id=f"0X{i}"), 30 * i) for i in range(4)]
    clips[1] = dataclasses.replace(clips[1], label_map=clips[1].label_map[::-1])  # then ED is the later frame
    echonet.write_tree(clips, root, {"0X0": "TRAIN", "0X1": "TRAIN", "0X2": "VAL", "0X3": "TEST"})
    code, report = run(root)
    assert code == 0, report["findings"]
    assert titles(report, "notes")["ES is traced before ED"] == ["0X1_4CH"]

    def change(rows):
        swapped = [row[:1] + row[3:5] + row[1:3] + row[5:] if i == 30 else row for i, row in enumerate(rows)]
        return [*swapped, *([*row[:5], "1"] for row in rows[1:22])]  # a third traced frame of the first

    edit_csv(root / "VolumeTracings.csv", change)
    edit_csv(root / "FileList.csv", lambda rows: [*rows[:4], [*rows[2][:8], "TEST"]])
    code, report = run(root)
    assert code == 1 and titles(report, "missing") == {"duplicate id": ["0X1_4CH"]}
    suspicious = titles(report, "suspicious")
    assert suspicious["tracing crosses itself"] == ["0X0_4CH"] and suspicious["patient in two splits"] == ["0X1"]
    notes = titles(report, "notes")
    assert notes["more than two traced frames"] == ["0X0_4CH"]
    assert notes["video that FileList.csv does not list"] == ["0X3"]
    assert notes["tracing of a video that FileList.csv does not list"] == ["0X3"]


def test_cines(root, capsys):
    root.mkdir()
    write_video(np.repeat(fan(), 5, axis=0) + np.uint8(1), 25.0, root / "a.avi")
    (root / "note.txt").write_text("not a cine")
    code, report = run(root)
    assert code in (0, 1) and report["layout"] == "a folder of cines" and report["counts"]["fps"]["median"] == 25
    assert titles(report, "missing")["unsupported suffix"] == ["note.txt"] and titles(report, "unreadable") == {}
    assert doctor.main([str(root / "a.avi")]) == code and "a cine" in capsys.readouterr().out
    (root / "a.avi").write_bytes(b"")
    assert run(root)[0] == 2
    (root / "a.avi").unlink()
    assert doctor.main([str(root)]) == 2 and "database_nifti (CAMUS)" in capsys.readouterr().err


def test_folders_without_a_data_set_are_refused(root, capsys):
    for path, words in ((root, "not there"), (root.parent, "holds no file"), (root.parent, "looks like one")):
        if words == "looks like one":
            write_tree(root)
        assert doctor.main([str(path)]) == 2
        assert words in capsys.readouterr().err
    (root / "FileList.csv").write_text("FileName,Split\n")
    for name in NAMES:
        (root / name).rename(root / f"old_{name}")
    assert doctor.main([str(root)]) == 2 and "VolumeTracings.csv is missing" in capsys.readouterr().err


def test_an_error_inside_a_reader_is_a_finding(root, monkeypatch):
    write_tree(root)
    read = camus.read
    monkeypatch.setattr(camus, "read", lambda entry: 1 / 0 if entry.record_id == "patient0002_4CH" else read(entry))
    code, report = run(root)
    assert code == 1 and titles(report, "unreadable") == {"the reader failed": ["patient0002_4CH"]}


def test_a_limit_reads_a_sample_and_the_sheet_shows_it(root, tmp_path):
    write_tree(root)
    sheet = tmp_path / "sheet.png"
    code, report = run(root, "--limit", "2", "--sheet", str(sheet))
    assert (code, report["records_there"], report["records_read"], report["counts"]["records"]) == (0, 6, 2, 2)
    height, width = doctor_sheet.HEIGHT + doctor_sheet.TEXT, 2 * doctor_sheet.WIDTH + doctor_sheet.GAP
    assert cv2.imread(str(sheet)).shape[1::-1] == (2 * (width + 2 * doctor_sheet.GAP), height + doctor_sheet.GAP)
    assert len(doctor_sheet.choose_records(1000)) == 24 and doctor_sheet.choose_records(3) == {0, 1, 2}


def test_a_tile_has_true_proportions():
    """An LV that is a circle in mm, in pixels twice as tall as wide, is drawn as a circle."""
    rows, columns = np.ogrid[:120, :60]
    masks = np.repeat(((((rows - 60) / 40) ** 2 + ((columns - 30) / 20) ** 2) <= 1)[None], 2, axis=0).astype(np.uint8)
    clip = make_clip(n=2, label_map=masks, frames=np.zeros_like(masks), spacing_mm=(0.15, 0.3))
    green = (doctor_sheet.draw_tile(clip) == doctor_sheet.COLOURS[ENDOCARDIUM]).all(axis=-1)[:, : doctor_sheet.WIDTH]
    height, width = (np.ptp(np.flatnonzero(green.any(axis=axis))) for axis in (1, 0))
    assert height == pytest.approx(2 / 3 * doctor_sheet.HEIGHT, abs=4) and width == pytest.approx(height, abs=4)
    assert cv2.connectedComponents(green.astype(np.uint8), connectivity=8)[0] == 2


def test_the_real_camus_tree(real_data):
    tree = recognise(real_data / "camus_ed_es")
    assert (tree.layout, len(tree.items), len(tree.splits["train"])) == ("CAMUS, NIfTI", 799, 350)
    assert [skipped.record_id for skipped in tree.skipped] == ["patient0039_4CH"]
    diagnosis = doctor.diagnose(real_data / "camus_ed_es", limit=24)
    assert diagnosis.exit_code == 1 and diagnosis.counts["row_mm"]["min"] == pytest.approx(0.308)
    (axes,) = [finding for finding in diagnosis.findings if finding.title.startswith("axes")]
    assert axes.kind == "notes" and "on top" in axes.detail


def test_echonet_shows_what_is_not_read_and_what_disagrees(root):
    clips = [different(make_video_clip(n=4, patient_id=f"0X{i}"), 30 * i) for i in range(4)]
    echonet.write_tree(clips, root, {"0X0": "TRAIN", "0X1": "VAL", "0X2": "TEST", "0X3": "TEST"})

    def change(rows):
        column = rows[0].index
        rows[1][column("EF")], rows[1][column("EDV")], rows[1][column("ESV")] = "90", "100", "10"
        rows[2][column("FPS")], rows[3][column("Split")], rows[4][column("Split")] = "25", "holdout", ""
        return rows

    edit_csv(root / "FileList.csv", change)
    (root / "Videos" / "old").mkdir()
    (root / "Videos" / "old" / "0X7.MOV").write_bytes(b"")
    (root / "FileList (2).csv").write_text("")
    code, report = run(root)
    suspicious, notes = titles(report, "suspicious"), titles(report, "notes")
    assert code == 1 and suspicious["EF contradicts the masks"] == ["0X0_4CH"]
    assert suspicious["frame rate contradicts the table"] == ["0X1_4CH"]
    assert suspicious["value of Split not known"] == ["0X2"] and suspicious["Split is empty"] == ["0X3"]
    assert notes["video that FileList.csv does not list"] == ["old/0X7"]
    assert notes["files that belong to nothing"] == ["FileList (2).csv"]
    edit_csv(root / "FileList.csv", lambda rows: [rows[0], *([*row[:-1], str(i)] for i, row in enumerate(rows[1:3]))])
    assert "splits by scheme 'auto' cannot be made" in titles(run(root)[1], "missing")
    (root / "patient0001").mkdir()
    assert titles(run(root)[1], "suspicious").keys() >= {"two data sets"}


def test_echonet_pediatric_is_known_by_name(root, capsys):
    clips = [different(make_video_clip(n=4, patient_id=f"0X{i}"), 30 * i) for i in range(3)]
    echonet.write_tree(clips, root / "A4C", {"0X0": "TRAIN", "0X1": "VAL", "0X2": "TEST"})
    edit_csv(
        root / "A4C" / "FileList.csv",
        lambda rows: [rows[0], *([*row[:-1], "089"[i]] for i, row in enumerate(rows[1:]))],
    )
    (root / "A4C").rename(root / "a4c")
    (root / "PSAX").mkdir()
    (root / "PSAX" / "FileList.csv").write_text("FileName,Split\n")
    code, report = run(root)
    assert (code, report["layout"]) == (0, "EchoNet-Pediatric, A4C") and report["splits"]["test"] == ["0X2"]
    assert titles(report, "notes")["view that is not apical"] == ["PSAX"]
    assert doctor.main([str(root / "PSAX")]) == 2 and "no apical view" in capsys.readouterr().err


def test_several_data_sets_are_listed(root, capsys):
    for name in ("one", "two"):
        echonet.write_tree([make_video_clip(n=2, patient_id="0X0")], root / name, {"0X0": "TRAIN"})
    assert doctor.main([str(root)]) == 2
    shown = capsys.readouterr().err
    assert "holds 2 that look like one" in shown and "one" in shown and "two" in shown
    (root / "one" / "FileList.csv").rename(root / "one" / "FileList (1).csv")
    assert doctor.main([str(root / "one")]) == 2
    shown = capsys.readouterr().err
    assert "FileList.csv is missing" in shown and "FileList (1).csv" in shown
