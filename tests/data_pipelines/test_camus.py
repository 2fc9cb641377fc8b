"""CAMUS: what is written is read back exactly, and every fault on disk has its reason."""

import dataclasses
import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from data_pipelines.formats import camus
from data_pipelines.records import ATRIUM, ENDOCARDIUM, MYOCARDIUM, Clip, UnreadableRecord


def ellipse(shape, centre, radii):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 <= 1


def make_clip(n=6, view="4CH", patient_id="patient0001", **changes):
    """An LV that shrinks with time, in a wall, above an atrium; 72 x 60."""
    shape, masks = (72, 60), np.zeros((n, 72, 60), np.uint8)
    for t in range(n):
        masks[t][ellipse(shape, (26, 30), (20, 15))] = MYOCARDIUM
        masks[t][ellipse(shape, (26, 30), (16 - t, 11 - t))] = ENDOCARDIUM
        masks[t][ellipse(shape, (56, 31), (9, 8))] = ATRIUM
    noise = np.random.default_rng(0).integers(0, 60, masks.shape)
    frames = (noise + np.array([60, 20, 150, 30])[masks]).astype(np.uint8)
    clip = Clip(frames, masks, np.ones(n, bool), 0, n - 1, (0.308, 0.154), 51.3, patient_id, view,
                "Good", 55.25, (101.5, 45.4))  # fmt: skip
    return dataclasses.replace(clip, **changes)


def write_and_read(clip, root, **options):
    camus.write_clip(clip, root)
    (entry,), _ = camus.index(root, "all", views=(clip.view,))
    return camus.read(entry, **options)


def assert_same(left, right):
    for field in dataclasses.fields(Clip):
        a, b = getattr(left, field.name), getattr(right, field.name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, field.name


def fault(root, **options):
    (entry,), _ = camus.index(root, "all", views=("4CH",))
    with pytest.raises(UnreadableRecord) as caught:
        camus.read(entry, **options)
    assert caught.value.record_id == "patient0001_4CH"
    return caught.value


def path_of(root, kind):
    return root / "patient0001" / f"patient0001_4CH_{kind}.nii.gz"


def save(path, array):
    image = nib.Nifti1Image(array, np.diag([-0.154, -0.308, 1, 1]))
    image.header.set_xyzt_units("mm")
    path.write_bytes(gzip.compress(image.to_bytes()))


def edit(path, change):
    save(path, change(np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes())).dataobj).copy()))


def remove(root, *kinds):
    for kind in kinds:
        path_of(root, kind).unlink()


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


@pytest.mark.parametrize("changes", [
    {"spacing_mm": None}, {"spacing_mm": (1.0, 1.0)}, {"fps": None}, {"quality": None, "ef_percent": None},
    {"volumes_ml": None},
])  # fmt: skip
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
    backwards = dataclasses.replace(clip, frames=clip.frames[::-1], masks=clip.masks[::-1], ed_index=5, es_index=0)
    camus.write_clip(backwards, tmp_path)
    assert "ED: 6\nES: 1\n" in (tmp_path / "patient0001" / "Info_4CH.cfg").read_text()
    assert_same(write_and_read(backwards, tmp_path), clip)


@pytest.mark.parametrize("backwards", [False, True])
def test_without_cfg_the_ed_image_tells_the_direction(tmp_path, backwards):
    clip = make_clip()
    step = -1 if backwards else 1
    ends = {"ed_index": 5, "es_index": 0} if backwards else {}
    camus.write_clip(dataclasses.replace(clip, frames=clip.frames[::step], masks=clip.masks[::step], **ends), tmp_path)
    (tmp_path / "patient0001" / "Info_4CH.cfg").unlink()
    (entry,), _ = camus.index(tmp_path, "all", views=("4CH",))
    facts = {"fps": None, "quality": None, "ef_percent": None, "volumes_ml": None}
    assert_same(camus.read(entry), dataclasses.replace(clip, **facts))


def test_only_labelled_frames_get_masks(tmp_path):
    clip = make_clip(labelled=np.array([True, False, False, False, False, True]))
    clip.masks[1:5] = 0
    camus.write_clip(make_clip(), tmp_path)  # its half_sequence_gt must not outlive it
    assert_same(write_and_read(clip, tmp_path), clip)
    assert not path_of(tmp_path, "half_sequence_gt").exists()


def test_an_unlabelled_clip_is_read(tmp_path):
    clip = make_clip(labelled=np.zeros(6, bool), masks=np.zeros((6, 72, 60), np.uint8))
    assert_same(write_and_read(clip, tmp_path), clip)
    assert not list(tmp_path.rglob("*_gt*"))


@pytest.mark.parametrize("sequence", [False, True])
def test_ed_and_es_without_a_sequence(pair_tree, sequence):
    (entry,), _ = camus.index(pair_tree, "all", views=("4CH",))
    clip, read = make_clip(), camus.read(entry, sequence=sequence)
    ends = {"frames": clip.frames[[0, 5]], "masks": clip.masks[[0, 5]], "labelled": np.ones(2, bool)}
    assert_same(read, dataclasses.replace(clip, **ends, es_index=1, fps=None))


def test_cfg_is_read_by_key(tree):
    cfg = tree / "patient0001" / "Info_4CH.cfg"
    cfg.write_bytes(b"\xef\xbb\xbfAge: 56\r\nES: 6\r\n\r\nLVef: 63.2\r\nED: 1\r\nImageQuality: medium\r\nSex: F\r\n")
    (entry,), _ = camus.index(tree, "all", views=("4CH",))
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


# ---- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["half_sequence", "half_sequence_gt"])
@pytest.mark.parametrize("keep", [0, 0.5, -4])
def test_truncated_file(tree, kind, keep):
    path = path_of(tree, kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep >= 0 else keep])
    assert fault(tree).reason == "truncated file"


def test_truncated_inside_the_gzip(tree):
    path = path_of(tree, "half_sequence")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-500]))
    assert fault(tree).reason == "truncated file"


def test_zero_frames(tree):
    save(path_of(tree, "half_sequence"), np.zeros((60, 72, 0), np.uint8))
    assert fault(tree).reason == "zero frames"


def test_mask_of_another_size(tree):
    edit(path_of(tree, "half_sequence_gt"), lambda a: a[:-1])
    assert fault(tree).reason == "mask of another size"


def test_frames_of_another_size(pair_tree):
    edit(path_of(pair_tree, "ES"), lambda a: a[:-1])
    assert fault(pair_tree).reason == "frames of another size"


@pytest.mark.parametrize("change", [lambda a: a + 1, lambda a: np.float32(a) / 2, lambda a: a * np.float32("nan")])
def test_label_out_of_range(tree, change):
    edit(path_of(tree, "half_sequence_gt"), change)
    assert fault(tree).reason == "label out of range"


def test_grey_level_out_of_range(tree):
    edit(path_of(tree, "half_sequence"), lambda a: a.astype(np.int16) * 10)
    assert fault(tree).reason == "grey level out of range"


def test_labels_and_grey_levels_stored_as_floats_are_read(tree):
    for kind in ("half_sequence", "half_sequence_gt"):
        edit(path_of(tree, kind), lambda a: a.astype(np.float32))
    (entry,), _ = camus.index(tree, "all", views=("4CH",))
    assert_same(camus.read(entry), make_clip())


def test_ed_equals_es_in_the_cfg(tree):
    (tree / "patient0001" / "Info_4CH.cfg").write_text("ED: 3\nES: 3\n")
    assert fault(tree).reason == "ED equals ES"


def test_ed_equals_es_as_images(pair_tree):
    for suffix in ("", "_gt"):
        path_of(pair_tree, f"ES{suffix}").write_bytes(path_of(pair_tree, f"ED{suffix}").read_bytes())
    assert fault(pair_tree).reason == "ED equals ES"


@pytest.mark.parametrize("gone", ["ED", "ES"])
def test_ed_or_es_missing(pair_tree, gone):
    remove(pair_tree, gone)
    assert fault(pair_tree).reason == "ED or ES missing"


def test_nothing_tells_which_frame_is_ed(tree):
    (tree / "patient0001" / "Info_4CH.cfg").unlink()
    edit(path_of(tree, "ED"), lambda a: 255 - a)
    assert fault(tree).reason == "ED not in sequence"
    remove(tree, "ED")
    assert fault(tree).reason == "ED or ES missing"


@pytest.mark.parametrize("text", [
    "ED 1\nES 6\n", "ED: one\nES: 6\n", "ED: 1\n", "ED: 1\nES: 7\n", "ED: 0\nES: 6\n", "ED: 1.5\nES: 6\n",
    "ED: 1\nES: 6\nEF: nan\n", "ED: 1\nES: 6\nImageQuality: Fine\n", "ED: 1\nES: 6\nNbFrame: 20\n", "\x00\x01\ufffd",
])  # fmt: skip
def test_cfg_garbled(tree, text):
    (tree / "patient0001" / "Info_4CH.cfg").write_text(text, encoding="utf-8")
    assert fault(tree).reason == "cfg garbled"


@pytest.mark.parametrize("end", [0, -1])
def test_empty_mask(tree, end):
    def erase(masks):
        masks[..., end][masks[..., end] == ENDOCARDIUM] = 0
        return masks

    edit(path_of(tree, "half_sequence_gt"), erase)
    assert fault(tree).reason == "empty mask"


@pytest.mark.parametrize(("change", "word"), [
    (lambda a: np.swapaxes(a, 0, 1), "transposed"), (lambda a: a[:, ::-1], "upside down"),
    (lambda a: np.swapaxes(a, 0, 1)[::-1], "transposed"),
])  # fmt: skip
@pytest.mark.parametrize("sequence", [False, True])
def test_axes_transposed(tree, change, word, sequence):
    for kind in ("ED", "ES", "half_sequence", "ED_gt", "ES_gt", "half_sequence_gt"):
        edit(path_of(tree, kind), change)
    error = fault(tree, sequence=sequence)
    assert error.reason == "axes transposed" and word in error.detail


# ---- the index -----------------------------------------------------------------------------------------------------


def touch_tree(root, numbers, views=("2CH", "4CH")):
    for number in numbers:
        folder = root / f"patient{number:04d}"
        folder.mkdir(parents=True)
        for view in views:
            (folder / f"{folder.name}_{view}_ED.nii.gz").touch()


def ids(root, split, **options):
    return [entry.record_id for entry in camus.index(root, split, **options)[0]]


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
    entries, skipped = camus.index(tmp_path, "train")
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
    entries, skipped = camus.index(tmp_path, "train")
    assert [e.record_id for e in entries] == ["patient0039_2CH"]
    assert [(s.record_id, s.reason) for s in skipped] == [("patient0039_4CH", "view missing")]


def test_roots_that_are_none(tmp_path):
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


# ---- the .mhd release ----------------------------------------------------------------------------------------------


def write_mhd(path, pixels, data=True):
    """(t, row, column) uint8."""
    size = " ".join(map(str, pixels.shape[::-1]))
    path.write_text(f"ObjectType = Image\nNDims = 3\nBinaryData = True\nElementSpacing = 0.308 0.154 1.54\n"
                    f"DimSize = {size}\nElementType = MET_UCHAR\nElementDataFile = {path.stem}.raw\n")  # fmt: skip
    if data:
        path.with_suffix(".raw").write_bytes(pixels.tobytes())


@pytest.fixture
def mhd_tree(tmp_path):
    pytest.importorskip("SimpleITK", reason="the .mhd release needs SimpleITK")
    clip, folder = make_clip(), tmp_path / "écho" / "patient0001"
    folder.mkdir(parents=True)
    for name, index in (("ED", [0]), ("ES", [5])):
        write_mhd(folder / f"patient0001_4CH_{name}.mhd", clip.frames[index])
        write_mhd(folder / f"patient0001_4CH_{name}_gt.mhd", clip.masks[index])
    write_mhd(folder / "patient0001_4CH_sequence.mhd", clip.frames, data=False)
    (folder / "Info_4CH.cfg").write_text(
        "ED: 1\nES: 6\nNbFrame: 6\nImageQuality: Good\nLVedv: 94.0\nLVesv: 34.6\nLVef: 63.2\n"
    )
    return folder.parent


def test_mhd_with_and_without_the_sequence(mhd_tree):
    clip = make_clip(ef_percent=63.2, volumes_ml=(94.0, 34.6), spacing_mm=(0.154, 0.308), fps=None)
    (entry,), _ = camus.index(mhd_tree, "all", views=("4CH",))
    assert entry.layout == "mhd"
    ends = {"frames": clip.frames[[0, 5]], "masks": clip.masks[[0, 5]], "labelled": np.ones(2, bool), "es_index": 1}
    assert_same(camus.read(entry), dataclasses.replace(clip, **ends))
    write_mhd(mhd_tree / "patient0001" / "patient0001_4CH_sequence.mhd", clip.frames)
    read = camus.read(entry)
    assert np.array_equal(read.frames, clip.frames) and read.labelled.tolist() == [True, *[False] * 4, True]
    assert np.array_equal(read.masks[[0, 5]], clip.masks[[0, 5]]) and not read.masks[1:5].any()


@pytest.mark.parametrize("name", ["ED", "ES_gt"])
@pytest.mark.parametrize("keep", [None, 1000])
def test_mhd_truncated(mhd_tree, name, keep):
    raw = mhd_tree / "patient0001" / f"patient0001_4CH_{name}.raw"
    if keep is None:
        raw.unlink()
    else:
        raw.write_bytes(raw.read_bytes()[:keep])
    assert fault(mhd_tree).reason == "truncated file"


# ---- the real trees ------------------------------------------------------------------------------------------------


def real(name):
    if not (folder := os.environ.get("ECHOFORGE_TEST_DATA")) or not (Path(folder) / name).is_dir():
        pytest.skip(f"needs the real tree {name} in the folder named by ECHOFORGE_TEST_DATA")
    return Path(folder) / name


def test_real_nifti_patients_351_to_400():
    entries, skipped = camus.index(real("camus_ed_es"), "validation")
    assert (len(entries), skipped) == (100, [])
    for entry in entries:
        clip = camus.read(entry)
        assert len(clip) == 2 and clip.labelled.all() and clip.ef_percent is None and clip.quality is None
        assert clip.spacing_mm is None if clip.view == "2CH" else clip.spacing_mm == pytest.approx((0.308, 0.308))
        assert (clip.masks[0] == ENDOCARDIUM).sum() > (clip.masks[1] == ENDOCARDIUM).sum()
    skipped = camus.index(real("camus_ed_es"), "train")[1]
    assert [(s.record_id, s.reason) for s in skipped] == [("patient0039_4CH", "view missing")]


def test_real_mhd_sample():
    pytest.importorskip("SimpleITK", reason="the .mhd release needs SimpleITK")
    entries, _ = camus.index(real("camus_mhd_sample"), "all")
    clips = {entry.record_id: camus.read(entry) for entry in entries}
    assert len(clips) == 10
    for clip in clips.values():
        assert clip.quality in ("Good", "Medium") and clip.ef_percent and clip.spacing_mm == (0.154, 0.308)
    assert (clips["patient0001_4CH"].ef_percent, clips["patient0001_4CH"].volumes_ml) == (63.2, (94.0, 34.6))
