"""Who launched a process, what that launcher promised, and whether JAX holds it.

SLURM, Open MPI, Kubernetes and Cloud TPU are known by the variables that they document.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax

from echoforge_jax.errors import LaunchError

SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")


@dataclasses.dataclass(frozen=True)
class Launch:
    """What a launcher promised this process.

    Attributes:
        launcher: its name.
        processes: how many there are; None where the launcher does not say.
        process: which one this is, from 0; None where the launcher does not say.
        devices: accelerators over all processes; None where the launcher does not say.
        coordinator: "host:port" where it was given by hand; None where JAX finds it.
        port: of the coordinator; None where it is not known beforehand.
    """

    launcher: str
    processes: int | None = None
    process: int | None = None
    devices: int | None = None
    coordinator: str | None = None
    port: int | None = None


@dataclasses.dataclass(frozen=True)
class Runtime:
    """What JAX holds after the start.

    Attributes:
        processes: how many run together.
        devices: over all processes.
        local_devices: of this process.
        backend: "cpu", "gpu" or "tpu".
    """

    processes: int
    devices: int
    local_devices: int
    backend: str

    @classmethod
    def current(cls) -> Runtime:
        """Asks JAX. The first call waits for all processes."""
        return cls(jax.process_count(), jax.device_count(), jax.local_device_count(), jax.default_backend())


def find_launch(environment: Mapping[str, str]) -> Launch | None:
    """Finds the launcher that started this process; returns None for a process on its own.

    What a launcher does not say, two variables may promise: ECHOFORGE_PROCESSES and, over all processes,
    ECHOFORGE_DEVICES.

    Args:
        environment: variables of this process.
    """
    launch = _launch_of(environment)
    if launch is None:
        return None
    processes, devices = environment.get("ECHOFORGE_PROCESSES"), environment.get("ECHOFORGE_DEVICES")
    return dataclasses.replace(
        launch,
        processes=launch.processes or (int(processes) if processes else None),
        devices=launch.devices or (int(devices) if devices else None),
    )


def _launch_of(environment: Mapping[str, str]) -> Launch | None:
    get = environment.get
    if all(name in environment for name in SLURM):
        nodes, gpus = get("SLURM_JOB_NUM_NODES"), get("SLURM_GPUS_ON_NODE")
        devices = int(nodes) * int(gpus) if nodes and gpus and gpus.isdigit() else None
        port = int(get("JAX_COORDINATOR_PORT", 61440 + int(environment["SLURM_JOB_ID"]) % 4096))  # JAX's own choice
        launch = Launch("SLURM", int(environment["SLURM_NTASKS"]), int(environment["SLURM_PROCID"]), devices, port=port)
        return launch if launch.processes != 1 or (devices or 1) > 1 else None
    if "OMPI_COMM_WORLD_SIZE" in environment:
        size = int(environment["OMPI_COMM_WORLD_SIZE"])
        return Launch("Open MPI", size, int(environment["OMPI_COMM_WORLD_RANK"])) if size > 1 else None
    hosts = [host for host in (get("TPU_PROCESS_ADDRESSES") or get("TPU_WORKER_HOSTNAMES") or "").split(",") if host]
    if len(hosts) > 1:
        worker = get("TPU_WORKER_ID")
        return Launch("Cloud TPU", len(hosts), int(worker) if worker else None)
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return Launch("Kubernetes", None, int(environment["JOB_COMPLETION_INDEX"]))
    return None


def launch_by_hand(coordinator: str, *, processes: int | None, process: int | None) -> Launch:
    """Makes a launch from flags, where no launcher says anything.

    Args:
        coordinator: "HOST:PORT" of process 0.
        processes: how many there are.
        process: which one this is, from 0.

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


def check_launch(launch: Launch, runtime: Runtime) -> None:
    """Compares what JAX holds with what was promised.

    Args:
        launch: the promise.
        runtime: what JAX holds.

    Raises:
        LaunchError: they differ.
    """
    if launch.processes is not None and runtime.processes != launch.processes:
        raise LaunchError(
            f"{launch.launcher} promised {launch.processes} processes, JAX holds {runtime.processes}: each probably "
            "runs alone; look for JAX_COORDINATOR_ADDRESS or --distributed=off in the job"
        )
    if launch.devices is not None and runtime.backend != "cpu" and runtime.devices != launch.devices:
        one_each = runtime.local_devices == 1 and runtime.devices == runtime.processes and runtime.backend != "tpu"
        raise LaunchError(
            f"{launch.launcher} promised {launch.devices} accelerators, JAX holds {runtime.devices} in "
            f"{runtime.processes} processes: "
            + (
                "each process sees one GPU of its node, so start one process a GPU (--ntasks-per-node = GPUs a node)"
                if one_each
                else "look at CUDA_VISIBLE_DEVICES and --gpus-per-task (TPU: the slice's type and TPU_VISIBLE_CHIPS): "
                "a process may hide devices from the others"
            )
        )
    if launch.devices and runtime.backend == "cpu":
        raise LaunchError(
            f"{launch.launcher} promised {launch.devices} accelerators, but JAX runs on the CPU: install "
            "echoforge_jax[cuda] (or [tpu]), and look at JAX_PLATFORMS"
        )
