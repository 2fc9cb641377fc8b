"""One entry for each cine below a folder: its files, the name of its record, and its patient.

The name of a file is not the patient: exports call every first picture IM_0001. The rules, from the path below the
folder given:

- the record is named by its file (without the suffix of a cine). Where two records would have one name, each takes as
  many folders before it as tell them apart (PAT1-ST0-IM_0001), and the suffix where only that differs (a.avi, a.mp4).
  Names that differ by case alone count as one name, because many disks cannot hold both;
- the patient is the first folder. A cine that lies directly in the folder given is its own patient. Folders that are
  named after a view, a split or a kind of file are no patients: the next folder, or the file, is. The folders of two
  views may hold one patient: 2CH/p1.avi and 4CH/p1.avi are two records of the patient p1.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from data_pipelines.records import VIEWS

VIEW_FOLDERS = frozenset(("2ch", "4ch", "3ch", "a2c", "a4c", "a3c", "ap2", "ap4", "ap3", "plax", "psax"))
SPLIT_FOLDERS = ("train", "training", "val", "valid", "validation", "test", "testing")
KIND_FOLDERS = ("videos", "video", "cines", "cine", "clips", "frames", "images", "pictures", "dicom", "dcm", "data")
OTHER_FOLDERS = frozenset((*SPLIT_FOLDERS, *KIND_FOLDERS, "png", "avi", "mp4", "nifti", "export"))


@dataclasses.dataclass(frozen=True)
class CineEntry:
    """One cine, before it is read.

    Attributes:
        paths: the file or the folder of pictures; or the files that hold one frame each, in the order of the frames.
        record_id: the name of the record, unique in its index also where case does not count.
        patient_id: the patient.
        part: which cine of these files, where they hold several: a name that their decoder gives, e.g. of a region of
            ultrasound or of a series of pictures; "" where they hold one.
    """

    paths: tuple[Path, ...]
    record_id: str
    patient_id: str
    part: str = ""

    @property
    def path(self) -> Path:
        """The file or folder, or the first of the files."""
        return self.paths[0]


@dataclasses.dataclass(frozen=True)
class FoundCine:
    """One cine of a folder, before it has a name.

    Attributes:
        paths: as in `CineEntry`.
        stem: the name of the file or folder without the suffix of a cine.
        part: as in `CineEntry`.
    """

    paths: tuple[Path, ...]
    stem: str
    part: str = ""


@dataclasses.dataclass(frozen=True)
class _Label:
    """Names that something may have, from short to long.

    Attributes:
        folders: the folders before it, the outermost first.
        short: its own name.
        full: its own name with all that tells it apart within its folder.
    """

    folders: tuple[str, ...]
    short: str
    full: str


def name_cines(root: Path, found: Sequence[FoundCine]) -> list[CineEntry]:
    """Names the records and patients of a folder by the rules above.

    Args:
        root: the folder given.
        found: its cines.

    Returns:
        One entry for each of `found`, in the same order.
    """
    labels, keys = [], []
    for cine in found:
        place = cine.paths[0].relative_to(root)
        part = f"-{cine.part}" if cine.part else ""
        labels.append(_Label(place.parts[:-1], cine.stem + part, cine.paths[0].name + part))
        keys.append(_patient(place, cine))
    patients = list(dict.fromkeys(keys))
    patient_ids = dict(zip(patients, _distinct(patients, lambda name: {name}), strict=True))
    record_ids = _distinct(labels, lambda name: {name, *(f"{name}_{view}" for view in VIEWS)})
    return [
        CineEntry(cine.paths, record_id, patient_ids[key], cine.part)
        for cine, record_id, key in zip(found, record_ids, keys, strict=True)
    ]


def _patient(place: Path, cine: FoundCine) -> _Label:
    """Returns what stands for the patient: equal for the cines of one patient."""
    folders = tuple(name for name in place.parts[:-1] if name.lower() not in VIEW_FOLDERS)
    for depth, name in enumerate(folders):
        if name.lower() not in OTHER_FOLDERS:
            return _Label(folders[:depth], name, name)
    return _Label(folders, cine.stem, cine.paths[0].name)


def _distinct(labels: Sequence[_Label], claims: Callable[[str], set[str]]) -> list[str]:
    """Gives every label the shortest name whose claims no other name shares; case does not count.

    Args:
        labels: what is to be named.
        claims: names that something of this name may be known by later.
    """

    def claimed(name: str) -> set[str]:
        return {unicodedata.normalize("NFC", claim).casefold() for claim in claims(name)}

    def clashing(names: Sequence[str]) -> list[int]:
        counts = Counter(claim for name in names for claim in claimed(name))
        return [i for i, name in enumerate(names) if any(counts[claim] > 1 for claim in claimed(name))]

    neighbours: dict[tuple[str, ...], list[int]] = {}
    for i, label in enumerate(labels):
        neighbours.setdefault(label.folders, []).append(i)
    own = [label.short for label in labels]
    for group in neighbours.values():
        for i in clashing([labels[i].short for i in group]):
            own[group[i]] = labels[group[i]].full
    names = list(own)
    for depth in range(1, max((len(label.folders) for label in labels), default=0) + 1):
        for i in clashing(names):
            names[i] = "-".join((*labels[i].folders[-depth:], own[i]))
    number = 2
    while clash := clashing(names):
        for i in clash[1:]:
            names[i], number = f"{names[i]}-{number}", number + 1
    return names
