"""Flags of a run over several processes, shared by the entry points."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from echoforge_jax.distributed.start import given_by_hand, start

_DISTRIBUTED = flags.DEFINE_enum(
    "distributed",
    "auto",
    ["auto", "on", "off"],
    "Processes as one run: where SLURM, Open MPI, Kubernetes or Cloud TPU started them, or fail, or never.",
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, where no launcher says so.")
_PROCESSES = flags.DEFINE_integer("processes", None, "How many there are, with --coordinator.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which one this is, from 0, with --coordinator.")
_LAUNCH_TIMEOUT_S = flags.DEFINE_integer("launch_timeout_s", 300, "For all processes to appear.")
_HEARTBEAT_S = flags.DEFINE_integer("heartbeat_s", 100, "A process that is silent for so long is lost; all then end.")


def join_cluster(run_folder: Path) -> None:
    """Joins the processes of a run as the flags say (`cluster.start`), before any other use of JAX.

    Raises:
        LaunchError: as `cluster.start`.
    """
    by_hand = None
    if _COORDINATOR.value:
        by_hand = given_by_hand(_COORDINATOR.value, _PROCESSES.value, _PROCESS_ID.value)
    start(_DISTRIBUTED.value, run_folder, by_hand, _LAUNCH_TIMEOUT_S.value, _HEARTBEAT_S.value)
