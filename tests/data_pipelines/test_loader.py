"""Sampling, resizing, augmentation, and batches as a function of the step alone."""

import dataclasses

import numpy as np
import pytest

from data_pipelines.augment import Augmentation
from data_pipelines.clips import SampledClip, ed_to_es, sample_clip, to_native, uniform_frames
from data_pipelines.formats import camus
from data_pipelines.loader import EmptySplit, Source, TrainingBatches, load_split
from data_pipelines.records import Clip, UnreadableRecord


def make_clip(frames: int = 7, ed: int = 0, es: int | None = None, size: tuple[int, int] = (60, 40), **changes) -> Clip:
    """Frame t is grey level 10 t; an LV block above an atrium block."""
    masks = np.zeros((frames, *size), np.uint8)
    masks[:, 15:35, 15:25], masks[:, 40:52, 15:25] = 1, 3
    grey = np.broadcast_to((10 * np.arange(frames, dtype=np.uint8))[:, None, None], masks.shape).copy()
    clip = Clip(
        frames=grey, masks=masks, labelled=np.ones(frames, bool),
        ed_index=ed, es_index=frames - 1 if es is None else es,
        spacing_mm=(0.5, 0.25), fps=30.0, patient_id="patient0001", view="4CH",
    )  # fmt: skip
    return dataclasses.replace(clip, **changes)


@pytest.mark.parametrize("last", [1, 8, 9, 10, 19, 23])
@pytest.mark.parametrize("count", [2, 5, 10])
def test_uniform_frames_are_the_papers_formula(last: int, count: int):
    from fractions import Fraction

    step = Fraction(last, count - 1)
    expected = [int(step * i) for i in range(count)]  # floor(first + step * i), exactly
    assert uniform_frames(0, last, count).tolist() == expected
    assert expected[0] == 0 and expected[-1] == last


def test_a_reversed_half_cycle_is_flipped():
    half = ed_to_es(make_clip(ed=5, es=2))
    assert half.frames[:, 0, 0].tolist() == [50, 40, 30, 20]
    assert (half.ed_index, half.es_index) == (0, 3)


def test_only_ed_and_es_are_labelled_and_spacing_follows_the_size():
    sampled = sample_clip(make_clip(), frames=4, size=32)
    assert sampled.labelled.tolist() == [True, False, False, True]
    assert sampled.annotated.all()
    assert sampled.frames[:, 0, 0].tolist() == [0, 20, 40, 60]
    assert sampled.spacing_mm == pytest.approx((0.5 * 60 / 32, 0.25 * 40 / 32))
    assert set(np.unique(sampled.mask)) == {0, 1}
    assert sample_clip(make_clip(), frames=4, size=32, training_labels="all").labelled.all()


def test_two_frames_are_never_stretched_to_more():
    two = make_clip(frames=2)
    assert len(sample_clip(two, frames=2, size=32).frames) == 2
    with pytest.raises(UnreadableRecord, match=r"data\.frames=2"):
        sample_clip(two, frames=10, size=32)
    with pytest.raises(UnreadableRecord, match="ED or ES"):
        sample_clip(make_clip(es_index=None), frames=2, size=32)


def test_masks_go_back_to_where_they_came_from():
    clip = make_clip(size=(120, 80))
    small = sample_clip(clip, frames=7, size=64, training_labels="all")
    back = to_native(small.mask.astype(np.float32), (120, 80))
    reference = clip.masks == 1
    overlap = 2 * (back.astype(bool) & reference).sum() / (back.sum() + reference.sum())
    assert overlap > 0.95


def test_augmentation_moves_every_frame_alike_and_mask_with_image():
    frames = np.zeros((3, 64, 64), np.uint8)
    frames[:, 16:40, 20:36] = 200
    mask = (frames > 0).astype(np.uint8)
    always = Augmentation(probability=1.0, gamma=(1.0, 1.0), contrast=(1.0, 1.0))
    image, moved = always(frames, mask, np.random.default_rng(3))
    assert (image == image[:1]).all() and (moved == moved[:1]).all()
    inside, outside = image[moved > 0].mean(), image[moved == 0].mean()
    assert inside > 0.7 and outside < 0.05
    assert (moved != mask).any()
    same, unmoved = Augmentation(probability=0.0)(frames, mask, np.random.default_rng(3))
    np.testing.assert_array_equal(same, frames.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(unmoved, mask)


def test_gamma_and_contrast_ranges():
    frames = np.full((1, 8, 8), 64, np.uint8)
    frames[0, 0, 0] = 255
    bright = Augmentation(probability=1.0, gamma=(2.0, 2.0), rotation_deg=0.0, scale=(1.0, 1.0), contrast=(1.0, 1.0))
    image, _ = bright(frames, np.zeros_like(frames), np.random.default_rng(0))
    assert image[0, 4, 4] == pytest.approx((64 / 255) ** 0.5, abs=1e-5)
    strong = dataclasses.replace(bright, gamma=(1.0, 1.0), contrast=(2.0, 2.0))
    image, _ = strong(frames, np.zeros_like(frames), np.random.default_rng(0))
    mean = (frames / 255).mean()
    assert image[0, 4, 4] == pytest.approx(mean + 2 * (64 / 255 - mean), abs=1e-4)
    assert image.min() >= 0 and image.max() <= 1


def sampled_clips(count: int) -> list[SampledClip]:
    return [
        dataclasses.replace(sample_clip(make_clip(), 3, 16), record_id=f"r{i}", view=("2CH", "4CH")[i % 2])
        for i in range(count)
    ]


def batches(count: int = 7, **changes) -> TrainingBatches:
    return TrainingBatches(sampled_clips(count), 4, seed=5, augmentation=Augmentation(), **changes)


def test_an_epoch_covers_every_clip_once_and_epochs_differ():
    made = batches()
    assert made.steps_per_epoch == 2
    orders = []
    for epoch in range(3):
        rows = [made.batch(2 * epoch + i) for i in range(2)]
        real = np.concatenate([b["record"][b["valid"] > 0] for b in rows])
        assert sorted(real) == list(range(7))
        orders.append(real.tolist())
    assert len({tuple(order) for order in orders}) == 3


def test_a_batch_depends_on_seed_and_step_alone():
    straight = list(batches().iterate(0, 6, threads=2))
    resumed = list(batches().iterate(3, 6, threads=1))
    for one, other in zip(straight[3:], resumed, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    assert (batches().batch(0)["image"] != dataclasses.replace(batches(), seed=6).batch(0)["image"]).any()


def test_two_processes_make_the_halves_of_one_batch():
    whole = batches().batch(1)
    halves = [batches(process_index=i, process_count=2).batch(1) for i in range(2)]
    for name, value in whole.items():
        np.testing.assert_array_equal(np.concatenate([half[name] for half in halves]), value)


def _tree(root, patients: int = 3):
    names = [f"patient{i:04d}" for i in range(1, patients + 1)]
    for name in names:
        camus.write_clip(make_clip(patient_id=name), root)
    camus.write_split(root, {"training": names, "validation": [], "testing": []})
    return names


def test_one_broken_file_is_named_counted_and_skipped(tmp_path):
    names = _tree(tmp_path)
    broken = tmp_path / names[1] / f"{names[1]}_4CH_ED.nii.gz"
    for path in (tmp_path / names[1]).glob("*_4CH_*.nii.gz"):
        path.write_bytes(path.read_bytes()[:60])
    assert broken.exists()
    source = Source("camus", tmp_path, views=("4CH",))
    clips, skipped = load_split(source, "train", lambda clip: sample_clip(clip, 3, 16))
    assert [c.record_id for c in clips] == [f"{names[0]}_4CH", f"{names[2]}_4CH"]
    assert [(s.record_id, s.reason) for s in skipped] == [(f"{names[1]}_4CH", "truncated file")]
    with pytest.raises(UnreadableRecord, match=names[1]):
        load_split(source, "train", lambda clip: clip, skip_unreadable=False)


def test_a_split_without_a_usable_record_says_why(tmp_path):
    for name in _tree(tmp_path):
        for path in (tmp_path / name).glob("*_4CH_*.nii.gz"):
            path.write_bytes(b"")
    with pytest.raises(EmptySplit, match="3 x truncated file"):
        load_split(Source("camus", tmp_path, views=("4CH",)), "train", lambda clip: clip)
