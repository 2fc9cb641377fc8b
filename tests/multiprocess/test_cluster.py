"""Who launched a process, and what is said when the processes do not come together."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from echoforge_jax.console import FAILED
from echoforge_jax.distributed.launch import Launch, Runtime, check_launch, find_launch, launch_by_hand
from echoforge_jax.distributed.start import PRESENCE, describe_presence, exit_if_process_lost, read_presence, start
from echoforge_jax.errors import LAUNCH, CheckpointError, LaunchError
from tests.helpers.jobs import free_port

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "n[1-2]",
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_GPUS_ON_NODE": "4",
}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (SLURM, Launch("SLURM", 8, 5, 8, port=61447)),
        (
            {**SLURM, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
            Launch("SLURM", 1, 0, 8, port=61447),
        ),  # one process, many GPUs
        ({k: v for k, v in {**SLURM, "SLURM_NTASKS": "1"}.items() if "GPUS" not in k}, None),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}, Launch("Open MPI", 4, 3)),
        ({"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, None),
        ({"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "1"}, Launch("Cloud TPU", 2, 1)),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "2"}, Launch("Kubernetes", None, 2)),
        (
            {
                "KUBERNETES_SERVICE_HOST": "10.0.0.1",
                "JOB_COMPLETION_INDEX": "2",
                "ECHOFORGE_PROCESSES": "3",
                "ECHOFORGE_DEVICES": "12",
            },
            Launch("Kubernetes", 3, 2, 12),
        ),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),  # a pod that is no job of several
    ],
)
def test_launchers_are_known_by_their_variables(environment, expected):
    assert find_launch(environment) == expected


@pytest.mark.parametrize(
    ("launch", "held", "message"),
    [
        (Launch("SLURM", 8, 0, 8), (8, 8, 1, "gpu"), ""),
        (Launch("SLURM", 2, 0, 8), (2, 2, 1, "gpu"), "one process a GPU"),
        (Launch("SLURM", 8, 0, 8), (8, 4, 2, "gpu"), "CUDA_VISIBLE_DEVICES"),
        (Launch("SLURM", 8, 0, 8), (8, 8, 1, "cpu"), "JAX_PLATFORMS"),
        (Launch("Open MPI", 4, 0), (1, 1, 1, "cpu"), "runs alone"),
        (Launch("Kubernetes", None, 0), (4, 16, 4, "tpu"), ""),
        (Launch("Cloud TPU", 4, 0, 16), (4, 12, 3, "tpu"), "promised 16 accelerators, JAX holds 12.*slice's type"),
    ],
)
def test_what_jax_holds_is_compared_with_the_promise(launch, held, message):
    if not message:
        return check_launch(launch, Runtime(*held))
    with pytest.raises(LaunchError, match=message):
        check_launch(launch, Runtime(*held))


def test_together_or_alone_by_the_mode(tmp_path: Path):
    start("off", tmp_path, environment=SLURM)
    start("auto", tmp_path, environment={})
    with pytest.raises(LaunchError, match="no launcher was found"):
        start("on", tmp_path, environment={})


def test_presence_of_earlier_runs_does_not_count(tmp_path: Path):
    folder = tmp_path / PRESENCE
    folder.mkdir()
    for process, age_s in ((0, 0), (1, 900), (3, 1)):
        presence = {"host": f"h{process}", "time": time.time() - age_s}
        (folder / f"{process}.json").write_text(json.dumps(presence))
    (folder / "2.json").write_text("{")
    there = read_presence(tmp_path, since=time.time() - 60)
    assert there == {0: "h0", 3: "h3"}
    assert (
        describe_presence(Launch("SLURM", 4, 0), there) == "2 of 4 processes are missing: [1, 2]; there: 0 (h0), 3 (h3)"
    )


def _start(
    run_folder: Path, processes: int, process: int, port: int, timeout_s: int, then: str = "", **variables: str
) -> subprocess.CompletedProcess:
    program = (
        "import sys; from pathlib import Path; from echoforge_jax.console import errors_as_messages; "
        "from echoforge_jax.distributed.launch import launch_by_hand; "
        "from echoforge_jax.distributed.start import Patience, start\n"
        "with errors_as_messages(): "
        "launch = launch_by_hand(sys.argv[4], processes=int(sys.argv[2]), process=int(sys.argv[3])); "
        f"start('on', Path(sys.argv[1]), launch=launch, patience=Patience(float(sys.argv[5]))); {then}"
    )
    arguments = [str(run_folder), str(processes), str(process), f"localhost:{port}", str(timeout_s)]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | variables
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=Path(__file__).parents[2],
        env=environment,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


def test_a_missing_process_is_named_after_the_time_out(tmp_path: Path):
    done = _start(tmp_path, 3, 0, free_port(), 5, https_proxy="http://nowhere:1")
    assert done.returncode == LAUNCH
    assert "2 of 3 processes are missing: [1, 2]" in done.stderr and f"0 ({socket.gethostname()})" in done.stderr
    assert "https_proxy" in done.stderr and "Traceback" not in done.stderr


def test_only_what_says_that_another_is_gone_is_taken_for_a_lost_process(monkeypatch, capsys):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(os, "_exit", sys.exit)
    lost = jax.errors.JaxRuntimeError("UNAVAILABLE: socket closed")
    while_saving = CheckpointError("a checkpoint could not be written")
    while_saving.__cause__ = lost
    gloo = ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer")
    for error in (lost, gloo, while_saving):
        with pytest.raises(SystemExit, match=str(LAUNCH)), exit_if_process_lost():
            raise error
        assert f"another was probably lost ({error})" in capsys.readouterr().err
    ours = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes")
    for error in (ours, ValueError("no connection to DIR: a barrier of 2 m"), CheckpointError("disk full")):
        with pytest.raises(type(error)), exit_if_process_lost():
            raise error


def test_a_bug_in_one_of_several_processes_ends_it_at_once_with_its_trace(tmp_path: Path):
    done = _start(tmp_path, 1, 0, free_port(), 20, "raise ZeroDivisionError('a bug')")
    assert done.returncode == FAILED and "ZeroDivisionError: a bug" in done.stderr


def test_processes_that_see_other_folders_are_named(tmp_path: Path):
    """Two hosts with a local folder of one name each."""
    program = (
        "import sys; from pathlib import Path; from echoforge_jax.console import errors_as_messages; "
        "from echoforge_jax.distributed.launch import Launch; "
        "from echoforge_jax.distributed.start import Patience, start\n"
        "with errors_as_messages(): start('on', Path(sys.argv[1]), patience=Patience(60, folder_s=1), "
        "launch=Launch('test', 2, int(sys.argv[2]), None, sys.argv[3], int(sys.argv[3].split(':')[1])))"
    )
    coordinator = f"localhost:{free_port()}"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / f"host{number}"), str(number), coordinator],
            cwd=Path(__file__).parents[2],
            env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert any(process.returncode == LAUNCH for process in started), said
    message = f"do not see one folder.*process 1 \\({socket.gethostname()}\\): {tmp_path / 'host1'}.*--workdir"
    assert re.search(message, "".join(said), re.DOTALL), said


def test_a_port_that_is_taken_is_named(tmp_path: Path):
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen()
        done = _start(tmp_path, 1, 0, taken.getsockname()[1], 20)
    assert done.returncode == LAUNCH and "is taken on" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("here", 2, 0), ("here:x", 2, 0), ("here:1", 2, 2), ("here:1", None, 0)])
def test_flags_that_say_too_little_are_refused(arguments):
    coordinator, processes, process = arguments
    with pytest.raises(LaunchError, match="expected HOST:PORT"):
        launch_by_hand(coordinator, processes=processes, process=process)
    assert launch_by_hand("here:81", processes=2, process=1) == Launch("--coordinator", 2, 1, None, "here:81", 81)
