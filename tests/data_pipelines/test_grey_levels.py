"""Samples of every range: kept, scaled, or refused, and never rounded to a handful of levels."""

import numpy as np
import pytest

from data_pipelines.grey_levels import StatedRange, to_grey_levels
from data_pipelines.records import UnreadableRecord

PICTURE = np.random.default_rng(0).integers(0, 256, (3, 16, 20)).astype(np.uint8)
PICTURE[:, 0] = 0
PICTURE[:, 1] = 255
DIM = PICTURE // 3


def levels(samples, stated=None):
    return to_grey_levels(samples, "record", source="file", stated=stated)


def codes(samples, stated=None):
    return [note.code for note in levels(samples, stated).notes]


def test_uint8_stays_the_same_array():
    assert levels(PICTURE).frames is PICTURE and codes(PICTURE) == ["grey levels"]
    assert levels(PICTURE, StatedRange(0, 100, "cal_min and cal_max")).frames is PICTURE


@pytest.mark.parametrize(
    ("samples", "stated"),
    [
        (PICTURE.astype(np.float32) / 255, None),
        (PICTURE / 255 * 1.04, StatedRange(0, 1.04, "scl_slope")),
        (PICTURE / 127.5 - 1, None),
        (PICTURE.astype(np.int16), None),
        (PICTURE.astype(np.float64), None),
        (PICTURE + np.float32(0.25) * (PICTURE < 255), None),
        (PICTURE.astype(np.uint16) * 257, None),
        (PICTURE.astype(np.uint16) * 256, None),
        (PICTURE.astype(np.uint16) * 16, None),
        (np.rint(PICTURE * 4095.0 / 255).astype(np.uint16), StatedRange(0, 4095, "BitsStored")),
        (np.rint(PICTURE * 100.0 / 255).astype(np.int16), StatedRange(0, 100, "cal_min and cal_max")),
        (PICTURE / 255 * 60, StatedRange(0, 60, "cal_min and cal_max")),
        (PICTURE.astype(np.float32) - 1000, StatedRange(-1000, -745, "cal_min and cal_max")),
        (np.zeros((2, 4, 4), np.float32), None),
    ],
)
def test_a_range_that_can_be_told_is_scaled(samples, stated):
    found = levels(samples, stated)
    expected = PICTURE if samples.any() else np.zeros((2, 4, 4))
    assert found.frames.dtype == np.uint8
    assert np.abs(found.frames.astype(int) - expected).max() <= (2 if samples.dtype == np.int16 else 1)
    assert [note.code for note in found.notes] == ["grey levels"]


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ((PICTURE - PICTURE.mean()) / PICTURE.std(), "normalised to mean 0"),
        (PICTURE / 2.55 + 0.001, "percent"),
        (PICTURE / 255 * 0.01, "percent"),
        (np.rint(PICTURE * 1023.0 / 255).astype(np.uint16), "10 bits"),
        (PICTURE.astype(np.uint16) * 201, "16 bits"),
        ((PICTURE > 128).astype(np.uint8), "labels"),
        ((PICTURE > 128).astype(np.float32), "labels"),
        (PICTURE % np.uint8(4), "labels"),
        (PICTURE.astype(np.int8), "signed"),
        (np.where(PICTURE == 7, np.nan, PICTURE), "not finite"),
        (np.where(PICTURE == 7, np.inf, PICTURE), "not finite"),
        (np.concatenate([PICTURE[:1] / 255, PICTURE[1:]]), "frame 1 ends at 1"),
    ],
)
def test_a_range_that_cannot_be_told_is_refused(samples, words):
    with pytest.raises(UnreadableRecord, match=words) as caught:
        levels(samples)
    assert caught.value.reason == "grey level out of range"


def test_a_stated_range_that_the_samples_leave_is_refused_with_both():
    with pytest.raises(UnreadableRecord, match=r"cal_min and cal_max state the range 0\.\.500"):
        levels(PICTURE.astype(np.int16) * 10, StatedRange(0, 500, "cal_min and cal_max"))


def test_doubtful_ranges_are_noted():
    assert codes(DIM) == ["grey levels", "grey levels doubtful"]
    assert np.array_equal(levels(DIM).frames, DIM)
    assert codes(PICTURE / 255, StatedRange(0, 255, "cal_min and cal_max")) == ["grey levels", "grey levels doubtful"]
    assert codes(np.full((2, 4, 4), 60, np.uint8)) == ["grey levels"]  # one level says nothing
