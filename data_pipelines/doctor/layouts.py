"""Recognising what lies in a folder: CAMUS (both releases), EchoNet-Dynamic, a prepared store, cines."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from data_pipelines.doctor.checks import MISSING, NOTE, SUSPICIOUS, Finding
from data_pipelines.errors import DataError
from data_pipelines.formats import camus, echonet_dynamic
from data_pipelines.formats.echonet_dynamic.tracings import crosses_itself, polygon_mask
from data_pipelines.records import Clip, Skipped
from data_pipelines.splits import PatientTwice, SplitError

EXPECTED = (
    "patient0001, ... or database_nifti (CAMUS), FileList.csv and Videos (EchoNet-Dynamic), preparation.json (a "
    "prepared store)"
)


class NotRecognised(DataError):
    """Nothing in the folder that the project can read."""


@dataclasses.dataclass(frozen=True)
class Item:
    """One record that can be read.

    Attributes:
        read: gives the clip, and the titles of the findings that its files show beyond the clip.
    """

    record_id: str
    read: Callable[[], tuple[Clip, set[str]]]


@dataclasses.dataclass(frozen=True)
class Tree:
    """What lies in a folder.

    Attributes:
        layout: its name for people.
        items: the records, by record_id.
        skipped: what the index leaves out.
        scheme: how the patients are split, "" where they are not.
        splits: patients by split; empty where they are not known.
        findings: about the whole, known before a clip is read.
    """

    layout: str
    items: list[Item]
    skipped: list[Skipped]
    scheme: str = ""
    splits: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def recognise(path: Path, scheme: str = "auto") -> Tree:
    """The tree at `path`; nothing of it is decoded yet.

    Raises:
        FileNotFoundError: `path`, or a part without which the format cannot be read, is not there.
        NotRecognised: no known layout; the message lists what is there.
        ValueError: the tables of the tree are garbled.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there")
    if path.is_file():
        return _cines(path)
    if _is_camus(path):
        return _camus(path, scheme)
    if (path / "FileList.csv").exists():
        return _echonet(path, scheme)
    if stores := [folder.parent for depth in ("", "*/", "*/*/") for folder in path.glob(f"{depth}preparation.json")]:
        return _store(stores)
    below = [p for p in sorted(path.iterdir()) if p.is_dir() and (_is_camus(p) or (p / "FileList.csv").exists())]
    if below:
        raise NotRecognised(f"{path} is no data set, but {below[0]} looks like one: give that folder")
    return _cines(path)


def _is_camus(path: Path) -> bool:
    folder = path / "database_nifti" if (path / "database_nifti").is_dir() else path
    return any(re.fullmatch(r"patient\d+", p.name) for p in folder.iterdir())


# ---- CAMUS ---------------------------------------------------------------------------------------------------------


def _camus(path: Path, scheme: str) -> Tree:
    entries, skipped = camus.index(path, "all")
    layouts = sorted({entry.layout for entry in entries})
    used, groups, findings = _splits(lambda: camus.patient_splits(path, scheme), scheme)
    if used == "number" and scheme == "auto":
        detail = "patients are split by number: 1-350 train, 351-400 validation, 401-500 test"
        findings.append(Finding(MISSING, "database_split/subgroup_*.txt missing", (), detail))
    present = {entry.patient_id for entry in entries} | {s.record_id.rpartition("_")[0] for s in skipped}
    if absent := sorted({patient for ids in groups.values() for patient in ids} - present):
        findings.append(Finding(MISSING, "patient of a split missing", tuple(absent), "the split files name it"))
    findings += _left_out(present, groups)

    def item(entry: camus.Entry) -> Item:
        def read() -> tuple[Clip, set[str]]:
            clip, titles = camus.read(entry), set()
            if not camus.has_cfg(entry):
                titles.add("Info_*.cfg missing")
            backwards = camus.es_first(entry)
            if backwards is None:
                titles.add("sequence missing")
            elif backwards:
                titles.add("half sequence runs from ES to ED")
            return clip, titles

        return Item(entry.record_id, read)

    layout = f"CAMUS, {' and '.join({'nifti': 'NIfTI', 'mhd': '.mhd/.raw'}[name] for name in layouts) or 'no image'}"
    return Tree(layout, [item(entry) for entry in entries], skipped, used, groups, tuple(findings))


def _splits(
    make: Callable[[], tuple[str, dict[str, list[str]]]], scheme: str
) -> tuple[str, dict[str, list[str]], list[Finding]]:
    """The splits that `make` gives, or what is wrong with them as findings."""
    try:
        used, groups = make()
    except PatientTwice as error:
        return "", {}, [Finding(SUSPICIOUS, "patient in two splits", (), str(error))]
    except (SplitError, FileNotFoundError) as error:
        return "", {}, [Finding(MISSING, f"splits by scheme {scheme!r} cannot be made", (), str(error))]
    findings = []
    if empty := tuple(split for split, patients in groups.items() if not patients):
        findings.append(Finding(MISSING, "split without a patient", empty, f"scheme {used!r}"))
    return used, groups, findings


def _left_out(present: set[str], groups: Mapping[str, Sequence[str]]) -> list[Finding]:
    outside = tuple(sorted(present - {patient for ids in groups.values() for patient in ids})) if groups else ()
    return [Finding(NOTE, "patient in no split", outside, "read with split 'all' alone")] if outside else []


# ---- EchoNet-Dynamic -----------------------------------------------------------------------------------------------


def _echonet(path: Path, scheme: str) -> Tree:
    entries, skipped = echonet_dynamic.index(path, "all")
    used, groups, findings = _splits(lambda: echonet_dynamic.patient_splits(path, scheme), scheme)
    listed = {entry.patient_id for entry in entries} | {s.record_id.removesuffix("_4CH") for s in skipped}
    videos = {name[:-4] for name in os.listdir(path / "Videos") if name.endswith(".avi") and not name.startswith(".")}
    if unlisted := tuple(sorted(videos - listed)):
        findings.append(Finding(NOTE, "video that FileList.csv does not list", unlisted, "it is never read"))
    findings += _left_out(listed, groups)

    def item(entry: echonet_dynamic.Entry) -> Item:
        def read() -> tuple[Clip, set[str]]:
            clip, titles = echonet_dynamic.read(entry), set()
            size = clip.frames.shape[1:]
            areas = {frame: int(polygon_mask(rows, *size).sum()) for frame, rows in sorted(entry.tracings.items())}
            ed = max(areas, key=areas.__getitem__)
            if min((frame for frame in areas if frame != ed), key=areas.__getitem__) < ed:
                titles.add("ES is traced before ED")
            if len(areas) > 2:
                titles.add("more than two traced frames")
            if any(crosses_itself(rows) for rows in entry.tracings.values()):
                titles.add("tracing crosses itself")
            return clip, titles

        return Item(entry.record_id, read)

    return Tree("EchoNet-Dynamic", [item(entry) for entry in entries], skipped, used, groups, tuple(findings))


# ---- prepared stores and cines -------------------------------------------------------------------------------------


def _store(folders: list[Path]) -> Tree:
    if len(folders) > 1:
        raise NotRecognised(f"{len(folders)} prepared data sets: give one of {[str(folder) for folder in folders]}")
    from data_pipelines.store.builders import SPLITS, NotPrepared
    from data_pipelines.store.stored_clips import StoredClips

    items, skipped, groups, findings = [], [], {}, []
    for split in SPLITS:
        try:
            clips = StoredClips(folders[0], split)
        except NotPrepared as error:
            findings.append(Finding(MISSING, "split without a patient", (split,), str(error)))
            continue
        groups[split] = sorted(set(clips.patient_ids))
        skipped += clips.skipped
        items += [Item(record_id, _reader_of(clips, place)) for place, record_id in enumerate(clips.record_ids)]
    layout = f"prepared store of {folders[0].parent.name}"
    return Tree(layout, sorted(items, key=lambda i: i.record_id), skipped, "as prepared", groups, tuple(findings))


def _reader_of(clips: Sequence[Clip], place: int) -> Callable[[], tuple[Clip, set[str]]]:
    return lambda: (clips[place], set())


def _cines(path: Path) -> Tree:
    from data_pipelines.formats import cine

    def reader_of(file: Path) -> Callable[[], tuple[Clip, set[str]]]:
        def read() -> tuple[Clip, set[str]]:
            loaded = cine.load(file)
            return loaded.clip, {"ultrasound sector uncertain"} if loaded.sector.warning else set()

        return read

    if path.is_file():
        return Tree("a cine", [Item(path.name, reader_of(path))], [])
    try:
        paths, skipped = cine.index(path)
    except ValueError as error:
        raise NotRecognised(f"{error}; or a data set: {EXPECTED}") from error
    if not paths:
        found = sorted(p.name for p in path.iterdir())
        raise NotRecognised(f"{path} holds {len(found)} entries, e.g. {found[:5]}; expected {EXPECTED}, or cines")
    return Tree("a folder of cines", [Item(str(p.relative_to(path)), reader_of(p)) for p in paths], skipped)
