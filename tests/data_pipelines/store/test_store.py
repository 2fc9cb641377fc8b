"""Prepared data sets: every clip comes back as the reader of its format gives it, by any road, in any process."""

import dataclasses
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings

from data_pipelines import prepare, store
from data_pipelines.formats import camus, echonet_dynamic
from data_pipelines.records import QUALITIES, VIEWS, Clip, UnreadableRecord
from data_pipelines.simulator.clip import ClipSettings, simulate_clip
from data_pipelines.simulator.cohort import Cohort, write_cohort
from data_pipelines.simulator.patient import Patient
from data_pipelines.splits import SPLITS
from data_pipelines.store import shards

SIMULATION = {"patients": 4, "seed": 3, "frames": 3, "size": 40}


def assert_same(left, right):
    for field in dataclasses.fields(Clip):
        a, b = getattr(left, field.name), getattr(right, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype and np.array_equal(a, b), field.name
        else:
            assert a == b and type(a) is type(b), field.name


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A CAMUS tree of which one training patient has no mask, and an EchoNet tree."""
    root = tmp_path_factory.mktemp("trees")
    write_cohort(root / "camus", Cohort(**SIMULATION))
    for path in (root / "camus" / "patient0002").glob("*_gt.nii.gz"):
        path.unlink()
    clips = [simulate_clip(Patient(3, number), "4CH", ClipSettings(frames=3, size=48)) for number in range(1, 5)]
    splits = ("TRAIN", "VAL", "TEST", "TRAIN")
    named = {clip.patient_id: split for clip, split in zip(clips, splits, strict=True)}
    echonet_dynamic.write_tree(clips, root / "echonet", named)
    return root


@pytest.fixture(scope="module")
def data_dir(trees, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    prepare.prepare("camus", folder, source=trees / "camus", workers=2)
    prepare.prepare("echonet_dynamic", folder, source=trees / "echonet")
    prepare.prepare("simulated_echo", folder, **SIMULATION)
    return folder


@pytest.fixture
def own_copy(tmp_path):
    """A data set that a test may damage."""
    prepare.prepare("simulated_echo", tmp_path, patients=3, frames=2, size=32)
    return tmp_path


# ---- round trips ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", store.BUILDERS)
def test_a_prepared_split_holds_what_the_reader_gives(trees, data_dir, name, split):
    clips = store.open_store(data_dir, name, split)
    if name == "simulated_echo":
        numbers = [int(patient.removeprefix("patient")) for patient in dict.fromkeys(clips.patient_ids)]
        assert numbers == {"train": [1, 2], "validation": [3], "test": [4]}[split]
        settings = ClipSettings(frames=3, size=40)
        expected = [simulate_clip(Patient(3, number), view, settings) for number in numbers for view in VIEWS]
    else:
        module, root = (camus, trees / "camus") if name == "camus" else (echonet_dynamic, trees / "echonet")
        expected = [module.read(entry) for entry in module.index(root, split).entries]
    assert len(clips) == len(expected) > 0 and clips.skipped == []
    for clip, original in zip(clips, expected, strict=True):
        assert_same(clip, original)


number = st.none() | st.floats(allow_nan=False, allow_infinity=False)
pair = st.none() | st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2)


@settings(max_examples=50, deadline=None)
@given(st.data(), pair, number, number, pair)
def test_every_field_survives_unknown_or_not(data, spacing_mm, fps, ef_percent, volumes_ml):
    t, h, w = (data.draw(st.integers(1, 5)) for _ in range(3))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    clip = Clip(
        frames=rng.integers(0, 256, (t, h, w)).astype(np.uint8),
        label_map=rng.integers(0, 4, (t, h, w)).astype(np.uint8),
        has_reference=rng.random(t) < 0.5,
        ed_index=data.draw(st.none() | st.integers(0, t - 1)),
        es_index=data.draw(st.none() | st.integers(0, t - 1)),
        spacing_mm=spacing_mm,
        fps=fps,
        patient_id=data.draw(st.text(min_size=1)),
        view=data.draw(st.sampled_from(("", *VIEWS))),
        quality=data.draw(st.none() | st.sampled_from(QUALITIES)),
        ef_percent=ef_percent,
        volumes_ml=volumes_ml,
    )
    assert_same(shards.decode_clip(shards.encode_clip(clip)), clip)


def test_the_index_tells_what_decoding_tells(data_dir):
    clips = store.open_store(data_dir, "camus", "train")
    assert clips.record_ids == tuple(clip.record_id for clip in clips) == tuple(sorted(clips.record_ids))
    assert clips.patient_ids == tuple(clip.patient_id for clip in clips)
    assert clips.has_labels == tuple(clip.has_reference.any() for clip in clips)
    assert [i for i, labels in zip(clips.record_ids, clips.has_labels, strict=True) if not labels] == [
        "patient0002_2CH",
        "patient0002_4CH",
    ]


# ---- opening -------------------------------------------------------------------------------------------------------


def test_stored_clips_are_a_sequence(data_dir):
    clips = store.open_store(data_dir, "echonet_dynamic", "train")
    assert len(clips) == 2 and [clip.record_id for clip in clips[1:]] == list(clips.record_ids[1:])
    assert_same(clips[-1], clips[1])
    with pytest.raises(IndexError):
        clips[2]


def test_tfds_opens_a_prepared_store(data_dir):
    records = tfds.builder_from_directory(store.builder_dir(data_dir, "camus")).as_data_source("train")
    clips = store.open_store(data_dir, "camus", "train")
    assert [r["patient_id"].decode() for r in records] == list(clips.patient_ids)
    assert np.array_equal(records[3]["frames"][..., 0], clips[3].frames)
    assert len(tfds.data_source("simulated_echo", data_dir=data_dir, split="test")) == 2


def test_another_process_reads_the_same_without_tensorflow(data_dir):
    clips = store.open_store(data_dir, "camus", "test")
    assert clips[0].view == "2CH"  # the readers are open now
    code = (
        "import pickle, sys; from data_pipelines.store.shards import encode_clip;"
        "clips = pickle.load(sys.stdin.buffer);"
        "print([encode_clip(clip).hex() for clip in clips] + sorted({'tensorflow', 'jax'} & {*sys.modules}))"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    printed = subprocess.run(command, input=pickle.dumps(clips), capture_output=True, check=True).stdout
    assert printed.decode().strip() == str([shards.encode_clip(clip).hex() for clip in clips])
    assert "tensorflow" not in sys.modules


def test_threads_share_stored_clips(data_dir):
    clips = store.open_store(data_dir, "camus", "train")
    order = np.random.default_rng(0).permutation(np.tile(np.arange(len(clips)), 20)).tolist()
    with ThreadPoolExecutor(8) as pool:
        for place, clip in zip(order, pool.map(clips.__getitem__, order), strict=True):
            assert clip.record_id == clips.record_ids[place]


def test_tfds_alone_prepares_the_same_bytes(trees, data_dir, tmp_path):
    builder = tfds.builder("simulated_echo", data_dir=tmp_path, **SIMULATION)
    assert pickle.loads(pickle.dumps(builder)).arguments == SIMULATION
    builder.download_and_prepare()
    how = tfds.download.DownloadConfig(manual_dir=trees / "camus")
    tfds.builder("camus", data_dir=tmp_path).download_and_prepare(download_config=how)
    for name in ("simulated_echo", "camus"):
        ours, theirs = store.builder_dir(data_dir, name), store.builder_dir(tmp_path, name)
        assert {p.name: p.read_bytes() for p in ours.iterdir()} == {p.name: p.read_bytes() for p in theirs.iterdir()}


# ---- what cannot be opened -----------------------------------------------------------------------------------------


def test_a_missing_store_or_split_is_named(tmp_path, data_dir):
    with pytest.raises(store.NotPrepared, match=r"holds no prepared data set: .*data_pipelines\.prepare camus"):
        store.open_store(tmp_path, "camus", "train")
    with pytest.raises(ValueError, match=r"'camsu'.* expected one of \['camus'"):
        store.open_store(data_dir, "camsu", "train")
    with pytest.raises(ValueError, match=r"'val'.*'validation'"):
        store.open_store(data_dir, "camus", "val")


def test_a_lost_or_cut_file_is_found_when_opening(own_copy):
    (file,) = store.builder_dir(own_copy, "simulated_echo").glob("*train.array_record*")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(store.NotPrepared, match="damaged: a file of another size"):
        store.open_store(own_copy, "simulated_echo", "train")
    file.unlink()
    with pytest.raises(store.NotPrepared, match=r"damaged: .*simulated_echo-train"):
        store.open_store(own_copy, "simulated_echo", "train")


def test_a_flipped_byte_is_an_unreadable_record(own_copy):
    clips = store.open_store(own_copy, "simulated_echo", "train")
    first = shards.encode_clip(clips[0])
    (file,) = clips.folder.glob("*train.array_record*")
    content = bytearray(file.read_bytes())
    content[64 + 40 + len(first) // 2] ^= 0xFF
    file.write_bytes(content)
    clips = store.StoredClips(clips.folder, "train")  # where shapes are checked, open_store looks at a clip
    with pytest.raises(UnreadableRecord, match=r"patient0001_2CH: damaged store: .*prepare it again"):
        clips[0]
    assert clips[1].record_id == "patient0001_4CH"


def test_a_split_that_the_source_lacks_is_left_out_and_reported(trees, tmp_path):
    source = tmp_path / "tree"
    for entry in camus.index(trees / "camus", "train").entries:
        camus.write_clip(camus.read(entry), source)
    camus.write_split(source, {"train": ["patient0001", "patient0002"], "test": ["patient0009"]})
    folder = prepare.prepare("camus", tmp_path / "data", source=source).folder
    assert [*tfds.builder_from_directory(folder).info.splits] == ["train"]
    with pytest.raises(store.NotPrepared, match=r"not 'validation': split 'validation' .* is empty"):
        store.open_store(tmp_path / "data", "camus", "validation")
    with pytest.raises(store.NotPrepared, match="not 'test': none of its 2 records is there"):
        store.open_store(tmp_path / "data", "camus", "test")
    rows = json.loads((folder / store.SKIPPED).read_text())
    assert [row["reason"] for row in rows["test"]] == ["patient missing"] * 2 and rows["train"] == []
    said = prepare.describe(folder)
    assert "train: 4 clips of 2 patients" in said and "validation: left out" in said and "test: left out" in said
