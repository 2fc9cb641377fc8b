"""Flags of a run over several processes, which train and evaluate share."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from absl import flags

from echoforge_jax.distributed.launch import launch_by_hand
from echoforge_jax.distributed.start import Mode, Patience, start

_DISTRIBUTED = flags.DEFINE_enum(
    "distributed",
    "auto",
    ["auto", "on", "off"],
    "Whether this process joins others. auto joins those that SLURM, Open MPI, Kubernetes or Cloud TPU started with "
    "it; on does so or fails; off runs this process alone.",
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0. It is needed where no launcher says which processes belong together."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "With --coordinator: the number of processes of the run.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "With --coordinator: the number of this process, from 0.")
_LAUNCH_TIMEOUT_S = flags.DEFINE_integer(
    "launch_timeout_s", 300, "The run fails if not all of its processes have appeared after so many seconds."
)
_HEARTBEAT_S = flags.DEFINE_integer(
    "heartbeat_s", 100, "A process that is silent for so many seconds counts as lost, and all others end."
)


def join_cluster(run_folder: Path) -> None:
    """Joins the processes of a run as the flags say (`distributed.start`), before any other use of JAX.

    Raises:
        LaunchError: as `distributed.start.start`.
    """
    launch = None
    if _COORDINATOR.value:
        launch = launch_by_hand(_COORDINATOR.value, processes=_PROCESSES.value, process=_PROCESS_ID.value)
    patience = Patience(float(_LAUNCH_TIMEOUT_S.value), _HEARTBEAT_S.value)
    start(cast(Mode, _DISTRIBUTED.value), run_folder, launch=launch, patience=patience)
