"""The command: it goes on where it stopped, repeats nothing, overwrites nothing unasked, and says what it did."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_pipelines import prepare, store
from data_pipelines.formats import camus
from data_pipelines.records import UnreadableRecord
from data_pipelines.simulator.cohort import Cohort, write_cohort
from data_pipelines.splits import SPLITS
from data_pipelines.store import preparation, shards

TINY = ("--patients", "3", "--frames", "2", "--size", "32")


def simulated(data_dir, *more):
    return prepare.main(["simulated_echo", "--data_dir", str(data_dir), "--workers", "1", *TINY, *more])


def from_camus(source, data_dir, *more):
    return prepare.main(["camus", "--source", str(source), "--data_dir", str(data_dir), "--workers", "1", *more])


def files(data_dir):
    """Every file under a folder by name, and its bytes."""
    return {str(p.relative_to(data_dir)): p.read_bytes() for p in Path(data_dir).rglob("*") if p.is_file()}


def copy_of(tree, source, records):
    """The first records of a tree, as a tree of its own."""
    for entry in camus.index(tree, "all").entries[:records]:
        camus.write_clip(camus.read(entry), source)
    return source


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "ENTRIES_PER_SHARD", 4)


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """10 patients: 14, 2 and 4 records, so 4, 1 and 1 shards."""
    source = tmp_path_factory.mktemp("tree") / "camus"
    write_cohort(source, Cohort(patients=10, seed=1, frames=3, size=36))
    return source


@pytest.fixture
def whole(tree, tmp_path):
    """What an uninterrupted preparation gives."""
    assert from_camus(tree, tmp_path / "whole") == 0
    return files(tmp_path / "whole")


def reading(monkeypatch, stop_at=None):
    """Returns the record ids in the order of reading, as they come; Ctrl-C at the place `stop_at`."""
    read, ids = store.Camus.read, []

    def observed(entry):
        if len(ids) == stop_at:
            raise KeyboardInterrupt
        ids.append(entry.record_id)
        return read(entry)

    monkeypatch.setattr(store.Camus, "read", staticmethod(observed))
    return ids


def interrupt(monkeypatch, source, data_dir, stop_at):
    with monkeypatch.context() as patch:
        ids = reading(patch, stop_at)
        assert from_camus(source, data_dir) == 75
    return ids


# ---- going on ------------------------------------------------------------------------------------------------------


def test_interrupted_and_run_again_gives_the_same_bytes_without_repeating(tree, whole, tmp_path, monkeypatch, capsys):
    data = tmp_path / "data"
    first = interrupt(monkeypatch, tree, data, stop_at=10)
    assert "the same command again" in capsys.readouterr().err
    assert not store.builder_dir(data, "camus").exists()
    second = reading(monkeypatch)
    assert from_camus(tree, data) == 0
    assert "going on, 8 of 20 clips there" in capsys.readouterr().err
    assert first[:8] + second == [e.record_id for split in SPLITS for e in camus.index(tree, split).entries]
    assert files(data) == whole


def test_a_terminated_preparation_continues(tmp_path, capsys):
    code = (
        "import sys; from data_pipelines import prepare; from data_pipelines.store import shards;"
        "shards.ENTRIES_PER_SHARD = 4; sys.exit(prepare.main())"
    )
    size = ("--patients", "8", "--frames", "2", "--size", "32")
    command = [sys.executable, "-c", code, "simulated_echo", "--data_dir", str(tmp_path / "data"), "--workers", "2"]
    staging = tmp_path / "data" / "simulated_echo" / "1.0.0.unfinished"
    with subprocess.Popen([*command, *size], cwd=Path(__file__).parents[3], stderr=subprocess.PIPE) as process:
        while not (staging / "train-00000.json").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 75
    left = {path.name for path in staging.iterdir()}
    assert {"train-00000", "train-00000.json"} <= left and not any(name.endswith(".tmp") for name in left)
    assert simulated(tmp_path / "data", *size) == 0
    assert "going on, " in capsys.readouterr().err
    assert simulated(tmp_path / "whole", *size) == 0
    assert files(tmp_path / "data") == files(tmp_path / "whole")


def test_a_shard_that_lost_its_file_is_written_again(tree, whole, tmp_path, monkeypatch):
    interrupt(monkeypatch, tree, tmp_path / "data", stop_at=14)
    staging = tmp_path / "data" / "camus" / "1.0.0.unfinished"
    (staging / "train-00000").write_bytes(b"cut")
    (staging / "train-00001").unlink()
    ids = reading(monkeypatch)
    assert from_camus(tree, tmp_path / "data") == 0 and len(ids) == 14
    assert files(tmp_path / "data") == whole


def test_the_records_do_not_depend_on_the_readers(tree, whole, tmp_path):
    assert from_camus(tree, tmp_path / "data", "--workers", "3") == 0
    assert files(tmp_path / "data") == whole


def test_a_finished_data_set_is_not_read_again(tree, whole, tmp_path, capsys, monkeypatch):
    ids = reading(monkeypatch)
    assert from_camus(tree, tmp_path / "whole") == 0 and ids == [] and files(tmp_path / "whole") == whole
    assert "already complete\n  train: 14 clips of 7 patients" in capsys.readouterr().out


# ---- records that cannot be read -----------------------------------------------------------------------------------


def test_a_broken_record_is_skipped_named_and_counted(tree, tmp_path, capsys):
    source = copy_of(tree, tmp_path / "tree", 10)
    camus.write_split(source, {"train": [f"patient000{n}" for n in range(1, 5)], "test": ["patient0005"]})
    broken = source / "patient0002" / "patient0002_4CH_half_sequence.nii.gz"
    broken.write_bytes(broken.read_bytes()[:300])
    for path in (source / "patient0005").glob("*half_sequence.nii.gz"):
        path.write_bytes(b"")
    assert from_camus(source, tmp_path / "data") == 0
    out = capsys.readouterr().out
    assert "train: 7 clips of 4 patients\n    skipped 1 x truncated file: patient0002_4CH\n" in out
    assert "test: left out: none of its 2 records could be read" in out
    clips = store.open_store(tmp_path / "data", "camus", "train")
    assert "patient0002_4CH" not in clips.record_ids and len(clips) == 7
    (fault,) = clips.skipped
    with pytest.raises(UnreadableRecord) as caught:
        camus.read(next(e for e in camus.index(source, "train").entries if e.record_id == "patient0002_4CH"))
    assert (fault.record_id, fault.reason, fault.detail) == (
        "patient0002_4CH",
        caught.value.reason,
        caught.value.detail,
    )
    rows = json.loads((clips.folder / store.SKIPPED).read_text())
    assert {row["record_id"] for row in rows["test"]} == {"patient0005_2CH", "patient0005_4CH"}


def test_nothing_usable_is_refused(tree, tmp_path, capsys):
    source = copy_of(tree, tmp_path / "tree", 2)
    for path in source.rglob("*half_sequence.nii.gz"):
        path.write_bytes(b"")
    assert from_camus(source, tmp_path / "data") == 2
    assert "no usable record:\n2 x empty file: patient0001_2CH" in capsys.readouterr().err
    assert files(tmp_path / "data") == {}


# ---- refused -------------------------------------------------------------------------------------------------------


def test_other_data_is_refused_and_replaced_when_asked(tmp_path, capsys):
    assert simulated(tmp_path) == 0
    before = files(tmp_path)
    assert simulated(tmp_path, "--seed", "5") == 2
    assert "found {'seed': 0}, expected {'seed': 5}: choose another --data_dir, or" in capsys.readouterr().err
    assert files(tmp_path) == before
    assert simulated(tmp_path, "--seed", "5", "--overwrite") == 0
    assert files(tmp_path).keys() == before.keys() and files(tmp_path) != before


def test_an_unfinished_preparation_of_other_data_is_refused(tree, whole, tmp_path, monkeypatch, capsys):
    data, other = tmp_path / "data", copy_of(tree, tmp_path / "other", 8)
    interrupt(monkeypatch, other, data, stop_at=5)
    assert from_camus(tree, data) == 2
    assert "1.0.0.unfinished holds other data: found {'records':" in capsys.readouterr().err
    assert from_camus(tree, data, "--overwrite") == 0
    assert files(data) == whole


def test_an_interrupted_replacement_keeps_the_old_data_and_continues(tree, whole, tmp_path, monkeypatch):
    data, other = tmp_path / "data", copy_of(tree, tmp_path / "other", 8)
    assert from_camus(other, data) == 0
    before = files(data)
    with monkeypatch.context() as patch:
        reading(patch, stop_at=5)
        assert from_camus(tree, data, "--overwrite") == 75
    assert before.items() <= files(data).items()
    ids = reading(monkeypatch)
    assert from_camus(tree, data, "--overwrite") == 0 and len(ids) == 16 and files(data) == whole


def test_a_changed_source_is_other_data(tree, tmp_path, capsys):
    source = copy_of(tree, tmp_path / "tree", 4)
    assert from_camus(source, tmp_path / "data") == 0
    (source / "patient0001" / "patient0001_2CH_ED_gt.nii.gz").unlink()
    assert from_camus(source, tmp_path / "data") == 2
    assert "holds other data: found {'files':" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["1.0.0", "1.0.0.unfinished"])
def test_files_of_other_programs_are_never_touched(tmp_path, capsys, name):
    mine = tmp_path / "simulated_echo" / name / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("kept")
    assert simulated(tmp_path) == 2 and simulated(tmp_path, "--overwrite") == 2
    assert "this program did not make it: choose another --data_dir" in capsys.readouterr().err
    assert mine.read_text() == "kept" and [path.name for path in mine.parent.glob("[!.]*")] == ["mine.txt"]


def test_a_second_preparation_at_the_same_time_is_refused(tmp_path, capsys):
    staging = tmp_path / "simulated_echo" / "1.0.0.unfinished"
    staging.mkdir(parents=True)
    with preparation.lock_staging(staging):
        assert simulated(tmp_path) == 2
    assert "another process prepares this data set" in capsys.readouterr().err
    assert simulated(tmp_path) == 0


def test_bad_arguments_and_sources_are_refused(tree, tmp_path, capsys):
    data = tmp_path / "data"
    for wrong in (["camsu"], ["camus"], ["simulated_echo", "--workers", "0"], ["simulated_echo", "--source", "x"]):
        with pytest.raises(SystemExit) as stopped:
            prepare.main([*wrong, "--data_dir", str(data)])
        assert stopped.value.code == 2
    capsys.readouterr()
    assert from_camus(tmp_path / "nowhere", data) == 2
    assert "nowhere is not a folder; camus has to be fetched by hand." in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert from_camus(tmp_path / "empty", data) == 2
    assert "holds no patientNNNN folder" in capsys.readouterr().err
    assert prepare.main(["echonet_dynamic", "--source", str(tree), "--data_dir", str(data)]) == 2
    assert "FileList.csv is missing" in capsys.readouterr().err
    assert from_camus(tree, tree.parent) == 2
    assert "would lie in the source" in capsys.readouterr().err
    for wrong in (("--patients", "2"), ("--size", "8"), ("--frames", "1"), ("--seed", "-1")):
        assert simulated(data, *wrong) == 2
    assert "expected at least" in capsys.readouterr().err
    assert not data.exists()


# ---- storage -------------------------------------------------------------------------------------------------------


def test_a_read_only_folder_is_a_storage_error(tmp_path, capsys):
    tmp_path.chmod(0o555)
    folder = tmp_path if os.geteuid() else Path("/sys")  # nothing else is read-only to root
    assert simulated(folder / "data") == 74
    assert "look at the disk's space and its permissions" in capsys.readouterr().err
    tmp_path.chmod(0o755)


def test_a_full_disk_is_a_storage_error_and_keeps_finished_shards(tree, whole, tmp_path, monkeypatch, capsys):
    staging = tmp_path / "data" / "camus" / "1.0.0.unfinished"

    class Full(shards.ArrayRecordWriter):
        def write(self, record):
            if (staging / "train-00002").exists():
                raise RuntimeError("write() failed: No space left on device")
            return super().write(record)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "ArrayRecordWriter", Full)
        assert from_camus(tree, tmp_path / "data") == 74
    assert "train-00003 cannot be written: write() failed: No space left on device" in capsys.readouterr().err
    assert from_camus(tree, tmp_path / "data") == 0 and files(tmp_path / "data") == whole
    assert "going on, 12 of 20" in capsys.readouterr().err
