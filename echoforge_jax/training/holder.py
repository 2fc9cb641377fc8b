"""Which process holds a folder, and whether it still runs."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ANSWER_S = 10.0


@dataclasses.dataclass(frozen=True)
class Holder:
    """A process that holds a folder.

    Attributes:
        host: name of its machine.
        machine: what tells machines and containers apart that have one name: identifiers of the running kernel and of
            its space of process numbers.
        pid: its process number.
        pid_started: when the kernel started it; a process number is used again, this pair is not.
        started: when it took the folder, for people.
        command: what was started.
        token: names this holding; no two have the same.
    """

    host: str
    machine: str
    pid: int
    pid_started: str
    started: str
    command: str
    token: str

    @classmethod
    def this_process(cls, token: str) -> Holder:
        """Describes the running process.

        Args:
            token: names the holding.
        """
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        started = time.strftime("%Y-%m-%d %H:%M:%S %z")
        return cls(socket.gethostname(), machine(), os.getpid(), start_of(os.getpid()), started, command, token)

    @classmethod
    def from_json(cls, text: str) -> Holder:
        """Reads a holder.

        Raises:
            ValueError: the text describes none.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            return cls(**{field.name: values[field.name] for field in dataclasses.fields(cls)})
        except (TypeError, KeyError) as error:
            raise ValueError(f"no holder: {error}") from error

    def to_json(self) -> str:
        """Writes the holder for people and for `from_json`."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @property
    def is_on_this_machine(self) -> bool:
        """Whether its process number means something here."""
        return (self.host, self.machine) == (socket.gethostname(), machine())

    @property
    def is_running(self) -> bool:
        """Whether the process runs; to be asked on its own machine."""
        return start_of(self.pid) == self.pid_started != ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.started} ({self.command})"


def machine() -> str:
    """Returns what tells this machine and container from others of the same name; "" where nothing is known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def start_of(pid: int) -> str:
    """Returns when the kernel started a process; "" where there is no such process."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else fields[19]  # a zombie has ended; field 22 counts from the name's start
    try:
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=ANSWER_S, env={"LC_ALL": "C"}
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
