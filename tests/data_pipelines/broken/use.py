"""Faults that show only when a record is used, so that the doctor has no word for them.

`BROKEN_IN_USE` holds reason -> a function that makes the record, uses it and returns the reasons of what was left out.
"""

import dataclasses
import shutil

import numpy as np

from data_pipelines.doctor.diagnosis import _examine_all
from data_pipelines.doctor.layouts import Item
from data_pipelines.formats import camus
from data_pipelines.formats.camus.masks import read_pairs
from data_pipelines.formats.cine import clips as cine
from data_pipelines.lazy_clips import open_lazily
from data_pipelines.records import UnreadableRecord
from data_pipelines.sampling import sample_clip
from data_pipelines.simulator.realism.frames import ed_es_frames
from data_pipelines.source import CamusSource, StoreSource
from data_pipelines.store.preparation import prepare
from data_pipelines.store.stored_clips import StoredClips
from tests.data_pipelines.broken.camus import tree, ventricle_as_three
from tests.helpers.dicom_files import picture, region, write
from tests.helpers.trees import edit, make_clip, path_of, remove


def refused(use, *arguments):
    try:
        use(*arguments)
    except UnreadableRecord as fault:
        return [fault.reason]
    return []


def two_frames(folder):
    return refused(sample_clip, make_clip(n=2), 5, 32)


def black(folder):
    clip = make_clip()
    return refused(ed_es_frames, dataclasses.replace(clip, frames=np.zeros_like(clip.frames)))


def damaged_store(folder):
    stored = StoredClips(prepare("camus", folder / "stores", source=tree(folder / "tree")).folder, "train")
    shard = next(stored.folder.glob("camus-train.array_record*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 4 :] = bytes(len(content) - len(content) // 4)
    shard.write_bytes(bytes(content))
    return refused(lambda: StoredClips(stored.folder, "train")[0])


def without_pictures(folder):
    return refused(cine.read, folder)


def two_pictures(folder):
    regions = [region(0, 0, 39, 63), region(40, 0, 79, 63)]
    return refused(cine.read, write(folder / "biplane.dcm", picture(), SequenceOfUltrasoundRegions=regions))


def split_of_nobody(folder):
    camus.write_split(tree(folder), {"train": ["patient0001"], "test": ["patient0002"]})
    return [record.reason for record in CamusSource(folder, views=("4CH",)).index("test").skipped]


def pairs(folder, change):
    """The reasons of a tree of predictions that is the references' but for a change."""
    tree(folder / "references")
    change(tree(folder / "predictions"))
    paired = read_pairs(folder / "predictions", folder / "references", sequences=False)
    return [record.reason for record in paired.skipped]


def copy_beside(root):
    (root / "again").mkdir()
    shutil.copy(path_of(root, "ED_gt"), root / "again")


def without_reference(folder):
    return pairs(folder, lambda _: remove(folder / "references", "ES_gt", "ES"))


def picture_of_another_size(folder):
    """The notes of a pair whose picture does not fit."""
    tree(folder / "references")
    edit(path_of(folder / "references", "ED"), lambda a: a[:-3])
    paired = read_pairs(folder / "references", folder / "references", sequences=False)
    return [one.code for one in paired.notes["patient0001_4CH"]]


def labels_swapped(folder):
    """The notes of a pair whose predictions call the ventricle 3."""
    tree(folder / "references")
    edit(path_of(tree(folder / "predictions"), "ED_gt"), ventricle_as_three)
    paired = read_pairs(folder / "predictions", folder / "references", sequences=False)
    return [one.code for one in paired.notes["patient0001_4CH"]]


NOTED_IN_USE = {"labels of another convention": labels_swapped, "picture not shown": picture_of_another_size}


def without_masks(folder):
    """Two patients, of whom the second has no mask, in a store that is read when clips are needed."""
    for name in ("patient0001", "patient0002"):
        camus.write_clip(make_clip(patient_id=name), folder / "tree")
    for path in (folder / "tree" / "patient0002").glob("*_gt.nii.gz"):
        path.unlink()
    store = StoreSource(prepare("camus", folder / "stores", source=folder / "tree").folder, ("4CH",))
    opened = open_lazily(store, "train", frames=3, size=32)
    return [record.reason for record in opened.skipped if record.record_id == "patient0002_4CH"]


def fault_of_a_reader(folder):
    """A reader that fails in a way that nobody foresaw must not lose the report on the other records."""

    def read():
        raise ZeroDivisionError("0 by 0")

    (examined,) = _examine_all([Item("a", read)], frozenset(), 1)
    return [examined.facts.reason]


BROKEN_IN_USE = {
    "no labelled frame": without_masks,
    "the reader failed": fault_of_a_reader,
    "several pictures": two_pictures,
    "too few frames": two_frames,
    "black picture": black,
    "damaged store": damaged_store,
    "empty folder": without_pictures,
    "patient missing": split_of_nobody,
    "no reference": without_reference,
    "no prediction": lambda folder: pairs(folder, lambda root: remove(root, "ES_gt", "ES")),
    "another size": lambda folder: pairs(folder, lambda root: edit(path_of(root, "ES_gt"), lambda a: a[:-2])),
    "several masks of one frame": lambda folder: pairs(folder, copy_beside),
}
