"""The lock of a run's folder: one holder, found dead or alive, taken over or not, and races with one winner."""

import dataclasses
import errno
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from echoforge_jax import errors
from echoforge_jax.errors import FolderInUse, FolderLost
from echoforge_jax.training import folder_lock
from echoforge_jax.training.folder_lock import LOCK, FolderLock, holder_of
from echoforge_jax.training.holder import Holder, start_of

pytestmark = pytest.mark.fast
REPOSITORY = Path(__file__).parents[2]
HOLD = """
    import sys, time
    from pathlib import Path
    from echoforge_jax.errors import FolderInUse
    from echoforge_jax.training import folder_lock
    folder_lock.HEARTBEAT_S = 0.2
    time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
    try:
        with folder_lock.FolderLock(Path(sys.argv[1])) as lock:
            print("held", flush=True)
            time.sleep(float(sys.argv[3]))
            lock.check()
    except FolderInUse as error:
        print(error, flush=True)
"""


def hold(folder: Path, *, at: float = 0.0, seconds: float = 60.0) -> subprocess.Popen[str]:
    """Holds a folder in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(folder), str(at), str(seconds)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_by(folder: Path, **changes: object) -> Holder:
    """Writes the lock that a crashed process, or one of another machine, left behind."""
    holder = dataclasses.replace(Holder.this_process("another"), **changes)
    folder.mkdir(exist_ok=True)
    (folder / LOCK).write_text(holder.to_json())
    return holder


def test_a_second_holder_is_refused_and_told_who_holds_the_folder(tmp_path: Path):
    folder = tmp_path / "runs" / "a"
    with FolderLock(folder) as lock:
        assert holder_of(folder) == lock.holder
        with pytest.raises(FolderInUse, match=rf"process {os.getpid()} on .* since 20.*--take_over") as refused:
            FolderLock(folder).__enter__()
        assert refused.value.exit_code == errors.USAGE
        lock.check()
        assert os.listdir(folder) == [LOCK]
    assert holder_of(folder) is None and not (tmp_path / "runs").exists()  # nothing was written: nothing is left


@pytest.mark.parametrize(
    "changes", [{"pid": 2**22 + 1}, {"pid_started": "1"}], ids=["ended", "its number is that of another process now"]
)
def test_a_lock_of_a_process_of_this_machine_that_has_ended_is_replaced(changes: dict, tmp_path: Path):
    left_by(tmp_path, **changes)
    assert holder_of(tmp_path) is None
    with FolderLock(tmp_path) as lock:
        lock.check()


@pytest.mark.parametrize("elsewhere", [{"host": "node7"}, {"machine": "another kernel, or another container"}])
def test_a_lock_of_another_machine_is_stale_without_a_sign_of_life(elsewhere: dict, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(folder_lock, "STALE_S", 0.7)
    left_by(tmp_path, **elsewhere)
    began = time.monotonic()
    with FolderLock(tmp_path):
        assert time.monotonic() - began > 0.7
    left_by(tmp_path, **elsewhere)
    day = time.time() - 86400
    os.utime(tmp_path / LOCK, (day, day))
    monkeypatch.setattr(folder_lock, "STALE_S", 60.0)
    with FolderLock(tmp_path):  # at once
        assert time.monotonic() - began < 30


def test_a_sign_of_life_from_another_machine_keeps_its_lock(tmp_path: Path, monkeypatch):
    holder = left_by(tmp_path, host="node7")
    touched = folder_lock._touched
    monkeypatch.setattr(folder_lock, "_touched", lambda lock: os.utime(lock) or touched(lock))
    with pytest.raises(FolderInUse, match="on node7"):
        FolderLock(tmp_path).__enter__()
    assert holder_of(tmp_path) == holder


@pytest.mark.parametrize("stale", [False, True])
def test_of_four_starts_at_one_moment_one_holds_the_folder(stale: bool, tmp_path: Path):
    if stale:
        left_by(tmp_path, pid=2**22 + 1)
    at = time.time() + 6
    processes = [hold(tmp_path, at=at, seconds=4) for _ in range(4)]
    printed = [process.communicate()[0] for process in processes]
    assert sum(text.startswith("held") for text in printed) == 1, printed
    assert sum("is in use by" in text for text in printed) == 3, printed
    assert os.listdir(tmp_path) == []


def test_taking_over_ends_the_other_holder_which_writes_nothing(tmp_path: Path):
    other = hold(tmp_path)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    with FolderLock(tmp_path, take_over=True) as lock:
        assert other.wait(20) == errors.FOLDER_LOST
        lock.check()
        assert os.listdir(tmp_path) == [LOCK]
    _, said = other.communicate()
    assert "no longer held by this process: taken over by" in said and "Traceback" not in said


def test_a_holder_that_lost_the_folder_may_not_write(tmp_path: Path):
    with FolderLock(tmp_path) as lock:
        left_by(tmp_path, host="node7")
        with pytest.raises(FolderLost, match=r"taken over by .*node7") as lost:
            lock.check()
        assert lost.value.exit_code == errors.FOLDER_LOST
        (tmp_path / LOCK).unlink()
        with pytest.raises(FolderLost, match="was removed"):
            lock.check()


def test_without_hard_links_the_lock_is_made_by_exclusive_creation(tmp_path: Path, monkeypatch):
    def no_link(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(os, "link", no_link)
    with FolderLock(tmp_path) as lock:
        lock.check()
        with pytest.raises(FolderInUse):
            FolderLock(tmp_path).__enter__()
    (tmp_path / LOCK).write_text("{")  # of a process that was killed between creation and writing
    with FolderLock(tmp_path) as lock:
        lock.check()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch):
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", read_only)
    with pytest.raises(OSError, match=f"nothing can be written there.*{tmp_path.name}"):
        FolderLock(tmp_path).__enter__()


def test_the_start_of_a_process_tells_it_from_others():
    assert start_of(os.getpid()) and start_of(2**22 + 1) == ""
    assert start_of(os.getpid()) != start_of(1)
