"""CAMUS trees."""

import numpy as np

from data_pipelines.formats import camus
from data_pipelines.records import ENDOCARDIUM
from tests.helpers.trees import edit, make_clip, path_of, remove, save

KINDS = ("ED", "ES", "half_sequence", "ED_gt", "ES_gt", "half_sequence_gt")


def tree(folder):
    camus.write_clip(make_clip(), folder)
    return folder


def edited(folder, kind, change):
    edit(path_of(tree(folder), kind), change)
    return folder


def with_cfg(folder, text):
    (tree(folder) / "patient0001" / "Info_4CH.cfg").write_text(text)
    return folder


def erase(masks):
    return np.where(masks == ENDOCARDIUM, 0, masks).astype(masks.dtype)


def without_ends(folder):
    remove(tree(folder), "half_sequence", "half_sequence_gt", "ES")
    return folder


def ed_elsewhere(folder):
    edit(path_of(tree(folder), "ED"), lambda a: 255 - a)
    (folder / "patient0001" / "Info_4CH.cfg").unlink()
    return folder


def lying(folder):
    tree(folder)
    for kind in KINDS:
        edit(path_of(folder, kind), lambda a: np.swapaxes(a, 0, 1))
    return folder


def colours(folder):
    save(path_of(tree(folder), "half_sequence"), np.zeros((60, 72, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")]))
    return folder


BROKEN = {
    "not a grey image": colours,
    "mask of another size": lambda folder: edited(folder, "half_sequence_gt", lambda a: a[:-1]),
    "label out of range": lambda folder: edited(folder, "half_sequence_gt", lambda a: a + 1),
    "empty mask": lambda folder: edited(folder, "half_sequence_gt", erase),
    "ED or ES missing": without_ends,
    "ED equals ES": lambda folder: with_cfg(folder, "ED: 3\nES: 3\n"),
    "ED not in sequence": ed_elsewhere,
    "cfg garbled": lambda folder: with_cfg(folder, "what is this"),
    "axes transposed": lying,
    "view missing": tree,
}
NOTED = {}
