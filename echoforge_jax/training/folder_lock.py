"""One command writes in a folder: a lock that names its holder, survives crashes, and can be taken over.

The lock is the file `run.lock`. It is made by a hard link, or by exclusive creation where links are not to be had;
both are atomic on network file systems, on which `flock` may hold for one host alone. Its holder touches it every
`HEARTBEAT_S` seconds.

A lock is stale if its process has ended (asked on its own machine: process number and start) or, on any other machine,
if it was not touched for `STALE_S` seconds while this process watched it. Only changes that this process sees count,
so clocks need not agree. Whoever replaces a stale lock first makes the file `.run.lock.change`, so one alone does.

A holder whose lock was taken over notices it at its next save, or at its next heartbeat, and ends without writing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.files import make_folder, write_atomically
from echoforge_jax import interruption
from echoforge_jax.distributed import processes
from echoforge_jax.errors import FOLDER_LOST, FolderInUse, FolderLost
from echoforge_jax.training.holder import Holder

LOCK, CHANGE = "run.lock", ".run.lock.change"
HEARTBEAT_S = 10.0
STALE_S = 120.0
OLD_S = 3600.0  # so long untouched by the file server's own clock: stale without a wait
CHANGE_S = 20.0  # a change takes milliseconds; one that is older was cut short by a crash
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES, errno.EXDEV)


class FolderLock:
    """The lock of one folder, held by this process while a `with` block runs.

    Args:
        folder: the folder; it is made where it is missing.
        take_over: takes the folder from a holder that is alive, which then ends by itself.

    Raises:
        FolderInUse: (on entering) another process holds the folder.
        OSError: (on entering) the folder cannot be written.
    """

    def __init__(self, folder: Path, *, take_over: bool = False):
        self.folder, self.take_over = folder.absolute(), take_over
        self.holder = Holder.this_process(secrets.token_hex(8))
        self._ended = threading.Event()
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> FolderLock:
        self._made = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        make_folder(self.folder)
        try:
            before = self._acquire()
        except BaseException:
            self._remove_empty_folders()
            raise
        self._exit.enter_context(interruption.at_end(self._leave))
        heart = threading.Thread(target=self._beat, name="heartbeat of run.lock", daemon=True)
        heart.start()
        if before is not None:
            self._wait_for_end_of(before)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._exit.close()
        self._leave()

    def check(self) -> None:
        """Makes sure, before something is written, that the folder is still this process's.

        Raises:
            FolderLost: another process has taken it over, or the lock was removed.
        """
        current = _read(self.folder / LOCK)
        if current is None or current.token != self.holder.token:
            raise FolderLost(self._loss(current))

    def _loss(self, current: Holder | None) -> str:
        now = f"taken over by {current}" if current else f"its {LOCK} was removed"
        return f"{self.folder} is no longer held by this process: {now}; it ends without writing"

    def _acquire(self) -> Holder | None:
        """Takes the lock; returns the holder that it was taken from by force, if any."""
        own = self.folder / f".{LOCK}.{self.holder.token}"
        try:
            own.write_text(self.holder.to_json(), encoding="utf-8")
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}: nothing can be written there", str(self.folder)) from error
        try:
            while True:
                if _create(own, self.folder / LOCK):
                    return None
                current = self._settled()
                if current is None:
                    continue  # just released
                if self.take_over:
                    if self._replace(current):
                        return current
                    continue
                if not self._is_stale(current):
                    raise FolderInUse(
                        f"{self.folder} is in use by {current}. Two commands would write over each other there: wait "
                        "for it, use another folder, or start the training with --take_over: the other one then ends "
                        "without writing"
                    )
                if self._replace(current):
                    return None
        finally:
            own.unlink(missing_ok=True)

    def _settled(self) -> Holder | None:
        """Reads the lock; one that is not yet written whole (no links here) is waited for."""
        for _ in range(50):
            try:
                return _read(self.folder / LOCK)
            except ValueError:
                time.sleep(0.1)
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.folder / LOCK, self.folder / f".{LOCK}.unreadable")
        return None

    def _is_stale(self, current: Holder) -> bool:
        if current.is_on_this_machine:
            return not current.is_running
        last = _touched(self.folder / LOCK)
        if last is None or self._server_time() - last > OLD_S:
            return True
        interruption.tell(
            f"{self.folder} was last held by {current}; waiting up to {STALE_S:.0f} s for a sign of life from there"
        )
        deadline = time.monotonic() + STALE_S
        while time.monotonic() < deadline:
            time.sleep(0.5)
            if _touched(self.folder / LOCK) != last:
                return False
        return True

    def _server_time(self) -> float:
        """What the clock of the file server says: that of a file which was just written."""
        probe = self.folder / f".{LOCK}.{self.holder.token}"
        os.utime(probe)
        return probe.stat().st_mtime

    def _replace(self, expected: Holder) -> bool:
        """Puts this process's lock in place of another one, if that is still there."""
        with _changing(self.folder, self.holder):
            current = _read(self.folder / LOCK)
            if current is None or current.token != expected.token:
                return False
            write_atomically(self.folder / LOCK, self.holder.to_json().encode())
            return True

    def _wait_for_end_of(self, before: Holder) -> None:
        """Waits until the process that the folder was taken from has ended, which may be finishing a save."""
        farewell = self.folder / f".{LOCK}.{before.token}.left"
        interruption.tell(f"{self.folder} is taken over from {before}; waiting for its end")
        deadline = time.monotonic() + STALE_S
        while time.monotonic() < deadline and not farewell.exists():
            if before.is_on_this_machine and not before.is_running:
                break
            time.sleep(0.2)
        farewell.unlink(missing_ok=True)

    def _beat(self) -> None:
        """Touches the lock again and again; ends this process where another one has taken it."""
        while not self._ended.wait(HEARTBEAT_S):
            try:
                self.check()
                os.utime(self.folder / LOCK)
            except FolderLost as lost:
                if not self._ended.is_set():
                    interruption.end_now(f"error: {lost}", FOLDER_LOST)
            except (OSError, ValueError):
                continue  # the file system does not answer; the lock is looked at again later

    def _leave(self) -> None:
        """Removes the lock, or says farewell to the process that has taken it."""
        with contextlib.suppress(OSError, ValueError), _changing(self.folder, self.holder):
            current = _read(self.folder / LOCK)
            if current is not None and current.token == self.holder.token:
                (self.folder / LOCK).unlink(missing_ok=True)
            elif current is not None:
                (self.folder / f".{LOCK}.{self.holder.token}.left").touch()
        self._remove_empty_folders()

    def _remove_empty_folders(self) -> None:
        with contextlib.suppress(OSError):
            for folder in self._made:
                folder.rmdir()


@contextlib.contextmanager
def held_by_main(folder: Path, *, take_over: bool = False) -> Iterator[FolderLock]:
    """Holds the lock of a folder in the main process of a run while the block runs, in all processes.

    Args:
        folder: the folder.
        take_over: as `FolderLock`.

    Raises:
        FolderInUse: another command holds the folder.
        EndedWithMain: in the other processes, where the main one cannot hold it.
    """
    lock = FolderLock(folder, take_over=take_over)
    with contextlib.ExitStack() as stack:
        processes.on_main(lambda: stack.enter_context(lock) and None)
        yield lock


def holder_of(folder: Path) -> Holder | None:
    """Returns the process that holds a folder, as far as it is known without waiting; None where it is free."""
    try:
        current = _read(folder / LOCK)
    except (OSError, ValueError):
        return None
    return None if current is None or (current.is_on_this_machine and not current.is_running) else current


def _read(lock: Path) -> Holder | None:
    """Reads a lock; None where there is none.

    Raises:
        ValueError: it is not written whole.
    """
    try:
        return Holder.from_json(lock.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _touched(lock: Path) -> float | None:
    """When the lock was last touched, as the file server says. It is opened, since an NFS client then asks anew."""
    try:
        with lock.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None


def _create(own: Path, path: Path) -> bool:
    """Makes a file with the content of another one; False where it exists. Exactly one of several callers succeeds."""
    try:
        os.link(own, path)
        return True
    except FileExistsError:
        return own.stat().st_nlink == 2  # the file server did it and its answer was lost
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(file, "wb") as stream:
        stream.write(own.read_bytes())
    return True


@contextlib.contextmanager
def _changing(folder: Path, holder: Holder) -> Iterator[None]:
    """Keeps every other process from replacing or removing the lock while the block runs, for milliseconds."""
    own, change = folder / f"{CHANGE}.{holder.token}", folder / CHANGE
    own.write_text(holder.to_json(), encoding="utf-8")
    try:
        waited_since, seen = time.monotonic(), None
        while not _create(own, change):
            with contextlib.suppress(FileNotFoundError):
                if (now := (change.stat().st_ino, change.stat().st_mtime)) != seen:
                    waited_since, seen = time.monotonic(), now
                elif time.monotonic() - waited_since > CHANGE_S:
                    change.unlink()
            time.sleep(0.02)
    finally:
        own.unlink(missing_ok=True)
    try:
        yield
    finally:
        change.unlink(missing_ok=True)
