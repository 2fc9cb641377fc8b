"""The valve that is drawn open on labelled frames, and papillary muscles."""

import dataclasses

import numpy as np
import pytest

from data_pipelines.augment import augment
from data_pipelines.records import ATRIUM, ENDOCARDIUM, MYOCARDIUM
from data_pipelines.settings import Augmentation
from data_pipelines.valve import add_papillary_muscles, find_annulus, open_valve

pytestmark = pytest.mark.fast
SHAPE, BASE_ROW, LEFT, RIGHT = (128, 128), 90, 45, 80
SHUT = slice(BASE_ROW - 2, BASE_ROW + 3)


@pytest.fixture
def labels():
    """A cavity from row 20 to 90 that is flat below, its wall, and an atrium under the annulus."""
    label_map = np.zeros(SHAPE, np.uint8)
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    middle = (LEFT + RIGHT) / 2
    half = 17.5 * np.sqrt(np.clip((rows - 20) / 40, 0, 1))
    inside = (rows <= BASE_ROW) & (rows > 20)
    label_map[inside & (abs(columns - middle) <= half + 6)] = MYOCARDIUM
    label_map[inside & (abs(columns - middle) <= half)] = ENDOCARDIUM
    label_map[((rows - 104) / 14) ** 2 + ((columns - middle) / 18) ** 2 <= 1] = ATRIUM
    label_map[BASE_ROW + 1 :][label_map[BASE_ROW + 1 :] == MYOCARDIUM] = 0
    return label_map


@pytest.fixture
def frame(labels):
    """Dark blood, a bright wall and bright shut leaflets along the annulus; black outside the sector."""
    grey = np.random.default_rng(0).integers(15, 35, SHAPE) + np.array([40, 0, 110, 0])[labels]
    grey[SHUT, LEFT:RIGHT] = 220
    grey[:, :10] = grey[:, -10:] = 0
    return grey.astype(np.uint8)


def shut_level(picture):
    return float(np.median(picture[SHUT, LEFT + 6 : RIGHT - 6]))


@pytest.mark.parametrize("with_atrium", [True, False])
def test_the_hinge_points_are_the_ends_of_the_base(labels, with_atrium):
    if not with_atrium:
        labels = (labels == ENDOCARDIUM).astype(np.uint8)
    annulus = find_annulus(labels)
    assert annulus.left == pytest.approx((LEFT, BASE_ROW), abs=6)
    assert annulus.right == pytest.approx((RIGHT, BASE_ROW), abs=6)
    assert annulus.inward == pytest.approx((0, -1), abs=0.15)
    assert annulus.depth_px == pytest.approx(70, abs=5)


def test_a_frame_without_a_ventricle_or_with_a_tiny_one_stays_as_it_is(frame, labels):
    tiny = np.zeros_like(labels)
    tiny[60:64, 60:64] = ENDOCARDIUM
    for none in (np.zeros_like(labels), tiny):
        for change in (open_valve, add_papillary_muscles):
            assert change(frame, none, np.random.default_rng(0)) is frame


def test_an_open_valve_leaves_blood_at_the_annulus_and_leaflets_inside(frame, labels):
    draws = [open_valve(frame, labels, np.random.default_rng(seed)) for seed in range(20)]
    assert np.median([shut_level(drawn) for drawn in draws]) < 60 < shut_level(frame)
    inside = np.zeros(SHAPE, bool)
    inside[BASE_ROW - 45 : BASE_ROW - 4] = labels[BASE_ROW - 45 : BASE_ROW - 4] == ENDOCARDIUM
    brighter = [(drawn[inside].astype(int) - frame[inside] > 30).sum() for drawn in draws]
    assert np.median(brighter) > 20 and max(brighter) < 0.6 * inside.sum()
    for drawn in draws:
        far = np.zeros(SHAPE, bool)
        far[:30] = True
        assert (drawn[far] == frame[far]).all() and not drawn[frame == 0].any()


def test_papillary_muscles_lie_inside_the_cavity(frame, labels):
    cavity = labels == ENDOCARDIUM
    changed = [add_papillary_muscles(frame, labels, np.random.default_rng(seed)) != frame for seed in range(10)]
    assert all(one[cavity].any() and not one[~cavity].any() for one in changed)


def test_augmentation_opens_as_many_valves_as_asked_and_leaves_other_draws_alone(frame, labels):
    frames, label_map = np.stack([frame] * 40), np.stack([labels] * 40)
    still = Augmentation(probability=0.0)
    plain = augment(frames, label_map, still, np.random.default_rng(1))
    opened = augment(frames, label_map, dataclasses.replace(still, valve_probability=0.5), np.random.default_rng(1))
    changed = (opened.image != plain.image).any(axis=(1, 2))
    assert 10 <= changed.sum() <= 30 and (opened.label_map == label_map).all()
    again = augment(frames, label_map, dataclasses.replace(still, valve_probability=0.5), np.random.default_rng(1))
    np.testing.assert_array_equal(opened.image, again.image)
    unlabelled = np.zeros_like(label_map)
    quiet = augment(frames, unlabelled, dataclasses.replace(still, valve_probability=1.0), np.random.default_rng(1))
    np.testing.assert_array_equal(quiet.image, plain.image)
