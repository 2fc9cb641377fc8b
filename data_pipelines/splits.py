"""Decides which patient belongs to which split: the rules, and the files that people write.

A split file is one of
    a JSON object    {"train": ["patient0001", ...], "validation": [...], "test": [...]}
    a CSV file       with the columns patient and split, one row for each patient; with commas, semicolons or tabs
    a folder         with train.txt, validation.txt, test.txt or subgroup_training.txt, ...: one patient on each line
A split that the file does not name is empty; a patient that it does not name is left out. Names of patients may have
the suffix of a video, and may differ in case where that leaves one patient.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from data_pipelines import tables
from data_pipelines.errors import DataError
from data_pipelines.tables import TableError

SPLITS = ("train", "validation", "test")
CAMUS_NUMBERS = {"train": range(1, 351), "validation": range(351, 401), "test": range(401, 501)}
ALIASES = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "validation": "validation",
    "validate": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "development": "validation",
    "test": "test",
    "testing": "test",
    "tst": "test",
}
PATIENT_COLUMNS = ("patient", "patientid", "filename", "id")
VIDEO_SUFFIX = re.compile(r"\.(avi|mp4|mkv|mov|m4v|webm|wmv|mpe?g)$", re.IGNORECASE)


class SplitError(DataError):
    """A split cannot be used as it stands."""


class NoPatient(SplitError):
    """A split has no patient."""


class PatientTwice(SplitError):
    """A patient is in two splits, or twice in one."""


@dataclasses.dataclass(frozen=True)
class PatientSplits:
    """The patients of every split of one data set.

    Attributes:
        scheme: the rule that was applied, e.g. "official", or the path of a split file.
        patients: patient ids by split.
    """

    scheme: str
    patients: dict[str, list[str]]


def read_text(path: Path) -> str:
    """Reads a text file, as `tables.read_text`.

    Raises:
        SplitError: the file has another encoding.
    """
    try:
        return tables.read_text(path)
    except TableError as error:
        raise SplitError(str(error)) from error


def split_of(name: str) -> str | None:
    """Returns the split that a name means, in any case, also as "Training set"; None for another name."""
    letters = tables.plain(name)
    return ALIASES.get(letters) or ALIASES.get(letters.removesuffix("set").removesuffix("split"))


def read_splits(path: Path, present: Collection[str]) -> dict[str, list[str]]:
    """Reads the patients of "train", "validation" and "test" from a split file or folder.

    Args:
        path: a JSON file, a CSV file or a folder, as described above. Names of splits count in any case, and training,
            val, valid and testing count too.
        present: the patients that the data set has.

    Returns:
        Patient ids by split, for all three splits.

    Raises:
        FileNotFoundError: there is no such file.
        SplitError: the file is garbled, names no patient, a patient twice, or a patient that the tree does not have.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"split file {path} is not there")
    if path.is_dir():
        groups = _from_folder(path)
    elif path.suffix.lower() == ".json":
        groups = _from_json(path)
    elif path.suffix.lower() == ".csv":
        groups = _from_csv(path)
    else:
        raise SplitError(f"split file {path}: expected .json, .csv or a folder of text files")
    in_any_case: dict[str, list[str]] = {}
    for patient in present:
        in_any_case.setdefault(patient.casefold(), []).append(patient)
    groups = {split: [_patient_of(name, in_any_case) for name in ids] for split, ids in groups.items()}
    check_once(groups, path)
    named = [patient for ids in groups.values() for patient in ids]
    if not named:
        raise SplitError(f"split file {path} names no patient")
    if unknown := sorted(set(named) - set(present)):
        raise SplitError(
            f"split file {path} names {len(unknown)} patients that the tree does not have: {unknown[:5]}; "
            f"the tree has e.g. {sorted(present)[:3]}: correct the file or complete the tree"
        )
    return {split: groups.get(split, []) for split in SPLITS}


def check_once(groups: Mapping[str, Sequence[str]], where: Path) -> None:
    """Checks that every patient is named once.

    Args:
        groups: patient ids by split.
        where: the file or folder that names them, for the message.

    Raises:
        PatientTwice: a patient is named twice.
    """
    counts = Counter(patient for ids in groups.values() for patient in ids)
    if twice := sorted(patient for patient, count in counts.items() if count > 1):
        holders = [split for split in SPLITS if twice[0] in groups.get(split, ())]
        raise PatientTwice(
            f"{where} names {len(twice)} patients more than once, e.g. {twice[:5]} ({twice[0]} in "
            f"{holders}): a patient belongs to one split"
        )


def empty_split(split: str, splits: PatientSplits, where: Path) -> NoPatient:
    """Makes the error for a split without a patient; its message counts the patients of the others.

    Args:
        split: the split that is empty.
        splits: the patients of every split.
        where: the data set.
    """
    counts = {name: len(ids) for name, ids in splits.patients.items()}
    return NoPatient(
        f"split {split!r} (scheme {splits.scheme!r}) of {where} is empty; patients by split: {counts}: choose another "
        "split or scheme, or complete the tree"
    )


def by_camus_number(numbers: Mapping[str, int], where: Path) -> dict[str, list[str]]:
    """Splits CAMUS by number as the paper's group does: patients 1..350, 351..400 and 401..500.

    Args:
        numbers: the number of every patient, by patient id.
        where: the data set, for the message.

    Returns:
        Patient ids by split.

    Raises:
        SplitError: a number is beyond those of CAMUS.
    """
    if strange := [patient for patient, number in numbers.items() if not 1 <= number <= 500]:
        raise SplitError(f"scheme 'number' knows 1..500, {where} has {strange[:5]}: use scheme 'ratio' or a split file")
    return {split: [patient for patient, n in numbers.items() if n in span] for split, span in CAMUS_NUMBERS.items()}


def by_ratio(numbers: Mapping[str, int], where: Path) -> dict[str, list[str]]:
    """Splits 7:1:2 in the order of the patients' numbers; the result depends on which patients are there.

    Args:
        numbers: the number of every patient, by patient id.
        where: the data set, for the message.

    Returns:
        Patient ids by split.

    Raises:
        SplitError: there are fewer than three patients.
    """
    if len(numbers) < 3:
        raise SplitError(f"scheme 'ratio' needs 3 patients, {where} has {sorted(numbers)}: use a split file")
    return cut_by_ratio(sorted(numbers, key=lambda patient: (numbers[patient], patient)))


def cut_by_ratio(patients: Sequence[str]) -> dict[str, list[str]]:
    """Cuts at least three patients 7:1:2, in their order, with at least one patient in each split."""
    validation, test = max(1, round(0.1 * len(patients))), max(1, round(0.2 * len(patients)))
    first, second = len(patients) - validation - test, len(patients) - test
    parts = (patients[:first], patients[first:second], patients[second:])
    return {split: list(part) for split, part in zip(SPLITS, parts, strict=True)}


def _from_json(path: Path) -> dict[str, list[str]]:
    try:
        content = json.loads(read_text(path), object_pairs_hook=_unique_keys)
    except (json.JSONDecodeError, KeyError) as error:
        raise SplitError(f"split file {path} is not valid JSON: {error}") from error
    if not isinstance(content, dict) or not all(
        isinstance(ids, list) and all(isinstance(patient, str) for patient in ids) for ids in content.values()
    ):
        raise SplitError(
            f'split file {path}: expected {{"train": ["patient0001", ...], "validation": [...], "test": [...]}}'
        )
    groups: dict[str, list[str]] = {}
    for name, ids in content.items():
        groups.setdefault(_split_by_alias(name, path), []).extend(patient.strip() for patient in ids)
    return groups


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if twice := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise KeyError(f"{twice[0]!r} stands there twice")
    return dict(pairs)


def _from_csv(path: Path) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    try:
        table = tables.read_table(path, ())
    except TableError as error:
        raise SplitError(f"split file {error}") from error
    column = next((name for name in PATIENT_COLUMNS if name in table.columns), None)
    if column is None or "split" not in table.columns:
        raise SplitError(f"split file {path} has the columns {table.columns}, expected patient and split")
    for row in table.rows:
        if row.breaks_off and not (row.fields[column] and row.fields["split"]):
            raise SplitError(f"split file {path}, line {row.line}: {list(row.fields.values())} breaks off")
        split = _split_by_alias(row.fields["split"], f"{path}, line {row.line}")
        groups.setdefault(split, []).append(row.fields[column])
    return groups


def _from_folder(path: Path) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    strange = []
    for name in sorted(os.listdir(path)):
        if not name.lower().endswith(".txt") or name.lower().startswith((".", "readme")):
            continue
        split = split_of(name.lower().removesuffix(".txt").removeprefix("subgroup_"))
        if split is None:
            strange.append(name)
        elif split in groups:
            raise SplitError(f"split folder {path} has more than one file for {split!r}: {sorted(os.listdir(path))}")
        else:
            groups[split] = [patient for patient in re.split(r"[\s,;]+", read_text(path / name)) if patient]
    if not groups:
        raise SplitError(f"split folder {path} has no train.txt, validation.txt, test.txt or subgroup_*.txt")
    if strange and len(groups) < len(SPLITS):
        raise SplitError(f"split folder {path} has {strange}, which name no split; expected {list(SPLITS)} (.txt)")
    return groups


def _split_by_alias(name: str, where: Path | str) -> str:
    if (split := split_of(name)) is None:
        raise SplitError(f"split file {where} has a split {name!r}, expected {list(SPLITS)}")
    return split


def _patient_of(name: str, in_any_case: Mapping[str, Sequence[str]]) -> str:
    """Returns the patient that a name of a split file means: itself, or without a suffix, or in another case.

    Args:
        name: the name.
        in_any_case: the patients that the data set has, by their names in lower case.
    """
    bare = VIDEO_SUFFIX.sub("", name)
    for candidate in (name, bare):
        same = in_any_case.get(candidate.casefold(), ())
        if candidate in same:
            return candidate
        if len(same) == 1:
            return same[0]
    return bare
