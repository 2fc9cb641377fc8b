"""Many processes as one JAX: who launched them, the start itself, and why it failed.

The engine is JAX's own multi-controller runtime (`jax.distributed`), which knows SLURM, Open MPI, Kubernetes and Cloud
TPU. What is added: a check against what the launcher promised, and an end with a message and an exit code where JAX
would abort. Every process signs a roll in the run's folder, so that a time-out can name who is missing.
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

import jax

from echoforge_jax.errors import LAUNCH, LaunchError

TIMEOUT_S = 300.0
# What JAX's runtime and its collectives (Gloo, NCCL) say where another process does not answer: a status, then why.
LOST = re.compile(
    r"^(UNAVAILABLE|ABORTED|DEADLINE_EXCEEDED|CANCELLED)\b"
    r"|^(UNKNOWN|INTERNAL|FAILED_PRECONDITION):.*(?i:gloo|nccl|connection|heartbeat|barrier)",
    re.DOTALL,
)
ROLL = "processes"
SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")


@dataclasses.dataclass(frozen=True)
class Launch:
    """What a launcher promised this process.

    Attributes:
        launcher: its name.
        processes, process: how many there are, and which this one is; None where the launcher does not say.
        port: of the coordinator, where it is known beforehand.
        devices: accelerators over all processes; None where it does not say.
        coordinator: "host:port" where it was given by hand; otherwise JAX finds it.
    """

    launcher: str
    processes: int | None = None
    process: int | None = None
    devices: int | None = None
    coordinator: str | None = None
    port: int | None = None


def find_launch(environment: Mapping[str, str]) -> Launch | None:
    """The launcher that started this process, by the variables that it documents; None for a process on its own.

    What a launcher does not say, ECHOFORGE_PROCESSES and ECHOFORGE_DEVICES (over all processes) may promise.
    """
    launch = _launcher(environment)
    if launch is None:
        return None
    processes, devices = environment.get("ECHOFORGE_PROCESSES"), environment.get("ECHOFORGE_DEVICES")
    return dataclasses.replace(
        launch,
        processes=launch.processes or (int(processes) if processes else None),
        devices=launch.devices or (int(devices) if devices else None),
    )


def _launcher(environment: Mapping[str, str]) -> Launch | None:
    of = environment.get
    if all(name in environment for name in SLURM):
        nodes, gpus = of("SLURM_JOB_NUM_NODES"), of("SLURM_GPUS_ON_NODE")
        devices = int(nodes) * int(gpus) if nodes and gpus and gpus.isdigit() else None
        port = int(of("JAX_COORDINATOR_PORT", 61440 + int(environment["SLURM_JOB_ID"]) % 4096))  # JAX's own choice
        launch = Launch("SLURM", int(environment["SLURM_NTASKS"]), int(environment["SLURM_PROCID"]), devices, port=port)
        return launch if launch.processes != 1 or (devices or 1) > 1 else None
    if "OMPI_COMM_WORLD_SIZE" in environment:
        size = int(environment["OMPI_COMM_WORLD_SIZE"])
        return Launch("Open MPI", size, int(environment["OMPI_COMM_WORLD_RANK"])) if size > 1 else None
    hosts = [host for host in (of("TPU_PROCESS_ADDRESSES") or of("TPU_WORKER_HOSTNAMES") or "").split(",") if host]
    if len(hosts) > 1:
        worker = of("TPU_WORKER_ID")
        return Launch("Cloud TPU", len(hosts), int(worker) if worker else None)
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return Launch("Kubernetes", None, int(environment["JOB_COMPLETION_INDEX"]))
    return None


def given_by_hand(coordinator: str, processes: int | None, process: int | None) -> Launch:
    """A launch by flags.

    Raises:
        LaunchError: "HOST:PORT" cannot be read, or a number is missing.
    """
    port = coordinator.rpartition(":")[2]
    if not port.isdigit() or processes is None or process is None or not 0 <= process < processes:
        raise LaunchError(
            f"--coordinator={coordinator} --processes={processes} --process_id={process}; expected HOST:PORT, the "
            "number of processes and which one this is, from 0"
        )
    return Launch("--coordinator", processes, process, None, coordinator, int(port))


def start(
    mode: str,
    roll: Path,
    by_hand: Launch | None = None,
    timeout_s: float = TIMEOUT_S,
    heartbeat_s: int = 100,
    environment: Mapping = os.environ,
) -> None:
    """Joins the processes of a run into one JAX, before any other use of it.

    Args:
        mode: "off": this process alone. "auto": together where a launcher of several is found. "on": together, or fail.
        roll: folder that all processes see; each leaves its name there.
        by_hand: how many processes there are, which this is and who coordinates, where no launcher says so.
        timeout_s: for all processes to appear.
        heartbeat_s: a process that is silent for so long is lost.

    Raises:
        LaunchError: no launcher (mode "on"), the runtime could not start, or it holds other processes or devices than
            promised. A process that never appears ends this one with exit code LAUNCH and a message.
    """
    launch = by_hand or find_launch(environment)
    if mode == "off" or (mode == "auto" and launch is None):
        return
    if launch is None:
        raise LaunchError(
            "--distributed=on, but no launcher was found (SLURM, Open MPI, Kubernetes Job, Cloud TPU); start with "
            "srun, mpirun or scripts/kubernetes, or give --coordinator=HOST:PORT --processes=N --process_id=I"
        )
    began = time.time()
    write_presence(roll, launch)
    if launch.process == 0 and launch.port is not None:
        _check_port(launch.port)
    given_up = threading.Timer(timeout_s, _give_up, (roll, launch, began, timeout_s, environment))
    given_up.daemon = True
    given_up.start()
    try:
        jax.distributed.initialize(
            launch.coordinator,
            launch.processes if launch.coordinator else None,
            launch.process if launch.coordinator else None,
            initialization_timeout=int(timeout_s) + 60,
            heartbeat_timeout_seconds=heartbeat_s,
        )
        devices = jax.devices()  # waits for all processes, so inside the watch as well
    except (RuntimeError, ValueError) as error:
        raise LaunchError(f"the processes of {launch.launcher} did not come together: {error}{_why(error)}") from error
    finally:
        given_up.cancel()
    check(launch, jax.process_count(), len(devices), jax.local_device_count(), jax.default_backend())
    print(
        f"process {jax.process_index()} of {jax.process_count()} holds {jax.local_device_count()} of {len(devices)} "
        f"devices ({launch.launcher}, {socket.gethostname()})",
        file=sys.stderr,
        flush=True,
    )


def is_lost(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that another process of this run is gone."""
    while error is not None and jax.process_count() > 1:
        if isinstance(error, (jax.errors.JaxRuntimeError, ValueError)) and LOST.search(str(error)):  # JAX raises both
            return True
        error = error.__cause__
    return False


@contextmanager
def exit_if_process_lost() -> Iterator[None]:
    """Ends this process where another has been lost: JAX then fails in a collective operation, and an ordinary exit
    would wait for the lost one. (Where it does not fail, JAX aborts all processes itself once it
    misses the lost one's heartbeat.)"""
    try:
        yield
    except Exception as error:
        if not is_lost(error):
            raise
        text = str(error).strip().splitlines()[0][:300]
        print(
            f"error: process {jax.process_index()} of {jax.process_count()} cannot go on; another was probably lost "
            f"({text}). Checkpoints are as they were: the same command goes on from the last one",
            file=sys.stderr,
            flush=True,
        )
        os._exit(LAUNCH)


def check(launch: Launch, processes: int, devices: int, local_devices: int, backend: str) -> None:
    """Compares what JAX holds with what was promised.

    Raises:
        LaunchError: they differ.
    """
    if launch.processes is not None and processes != launch.processes:
        raise LaunchError(
            f"{launch.launcher} promised {launch.processes} processes, JAX holds {processes}: each probably runs "
            "alone; look for JAX_COORDINATOR_ADDRESS or --distributed=off in the job"
        )
    if launch.devices is not None and backend != "cpu" and devices != launch.devices:
        one_each = local_devices == 1 and devices == processes and backend != "tpu"
        raise LaunchError(
            f"{launch.launcher} promised {launch.devices} accelerators, JAX holds {devices} in {processes} processes: "
            + (
                "each process sees one GPU of its node, so start one process a GPU (--ntasks-per-node = GPUs a node)"
                if one_each
                else "look at CUDA_VISIBLE_DEVICES and --gpus-per-task (TPU: the slice's type and TPU_VISIBLE_CHIPS): "
                "a process may hide devices from the others"
            )
        )
    if launch.devices is not None and backend == "cpu" and launch.devices:
        raise LaunchError(
            f"{launch.launcher} promised {launch.devices} accelerators, but JAX runs on the CPU: install "
            "echoforge_jax[cuda] (or [tpu]), and look at JAX_PLATFORMS"
        )


def _check_port(port: int) -> None:
    """JAX ends with a segmentation fault where its coordinator's port is taken, so look first.

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


def write_presence(roll: Path, launch: Launch) -> None:
    if launch.process is None:
        return
    folder = roll / ROLL
    folder.mkdir(parents=True, exist_ok=True)
    about = {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
    (folder / f"{launch.process}.json").write_text(json.dumps(about), encoding="utf-8")


def read_presence(roll: Path, since: float) -> dict[int, str]:
    """Processes that have signed the roll since a time (seconds of the epoch), with their hosts."""
    found = {}
    for file in (roll / ROLL).glob("*.json"):
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # being written
        if about["time"] >= since:
            found[int(file.stem)] = about["host"]
    return found


def missing_text(launch: Launch, there: Mapping[int, str]) -> str:
    """Who is there and who is not, in words."""
    hosts = ", ".join(f"{process} ({host})" for process, host in sorted(there.items())) or "none"
    if launch.processes is None:
        return f"processes that have signed in: {hosts}"
    missing = [process for process in range(launch.processes) if process not in there]
    return f"{len(missing)} of {launch.processes} processes are missing: {missing}; there: {hosts}"


def _give_up(roll: Path, launch: Launch, began: float, timeout_s: float, environment: Mapping[str, str]) -> None:
    """Ends this process where JAX would abort it without a word."""
    there = read_presence(roll, began - timeout_s)
    text = f"error: no common start after {timeout_s:.0f} s; {missing_text(launch, there)}"
    if launch.processes is not None and len(there) == launch.processes:
        text += "; all have signed in, so they cannot reach the coordinator: look at firewalls and its port"
    if proxies := sorted(name for name in environment if name.lower() in ("http_proxy", "https_proxy", "all_proxy")):
        text += f"; proxy variables are set ({', '.join(proxies)}) and can block the connection: unset them"
    print(text, file=sys.stderr, flush=True)
    os._exit(LAUNCH)


def _why(error: Exception) -> str:
    if "kubernetes" in str(error).lower():
        return " (pip install kubernetes, and give the pod's account the right to read pods and jobs)"
    return ""
