"""The doctor: what each layout is taken for, each finding on a small made tree, and the exit codes."""

import dataclasses
import json

import numpy as np
import pytest

from data_pipelines import doctor, prepare
from data_pipelines.formats import camus, echonet_dynamic
from data_pipelines.records import Clip
from data_pipelines.simulator.clip import simulate_clip
from data_pipelines.simulator.cohort import write_cohort


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("healthy") / "tree"
    write_cohort(root, patients=3, seed=3, frames=3, size=64)
    return root


@pytest.fixture(scope="module")
def clip() -> Clip:
    return simulate_clip(0, 1, "4CH", frames=3, size=64)


def titles(diagnosis: doctor.Diagnosis, *kinds: str) -> set[str]:
    return {f.title for f in diagnosis.findings if not kinds or f.kind in kinds}


def written(root, *clips: Clip):
    for one in clips:
        camus.write_clip(one, root)
    names = sorted({one.patient_id for one in clips})
    camus.write_split(root, {"training": names, "validation": [], "testing": []})
    return root


def test_a_whole_tree_is_healthy_and_counted(tree, capsys, tmp_path):
    assert doctor.main([str(tree), "--json", str(tmp_path / "report.json")]) == doctor.HEALTHY
    shown = capsys.readouterr().out
    assert "CAMUS, NIfTI" in shown and "6 records of 3 patients read" in shown and shown.rstrip().endswith("healthy")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["splits"]["train"] == ["patient0001"] and report["counts"]["views"] == {"2CH": 3, "4CH": 3}
    assert report["counts"]["sizes"] == {"64x64": 6} and report["counts"]["ef_percent"]["known"] == 6


def test_a_contact_sheet_is_written_only_where_asked(tree, tmp_path):
    before = sorted(tree.rglob("*"))
    assert doctor.main([str(tree), "--sheet", str(tmp_path / "sheet.png"), "--limit", "2"]) == doctor.HEALTHY
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG" and sorted(tree.rglob("*")) == before


def test_suspicious_masks_and_frames(tmp_path, clip):
    masks, frames = clip.masks.copy(), clip.frames.copy()
    masks[-1][masks[0] == 1] = 1  # ES as large as ED, and more
    masks[-1, 20:24, :3] = 1  # a second piece, at the border
    rows, columns = np.nonzero(masks[0] == 1)
    masks[0, int(rows.mean()), int(columns.mean())] = 2  # a hole
    frames[1] = 0
    broken = dataclasses.replace(clip, masks=masks, frames=frames)
    found = doctor.diagnose(written(tmp_path, broken))
    assert titles(found, "suspicious") >= {
        "ES area larger than ED area", "LV mask in several pieces", "LV mask with holes",
        "LV touches the border of the picture", "blank or very dark frame",
    }  # fmt: skip
    assert found.exit_code == doctor.WARNINGS


def test_what_is_missing_or_unreadable_is_named(tmp_path, clip):
    root = written(tmp_path, clip, dataclasses.replace(clip, patient_id="patient0002", frames=clip.frames[:, ::-1]))
    (root / "patient0001" / "Info_4CH.cfg").unlink()
    for path in (root / "patient0002").glob("*.nii.gz"):
        path.write_bytes(path.read_bytes()[:50])
    found = doctor.diagnose(root)
    named = {f.title: f.records for f in found.findings}
    assert named["truncated file"] == ("patient0002_4CH",) and named["Info_*.cfg missing"] == ("patient0001_4CH",)
    assert set(named["view missing"]) == {"patient0001_2CH", "patient0002_2CH"}
    assert found.exit_code == doctor.WARNINGS and "cannot be read" in doctor.text_of(found)


def test_an_upside_down_tree_is_not_usable(tmp_path, clip):
    flipped = dataclasses.replace(clip, frames=clip.frames[:, ::-1].copy(), masks=clip.masks[:, ::-1].copy())
    found = doctor.diagnose(written(tmp_path, flipped))
    assert found.exit_code == doctor.UNUSABLE and "axes transposed" in titles(found, "unreadable")


def test_without_an_atrium_the_axes_are_a_suspicion(tmp_path, clip):
    only_lv = dataclasses.replace(clip, masks=np.where(clip.masks == 1, clip.masks, 0).astype(np.uint8))
    fine = doctor.diagnose(written(tmp_path / "fine", only_lv))
    assert titles(fine) >= {"anatomy not checkable: no atrium label", "axes look right where no atrium tells"}
    lying = dataclasses.replace(
        only_lv, frames=only_lv.frames.swapaxes(1, 2).copy(), masks=only_lv.masks.swapaxes(1, 2).copy()
    )
    assert "axes may be transposed or upside down" in titles(doctor.diagnose(written(tmp_path / "lying", lying)))


def test_the_same_pictures_in_two_splits_are_found(tmp_path, clip):
    written(tmp_path, clip, dataclasses.replace(clip, patient_id="patient0002"))
    camus.write_split(tmp_path, {"training": ["patient0001"], "validation": ["patient0002"], "testing": []})
    found = doctor.diagnose(tmp_path)
    assert "identical frames in two splits" in titles(found, "suspicious")
    camus.write_split(tmp_path, {"training": ["patient0001"], "validation": ["patient0001"], "testing": []})
    assert "patient in two splits" in titles(doctor.diagnose(tmp_path), "suspicious")


def test_echonet_tracings_that_cross_themselves(tmp_path, clip):
    echonet_dynamic.write_tree([clip], tmp_path, {clip.patient_id: "TRAIN"})
    assert doctor.diagnose(tmp_path).tree.layout == "EchoNet-Dynamic"
    lines = (tmp_path / "VolumeTracings.csv").read_text().splitlines()
    cells = lines[12].split(",")
    lines[12] = ",".join([cells[0], *cells[3:5], *cells[1:3], cells[5]])  # one chord runs the other way
    (tmp_path / "VolumeTracings.csv").write_text("\n".join(lines) + "\n")
    assert "tracing crosses itself" in titles(doctor.diagnose(tmp_path), "suspicious")


def test_a_prepared_store_and_cines_are_recognised(tree, tmp_path):
    folder, _ = prepare.prepare("camus", tmp_path / "data", source=tree)
    assert doctor.diagnose(folder).tree.layout == "prepared store of camus"
    videos = tmp_path / "videos"
    echonet_dynamic.write_tree([simulate_clip(0, 1, "4CH", frames=4, size=64)], videos, {"patient0001": "TRAIN"})
    cines = doctor.diagnose(videos / "Videos")
    assert cines.tree.layout == "a folder of cines" and cines.counts["frames"] == 4


def test_nothing_to_recognise(tmp_path, capsys):
    assert doctor.main([str(tmp_path / "nowhere")]) == doctor.UNUSABLE
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    assert doctor.main([str(tmp_path)]) == doctor.UNUSABLE
    shown = capsys.readouterr().err
    assert "is not there" in shown and "expected patient0001" in shown


def test_the_real_trees(real_data):
    found = doctor.diagnose(real_data / "camus_ed_es", limit=12)
    assert found.exit_code == doctor.WARNINGS and found.counts["records"] == 12
    assert {"sequence missing", "Info_*.cfg missing"} <= titles(found, "missing") and not titles(found, "unreadable")
    cines = doctor.diagnose(real_data / "clips")
    assert cines.counts["records"] == 3 and cines.exit_code == doctor.HEALTHY
