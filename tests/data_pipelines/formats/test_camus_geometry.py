"""Pictures and masks whose headers place them: every turn of the pixels with its affine gives the same clip."""

import dataclasses
import itertools

import numpy as np
import pytest

from data_pipelines.formats import camus, cine
from data_pipelines.formats.camus import masks
from data_pipelines.records import UnreadableRecord
from tests.helpers.nifti import read, write
from tests.helpers.trees import make_clip, path_of, remove, write_mhd, write_mhd_tree

PLAIN = np.diag([-0.154, -0.308, 1.0, 1.0])
ALL = ("ED", "ES", "half_sequence", "ED_gt", "ES_gt", "half_sequence_gt")
TURNS = list(itertools.product((False, True), repeat=3))[1:]  # swapped, x reversed, y reversed


def turned(array, affine, turn):
    """Pixels in another order, and the affine that still says where each of them lies."""
    swap, *reversals = turn
    affine = affine.copy()
    for axis, is_reversed in enumerate(reversals):
        if is_reversed:
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
            array = np.flip(array, axis)
    if swap:
        array, affine = array.swapaxes(0, 1), affine[:, [1, 0, 2, 3]]
    return array, affine


def turn_files(root, kinds, turn, **options):
    for kind in kinds:
        array, affine = turned(read(path_of(root, kind)), PLAIN, turn)
        write(path_of(root, kind), array, affine=affine, **options)


def clip_of(root, **options):
    (entry,) = camus.index(root, "all", views=("4CH",)).entries
    return camus.read(entry, **options)


def assert_pixels(clip, expected=None):
    expected = expected or make_clip()
    assert np.array_equal(clip.frames, expected.frames) and np.array_equal(clip.label_map, expected.label_map)
    assert clip.spacing_mm == pytest.approx(expected.spacing_mm)


def codes(clip):
    return {one.code for one in clip.notes}


@pytest.fixture
def tree(tmp_path):
    camus.write_clip(make_clip(), tmp_path)
    return tmp_path


@pytest.fixture
def pair_tree(tree):
    remove(tree, "half_sequence", "half_sequence_gt")
    return tree


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("header", [{"codes": (0, 2)}, {"codes": (1, 0)}, {"codes": (1, 1)}])
def test_a_mask_stored_in_another_direction_is_turned_as_its_header_says(tree, turn, header):
    turn_files(tree, ["half_sequence_gt"], turn, **header)
    assert_pixels(clip := clip_of(tree))
    assert codes(clip) == {"files turned"}


@pytest.mark.parametrize("turn", TURNS)
def test_a_whole_record_stored_in_another_direction_is_turned_to_that_of_camus(tree, turn):
    turn_files(tree, ALL, turn)
    assert_pixels(clip := clip_of(tree))
    assert codes(clip) == {"orientation"}


@pytest.mark.parametrize("kinds", [("ED",), ("ES", "ES_gt"), ("ED_gt",), ("ED", "ED_gt"), ("ED", "ES")])
@pytest.mark.parametrize("turn", [(False, True, False), (True, False, False)])
def test_ed_and_es_and_their_masks_in_two_directions(pair_tree, kinds, turn):
    expected = clip_of(pair_tree)
    turn_files(pair_tree, kinds, turn)
    assert_pixels(clip_of(pair_tree), expected)


def test_the_ed_image_of_another_direction_is_still_the_frame_of_the_cfg(tree):
    turn_files(tree, ["ED", "ES"], (True, True, False))
    clip = clip_of(tree)
    assert_pixels(clip)
    assert codes(clip) == {"files turned"}


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([-0.077, -0.154, 1, 1]),
        np.diag([-0.154, -0.154, 1, 1]),
        [[-0.154, 0, 0, 3 * 0.154], [0, -0.308, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        [[-0.154, 0, 0, 0.05], [0, -0.308, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        [[0.154, 0, 0, 0], [0, -0.308, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        [[-0.15, -0.03, 0, 0], [0.06, -0.3, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        [[0, 0, 1, 0], [-0.154, 0, 0, 0], [0, -0.308, 0, 0], [0, 0, 0, 1]],
    ],
    ids=["half", "one axis", "whole pixels", "part of a pixel", "mirrored in place", "rotated", "another plane"],
)
def test_a_mask_that_lies_elsewhere_is_refused_with_both_statements(tree, affine):
    path = path_of(tree, "half_sequence_gt")
    write(path, read(path), affine=affine)
    with pytest.raises(UnreadableRecord) as caught:
        clip_of(tree)
    assert caught.value.reason == "geometry disagrees"
    assert caught.value.detail.count("column step") == 2 and "_gt" in caught.value.detail


def test_es_of_another_spacing_is_refused(pair_tree):
    write(path_of(pair_tree, "ES"), read(path_of(pair_tree, "ES")), affine=PLAIN / 2)
    with pytest.raises(UnreadableRecord, match="geometry disagrees"):
        clip_of(pair_tree)


def test_two_statements_of_one_mask_that_differ_are_refused(tree):
    array = read(path_of(tree, "half_sequence_gt"))
    other = turned(array, PLAIN, (False, True, False))[1]
    write(path_of(tree, "half_sequence_gt"), array, affine=(PLAIN, other), codes=(1, 2))
    with pytest.raises(UnreadableRecord, match="sform and qform tell two different places"):
        clip_of(tree)


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([0.154, 0.308, 1, 1]), np.diag([-1, -1, 1, 1])])
def test_a_header_that_states_nothing_leaves_the_order_of_storage(tree, affine):
    write(path_of(tree, "half_sequence_gt"), read(path_of(tree, "half_sequence_gt")), affine=affine)
    assert_pixels(clip := clip_of(tree))
    assert codes(clip) == {"geometry not stated"}


def test_codes_of_zero_state_nothing(tree):
    mask = read(path_of(tree, "half_sequence_gt"))
    wrong = turned(mask, PLAIN, (False, True, True))[1]
    write(path_of(tree, "half_sequence_gt"), mask, affine=wrong, codes=(0, 0), zooms=(0.154, 0.308, 1))
    assert_pixels(clip_of(tree))


def test_a_mask_of_a_part_of_the_picture_is_put_where_it_belongs(tree):
    mask = read(path_of(tree, "half_sequence_gt"))
    affine = PLAIN.copy()
    affine[:2, 3] = -0.154 * 10, -0.308 * 4
    write(path_of(tree, "half_sequence_gt"), mask[10:55, 4:70], affine=affine)
    assert_pixels(clip_of(tree))
    affine[0, 3] = 0.154 * 50  # most of it outside the picture
    write(path_of(tree, "half_sequence_gt"), mask[10:55, 4:70], affine=affine)
    with pytest.raises(UnreadableRecord, match="mask of another size"):
        clip_of(tree)


@pytest.mark.parametrize("shape", [(60, 72, 1), (60, 72, 1, 1), (1, 60, 72), (60, 1, 72)])
def test_axes_of_length_one_are_left_out(pair_tree, shape):
    expected = clip_of(pair_tree)
    zooms = [{60: 0.154, 72: 0.308}.get(length, 1.0) for length in shape]
    array = read(path_of(pair_tree, "ED")).reshape(shape)
    write(path_of(pair_tree, "ED"), array, affine=PLAIN, codes=(0, 0), zooms=zooms)
    clip = clip_of(pair_tree)
    assert np.array_equal(clip.frames, expected.frames)


def test_a_header_against_the_anatomy_loses(tree):
    upside_down = turned(read(path_of(tree, "ED")), PLAIN, (False, False, True))[1]
    for kind in ALL:
        write(path_of(tree, kind), read(path_of(tree, kind)), affine=upside_down)
    clip = clip_of(tree)
    assert_pixels(clip)
    assert codes(clip) == {"orientation contradicted"}


def test_a_single_cine_is_turned_as_its_header_says(tmp_path):
    frames = make_clip().frames
    for number, turn in enumerate([(False, False, False), *TURNS]):
        array, affine = turned(frames.transpose(2, 1, 0), PLAIN, turn)
        clip = cine.load(write(tmp_path / f"{number}.nii.gz", array, affine=affine), crop=False).clip
        assert np.array_equal(clip.frames, frames) and clip.spacing_mm == pytest.approx((0.308, 0.154))
        assert ("orientation" in codes(clip)) == any(turn)


@pytest.mark.parametrize("turn", TURNS)
def test_predictions_in_another_direction_score_as_drawn(tmp_path, turn):
    references, predictions = tmp_path / "references", tmp_path / "predictions"
    for root in (references, predictions):
        camus.write_clip(make_clip(), root)
    turn_files(predictions, ["ED_gt", "ES_gt", "half_sequence_gt"], turn)
    for sequences in (False, True):
        paired = masks.read_pairs(predictions, references, sequences=sequences)
        (pair,) = paired.pairs
        assert np.array_equal(pair.prediction, pair.clip.label_map == 1)
        assert {one.code for one in paired.notes["patient0001_4CH"]} == {"files turned"}


def test_predictions_of_another_spacing_are_refused_and_those_without_one_noted(tmp_path):
    references, predictions = tmp_path / "references", tmp_path / "predictions"
    for root in (references, predictions):
        camus.write_clip(make_clip(), root)
    path = path_of(predictions, "ED_gt")
    array = read(path)
    write(path, array, affine=PLAIN * 2)
    paired = masks.read_pairs(predictions, references, sequences=False)
    assert [one.reason for one in paired.skipped] == ["geometry disagrees"]
    write(path, array, affine=np.eye(4), units=("unknown", "unknown"))
    paired = masks.read_pairs(predictions, references, sequences=False)
    assert {one.code for one in paired.notes["patient0001_4CH"]} == {"geometry not stated"} and paired.pairs


def place(path, matrix="1 0 0 0 1 0 0 0 1", offset="0 0 0", spacing="0.308 0.154 1.54"):
    header = path.read_text().replace("0.308 0.154 1.54", spacing)
    path.write_text(header.replace("DimSize", f"TransformMatrix = {matrix}\nOffset = {offset}\nDimSize"))


def test_mhd_files_are_laid_onto_each_other(tmp_path):
    pytest.importorskip("SimpleITK", reason="the .mhd release needs SimpleITK")
    clip = make_clip()
    folder = write_mhd_tree(tmp_path, clip)
    for name in ("ED", "ES", "ES_gt"):
        place(folder / f"patient0001_4CH_{name}.mhd")
    path = folder / "patient0001_4CH_ED_gt.mhd"
    write_mhd(path, np.ascontiguousarray(clip.label_map[[0], :, ::-1]))
    plain = path.read_text()
    place(path, "-1 0 0 0 1 0 0 0 1", f"{59 * 0.308} 0 0")
    read_clip = clip_of(tmp_path)
    assert np.array_equal(read_clip.label_map, clip.label_map[[0, 5]])
    for options in ({"spacing": "0.154 0.077 1"}, {"offset": "3.08 0 0"}, {"matrix": "0.8 -0.6 0 0.6 0.8 0 0 0 1"}):
        path.write_text(plain)
        place(path, **options)
        with pytest.raises(UnreadableRecord, match="geometry disagrees"):
            clip_of(tmp_path)


def test_the_spacing_of_a_turned_record_is_turned_too(tmp_path):
    clip = dataclasses.replace(make_clip(), spacing_mm=(0.308, 0.154))
    camus.write_clip(clip, tmp_path)
    turn_files(tmp_path, ALL, (True, False, False))
    assert clip_of(tmp_path).spacing_mm == pytest.approx((0.308, 0.154))
