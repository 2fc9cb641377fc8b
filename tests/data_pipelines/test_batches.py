"""Batches as a function of the step alone: exact cover, streams, labelled clips for every device, any process count."""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest

from data_pipelines.batches import BatchError, Stream, TrainingBatches, allocate_rows, labelled_patients
from data_pipelines.records import SampledClip
from data_pipelines.sampling import resize_cine, sample_clip
from data_pipelines.settings import Augmentation
from tests.helpers.clips import make_clip


def sampled_clips(count: int) -> list[SampledClip]:
    return [
        dataclasses.replace(
            sample_clip(make_clip(), 3, 16), record_id=f"r{i}", patient_id=f"p{i // 2}", view=("2CH", "4CH")[i % 2]
        )
        for i in range(count)
    ]


def batches(count: int = 7, **changes) -> TrainingBatches:
    return TrainingBatches(allocate_rows(sampled_clips(count), [], batch_clips=4), 5, Augmentation(), **changes)


def mixed(devices: int = 1, **changes) -> TrainingBatches:
    """3 labelled clips (records 0-2), 9 unlabelled ones (3-11), 2 cines (12, 13); a batch of 8 rows."""
    clips = sampled_clips(12)
    cines = [resize_cine(make_clip(frames=30, patient_id=f"cine{i}"), 3, 16) for i in range(2)]
    unlabelled = [clip.without_labels() for clip in clips[3:]]
    streams = allocate_rows(clips[:3], unlabelled, [(cines, 0.25)], batch_clips=8, devices=devices)
    return TrainingBatches(streams, 5, Augmentation(), frames=3, devices=devices, **changes)


def test_the_digest_names_clips_and_labels_on_any_number_of_devices():
    assert mixed().digest == mixed(devices=2).digest != batches().digest != batches(6).digest
    clips = sampled_clips(4)

    def digest(clips: list[SampledClip]) -> str:
        return TrainingBatches(allocate_rows(clips, [], batch_clips=4), 5, Augmentation()).digest

    renamed = [dataclasses.replace(clips[0], record_id="another"), *clips[1:]]
    fewer = [dataclasses.replace(clips[0], may_train=np.array([True, False, False])), *clips[1:]]
    assert len({digest(clips), digest(renamed), digest(fewer), digest(clips[::-1])}) == 4


def test_an_epoch_covers_every_clip_once_and_epochs_differ():
    made = batches()
    assert made.steps_per_epoch == 2
    orders = []
    for epoch in range(3):
        rows = [made.batch(2 * epoch + i) for i in range(2)]
        real = np.concatenate([b.record[b.valid > 0] for b in rows])
        assert sorted(real) == list(range(7))
        orders.append(real.tolist())
    assert len({tuple(order) for order in orders}) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_depends_on_seed_and_step_alone(workers: int):
    straight = list(mixed().iterate(0, 6, threads=2))
    resumed = list(mixed().iterate(3, 6, threads=1, worker_processes=workers))
    for one, other in zip(straight[3:], resumed, strict=True):
        assert one._fields == other._fields
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert (mixed().batch(0).image != dataclasses.replace(mixed(), seed=6).batch(0).image).any()


@pytest.mark.parametrize("count", [2, 4])
def test_any_number_of_processes_makes_parts_of_one_batch(count: int):
    whole = mixed(devices=4).batch(1)
    parts = [mixed(devices=4, process_index=i, process_count=count).batch(1) for i in range(count)]
    for place, value in enumerate(whole):
        if value is not None:
            np.testing.assert_array_equal(np.concatenate([part[place] for part in parts]), value)


def test_unlabelled_clips_are_covered_once_and_labelled_ones_cycle_evenly():
    made = mixed()
    assert [stream.rows for stream in made.streams] == [2, 4, 2] and made.steps_per_epoch == 3
    seen: Counter[int] = Counter()
    for step in range(3):
        batch = made.batch(step)
        seen.update(batch.record[batch.valid > 0].tolist())
        assert batch.may_train.any(axis=1).sum() == 2
    assert all(seen[record] == 1 for record in range(3, 12))
    assert {seen[record] for record in range(3)} == {2} and {seen[record] for record in (12, 13)} == {3}


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_every_device_gets_a_labelled_clip(devices: int):
    made = mixed(devices=devices)
    for step in range(7):
        labelled = made.batch(step).may_train.any(axis=1).reshape(devices, -1)
        assert labelled.any(axis=1).all()


def test_rows_are_allocated_to_devices_without_changing_the_batch():
    one = mixed()
    dealt = dataclasses.replace(one, devices=4)
    for step in range(4):
        assert sorted(one.batch(step).record.tolist()) == sorted(dealt.batch(step).record.tolist())


def test_cines_are_drawn_anew_each_time():
    stream = (Stream([resize_cine(make_clip(frames=30), 3, 16)], 1), Stream(sampled_clips(1), 1))
    made = TrainingBatches(stream, 5, Augmentation(probability=0.0), frames=3)
    images = [made.batch(step).image[0] for step in range(8)]
    assert len({image.tobytes() for image in images}) > 4
    assert made.has_unlabelled_frames


def test_smaller_fractions_are_part_of_larger_ones():
    patients = [f"p{i:03}" for i in range(40) for _ in range(2)]
    drawn = [labelled_patients(patients, fraction, seed=1) for fraction in (0.001, 0.05, 0.1, 0.25, 1.0)]
    assert [len(d) for d in drawn] == [1, 2, 4, 10, 40]
    assert all(small <= large for small, large in itertools.pairwise(drawn))
    assert labelled_patients(patients, 0.25, seed=2) != drawn[3]
    assert labelled_patients(patients[::-1], 0.25, seed=1) == drawn[3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clips_with_labels": 0, "batch_clips": 4}, "no clip of the training split has a labelled frame"),
        ({"clips_with_labels": 2, "batch_clips": 4, "devices": 4}, "for each of 4 devices and one row"),
        ({"clips_with_labels": 2, "batch_clips": 4, "labelled_rows": 4}, "4 for labelled clips"),
        ({"clips_with_labels": 2, "batch_clips": 2, "share": 0.9}, "2 rows are for config.data.mix"),
    ],
)
def test_rows_that_do_not_fit_are_refused(arguments: dict, message: str):
    clips = sampled_clips(6)
    labelled, share = arguments.pop("clips_with_labels"), arguments.pop("share", None)
    extras = [(clips, share)] if share else []
    with pytest.raises(BatchError, match=message):
        allocate_rows(clips[:labelled], clips[labelled:], extras, **arguments)


def test_with_epochs_of_fixed_length_every_stream_cycles():
    made = batches(7, fixed_steps=5)
    assert made.steps_per_epoch == 5
    rows = [made.batch(step) for step in range(7)]  # 28 rows: four passes over seven clips
    assert all(batch.valid.all() for batch in rows)
    records = np.concatenate([batch.record for batch in rows])
    for turn in range(4):
        assert sorted(records[7 * turn : 7 * (turn + 1)]) == list(range(7))


def test_only_carried_labels_add_the_decided_pixels_to_a_batch():
    clips = sampled_clips(4)
    assert TrainingBatches(allocate_rows(clips, [], batch_clips=4), 5, Augmentation()).batch(0).decided is None
    decided = np.ones(clips[2].label_map.shape, bool)
    decided[1, 2:5, 3:7] = False
    clips[2] = dataclasses.replace(clips[2], decided=decided)
    still = Augmentation(probability=0.0)
    batch = TrainingBatches(allocate_rows(clips, [], batch_clips=4), 5, still).batch(0)
    assert batch.decided.shape == batch.cavity.shape and batch.decided.dtype == np.uint8
    for row, record in enumerate(batch.record):
        np.testing.assert_array_equal(batch.decided[row], decided if record == 2 else np.ones_like(decided))
