"""Training from a store, in memory or read when needed: the same batches, labels withheld alike, nothing unusable."""

import dataclasses
import pickle

import numpy as np
import pytest

from data_pipelines import prepare
from data_pipelines.augment import Augmentation
from data_pipelines.batches import TrainingBatches, allocate_rows
from data_pipelines.formats import camus
from data_pipelines.sampling import sample_clip
from data_pipelines.source import EmptySplit, Source, load_split
from data_pipelines.store.builders import NotPrepared
from data_pipelines.store.lazy_clips import LazyClips, open_lazily
from echoforge_jax.training.data import withhold_labels
from tests.helpers.clips import make_clip

FRAMES, SIZE = 3, 16


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Source:
    """Six patients, both views; the last has no mask, the one before only ED and ES in two frames."""
    tree, data_dir = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("data")
    names = [f"patient{i:04d}" for i in range(1, 7)]
    for i, name in enumerate(names):
        for view in ("2CH", "4CH"):
            clip = make_clip(frames=2 if i == 4 else 5 + i, patient_id=name, view=view)
            if i == 5:
                clip = dataclasses.replace(
                    clip, label_map=np.zeros_like(clip.label_map), has_reference=np.zeros(len(clip), bool)
                )
            camus.write_clip(clip, tree)
    camus.write_split(tree, {"training": names, "validation": [], "testing": []})
    folder, _ = prepare.prepare("camus", data_dir, source=tree)
    return Source("store", folder)


@pytest.fixture(scope="module")
def lazy(source: Source) -> LazyClips:
    return open_lazily(source, "train", FRAMES, SIZE, "ed_es")[0]


def test_unusable_records_are_named_before_the_training(source: Source):
    clips, skipped = open_lazily(source, "train", FRAMES, SIZE, "ed_es")
    assert [(s.record_id, s.reason) for s in skipped] == [
        ("patient0005_2CH", "too few frames"),
        ("patient0005_4CH", "too few frames"),
        ("patient0006_2CH", "no labelled frame"),
        ("patient0006_4CH", "no labelled frame"),
    ]
    assert len(clips) == 8 and not clips.fully_labelled
    one_view, _ = open_lazily(dataclasses.replace(source, views=("4CH",)), "train", FRAMES, SIZE, "ed_es")
    assert [clip.view for clip in one_view] == ["4CH"] * 4
    with pytest.raises(EmptySplit, match="no usable record in split 'train'"):
        open_lazily(dataclasses.replace(source, views=("3CH",)), "train", FRAMES, SIZE, "ed_es")
    with pytest.raises(NotPrepared, match="not 'test'"):
        open_lazily(source, "test", FRAMES, SIZE, "ed_es")


def test_batches_are_those_from_memory(source: Source, lazy: LazyClips):
    kept, _ = load_split(source, "train", lambda clip: sample_clip(clip, FRAMES, SIZE))
    memory = [clip for clip in kept if clip.may_train.any()]
    for fraction in (1.0, 0.5):
        made = [
            TrainingBatches(allocate_rows(*withhold_labels(clips, fraction, 3), batch_clips=4), 0, Augmentation())
            for clips in (lazy, memory)
        ]
        assert made[0].has_unlabelled_frames and made[0].steps_per_epoch == made[1].steps_per_epoch
        for step in range(4):
            one, other = (m.batch(step) for m in made)
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])


def test_another_process_opens_its_own_readers(lazy: LazyClips):
    again = pickle.loads(pickle.dumps(lazy.only(lambda place: place < 3, use_labels=False)))
    assert len(again) == 3 and not again[0].may_train.any() and again[0].has_reference.any()
    np.testing.assert_array_equal(again[1].frames, lazy[1].frames)
    assert len(again[0:2]) == 2
