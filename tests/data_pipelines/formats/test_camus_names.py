"""Names of folders and files: other cases and suffixes are read, and what looks like a record is never passed over."""

import shutil

import pytest

from data_pipelines.formats import camus
from data_pipelines.formats.camus import masks
from tests.helpers.trees import make_clip, path_of


@pytest.fixture
def tree(tmp_path):
    camus.write_clip(make_clip(), tmp_path)
    camus.write_clip(make_clip(patient_id="patient0002"), tmp_path)
    return tmp_path


def index(root, **options):
    return camus.index(root, "all", views=("4CH",), **options)


def ids(listed):
    return [entry.record_id for entry in listed.entries]


def skipped(listed):
    return {(one.record_id, one.reason) for one in listed.skipped}


def rename_all(folder, change):
    for path in sorted(folder.iterdir()):
        path.rename(folder / change(path.name))


@pytest.mark.parametrize("change", [str.upper, str.title, str.lower])
def test_names_in_any_case_are_read(tree, change):
    folder = tree / "patient0002"
    rename_all(folder, change)
    folder.rename(tree / change("patient0002"))
    listed = index(tree)
    assert ids(listed) == ["patient0001_4CH", "patient0002_4CH"] and not listed.skipped and not listed.notes
    clip = camus.read(listed.entries[1])
    assert len(clip) == 6 and clip.quality == "Good" and clip.has_reference.all()


def test_unpacked_files_are_read(tree):
    folder = tree / "patient0002"
    rename_all(folder, lambda name: name.replace(".nii.gz", ".nii"))  # still packed
    assert len(camus.read(index(tree).entries[1])) == 6


@pytest.mark.parametrize(
    "name", ["patient0002 (1)", "patient0002_copy", "copy of patient0002", "patient0002-old", "patient 0002", "case2"]
)
def test_folders_that_look_like_records_are_listed(tree, name):
    (tree / "patient0002").rename(tree / name)
    assert ids(index(tree)) == ["patient0001_4CH"]
    assert skipped(index(tree)) == {(name, "patient folder not read")}
    (tree / "notes").mkdir()
    (tree / "database_split").mkdir()
    assert len(index(tree).skipped) == 1


def test_two_folders_of_one_patient(tree):
    shutil.copytree(tree / "patient0002", tree / "Patient0002")
    assert ids(index(tree)) == ["patient0001_4CH", "patient0002_4CH"]
    assert skipped(index(tree)) == {("Patient0002", "patient folder not read")}
    (tree / "patient0002").rename(tree / "PATIENT0002")
    assert ids(index(tree)) == ["patient0001_4CH"] and len(index(tree).skipped) == 2


def test_one_number_with_and_without_zeros_is_noted(tree):
    shutil.copytree(tree / "patient0002", tree / "patient2")
    listed = index(tree)
    assert ids(listed) == ["patient0001_4CH", "patient0002_4CH", "patient2_4CH"]
    assert {record: [one.code for one in notes] for record, notes in listed.notes.items()} == {
        "patient0002_4CH": ["two folders of one number"],
        "patient2_4CH": ["two folders of one number"],
    }
    assert len(camus.read(listed.entries[2])) == 6


def test_a_folder_inside_the_patients_folder_is_entered(tree):
    (tree / "patient0002").rename(tree / "inner")
    (tree / "patient0002").mkdir()
    (tree / "inner").rename(tree / "patient0002" / "patient0002")
    listed = index(tree)
    assert [one.code for one in listed.notes["patient0002_4CH"]] == ["patient folder nested"]
    assert len(camus.read(listed.entries[1])) == 6


def test_files_of_another_patient(tree):
    shutil.copy(path_of(tree, "ED"), tree / "patient0002")
    (note,) = index(tree).notes["patient0002_4CH"]
    assert note.code == "files of another patient" and "patient0001_4CH_ED" in note.text
    shutil.rmtree(tree / "patient0001")
    (tree / "patient0002").rename(tree / "patient0003")
    assert skipped(index(tree)) == {("patient0003_4CH", "files of another patient")}


def test_loose_files_and_a_second_tree(tree):
    shutil.copy(path_of(tree, "ED"), tree / "patient0009_4CH_ED.nii.gz")
    assert skipped(index(tree)) == {("patient0009_4CH", "file outside a patient's folder")}
    (tree / "database_nifti").mkdir()
    (tree / "patient0002").rename(tree / "database_nifti" / "patient0002")
    assert ids(index(tree)) == ["patient0002_4CH"]
    assert ("patient0001", "patient folder not read") in skipped(index(tree))


def test_copies_of_files_are_noted(tree):
    folder = tree / "patient0002"
    shutil.copy(folder / "patient0002_4CH_ED.nii.gz", folder / "patient0002_4CH_ED (1).nii.gz")
    shutil.copy(folder / "patient0002_4CH_ES.nii.gz", folder / "Patient0002_4CH_ES.nii.gz")
    listed = index(tree)
    codes = sorted(one.code for one in listed.notes["patient0002_4CH"])
    assert codes == ["file not read", "several files of one image"]
    assert listed.entries[1].files["ES"].name == "patient0002_4CH_ES.nii.gz"


def test_predictions_in_any_case_are_found_and_two_of_one_name_refused(tree, tmp_path_factory):
    predictions = tmp_path_factory.mktemp("predictions")
    for kind in ("ED", "ES"):
        shutil.copy(path_of(tree, f"{kind}_gt"), predictions / f"PATIENT0001_4ch_{kind}.NII.GZ")
    assert len(masks.read_pairs(predictions, tree, sequences=False).pairs) == 1
    shutil.copytree(predictions, predictions / "again")
    paired = masks.read_pairs(predictions, tree, sequences=False)
    assert ("patient0001_4CH", "several masks of one frame") in {(s.record_id, s.reason) for s in paired.skipped}
