"""CAMUS: what is written is read back exactly, and the index names what is there and what is missing."""

import dataclasses
import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from data_pipelines.formats import camus
from data_pipelines.records import ENDOCARDIUM
from tests.helpers.trees import assert_same, make_clip, path_of, remove


def write_and_read(clip, root, **options):
    camus.write_clip(clip, root)
    (entry,) = camus.index(root, "all", views=(clip.view,)).entries
    return camus.read(entry, **options)


@pytest.fixture
def tree(tmp_path):
    camus.write_clip(make_clip(), tmp_path)
    return tmp_path


@pytest.fixture
def pair_tree(tree):
    """A tree without half sequences."""
    remove(tree, "half_sequence", "half_sequence_gt")
    return tree


@pytest.mark.parametrize("view", ["2CH", "4CH"])
def test_a_clip_comes_back_as_written(tmp_path, view):
    clip = make_clip(view=view)
    assert_same(write_and_read(clip, tmp_path), clip)


@pytest.mark.parametrize(
    "changes",
    [
        {"spacing_mm": None},
        {"spacing_mm": (1.0, 1.0)},
        {"fps": None},
        {"quality": None, "ef_percent": None},
        {"volumes_ml": None},
    ],
)
def test_unknown_facts_stay_unknown(tmp_path, changes):
    clip = make_clip(**changes)
    assert_same(write_and_read(clip, tmp_path), clip)


def test_a_clip_of_ed_and_es_alone(tmp_path):
    clip = make_clip(n=2)
    assert_same(write_and_read(clip, tmp_path), clip)


def test_frames_outside_ed_to_es_are_cut(tmp_path):
    clip = make_clip(n=9, ed_index=2, es_index=6)
    read = write_and_read(clip, tmp_path)
    assert np.array_equal(read.frames, clip.frames[2:7]) and (read.ed_index, read.es_index) == (0, 4)


def test_a_reversed_half_sequence_is_flipped_with_its_masks(tmp_path):
    clip = make_clip()
    backwards = dataclasses.replace(
        clip, frames=clip.frames[::-1], label_map=clip.label_map[::-1], ed_index=5, es_index=0
    )
    camus.write_clip(backwards, tmp_path)
    assert "ED: 6\nES: 1\n" in (tmp_path / "patient0001" / "Info_4CH.cfg").read_text()
    assert_same(write_and_read(backwards, tmp_path), clip)


@pytest.mark.parametrize("backwards", [False, True])
def test_without_cfg_the_ed_image_tells_the_direction(tmp_path, backwards):
    clip = make_clip()
    step = -1 if backwards else 1
    ends = {"ed_index": 5, "es_index": 0} if backwards else {}
    camus.write_clip(
        dataclasses.replace(clip, frames=clip.frames[::step], label_map=clip.label_map[::step], **ends), tmp_path
    )
    (tmp_path / "patient0001" / "Info_4CH.cfg").unlink()
    (entry,) = camus.index(tmp_path, "all", views=("4CH",)).entries
    facts = {"fps": None, "quality": None, "ef_percent": None, "volumes_ml": None}
    assert_same(camus.read(entry), dataclasses.replace(clip, **facts))


def test_only_labelled_frames_get_masks(tmp_path):
    clip = make_clip(has_reference=np.array([True, False, False, False, False, True]))
    clip.label_map[1:5] = 0
    camus.write_clip(make_clip(), tmp_path)  # its half_sequence_gt must not outlive it
    assert_same(write_and_read(clip, tmp_path), clip)
    assert not path_of(tmp_path, "half_sequence_gt").exists()


def test_an_unlabelled_clip_is_read(tmp_path):
    clip = make_clip(has_reference=np.zeros(6, bool), label_map=np.zeros((6, 72, 60), np.uint8))
    assert_same(write_and_read(clip, tmp_path), clip)
    assert not list(tmp_path.rglob("*_gt*"))


@pytest.mark.parametrize("sequence", [False, True])
def test_ed_and_es_without_a_sequence(pair_tree, sequence):
    (entry,) = camus.index(pair_tree, "all", views=("4CH",)).entries
    clip, read = make_clip(), camus.read(entry, sequence=sequence)
    ends = {"frames": clip.frames[[0, 5]], "label_map": clip.label_map[[0, 5]], "has_reference": np.ones(2, bool)}
    assert_same(read, dataclasses.replace(clip, **ends, es_index=1, fps=None))


def test_cfg_is_read_by_key(tree):
    cfg = tree / "patient0001" / "Info_4CH.cfg"
    cfg.write_bytes(b"\xef\xbb\xbfAge: 56\r\nES: 6\r\n\r\nLVef: 63.2\r\nED: 1\r\nImageQuality: medium\r\nSex: F\r\n")
    (entry,) = camus.index(tree, "all", views=("4CH",)).entries
    clip = camus.read(entry)
    assert (clip.ef_percent, clip.quality, clip.fps, clip.volumes_ml) == (63.2, "Medium", None, None)


def test_bytes_depend_on_the_clip_alone(tmp_path):
    roots = [tmp_path / "a", tmp_path / "écho 心" / "b"]
    for root in roots:
        camus.write_clip(make_clip(), root)
        camus.write_split(root, {"train": ["patient0001"]})
    files = [{p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()} for root in roots]
    assert files[0] == files[1] and len(files[0]) == 10
    assert_same(write_and_read(make_clip(), roots[1]), make_clip())
    assert gzip.decompress(path_of(roots[0], "ED").read_bytes())[:4] == (348).to_bytes(4, "little")


def test_on_disk_axes_are_x_y_t(tree):
    image = nib.Nifti1Image.from_bytes(gzip.decompress(path_of(tree, "half_sequence").read_bytes()))
    assert image.shape == (60, 72, 6)
    assert image.header.get_zooms()[:2] == pytest.approx((0.154, 0.308))
    assert image.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("changes", [{"es_index": 0}, {"ed_index": None}, {"es_index": 6}, {"view": ""}])
def test_the_writer_refuses(tmp_path, changes):
    with pytest.raises(ValueError, match="patient0001"):
        camus.write_clip(make_clip(**changes), tmp_path)


# ---- the index -----------------------------------------------------------------------------------------------------


def touch_tree(root, numbers, views=("2CH", "4CH")):
    for number in numbers:
        folder = root / f"patient{number:04d}"
        folder.mkdir(parents=True)
        for view in views:
            (folder / f"{folder.name}_{view}_ED.nii.gz").touch()


def ids(root, split, **options):
    return [entry.record_id for entry in camus.index(root, split, **options).entries]


def test_split_by_number(tmp_path):
    touch_tree(tmp_path, [500, 401, 400, 351, 350, 1])
    assert ids(tmp_path, "train", views=("4CH",)) == ["patient0001_4CH", "patient0350_4CH"]
    assert ids(tmp_path, "validation", views=("4CH",)) == ["patient0351_4CH", "patient0400_4CH"]
    assert ids(tmp_path, "test") == [f"patient0{n}_{v}" for n in (401, 500) for v in ("2CH", "4CH")]
    assert len(ids(tmp_path, "all")) == 12
    touch_tree(tmp_path, [501])
    with pytest.raises(ValueError, match="patient0501"):
        camus.index(tmp_path, "train")


@pytest.mark.parametrize("below", [False, True])
def test_official_split(tmp_path, below):
    touch_tree(tmp_path / "database_nifti" if below else tmp_path, [1, 2, 3, 900])
    camus.write_split(tmp_path, {"training": ["patient0900", "patient0777"], "testing": ["patient0002"]})
    listed = camus.index(tmp_path, "train")
    entries, skipped = listed.entries, listed.skipped
    assert [e.record_id for e in entries] == ["patient0900_2CH", "patient0900_4CH"]
    assert [s.record_id for s in skipped] == ["patient0777_2CH", "patient0777_4CH"]
    assert {s.reason for s in skipped} == {"patient missing"}
    assert ids(tmp_path, "test", views=("2CH",)) == ["patient0002_2CH"]
    with pytest.raises(ValueError, match=r"'validation'.*'official'.*'train': 2, 'validation': 0, 'test': 1"):
        camus.index(tmp_path, "validation")
    if below:
        assert ids(tmp_path / "database_nifti", "test", views=("2CH",)) == ["patient0002_2CH"]


def test_a_patient_in_two_subgroups_is_refused(tmp_path):
    touch_tree(tmp_path, [1])
    camus.write_split(tmp_path, {"train": ["patient0001"], "test": ["patient0001"]})
    with pytest.raises(ValueError, match="patient0001"):
        camus.index(tmp_path, "train")


def test_a_missing_view_is_skipped_by_name(tmp_path):
    touch_tree(tmp_path, [39], views=("2CH",))
    listed = camus.index(tmp_path, "train")
    entries, skipped = listed.entries, listed.skipped
    assert [e.record_id for e in entries] == ["patient0039_2CH"]
    assert [(s.record_id, s.reason) for s in skipped] == [("patient0039_4CH", "view missing")]


def test_folders_that_are_no_camus_tree_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="database_nifti"):
        camus.index(tmp_path / "absent", "train")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ValueError, match="pictures"):
        camus.index(tmp_path, "train")
    touch_tree(tmp_path, [1])
    with pytest.raises(FileNotFoundError, match="subgroup_"):
        camus.index(tmp_path, "train", scheme="official")
    with pytest.raises(ValueError, match="'holdout'"):
        camus.index(tmp_path, "holdout")
    with pytest.raises(ValueError, match="subgroups"):
        camus.write_split(tmp_path, {"holdout": []})


# ---- the real trees ------------------------------------------------------------------------------------------------


def real(name):
    if not (folder := os.environ.get("ECHOFORGE_TEST_DATA")) or not (Path(folder) / name).is_dir():
        pytest.skip(f"needs the real tree {name} in the folder named by ECHOFORGE_TEST_DATA")
    return Path(folder) / name


def test_real_nifti_patients_351_to_400():
    listed = camus.index(real("camus_ed_es"), "validation")
    entries, skipped = listed.entries, listed.skipped
    assert (len(entries), skipped) == (100, [])
    for entry in entries:
        clip = camus.read(entry)
        assert len(clip) == 2 and clip.has_reference.all() and clip.ef_percent is None and clip.quality is None
        assert clip.spacing_mm is None if clip.view == "2CH" else clip.spacing_mm == pytest.approx((0.308, 0.308))
        assert (clip.label_map[0] == ENDOCARDIUM).sum() > (clip.label_map[1] == ENDOCARDIUM).sum()
    skipped = camus.index(real("camus_ed_es"), "train").skipped
    assert [(s.record_id, s.reason) for s in skipped] == [("patient0039_4CH", "view missing")]


def test_real_mhd_sample():
    pytest.importorskip("SimpleITK", reason="the .mhd release needs SimpleITK")
    entries = camus.index(real("camus_mhd_sample"), "all").entries
    clips = {entry.record_id: camus.read(entry) for entry in entries}
    assert len(clips) == 10
    for clip in clips.values():
        assert clip.quality in ("Good", "Medium") and clip.ef_percent and clip.spacing_mm == (0.154, 0.308)
    assert (clips["patient0001_4CH"].ef_percent, clips["patient0001_4CH"].volumes_ml) == (63.2, (94.0, 34.6))
