"""Dice and IoU: known values, empty masks, symmetry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from echoforge_jax.evaluation.overlap import dice, iou

MASKS = arrays(np.bool_, (6, 9))


def test_known_overlap():
    a, b = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    a[:, :4], b[:, 2:] = True, True  # 16 and 16 pixels, 8 in common
    assert dice(a, b) == 0.5
    assert iou(a, b) == pytest.approx(8 / 24)


def test_empty_masks():
    empty, full = np.zeros((4, 6), bool), np.ones((4, 6), bool)
    assert (dice(empty, empty), iou(empty, empty)) == (1.0, 1.0)
    assert (dice(empty, full), iou(full, empty)) == (0.0, 0.0)
    assert (dice(full, full), iou(full, full)) == (1.0, 1.0)


@given(MASKS, MASKS)
def test_dice_and_iou_are_symmetric_bounded_and_determine_each_other(a, b):
    d, j = dice(a, b), iou(a, b)
    assert d == dice(b, a) and j == iou(b, a)
    assert 0 <= j <= d <= 1
    assert d == pytest.approx(2 * j / (1 + j))
    assert dice(a, a) == 1


@pytest.mark.parametrize("bad", [np.zeros((4, 6), np.uint8), np.zeros((4, 6, 1), bool), np.zeros((5, 6), bool)])
def test_wrong_masks_are_refused(bad):
    with pytest.raises((ValueError, TypeError), match=r"expected bool|resize|Type-check"):
        dice(bad, np.zeros((4, 6), bool))
