"""Masks in other codings: recognised where they are one thing only, refused with the advice that helps otherwise."""

import numpy as np
import pytest

from data_pipelines.formats import camus
from data_pipelines.formats.camus import masks
from data_pipelines.records import UnreadableRecord
from tests.helpers.trees import edit, make_clip, path_of, remove

KINDS = ("ED_gt", "ES_gt", "half_sequence_gt")


@pytest.fixture
def tree(tmp_path):
    camus.write_clip(make_clip(), tmp_path)
    return tmp_path


def read(tree, change, kinds=KINDS):
    for kind in kinds:
        edit(path_of(tree, kind), change)
    (entry,) = camus.index(tree, "all", views=("4CH",)).entries
    return camus.read(entry)


@pytest.mark.parametrize(
    ("change", "labels", "codes"),
    [
        (lambda a: (a == 1) * np.uint8(255), (1,), {"mask of 0 and 255"}),
        (lambda a: (a == 1) * np.float32(255), (1,), {"mask of 0 and 255"}),
        (lambda a: a * np.uint8(85), (1, 2, 3), {"mask of 0 and 255"}),
        (lambda a: (a == 1).astype(np.uint8), (1,), set()),
        (lambda a: a.astype(np.int64).astype(np.int16), (1, 2, 3), set()),
        (lambda a: a.astype(np.float64), (1, 2, 3), set()),
        (lambda a: np.where(a == 3, 0, a).astype(np.uint8), (1, 2), set()),
    ],
)
def test_masks_that_are_one_thing_only_are_read(tree, change, labels, codes):
    clip = read(tree, change)
    truth = make_clip().label_map
    assert np.array_equal(clip.label_map, np.where(np.isin(truth, labels), truth, 0))
    assert {one.code for one in clip.notes} == codes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: np.array([0, 128, 255, 64], np.uint8)[a], "give each structure its label"),
        (lambda a: np.array([0, 1, 255, 0], np.uint8)[a], "give each structure its label"),
        (lambda a: a * np.uint8(2), "give each structure its label"),
        (lambda a: a + np.uint8(1), "counted from 1"),
        (lambda a: a.clip(1, 3), "counted from 1"),
        (lambda a: (a == 1) * np.float32(0.7), "probability"),
        (lambda a: a * np.float32(0.5), "interpolated"),
        (lambda a: -(a.astype(np.int16)), "give each structure its label"),
        (lambda a: a * np.float32("nan"), "not finite"),
        (lambda a: (np.indices(a.shape).sum(0) % 256).astype(np.uint8), "a picture"),
        (lambda a: np.array([0, 10, 420, 550], np.int16)[a], "give each structure its label"),
    ],
)
def test_other_masks_are_refused_with_the_advice_that_helps(tree, change, words):
    with pytest.raises(UnreadableRecord, match=words) as caught:
        read(tree, change)
    assert caught.value.reason == "label out of range"


def test_masks_of_one_record_are_coded_alike(tree):
    remove(tree, "half_sequence", "half_sequence_gt")
    with pytest.raises(UnreadableRecord, match="0, 1, 2, 3, 255"):
        read(tree, lambda a: (a == 1) * np.uint8(255), ["ED_gt"])


def test_one_mask_for_each_label_is_named(tree):
    remove(tree, "half_sequence", "half_sequence_gt")
    with pytest.raises(UnreadableRecord, match="one for each label"):
        read(tree, lambda a: np.stack([a == label for label in range(4)], axis=-1).astype(np.uint8), ["ED_gt"])


@pytest.mark.parametrize("order", [[0, 3, 2, 1], [0, 2, 1, 3]])
def test_labels_of_another_convention_are_refused(tree, order):
    with pytest.raises(UnreadableRecord, match="labels of another convention"):
        read(tree, lambda a: np.array(order, np.uint8)[a])


def test_predictions_of_0_and_255_are_scored(tree, tmp_path_factory):
    predictions = tmp_path_factory.mktemp("predictions")
    camus.write_clip(make_clip(), predictions)
    for kind in KINDS[:2]:
        edit(path_of(predictions, kind), lambda a: (a == 1) * np.uint8(255))
    paired = masks.read_pairs(predictions, tree, sequences=False)
    (pair,) = paired.pairs
    assert np.array_equal(pair.prediction, pair.clip.label_map == 1)
    assert [one.code for one in paired.notes["patient0001_4CH"]] == ["mask of 0 and 255"]
