"""Notes of the readers go through a prepared store: kept beside the records, shown, and given back."""

import dataclasses
import json

import pytest

from data_pipelines import prepare
from data_pipelines.formats import camus
from data_pipelines.lazy_clips import open_lazily
from data_pipelines.notes import note
from data_pipelines.source import StoreSource, load_split
from data_pipelines.store import NOTES, Camus, NotPrepared, StoredClips, preparation, shards
from tests.helpers.trees import make_clip

NAMES = ("patient0001", "patient0002", "patient0003")
DOUBT = note("uneven frame times", "Steps of 20.0 to 200.0 ms.")
SOURCE = note("frame rate", "From FrameRate of Info_4CH.cfg.")
APART = note("frames missing", "4 of 6 stated frames could be decoded.")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Three patients in three splits; the reader doubts the first, and the index knows something of each split."""
    root = tmp_path / "tree"
    for name in NAMES:
        camus.write_clip(make_clip(patient_id=name), root)
    camus.write_split(root, {"train": NAMES[:1], "validation": NAMES[1:2], "test": NAMES[2:]})
    read, index = camus.read, camus.index

    def read_with_notes(entry):
        notes = (DOUBT, SOURCE) if entry.patient_id == NAMES[0] else (SOURCE,)
        return dataclasses.replace(read(entry), notes=notes)

    def index_with_notes(path, split, **options):
        listed = index(path, split, **options)
        first = listed.entries[0].record_id
        return dataclasses.replace(listed, notes={first: (APART,), "patient0009 (1)": (APART,)})

    monkeypatch.setattr(Camus, "read", staticmethod(read_with_notes))
    monkeypatch.setattr(camus, "index", index_with_notes)
    return root


@pytest.fixture
def store(tree, tmp_path):
    return prepare.prepare("camus", tmp_path / "data", source=tree).folder


def test_a_store_gives_back_every_note(store):
    stored = StoredClips(store, "train")
    assert stored[0].notes == (APART, DOUBT, SOURCE)
    assert stored.notes_apart == {"patient0009 (1)": (APART,)}
    expected = {"patient0001_4CH": (APART, DOUBT, SOURCE), "patient0009 (1)": (APART,)}
    loaded = load_split(StoreSource(store, views=("4CH",)), "train", lambda clip: clip)
    assert loaded.notes == expected
    assert open_lazily(StoreSource(store, views=("4CH",)), "train", frames=3, size=32).notes == expected
    everything = load_split(StoreSource(store, views=("4CH",)), "all", lambda clip: clip)
    assert everything.notes.keys() == {*(f"{name}_4CH" for name in NAMES), "patient0009 (1)"}


def test_the_command_shows_warnings_by_line_and_counts_infos(store):
    text = prepare.describe(store)
    assert "noted 1 x uneven frame times: patient0001_4CH: Steps of 20.0 to 200.0 ms." in text
    assert "noted 2 x frames missing: patient0001_4CH, patient0009 (1): 4 of 6" in text
    assert "noted for information: frame rate (1)" in text and "Info_4CH.cfg" not in text


def test_a_store_without_notes_is_read_as_before(store, tree):
    (store / NOTES).unlink()
    stored = StoredClips(store, "train")
    assert stored.notes == {} and stored[0].notes == () and stored.skipped[0].reason == "view missing"
    assert preparation.prepare("camus", store.parents[1], source=tree).was_there


def test_notes_change_neither_the_records_nor_the_fingerprint(store, tree, tmp_path, monkeypatch):
    monkeypatch.undo()
    plain = prepare.prepare("camus", tmp_path / "plain", source=tree).folder
    for path in plain.iterdir():
        if path.name != NOTES:
            assert path.read_bytes() == (store / path.name).read_bytes(), path.name
    assert json.loads((plain / NOTES).read_text()) == {"train": {}, "validation": {}, "test": {}}


def test_notes_survive_an_interruption(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ENTRIES_PER_SHARD", 1)
    read = Camus.read

    def stop_at_the_last(entry):
        if entry.patient_id == NAMES[-1]:
            raise KeyboardInterrupt
        return read(entry)

    with monkeypatch.context() as patch:
        patch.setattr(Camus, "read", staticmethod(stop_at_the_last))
        with pytest.raises(KeyboardInterrupt):
            prepare.prepare("camus", tmp_path / "data", source=tree)
    folder = prepare.prepare("camus", tmp_path / "data", source=tree).folder
    assert StoredClips(folder, "train")[0].notes == (APART, DOUBT, SOURCE)


@pytest.mark.parametrize("name", ["notes.json", "skipped.json", "index-train.json", "dataset_info.json"])
@pytest.mark.parametrize("content", ["", "[1", "[]", '{"train": 3}'])
def test_a_garbled_file_of_a_store_is_named(store, name, content):
    (store / name).write_text(content)
    with pytest.raises(NotPrepared, match=r"is damaged: .* prepare it again"):
        StoredClips(store, "train")
