"""Labels walk with the picture: a moving, shrinking textured disc is followed; references between are never read."""

import dataclasses

import cv2
import numpy as np
import pytest

from data_pipelines.propagation import flow, propagate, warp
from data_pipelines.records import SampledClip

T, SIZE = 7, 64


@pytest.fixture(scope="module")
def clip() -> SampledClip:
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.random((SIZE, SIZE), np.float32), (0, 0), 1.5)
    texture = (texture - texture.min()) / np.ptp(texture)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    still = (y - 32) ** 2 + (x - 32) ** 2 < 18**2
    picture = np.where(still, 60, 150) + 80 * texture
    frames, masks = [], []
    for t in range(T):  # the material shrinks by 30 % and moves 5 px to the right
        grow, shift = 1 / (1 - 0.3 * t / (T - 1)), 5 * t / (T - 1)
        where = ((x - 32 - shift) * grow + 32), ((y - 32) * grow + 32)
        frames.append(cv2.remap(picture.astype(np.float32), *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))
        masks.append(cv2.remap(still.astype(np.uint8), *where, cv2.INTER_NEAREST))
    ends = np.arange(T) % (T - 1) == 0
    frames, masks = np.stack(frames).astype(np.uint8), np.stack(masks)
    return SampledClip(frames, masks, np.ones(T, bool), ends, None, "r", "p", "4CH")


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("way", ["registration", "deformation"])
def test_carried_labels_follow_the_motion(clip, way):
    found = propagate(clip, way)
    ends = clip.may_train
    assert (
        (found.cavity[ends] == clip.cavity[ends]).all()
        and found.has_reference.all()
        and (found.may_train == ends).all()
    )
    for t in range(1, T - 1):
        decided = np.ones(found.cavity[t].shape, bool) if found.decided is None else found.decided[t]
        reference = clip.cavity[t] == 1
        nearest = clip.cavity[0 if t < T / 2 else -1] == 1
        assert decided.mean() > 0.95 and decided.all() == (way == "registration")
        score = dice((found.cavity[t] == 1) & decided, reference & decided)
        assert score > max(0.95, dice(nearest, reference))


@pytest.mark.parametrize("way", ["registration", "deformation"])
def test_references_that_may_not_be_used_are_not_read(clip, way):
    noise = np.random.default_rng(1).integers(0, 2, clip.cavity.shape, np.uint8)
    other = dataclasses.replace(clip, label_map=np.where(clip.may_train[:, None, None], clip.label_map, noise))
    np.testing.assert_array_equal(propagate(clip, way).cavity, propagate(other, way).cavity)
    hidden = propagate(clip.without_labels(), way)
    assert not hidden.has_reference.any() and not hidden.cavity.any()
    one_end = dataclasses.replace(clip, may_train=np.arange(T) == 2)
    assert propagate(one_end, way).has_reference.tolist() == [t == 2 for t in range(T)]


def test_the_flow_points_from_fixed_to_moving(clip):
    moved = np.roll(clip.frames[0], 3, axis=1)
    found = flow(clip.frames[0], moved)[16:48, 16:48]
    assert np.median(found[..., 0]) == pytest.approx(3, abs=0.3) and abs(np.median(found[..., 1])) < 0.3
    shifted = warp(np.roll(clip.cavity[0], 3, axis=1), flow(clip.frames[0], moved))
    assert dice(shifted >= 0.5, clip.cavity[0] == 1) > 0.97
