"""Which patient is in which split: own files of every kind, 7:1:2, and what is refused."""

import csv
import json

import pytest

from data_pipelines.formats import camus
from data_pipelines.formats import echonet_dynamic as echonet
from data_pipelines.splits import PatientSplits, SplitError
from tests.helpers.trees import make_video_clip

NAMES = [f"patient{number:04d}" for number in (3, 4, 601, 702)]
GROUPS = {"train": NAMES[:2], "validation": NAMES[2:3], "test": NAMES[3:]}


@pytest.fixture
def tree(tmp_path):
    """Four patients, of which two have numbers that CAMUS does not have."""
    root = tmp_path / "Bäume 木"
    for name in NAMES:
        (root / name).mkdir(parents=True)
        (root / name / f"{name}_4CH_ED.nii.gz").touch()
    return root


def patients(root, split, scheme):
    return [entry.patient_id for entry in camus.index(root, split, scheme=str(scheme), views=("4CH",)).entries]


def as_json(path, groups):
    path = path.with_suffix(".json")
    path.write_text(json.dumps({"Training": groups["train"], "val": groups["validation"], "TEST": groups["test"]}))
    return path


def as_csv(path, groups):
    path = path.with_suffix(".csv")
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        rows = [(split.upper(), patient, "x") for split, names in groups.items() for patient in names]
        csv.writer(file).writerows([("Split", "Patient", "remark"), *rows, ()])
    return path


def as_folder(path, groups, name="{}.txt"):
    path.mkdir()
    for split, names in groups.items():
        (path / name.format(split)).write_text("\n".join(names) + "\n")
    return path


def as_subgroups(path, groups):
    return as_folder(path, {"training" if k == "train" else k: v for k, v in groups.items()}, "subgroup_{}.txt")


@pytest.mark.parametrize("write", [as_json, as_csv, as_folder, as_subgroups])
def test_own_split_files_decide_the_splits(tree, tmp_path, write):
    path = write(tmp_path / "Aufteilung ü", GROUPS)
    for split, names in GROUPS.items():
        assert patients(tree, split, path) == names
    assert patients(tree, "all", path) == NAMES
    assert camus.patient_splits(tree, str(path)) == PatientSplits(str(path), GROUPS)


@pytest.mark.parametrize("write", [as_json, as_csv, as_folder])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": NAMES[1:2]}, r"more than once.*patient0004 in \['train', 'test'\]"),
        ({"test": ["patient9999"]}, r"1 patients that the tree does not have: \['patient9999'\]"),
        ({"train": [], "validation": [], "test": []}, "names no patient|columns"),
    ],
)
def test_own_split_files_with_wrong_patients_are_refused(tree, tmp_path, write, change, message):
    path = write(tmp_path / "own", GROUPS | change)
    with pytest.raises(SplitError, match=message) as caught:
        camus.index(tree, "train", scheme=str(path))
    assert str(path) in str(caught.value)


def test_an_empty_split_names_the_patients_of_the_others(tree, tmp_path):
    path = as_json(tmp_path / "own", GROUPS | {"test": []})
    assert patients(tree, "train", path) == NAMES[:2]
    with pytest.raises(ValueError, match=r"'test'.*own\.json.*'train': 2, 'validation': 1, 'test': 0"):
        camus.index(tree, "test", scheme=str(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("own.json", "{", "not valid JSON"),
        ("own.json", "[]", "expected"),
        ("own.json", '{"train": "patient0003"}', "expected"),
        ("own.json", '{"fold1": ["patient0003"]}', "fold1"),
        ("own.json", '{"test": ["patient0003"], "test": ["patient0004"]}', "twice"),
        ("own.csv", "name,subset\n", "columns"),
        ("own.csv", "patient,split\npatient0003\n", "line 2.*breaks off"),
        ("own.csv", "patient,split\npatient0003,holdout\n", "line 2.*holdout"),
        ("own.txt", "patient0003", r"expected \.json"),
        ("own.csv", b"patient,split\n\xff,train", "not UTF-8 at byte 14"),
    ],
)
def test_garbled_split_files_are_refused(tree, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SplitError, match=message):
        camus.index(tree, "train", scheme=str(tmp_path / name))


def test_split_folders_without_split_files_are_refused(tree, tmp_path):
    with pytest.raises(SplitError, match=r"no train\.txt"):
        camus.index(tree, "train", scheme=str(tree / NAMES[0]))
    folder = as_folder(tmp_path / "own", GROUPS)
    (folder / "subgroup_training.txt").write_text("")
    with pytest.raises(SplitError, match="more than one file"):
        camus.index(tree, "train", scheme=str(folder))
    with pytest.raises(FileNotFoundError, match="'offical' is neither"):
        camus.index(tree, "train", scheme="offical")


def test_ratio_is_by_the_order_of_the_numbers(tree, tmp_path):
    assert camus.patient_splits(tree, "ratio").patients == GROUPS
    with pytest.raises(SplitError, match="'ratio' or a split file"):
        camus.index(tree, "train", scheme="number")
    for number in range(1000, 1096):
        (tree / f"patient{number}").mkdir()
    counts = {split: len(names) for split, names in camus.patient_splits(tree, "ratio").patients.items()}
    assert counts == {"train": 70, "validation": 10, "test": 20}
    assert camus.patient_splits(tree, "ratio").patients["train"][:5] == [*NAMES, "patient1000"]
    (tmp_path / "small" / "patient0001").mkdir(parents=True)
    with pytest.raises(SplitError, match="needs 3 patients"):
        camus.index(tmp_path / "small", "train", scheme="ratio")


def test_echonet_takes_own_files_too(tmp_path):
    root = tmp_path / "echonet"
    clips = [make_video_clip(patient_id=f"0X{i}", n=2) for i in range(3)]
    echonet.write_tree(clips, root, {"0X0": "TRAIN", "0X1": "TRAIN", "0X2": "TEST"})
    own = as_csv(tmp_path / "own", {"train": ["0X2.avi"], "validation": ["0X0"]})
    for split, scheme, expected in (
        ("train", "auto", ["0X0", "0X1"]),
        ("train", own, ["0X2"]),
        ("validation", own, ["0X0"]),
        ("all", own, 3),
    ):
        found = [entry.patient_id for entry in echonet.index(root, split, scheme=str(scheme)).entries]
        assert found == expected or len(found) == expected
    assert echonet.patient_splits(root).patients == {"train": ["0X0", "0X1"], "validation": [], "test": ["0X2"]}
    with pytest.raises(ValueError, match=r"'test'.*'train': 1, 'validation': 1, 'test': 0"):
        echonet.index(root, "test", scheme=str(own))
    with pytest.raises(SplitError, match="0X9"):
        echonet.index(
            root, "train", scheme=str(as_json(tmp_path / "bad", {"train": ["0X9"], "validation": [], "test": []}))
        )
    with pytest.raises(FileNotFoundError, match="'ratio'"):
        echonet.index(root, "train", scheme="ratio")
