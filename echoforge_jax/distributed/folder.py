"""Whether all processes of a run see one and the same folder."""

from __future__ import annotations

import secrets
import socket
import time
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from data_pipelines.files import make_folder, write_atomically
from echoforge_jax.distributed import processes
from echoforge_jax.errors import LaunchError

PRESENCE = "processes"  # folder in that of the run, one file for each process that has appeared
TOKEN = "token"  # file in it, written by process 0 at every start
_NAME_BYTES = 128


def check_shared_folder(run_folder: Path, *, wait_s: float) -> None:
    """Checks that every process reads in the run's folder what process 0 has just written there.

    Args:
        run_folder: the folder of the run, as this process names it.
        wait_s: seconds that a process waits for the file of process 0.

    Raises:
        LaunchError: some do not; the message names their hosts and folders.
    """
    token = processes.broadcast_from_main(secrets.randbits(31))
    file = run_folder.absolute() / PRESENCE / TOKEN
    if processes.is_main():
        make_folder(file.parent)
        write_atomically(file, str(token).encode())
    processes.wait_for_all("the token is written")
    name = f"process {jax.process_index()} ({socket.gethostname()}): {run_folder.absolute()}"
    sees = _reads(file, str(token), wait_s)
    row = np.zeros(_NAME_BYTES + 1, np.uint8)
    row[0] = sees
    text = name.encode()[:_NAME_BYTES]
    row[1 : 1 + len(text)] = list(text)
    rows = np.asarray(multihost_utils.process_allgather(row)).reshape(-1, _NAME_BYTES + 1)
    apart = [bytes(row[1:]).rstrip(b"\0").decode(errors="replace") for row in rows if not row[0]]
    if apart:
        raise LaunchError(
            f"the processes do not see one folder. Process 0 wrote {file}, and these do not read it:\n  "
            + "\n  ".join(apart)
            + "\nGive a --workdir on a file system that all hosts mount (NFS, Lustre, gcsfuse)"
        )


def _reads(file: Path, token: str, wait_s: float) -> bool:
    """Reads the file until it holds the token; False where it does not in time."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            if file.read_text(encoding="utf-8") == token:
                return True
        except OSError:
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
