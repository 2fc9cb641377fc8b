"""Joins the processes of a run into one JAX, and ends them with a message where one is missing or lost.

The engine is JAX's own multi-controller runtime (`jax.distributed`). What is added: a check of what the launcher
promised, and an end with a message and an exit code where JAX would abort. Every process leaves its name in the run's
folder, so that a time-out can say who is missing.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import jax

from echoforge_jax import interruption
from echoforge_jax.distributed.folder import PRESENCE, check_shared_folder
from echoforge_jax.distributed.launch import Launch, Runtime, check_launch, find_launch
from echoforge_jax.distributed.processes import stop_together
from echoforge_jax.errors import INTERRUPTED, LAUNCH, LaunchError

# What JAX's runtime and its collectives (Gloo, NCCL) say where another process does not answer: a status, then why.
LOST = re.compile(
    r"^(UNAVAILABLE|ABORTED|DEADLINE_EXCEEDED|CANCELLED)\b"
    r"|^(UNKNOWN|INTERNAL|FAILED_PRECONDITION):.*(?i:gloo|nccl|connection|heartbeat|barrier)",
    re.DOTALL,
)
Mode = Literal["auto", "on", "off"]


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to wait for other processes.

    Attributes:
        start_s: seconds for all processes to appear.
        heartbeat_s: seconds of silence after which a process counts as lost.
        folder_s: seconds for what one process writes in the run's folder to be seen by all.
    """

    start_s: float = 300.0
    heartbeat_s: int = 100
    folder_s: float = 65.0  # clients of NFS remember for up to a minute that a file was not there


def start(
    mode: Mode,
    run_folder: Path,
    *,
    launch: Launch | None = None,
    patience: Patience | None = None,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Joins the processes of a run into one JAX, before any other use of it.

    Args:
        mode: "off": this process runs alone. "auto": it joins others where a launcher of several processes is found.
            "on": it joins others, or fails.
        run_folder: a folder that all processes see; each leaves its name there.
        launch: given by hand; None finds the launcher in the environment.
        patience: how long to wait for other processes; None takes the defaults.
        environment: variables of this process.

    Raises:
        LaunchError: no launcher (mode "on"), the runtime could not start, or it holds other processes or devices than
            promised, or the processes do not see one folder. A process that never appears ends this one with exit code
            LAUNCH and a message.
    """
    launch, patience = launch or find_launch(environment), patience or Patience()
    if mode == "off" or (mode == "auto" and launch is None):
        return
    if launch is None:
        raise LaunchError(
            "--distributed=on, but no launcher was found (SLURM, Open MPI, Kubernetes Job, Cloud TPU); start with "
            "srun, mpirun or scripts/kubernetes, or give --coordinator=HOST:PORT --processes=N --process_id=I"
        )
    began = time.time()
    write_presence(run_folder, launch)
    if launch.process == 0 and launch.port is not None:
        _check_port(launch.port)
    timer = threading.Timer(patience.start_s, _give_up, (run_folder, launch, began, patience.start_s, environment))
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            launch.coordinator,
            launch.processes if launch.coordinator else None,
            launch.process if launch.coordinator else None,
            initialization_timeout=int(patience.start_s) + 60,
            heartbeat_timeout_seconds=patience.heartbeat_s,
        )
        runtime = Runtime.current()  # waits for all processes, so the timer still runs
    except (RuntimeError, ValueError) as error:
        raise LaunchError(
            f"the processes of {launch.launcher} did not come together: {error}{_advice(error)}"
        ) from error
    finally:
        timer.cancel()
    check_launch(launch, runtime)
    stop_together()
    check_shared_folder(run_folder, wait_s=patience.folder_s)
    print(
        f"process {jax.process_index()} of {runtime.processes} holds {runtime.local_devices} of {runtime.devices} "
        f"devices ({launch.launcher}, {socket.gethostname()})",
        file=sys.stderr,
        flush=True,
    )


def is_lost(error: BaseException | None) -> bool:
    """Tells whether an error, or its cause, says that another process of this run is gone."""
    while error is not None and jax.process_count() > 1:
        if isinstance(error, (jax.errors.JaxRuntimeError, ValueError)) and LOST.search(str(error)):  # JAX raises both
            return True
        error = error.__cause__
    return False


@contextmanager
def exit_if_process_lost() -> Iterator[None]:
    """Ends this process with exit code LAUNCH where another one has been lost.

    JAX then fails in a collective operation, and an ordinary exit would wait for the lost process. Where JAX does not
    fail, it aborts all processes itself once it misses the heartbeat of the lost one.
    """
    try:
        yield
    except Exception as error:
        if not is_lost(error):
            raise
        if interruption.received():  # it has told all others to end, or was told so by one that has ended
            interruption.end_now("stopped; the same command goes on", INTERRUPTED)
        text = str(error).strip().splitlines()[0][:300]
        print(
            f"error: process {jax.process_index()} of {jax.process_count()} cannot go on; another was probably lost "
            f"({text}). Checkpoints are as they were: the same command goes on from the last one",
            file=sys.stderr,
            flush=True,
        )
        os._exit(LAUNCH)


def _check_port(port: int) -> None:
    """Looks whether a port is free, because JAX ends with a segmentation fault where its coordinator's port is taken.

    Raises:
        LaunchError: something listens there.
    """
    family = socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just given back is free
        try:
            trial.bind(("", port))
        except OSError as error:
            raise LaunchError(
                f"the coordinator's port {port} is taken on {socket.gethostname()} ({error.strerror}), perhaps by an "
                "earlier run: end it, or choose another port (--coordinator, or JAX_COORDINATOR_PORT in all processes)"
            ) from error


def write_presence(run_folder: Path, launch: Launch) -> None:
    """Writes a file that says that this process has appeared, where the launcher numbers its processes.

    Args:
        run_folder: a folder that all processes see.
        launch: of this process.
    """
    if launch.process is None:
        return
    folder = run_folder / PRESENCE
    folder.mkdir(parents=True, exist_ok=True)
    presence = {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
    (folder / f"{launch.process}.json").write_text(json.dumps(presence), encoding="utf-8")


def read_presence(run_folder: Path, *, since: float) -> dict[int, str]:
    """Reads which processes have appeared.

    Args:
        run_folder: a folder that all processes see.
        since: seconds of the epoch; files of earlier runs are older.

    Returns:
        The host of each process that has appeared, by the number of the process.
    """
    hosts = {}
    for file in (run_folder / PRESENCE).glob("*.json"):
        try:
            presence = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # another process is writing it
        if presence["time"] >= since:
            hosts[int(file.stem)] = presence["host"]
    return hosts


def describe_presence(launch: Launch, hosts: Mapping[int, str]) -> str:
    """Says in words which processes have appeared and which have not.

    Args:
        launch: how many there should be.
        hosts: of the processes that have appeared (`read_presence`).
    """
    there = ", ".join(f"{process} ({host})" for process, host in sorted(hosts.items())) or "none"
    if launch.processes is None:
        return f"processes that have signed in: {there}"
    missing = [process for process in range(launch.processes) if process not in hosts]
    return f"{len(missing)} of {launch.processes} processes are missing: {missing}; there: {there}"


def _give_up(run_folder: Path, launch: Launch, began: float, start_s: float, environment: Mapping[str, str]) -> None:
    """Ends this process with a message where JAX would abort it without one."""
    hosts = read_presence(run_folder, since=began - start_s)
    text = f"error: no common start after {start_s:.0f} s; {describe_presence(launch, hosts)}"
    if launch.processes is not None and len(hosts) == launch.processes:
        text += "; all have signed in, so they cannot reach the coordinator: look at firewalls and its port"
    if proxies := sorted(name for name in environment if name.lower() in ("http_proxy", "https_proxy", "all_proxy")):
        text += f"; proxy variables are set ({', '.join(proxies)}) and can block the connection: unset them"
    print(text, file=sys.stderr, flush=True)
    os._exit(LAUNCH)


def _advice(error: Exception) -> str:
    if "kubernetes" in str(error).lower():
        return " (pip install kubernetes, and give the pod's account the right to read pods and jobs)"
    return ""
