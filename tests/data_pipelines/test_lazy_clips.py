"""Training from a store, in memory or read when needed: the same batches, labels withheld alike, nothing unusable."""

import dataclasses
import pickle

import numpy as np
import pytest

from data_pipelines import prepare
from data_pipelines.batches import TrainingBatches, allocate_rows
from data_pipelines.formats import camus
from data_pipelines.lazy_clips import LazyClips, open_lazily
from data_pipelines.sampling import sample_clip
from data_pipelines.settings import Augmentation
from data_pipelines.source import EmptySplit, LoadedSplit, StoreSource, load_split
from data_pipelines.store.builder import NotPrepared
from echoforge_jax.training.data import withhold_labels
from tests.helpers.clips import make_clip

FRAMES, SIZE = 3, 16


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> StoreSource:
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
    return StoreSource(prepare.prepare("camus", data_dir, source=tree).folder)


def opened(source: StoreSource, split: str = "train") -> LoadedSplit:
    return open_lazily(source, split, frames=FRAMES, size=SIZE)


@pytest.fixture(scope="module")
def lazy(source: StoreSource) -> LazyClips:
    return opened(source).clips


def test_unusable_records_are_named_before_the_training(source: StoreSource):
    loaded = opened(source)
    clips, skipped = loaded.clips, loaded.skipped
    assert [(s.record_id, s.reason) for s in skipped] == [
        ("patient0005_2CH", "too few frames"),
        ("patient0005_4CH", "too few frames"),
        ("patient0006_2CH", "no labelled frame"),
        ("patient0006_4CH", "no labelled frame"),
    ]
    assert len(clips) == 8 and not clips.fully_labelled
    one_view = opened(dataclasses.replace(source, views=("4CH",))).clips
    assert [clip.view for clip in one_view] == ["4CH"] * 4
    with pytest.raises(EmptySplit, match="no usable record in split 'train'"):
        opened(dataclasses.replace(source, views=("3CH",)))
    with pytest.raises(NotPrepared, match="not 'test'"):
        opened(source, "test")


def test_batches_are_those_from_memory(source: StoreSource, lazy: LazyClips):
    kept = load_split(source, "train", lambda clip: sample_clip(clip, FRAMES, SIZE)).clips
    memory = [clip for clip in kept if clip.may_train.any()]
    for fraction in (1.0, 0.5):
        made = [
            TrainingBatches(
                allocate_rows(*withhold_labels(clips, fraction=fraction, seed=3), batch_clips=4), 0, Augmentation()
            )
            for clips in (lazy, memory)
        ]
        assert made[0].has_unlabelled_frames and made[0].steps_per_epoch == made[1].steps_per_epoch
        for step in range(4):
            one, other = (m.batch(step) for m in made)
            for mine, theirs in zip(one, other, strict=True):
                np.testing.assert_array_equal(mine, theirs)


def test_another_process_opens_its_own_readers(lazy: LazyClips):
    again = pickle.loads(pickle.dumps(lazy.select(lambda position: position < 3, use_labels=False)))
    assert len(again) == 3 and not again[0].may_train.any() and again[0].has_reference.any()
    np.testing.assert_array_equal(again[1].frames, lazy[1].frames)
    assert len(again[0:2]) == 2
