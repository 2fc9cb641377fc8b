"""CAMUS: every fault on disk has its reason, in the NIfTI and in the .mhd release."""

import dataclasses
import gzip

import numpy as np
import pytest

from data_pipelines.formats import camus
from data_pipelines.records import ENDOCARDIUM, UnreadableRecord
from tests.helpers.trees import assert_same, edit, make_clip, path_of, remove, save, write_mhd, write_mhd_tree


def fault(root, **options):
    (entry,) = camus.index(root, "all", views=("4CH",)).entries
    with pytest.raises(UnreadableRecord) as caught:
        camus.read(entry, **options)
    assert caught.value.record_id == "patient0001_4CH"
    return caught.value


@pytest.fixture
def tree(tmp_path):
    camus.write_clip(make_clip(), tmp_path)
    return tmp_path


@pytest.fixture
def pair_tree(tree):
    """A tree without half sequences."""
    remove(tree, "half_sequence", "half_sequence_gt")
    return tree


@pytest.mark.parametrize("kind", ["half_sequence", "half_sequence_gt"])
@pytest.mark.parametrize("keep", [0.01, 0.5, -4])
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
    (entry,) = camus.index(tree, "all", views=("4CH",)).entries
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


@pytest.mark.parametrize(
    "text",
    [
        "ED 1\nES 6\n",
        "ED: one\nES: 6\n",
        "ED: 1\n",
        "ED: 1\nES: 7\n",
        "ED: 0\nES: 6\n",
        "ED: 1.5\nES: 6\n",
        "ED: 1\nES: 6\nNbFrame: 20\n",
        "\x00\x01\ufffd",
    ],
)
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


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda a: np.swapaxes(a, 0, 1), "transposed"),
        (lambda a: a[:, ::-1], "upside down"),
        (lambda a: np.swapaxes(a, 0, 1)[::-1], "transposed"),
    ],
)
@pytest.mark.parametrize("sequence", [False, True])
def test_axes_transposed(tree, change, word, sequence):
    for kind in ("ED", "ES", "half_sequence", "ED_gt", "ES_gt", "half_sequence_gt"):
        edit(path_of(tree, kind), change)
    error = fault(tree, sequence=sequence)
    assert error.reason == "axes transposed" and word in error.detail


def test_colours_are_read_as_luminance_and_refused_as_labels(tree):
    grey = make_clip().frames.transpose(2, 1, 0)
    colours = np.zeros(grey.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for name in "RGB":
        colours[name] = grey
    save(path_of(tree, "half_sequence"), colours)
    (entry,) = camus.index(tree, "all", views=("4CH",)).entries
    assert np.array_equal(camus.read(entry).frames, make_clip().frames)
    save(path_of(tree, "half_sequence_gt"), colours)
    assert "colours" in fault(tree).detail


def test_complex_numbers_are_no_grey_levels(tree):
    edit(path_of(tree, "half_sequence"), lambda a: a.astype(np.complex64))
    assert fault(tree).reason == "pixel format not supported"


@pytest.mark.parametrize(("offset", "reason"), [(70, "header garbled"), (40, "header garbled"), (0, "not an image")])
def test_a_header_without_meaning_is_named(tree, offset, reason):
    """The data type, the dimensions, and the size of the header."""
    path = path_of(tree, "half_sequence")
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[offset : offset + 2] = b"\xee\x7e"
    path.write_bytes(gzip.compress(bytes(content)))
    assert fault(tree).reason == reason


@pytest.mark.parametrize("zoom", [0.0, np.nan, np.inf])
def test_an_impossible_spacing_is_not_known(tree, zoom):
    path = path_of(tree, "half_sequence")
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[80:84] = np.float32(zoom).tobytes()  # pixdim[1]
    path.write_bytes(gzip.compress(bytes(content)))
    (entry,) = camus.index(tree, "all", views=("4CH",)).entries
    assert camus.read(entry).spacing_mm is None


def test_the_anatomy_is_checked_in_a_tree_with_only_es_masks(tree):
    remove(tree, "half_sequence", "half_sequence_gt", "ED_gt")
    (entry,) = camus.index(tree, "all", views=("4CH",)).entries
    assert camus.read(entry).has_reference.tolist() == [False, True]
    for kind in ("ED", "ES", "ES_gt"):
        edit(path_of(tree, kind), lambda a: a[:, ::-1])
    assert "upside down" in fault(tree).detail


def test_the_anatomy_is_not_checked_without_an_atrium(tree):
    for kind in ("ED", "ES", "half_sequence", "ED_gt", "ES_gt", "half_sequence_gt"):
        edit(path_of(tree, kind), lambda a: a[:, ::-1] if "gt" not in kind else np.where(a == 3, 0, a)[:, ::-1])  # noqa: B023
    (entry,) = camus.index(tree, "all", views=("4CH",)).entries
    assert camus.read(entry).label_map.max() == 2


# ---- the .mhd release ----------------------------------------------------------------------------------------------


@pytest.fixture
def mhd_tree(tmp_path):
    pytest.importorskip("SimpleITK", reason="the .mhd release needs SimpleITK")
    return write_mhd_tree(tmp_path / "écho", make_clip()).parent


def test_mhd_with_and_without_the_sequence(mhd_tree):
    clip = make_clip(ef_percent=63.2, volumes_ml=(94.0, 34.6), spacing_mm=(0.154, 0.308), fps=None)
    (entry,) = camus.index(mhd_tree, "all", views=("4CH",)).entries
    assert entry.layout == "mhd"
    ends = {
        "frames": clip.frames[[0, 5]],
        "label_map": clip.label_map[[0, 5]],
        "has_reference": np.ones(2, bool),
        "es_index": 1,
    }
    assert_same(camus.read(entry), dataclasses.replace(clip, **ends))
    write_mhd(mhd_tree / "patient0001" / "patient0001_4CH_sequence.mhd", clip.frames)
    read = camus.read(entry)
    assert np.array_equal(read.frames, clip.frames) and read.has_reference.tolist() == [True, *[False] * 4, True]
    assert np.array_equal(read.label_map[[0, 5]], clip.label_map[[0, 5]]) and not read.label_map[1:5].any()


@pytest.mark.parametrize("name", ["ED", "ES_gt"])
@pytest.mark.parametrize("keep", [None, 1000])
def test_mhd_truncated(mhd_tree, name, keep):
    raw = mhd_tree / "patient0001" / f"patient0001_4CH_{name}.raw"
    if keep is None:
        raw.unlink()
    else:
        raw.write_bytes(raw.read_bytes()[:keep])
    assert fault(mhd_tree).reason == ("data file missing" if keep is None else "truncated file")


@pytest.mark.parametrize(
    ("change", "word"), [(lambda a: np.swapaxes(a, 1, 2), "transposed"), (lambda a: a[:, ::-1], "upside down")]
)
def test_mhd_axes_transposed(tmp_path, change, word):
    pytest.importorskip("SimpleITK", reason="the .mhd release needs SimpleITK")
    clip = make_clip()
    write_mhd_tree(tmp_path, dataclasses.replace(clip, frames=change(clip.frames), label_map=change(clip.label_map)))
    error = fault(tmp_path)
    assert error.reason == "axes transposed" and word in error.detail


def test_mhd_masks_are_checked(mhd_tree):
    path = mhd_tree / "patient0001" / "patient0001_4CH_ED_gt.mhd"
    write_mhd(path, make_clip().label_map[[0], 1:])
    assert fault(mhd_tree).reason == "mask of another size"
    write_mhd(path, make_clip().label_map[[0]] + 1)
    assert fault(mhd_tree).reason == "label out of range"


def test_mhd_header(mhd_tree):
    path = mhd_tree / "patient0001" / "patient0001_4CH_ED.mhd"
    header = path.read_text()
    path.write_text(header.replace("ElementSpacing = 0.308 0.154 1.54\n", ""))
    (entry,) = camus.index(mhd_tree, "all", views=("4CH",)).entries
    assert camus.read(entry).spacing_mm is None  # ITK says 1, 1
    path.write_text(header.replace("ElementType", "ElementNumberOfChannels = 3\nElementType").replace("60", "20"))
    assert fault(mhd_tree).reason == "pixel format not supported"
    path.write_text("not a header")
    assert fault(mhd_tree).reason == "not an image"
    path.write_text("NDims = 3\n")
    assert fault(mhd_tree).reason == "header garbled"
