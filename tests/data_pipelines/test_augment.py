"""The paper's augmentations and the ultrasound ones: one draw a clip, mask and image together."""

import dataclasses

import numpy as np
import pytest

from data_pipelines.augment import augment
from data_pipelines.settings import Augmentation


def augmented(frames: np.ndarray, label_map: np.ndarray, settings: Augmentation, seed: int):
    """Image and label map after augmentation with a seed."""
    clip = augment(frames, label_map, settings, np.random.default_rng(seed))
    return clip.image, clip.label_map


def test_augmentation_moves_every_frame_alike_and_mask_with_image():
    frames = np.zeros((3, 64, 64), np.uint8)
    frames[:, 16:40, 20:36] = 200
    mask = (frames > 0).astype(np.uint8)
    always = Augmentation(probability=1.0, gamma=(1.0, 1.0), contrast=(1.0, 1.0))
    image, moved = augmented(frames, mask, always, 3)
    assert (image == image[:1]).all() and (moved == moved[:1]).all()
    inside, outside = image[moved > 0].mean(), image[moved == 0].mean()
    assert inside > 0.7 and outside < 0.05
    assert (moved != mask).any()
    same, unmoved = augmented(frames, mask, Augmentation(probability=0.0), 3)
    np.testing.assert_array_equal(same, frames.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(unmoved, mask)


def test_gamma_and_contrast_ranges():
    frames = np.full((1, 8, 8), 64, np.uint8)
    frames[0, 0, 0] = 255
    bright = Augmentation(probability=1.0, gamma=(2.0, 2.0), rotation_deg=0.0, scale=(1.0, 1.0), contrast=(1.0, 1.0))
    image, _ = augmented(frames, np.zeros_like(frames), bright, 0)
    assert image[0, 4, 4] == pytest.approx((64 / 255) ** 0.5, abs=1e-5)
    strong = dataclasses.replace(bright, gamma=(1.0, 1.0), contrast=(2.0, 2.0))
    image, _ = augmented(frames, np.zeros_like(frames), strong, 0)
    mean = (frames / 255).mean()
    assert image[0, 4, 4] == pytest.approx(mean + 2 * (64 / 255 - mean), abs=1e-4)
    assert image.min() >= 0 and image.max() <= 1


OFF = Augmentation(probability=0.0, speckle=0.0, shadow=0.0, gain=0.0, attenuation=0.0, ultrasound_probability=1.0)


def grey_sector() -> tuple[np.ndarray, np.ndarray]:
    frames = np.full((2, 64, 64), 128, np.uint8)
    frames[:, :, :8] = 0  # outside the sector
    return frames, np.zeros_like(frames)


@pytest.mark.parametrize("name", ["speckle", "shadow", "gain", "attenuation"])
def test_each_ultrasound_option_changes_the_picture_and_never_the_outside(name: str):
    frames, mask = grey_sector()
    unchanged, _ = augmented(frames, mask, OFF, 0)
    np.testing.assert_array_equal(unchanged, frames.astype(np.float32) / np.float32(255))
    image, moved = augmented(frames, mask, dataclasses.replace(OFF, **{name: 0.4}), 1)
    assert image.dtype == np.float32 and (image[:, :, :8] == 0).all() and (moved == mask).all()
    assert (image[0] == image[1]).all()  # one draw for the clip
    inside = image[0, :, 8:] - frames[0, 0, 8] / 255
    assert np.abs(inside).max() > 0.01 and image.min() >= 0 and image.max() <= 1
    if name == "gain":
        assert np.ptp(inside) < 1e-6
    if name == "attenuation":
        assert np.ptp(inside, axis=1).max() < 1e-6 and abs(inside[:, 0].mean()) < 1e-3
        assert (np.diff(inside[:, 0]) > 0).all() or (np.diff(inside[:, 0]) < 0).all()
    if name == "shadow":
        assert inside.max() <= 1e-6
    if name == "speckle":
        assert abs(inside.mean()) < 0.02 and inside.std() > 0.01


def test_ultrasound_options_do_not_shift_the_papers_draws():
    frames = np.random.default_rng(0).integers(1, 255, (2, 32, 32)).astype(np.uint8)
    mask = (frames > 128).astype(np.uint8)
    for seed in range(10):
        plain, moved = augmented(frames, mask, Augmentation(), seed)
        also, also_moved = augmented(frames, mask, dataclasses.replace(OFF, probability=0.5), seed)
        np.testing.assert_array_equal(plain, also)
        np.testing.assert_array_equal(moved, also_moved)


def test_a_shift_moves_mask_and_picture_alike_and_is_off_by_default():
    frames = np.zeros((2, 64, 64), np.uint8)
    frames[:, 24:40, 28:36] = 200
    mask = (frames > 0).astype(np.uint8)
    only = Augmentation(
        probability=1.0, gamma=(1.0, 1.0), contrast=(1.0, 1.0), rotation_deg=0.0, scale=(1.0, 1.0), shift=0.2
    )
    places = []
    for seed in range(8):
        image, moved = augmented(frames, mask, only, seed)
        assert moved.sum() == pytest.approx(mask.sum(), rel=0.15)
        inside, outside = image[moved > 0].mean(), image[moved == 0].mean()
        assert inside > 0.6 and outside < 0.02
        places.append(np.argwhere(moved[0]).mean(axis=0) - np.argwhere(mask[0]).mean(axis=0))
    assert np.abs(places).max() < 0.2 * 64 + 1 and np.std(places, axis=0).min() > 2


def test_a_window_is_cut_from_the_moved_picture_with_its_mask():
    counted = np.arange(64 * 64).reshape(64, 64)
    frames = np.stack([counted % 251, counted // 64]).astype(np.uint8)  # the second frame tells the row
    still = Augmentation(probability=0.0, crop=48)
    corners = set()
    for seed in range(40):
        image, mask = augmented(frames, frames, still, seed)
        assert image.shape == mask.shape == (2, 48, 48)
        np.testing.assert_array_equal(image, mask.astype(np.float32) / np.float32(255))  # labels move as the picture
        row = int(mask[1, 0, 0])
        column = next(c for c in range(17) if (mask[0] == frames[0, row : row + 48, c : c + 48]).all())
        corners.add((row, column))
    assert {row for row, _ in corners} <= set(range(17)) and len(corners) > 30
    moving = Augmentation(probability=1.0, gamma=(1.0, 1.0), contrast=(1.0, 1.0))
    whole, _ = augmented(frames, frames, moving, 5)
    same, _ = augmented(frames, frames, dataclasses.replace(moving, crop=64), 5)
    np.testing.assert_array_equal(same, whole)


@pytest.mark.parametrize("settings", [Augmentation(), Augmentation(probability=1.0, shift=0.3, crop=48)])
def test_undecided_pixels_move_with_the_labels(settings: Augmentation):
    """As if they were a label of their own: what comes in from outside is decided background."""
    frames = np.random.default_rng(0).integers(0, 255, (2, 64, 64)).astype(np.uint8)
    labels = (frames > 128).astype(np.uint8)
    undecided = np.random.default_rng(1).random(labels.shape) < 0.3
    for seed in range(8):
        rng = np.random.default_rng(seed)
        clip = augment(frames, np.where(undecided, 0, labels).astype(np.uint8), settings, rng, decided=~undecided)
        _, marked = augmented(frames, np.where(undecided, 255, labels).astype(np.uint8), settings, seed)
        np.testing.assert_array_equal(clip.decided, marked != 255)
        np.testing.assert_array_equal(clip.label_map, np.where(marked == 255, 0, marked))
