"""No fault of input ends in a traceback: a message that says what fits, and exit code 2."""

import json
import shutil

import pytest

from data_pipelines import prepare
from data_pipelines.doctor import report as doctor
from data_pipelines.doctor.advice import advise
from data_pipelines.formats import camus, echonet_dynamic
from echoforge_jax.config import Config, DataConfig
from echoforge_jax.console import errors_as_messages
from echoforge_jax.errors import ConfigError
from echoforge_jax.networks import find_network
from echoforge_jax.report.folder import check_results_folder, read_frames, read_patients
from echoforge_jax.scoring import choose_split
from echoforge_jax.weights.trained import Trained
from tests.data_pipelines.broken.cines import FRAMES, write_pngs
from tests.helpers.trees import make_clip, make_video_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CAMUS tree, an EchoNet tree, stores, cines, and things that are no data at all."""
    root = tmp_path_factory.mktemp("inputs")
    for name in ("patient0001", "patient0002", "patient0003"):
        camus.write_clip(make_clip(patient_id=name), root / "camus")
    camus.write_split(
        root / "camus", {"train": ["patient0001"], "validation": ["patient0002"], "test": ["patient0003"]}
    )
    echonet_dynamic.write_tree([make_video_clip(n=3)], root / "echonet", {"0X10": "TEST"})
    prepare.prepare("camus", root / "stores", source=root / "camus")
    write_pngs(root / "cines" / "a", FRAMES)
    (root / "empty").mkdir()
    (root / "file.txt").write_text("x")
    return root


def config(root, form):
    return Config(data=DataConfig(root=str(root), format=form))


@pytest.mark.parametrize(
    ("name", "form", "expected"),
    [
        ("cines", "camus", "cines without references, which cannot be scored"),
        ("cines/a", "echonet_dynamic", "cines without references, which cannot be scored"),
        ("cines", "store", "data_pipelines.doctor"),
        ("camus", "store", "--format=camus"),
        ("camus", "echonet_dynamic", "it looks like a CAMUS tree: give --data="),
        ("echonet", "camus", "--format=echonet_dynamic"),
        ("stores", "store", "stores/camus/1.0.0 --format=store"),
        ("stores/camus/1.0.0", "camus", "it looks like a prepared store: give --data="),
        ("stores/camus", "echonet_dynamic", "1.0.0 --format=store"),
        ("empty", "camus", "no data set that is known"),
        ("file.txt", "camus", "file.txt is not a folder"),
    ],
)
def test_data_of_another_format_say_what_fits(folder, name, form, expected, capsys):
    with pytest.raises(ConfigError, match=r".") as caught:
        choose_split(config(folder / name, form))
    assert expected in str(caught.value)
    assert "every record is scored" not in capsys.readouterr().err


def test_the_right_format_needs_no_advice(folder):
    for name, form in (("camus", "camus"), ("echonet", "echonet_dynamic"), ("stores/camus/1.0.0", "store")):
        assert advise(folder / name, form) == "" and choose_split(config(folder / name, form)) == "test"


def test_a_damaged_split_is_not_taken_for_an_absent_one(folder, tmp_path):
    """It would be scored on the validation patients without a word."""
    store = shutil.copytree(folder / "stores" / "camus" / "1.0.0", tmp_path / "camus" / "1.0.0")
    (store / "index-test.json").write_text("[")
    with pytest.raises(ValueError, match="damaged"):
        choose_split(config(store, "store"))
    assert {f.title for f in doctor.diagnose(store).findings if f.kind == "unreadable"} == {"damaged store"}
    (store / "preparation.json").write_text("[")
    assert doctor.main([str(store)]) == 2


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", b"\xff\xfe\x00", b"", b"protocol,patient_id\nsemi,p1\n", b"protocol\n"]
)
def test_tables_of_other_programs_are_refused_by_name(tmp_path, content):
    for name, read in (("per_frame.csv", read_frames), ("per_patient.csv", read_patients)):
        (tmp_path / name).write_bytes(content)
        try:
            assert read(tmp_path) == {}  # a table without rows
        except ConfigError as error:
            assert name in str(error)


def test_a_folder_of_results_is_checked_before_anything_is_predicted(folder, tmp_path):
    for path in (folder / "file.txt", folder / "file.txt" / "sub"):
        with pytest.raises(NotADirectoryError, match=r"file\.txt is a file"):
            check_results_folder(path)
    check_results_folder(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


def broken_networks(root):
    """Files and folders that are no network, by name."""
    content = find_network("camus-small").read_bytes()
    length = int.from_bytes(content[:8], "little")
    head = json.loads(content[8 : 8 + length])
    cards = {
        "no_card": {},
        "no_json": dict.fromkeys(head["__metadata__"], "{"),
        "list": dict.fromkeys(head["__metadata__"], "[]"),
        "no_config": dict.fromkeys(head["__metadata__"], "{}"),
    }
    files = {"cut": content[:5000], "empty": b"", "text": b"hello" * 100}
    for name, metadata in cards.items():
        new = json.dumps(head | {"__metadata__": metadata}).encode()
        files[name] = len(new).to_bytes(8, "little") + new + content[8 + length :]
    for name, data in files.items():
        (root / f"{name}.safetensors").write_bytes(data)
    (root / "folder.safetensors").mkdir()
    (root / "run" / "inference").mkdir(parents=True)
    (root / "run" / "inference" / "card.json").write_text("{")
    return [*(f"{name}.safetensors" for name in files), "folder.safetensors", "run", "nothing"]


def test_a_broken_network_is_a_fault_of_input(tmp_path):
    for name in broken_networks(tmp_path):
        with pytest.raises(ConfigError, match=r"."):
            Trained.load(tmp_path / name)


@pytest.mark.parametrize(
    "error",
    [
        FileExistsError(17, "File exists", "a"),
        IsADirectoryError(21, "Is a directory", "a"),
        OSError(36, "Too long", "a"),
    ],
)
def test_faults_of_paths_are_messages(error, capsys):
    with pytest.raises(SystemExit) as stopped, errors_as_messages():
        raise error
    assert stopped.value.code == 2 and capsys.readouterr().err == f"error: a: {error.strerror}\n"


def test_another_fault_of_the_file_system_is_one_of_storage(capsys):
    with pytest.raises(SystemExit) as stopped, errors_as_messages():
        raise OSError(5, "Input/output error", "a")
    assert stopped.value.code == 74 and "a: Input/output error" in capsys.readouterr().err


def test_wrong_arguments_of_the_doctor_and_of_prepare(folder, tmp_path, capsys):
    for wrong in (["--limit=-3"], ["--threads=0"], ["--limit=x"]):
        with pytest.raises(SystemExit) as stopped:
            doctor.main([str(folder / "camus"), *wrong])
        assert stopped.value.code == 2
    (tmp_path / "camus" / "1.0.0").mkdir(parents=True)
    (tmp_path / "camus" / "1.0.0" / "preparation.json").write_text("{")
    assert prepare.main(["camus", "--source", str(folder / "camus"), "--data_dir", str(tmp_path)]) == 2
    assert "preparation.json is garbled" in capsys.readouterr().err
