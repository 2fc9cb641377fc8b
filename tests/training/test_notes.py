"""A training says what the readers noted: warnings by code, infos counted, unlabelled cines too."""

import dataclasses

import pytest

from data_pipelines.formats import camus
from data_pipelines.notes import note
from data_pipelines.source import CamusSource, CineSource
from data_pipelines.store.data_sets import Camus
from data_pipelines.store.preparation import prepare
from echoforge_jax.config import DataConfig, MixConfig
from echoforge_jax.training import data
from tests.data_pipelines.broken.cines import FRAMES, write_pngs
from tests.helpers.trees import make_clip

NAMES = ("patient0001", "patient0002", "patient0003")


def with_notes(clip):
    text = f"Steps of 20.0 to 20{clip.patient_id[-1]}.0 ms."
    return clip.with_notes([note("uneven frame times", text), note("frame rate", "From <FPS>.")])


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in NAMES:
        camus.write_clip(make_clip(patient_id=name), tmp_path / "tree")
    read = camus.read
    monkeypatch.setattr(CamusSource, "read", lambda self, entry: with_notes(read(entry)))
    monkeypatch.setattr(Camus, "read", staticmethod(lambda entry: with_notes(read(entry))))
    return tmp_path / "tree"


@pytest.mark.parametrize("kind", ["tree", "store", "lazy store"])
def test_warnings_are_one_line_and_infos_are_counted(tree, tmp_path, capsys, kind):
    root, form = tree, "camus"
    if kind != "tree":
        root, form = prepare("camus", tmp_path / "stores", source=tree).folder, "store"
    config = DataConfig(root=str(root), format=form, frames=3, size=32, in_memory=kind != "lazy store")
    clips = data.load(config, "train") if config.in_memory else data._open(config)
    assert len(clips) == 3
    said = capsys.readouterr().err
    assert f"notes on 3 records of {root}" in said and said.count("uneven frame times") == 1
    assert "3 x uneven frame times: patient0001_4CH, patient0002_4CH, patient0003_4CH: Steps of 20.0 to 201.0" in said
    assert "(2 other texts.)" in said and "frame rate (3)" in said and "From <FPS>" not in said


def test_unlabelled_cines_have_their_notes_said(tmp_path, monkeypatch, capsys):
    write_pngs(tmp_path / "cines" / "a", FRAMES)
    read = CineSource.read
    monkeypatch.setattr(CineSource, "read", lambda self, entry: with_notes(read(self, entry)))
    mix = MixConfig(root=str(tmp_path / "cines"), format="cine", split="all", share=0.5)
    (cine,) = data._load_mix(mix, DataConfig(frames=3, size=32))
    assert dataclasses.is_dataclass(cine)
    assert "1 x uneven frame times: a: Steps of" in capsys.readouterr().err
