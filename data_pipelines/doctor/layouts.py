"""Recognises what lies in a folder: CAMUS (both releases), EchoNet-Dynamic, a prepared store, or cines."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_pipelines.doctor.findings import MISSING, NOTE, SUSPICIOUS, UNREADABLE, Finding
from data_pipelines.errors import DataError
from data_pipelines.formats import camus, echonet_dynamic
from data_pipelines.formats.echonet_dynamic.tracings import crosses_itself
from data_pipelines.notes import Note
from data_pipelines.notes_by_record import merge_notes
from data_pipelines.records import Clip, Skipped
from data_pipelines.splits import SPLITS, PatientSplits, PatientTwice, SplitError

if TYPE_CHECKING:
    from data_pipelines.formats import cine

EXPECTED = (
    "patient0001, ... or database_nifti (CAMUS), FileList.csv and Videos (EchoNet-Dynamic), preparation.json (a "
    "prepared store)"
)


class NotRecognised(DataError):
    """The folder holds nothing that the project can read."""


@dataclasses.dataclass(frozen=True)
class ReadClip:
    """A clip, with the findings that its files show beyond it.

    Attributes:
        clip: the clip.
        titles: titles of `findings.CLIP_FINDINGS`.
    """

    clip: Clip
    titles: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Item:
    """One record that can be read.

    Attributes:
        record_id: the record.
        read: reads it.
    """

    record_id: str
    read: Callable[[], ReadClip]


@dataclasses.dataclass(frozen=True)
class Tree:
    """What lies in a folder.

    Attributes:
        layout: its name for people.
        items: the records, by record id.
        skipped: records that the data set names and that cannot be read.
        scheme: how the patients are split, "" where they are not.
        splits: patients by split; empty where they are not known.
        findings: findings on the whole, known before a clip is read.
        notes: what is known of records before they are read, by record.
        root: the folder of the data set where it is another than the one that was given; else None.
    """

    layout: str
    items: list[Item]
    skipped: list[Skipped]
    scheme: str = ""
    splits: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    notes: Mapping[str, tuple[Note, ...]] = dataclasses.field(default_factory=dict)
    root: Path | None = None


def recognise(path: Path, scheme: str = "auto") -> Tree:
    """Recognises the data set at a path; decodes nothing of it yet.

    Args:
        path: a folder, or one cine.
        scheme: how CAMUS and EchoNet-Dynamic are split, as for their `patient_splits`.

    Raises:
        FileNotFoundError: `path`, or a part without which the format cannot be read, is not there.
        NotRecognised: the layout is not known; the message lists what is there.
        ValueError: the tables of the tree are garbled.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there")
    if path.is_file():
        return _cines(path)
    if camus.is_tree(path):
        tree = _camus(path, scheme)
        if not echonet_dynamic.holds_tree(path):
            return tree
        detail = "FileList.csv of EchoNet lies beside patients of CAMUS, and is not read: give each a folder of its own"
        return dataclasses.replace(tree, findings=(*tree.findings, Finding(SUSPICIOUS, "two data sets", (), detail)))
    if echonet_dynamic.holds_tree(path):
        return _echonet(path, scheme)
    if stores := [folder.parent for depth in ("", "*/", "*/*/") for folder in path.glob(f"{depth}preparation.json")]:
        return _store(stores)
    if below := [found for found in _folders(path) if camus.is_tree(found) or echonet_dynamic.holds_tree(found)]:
        if len(below) == 1:
            raise NotRecognised(f"{path} is no data set, but {below[0]} looks like one: give that folder")
        names = ", ".join(str(found) for found in below[:5])
        raise NotRecognised(f"{path} is no data set, but holds {len(below)} that look like one: give one of {names}")
    return _cines(path)


def _folders(path: Path) -> Iterator[Path]:
    """Yields the folders up to two levels below a folder, in order of their names."""
    for depth in ("*/", "*/*/"):
        yield from sorted(found for found in path.glob(depth) if not found.name.startswith("."))


# ---- CAMUS ---------------------------------------------------------------------------------------------------------


def _camus(path: Path, scheme: str) -> Tree:
    listed = camus.index(path, "all")
    splits, findings = _read_splits(lambda: camus.patient_splits(path, scheme), scheme)
    if splits.scheme == "number" and scheme == "auto":
        detail = "patients are split by number: 1-350 train, 351-400 validation, 401-500 test"
        findings.append(Finding(MISSING, "database_split/subgroup_*.txt missing", (), detail))
    present = {entry.patient_id for entry in listed.entries}
    present |= {
        found[1] for record in listed.skipped if (found := re.fullmatch(r"(patient\d+)_[24]CH", record.record_id))
    }
    named = {patient for ids in splits.patients.values() for patient in ids}
    if absent := sorted(named - present):
        findings.append(Finding(MISSING, "patient of a split missing", tuple(absent), "the split files name it"))
    findings += _find_unassigned(present, splits)
    layouts = sorted({entry.layout for entry in listed.entries})
    layout = f"CAMUS, {' and '.join({'nifti': 'NIfTI', 'mhd': '.mhd/.raw'}[name] for name in layouts) or 'no image'}"
    items = [Item(entry.record_id, functools.partial(_read_camus, entry)) for entry in listed.entries]
    return Tree(layout, items, listed.skipped, splits.scheme, splits.patients, tuple(findings), listed.notes)


def _read_camus(entry: camus.Entry) -> ReadClip:
    clip, titles = camus.read(entry), set()
    if not camus.has_cfg(entry):
        titles.add("Info_*.cfg missing")
    es_comes_first = camus.es_first(entry)
    if es_comes_first is None:
        titles.add("sequence missing")
    elif es_comes_first:
        titles.add("half sequence runs from ES to ED")
    return ReadClip(clip, frozenset(titles))


def _read_splits(read: Callable[[], PatientSplits], scheme: str) -> tuple[PatientSplits, list[Finding]]:
    """Reads the splits, and returns what is wrong with them as findings."""
    unknown = PatientSplits("", {})
    try:
        splits = read()
    except PatientTwice as error:
        return unknown, [Finding(SUSPICIOUS, "patient in two splits", (), str(error))]
    except (SplitError, FileNotFoundError) as error:
        return unknown, [Finding(MISSING, f"splits by scheme {scheme!r} cannot be made", (), str(error))]
    findings = []
    if empty := tuple(split for split, patients in splits.patients.items() if not patients):
        findings.append(Finding(MISSING, "split without a patient", empty, f"scheme {splits.scheme!r}"))
    return splits, findings


def _find_unassigned(present: set[str], splits: PatientSplits) -> list[Finding]:
    """Finds patients that are in no split."""
    if not splits.patients:
        return []
    unassigned = tuple(sorted(present - {patient for ids in splits.patients.values() for patient in ids}))
    return [Finding(NOTE, "patient in no split", unassigned, "read with split 'all' alone")] if unassigned else []


# ---- EchoNet-Dynamic -----------------------------------------------------------------------------------------------


def _echonet(path: Path, scheme: str) -> Tree:
    listed = echonet_dynamic.index(path, "all")
    splits, findings = _read_splits(lambda: echonet_dynamic.patient_splits(path, scheme), scheme)
    found = echonet_dynamic.find_files(path)
    left = echonet_dynamic.leftovers(path, splits)
    findings += _find_left_over(left)
    unknown = {patient for patients in left.unknown_splits.values() for patient in patients}
    present = {entry.patient_id for entry in listed.entries}
    present |= {record.record_id.removesuffix("_4CH") for record in listed.skipped}
    findings += _find_unassigned(present - unknown, splits)
    layout = "EchoNet-Pediatric, A4C" if found.is_pediatric else "EchoNet-Dynamic"
    items = [Item(entry.record_id, functools.partial(_read_echonet, entry)) for entry in listed.entries]
    return Tree(layout, items, listed.skipped, splits.scheme, splits.patients, tuple(findings), listed.notes)


def _find_left_over(left: echonet_dynamic.Leftovers) -> list[Finding]:
    """Finds what lies in the tree and is not read."""
    findings = []
    for value, patients in left.unknown_splits.items():
        title, detail = "value of Split not known", f"{value!r} is none of TRAIN, VAL, TEST and the folds 0..9"
        if not value:
            title, detail = "Split is empty", "read with split 'all' alone"
        findings.append(Finding(SUSPICIOUS, title, patients, detail))
    for title, names, detail in (
        ("video that FileList.csv does not list", left.videos, "it is never read"),
        ("tracing of a video that FileList.csv does not list", left.tracings, "it is never read"),
        ("files that belong to nothing", left.files, "they are never read"),
        ("view that is not apical", left.other_views, "the parasternal short axis is not read"),
    ):
        if names:
            findings.append(Finding(NOTE, title, names, detail))
    return findings


def _read_echonet(entry: echonet_dynamic.Entry) -> ReadClip:
    traced, titles = echonet_dynamic.read_traced(entry), set()
    ed, es = traced.ends
    if es < ed:
        titles.add("ES is traced before ED")
    if len(traced.masks) > 2:
        titles.add("more than two traced frames")
    if any(crosses_itself(rows) for rows in entry.tracings.values()):
        titles.add("tracing crosses itself")
    return ReadClip(echonet_dynamic.half_cycle(entry, traced), frozenset(titles))


# ---- prepared stores and cines -------------------------------------------------------------------------------------


def _store(folders: list[Path]) -> Tree:
    if len(folders) > 1:
        raise NotRecognised(f"{len(folders)} prepared data sets: give one of {[str(folder) for folder in folders]}")
    from data_pipelines.store.builder import NotPrepared, SplitNotPrepared
    from data_pipelines.store.stored_clips import StoredClips

    items, skipped, patients, findings, notes = [], [], {}, [], {}
    for split in SPLITS:
        try:
            clips = StoredClips(folders[0], split)
        except SplitNotPrepared as error:
            findings.append(Finding(MISSING, "split without a patient", (split,), str(error)))
            continue
        except NotPrepared as error:
            findings.append(Finding(UNREADABLE, "damaged store", (split,), str(error)))
            continue
        patients[split] = sorted(set(clips.patient_ids))
        skipped += clips.skipped
        notes = merge_notes(notes, clips.notes_apart)
        items += [
            Item(record_id, functools.partial(_read_stored, clips, position))
            for position, record_id in enumerate(clips.record_ids)
        ]
    items.sort(key=lambda item: item.record_id)
    layout = f"prepared store of {folders[0].parent.name}"
    return Tree(layout, items, skipped, "as prepared", patients, tuple(findings), notes, folders[0])


def _read_stored(clips: Sequence[Clip], position: int) -> ReadClip:
    return ReadClip(clips[position])


def _cines(path: Path) -> Tree:
    from data_pipelines.formats import cine

    if path.is_file():
        entries = cine.index(path).entries
        names = [path.name] if len(entries) == 1 else [entry.record_id for entry in entries]
        items = [Item(name, functools.partial(_read_cine, entry)) for name, entry in zip(names, entries, strict=True)]
        return Tree("a cine" if len(items) == 1 else "several cines of one file", items, [])
    try:
        listed = cine.index(path)
    except ValueError as error:
        raise NotRecognised(f"{error}; or a data set: {EXPECTED}") from error
    if not listed.entries:
        names = sorted(entry.name for entry in path.iterdir())
        raise NotRecognised(f"{path} holds {len(names)} entries, e.g. {names[:5]}; expected {EXPECTED}, or cines")
    items = [Item(entry.record_id, functools.partial(_read_cine, entry)) for entry in listed.entries]
    return Tree("a folder of cines", items, listed.skipped, notes=listed.notes)


def _read_cine(source: cine.CineEntry | Path) -> ReadClip:
    from data_pipelines.formats import cine

    return ReadClip(cine.read(source))
