"""The scripts for SLURM, with stand-ins for its commands: what they start, pass on and do with signals and codes.

docs/results/slurm.md records what a real SLURM did with the same script.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from echoforge_jax import errors
from tests.helpers.stand_ins import calls_of, stand_in

SCRIPTS = Path(__file__).parents[2] / "scripts"
SHELL_SCRIPTS = sorted(p.relative_to(SCRIPTS).as_posix() for p in SCRIPTS.rglob("*.s*h"))
RUNNING = "JobId=7 JobState=RUNNING Reason=None"
REQUEUE = "scontrol requeue 7"


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A folder with SLURM's commands. `state` holds what SLURM says of the job, `code` how the processes end.

    The processes end as soon as they are asked (the file `asked`).
    """
    (tmp_path / "state").write_text(RUNNING)
    (tmp_path / "code").write_text(str(errors.OK))
    stand_in(
        tmp_path,
        "srun",
        'env > "$HERE/environment"\nuntil [ -e "$HERE/asked" ]; do sleep 0.05; done; exit "$(cat "$HERE/code")"',
    )
    stand_in(
        tmp_path,
        "scontrol",
        'case "$*" in *hostnames*) printf "n3\\nn4\\n" ;; *"show job"*) cat "$HERE/state" ;;'
        ' *"show node n3"*) echo "NodeName=n3 NodeAddr=10.0.0.3 Port=1" ;; esac',
    )
    stand_in(
        tmp_path,
        "squeue",
        'case "$*" in *COMPLETING*) grep -o COMPLETING "$HERE/state" ;; *--steps*) printf "7.batch\\n7.0\\n" ;; esac',
    )
    stand_in(tmp_path, "scancel", 'touch "$HERE/asked"')
    return tmp_path


def submit(cluster: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    """Starts the batch script as SLURM would on the first node, with two nodes of four GPUs."""
    variables = {
        "PATH": f"{cluster}:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(cluster),
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "n[3-4]",
        "SLURM_CPUS_PER_TASK": "8",
        "SLURM_GPUS_ON_NODE": "4",
        "SLURM_NTASKS_PER_NODE": "4",
        "ECHOFORGE_PYTHON": sys.executable,
        "https_proxy": "http://nowhere:1",
    }
    return subprocess.Popen(
        ["bash", str(SCRIPTS / "slurm/train.sbatch"), *arguments],
        env=os.environ | variables | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def end(job: subprocess.Popen) -> tuple[int, str]:
    """Waits for the end of the batch script; returns its exit code and what it printed."""
    printed = "".join(job.communicate(timeout=60))
    return job.returncode, printed


def run(cluster: Path, code: int, **environment: str) -> tuple[int, str]:
    """Runs the batch script with processes that end at once with an exit code."""
    (cluster / "code").write_text(str(code))
    (cluster / "asked").touch()
    return end(submit(cluster, "--config=a.py", "--workdir=runs/with space", **environment))


def send(job: subprocess.Popen, cluster: Path, number: signal.Signals) -> None:
    """Sends a signal to the batch shell once the processes have been started."""
    deadline = time.monotonic() + 30
    while not (cluster / "environment").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    job.send_signal(number)


@pytest.mark.parametrize("script", SHELL_SCRIPTS)
def test_the_shell_can_read_every_script(script: str):
    done = subprocess.run(["bash", "-n", str(SCRIPTS / script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SHELL_SCRIPTS)
def test_shellcheck_finds_nothing(script: str):
    done = subprocess.run(["shellcheck", "-x", SCRIPTS / script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_slurm_starts_the_training_with_all_arguments_cores_and_a_meeting_point(cluster: Path):
    code, printed = run(cluster, errors.OK)
    assert code == errors.OK, printed
    (started,) = [call for call in calls_of(cluster) if call.startswith("srun ")]
    assert started.endswith("-m echoforge_jax.train --distributed=on --config=a.py --workdir=runs/with space")
    assert "--kill-on-bad-exit=0" in started
    environment = dict(line.split("=", 1) for line in (cluster / "environment").read_text().splitlines() if "=" in line)
    assert environment["SRUN_CPUS_PER_TASK"] == "8"
    assert environment["JAX_COORDINATOR_ADDRESS"] == "10.0.0.3:61447"
    assert environment["JAX_COORDINATOR_PORT"] == "61447"
    assert not {name for name in environment if name.lower() == "https_proxy"}


def test_the_meeting_point_is_a_free_port(cluster: Path):
    with socket.create_server(("127.0.0.1", 61447)):
        run(cluster, errors.OK)
    assert "JAX_COORDINATOR_ADDRESS=10.0.0.3:61448" in (cluster / "environment").read_text().splitlines()


def test_an_address_of_ip_version_6_is_put_in_brackets(cluster: Path):
    stand_in(cluster, "scontrol", 'case "$*" in *hostnames*) echo n3 ;; *) echo "N=n3 NodeAddr=fd00::3 P=1" ;; esac')
    run(cluster, errors.OK)
    assert "JAX_COORDINATOR_ADDRESS=[fd00::3]:61447" in (cluster / "environment").read_text().splitlines()


def test_without_an_address_from_slurm_jax_takes_the_name_of_the_first_node(cluster: Path):
    stand_in(cluster, "scontrol", "exit 1")
    code, printed = run(cluster, errors.OK)
    assert code == errors.OK and "the first node, port 61447" in printed
    environment = (cluster / "environment").read_text()
    assert "JAX_COORDINATOR_PORT=61447" in environment and "JAX_COORDINATOR_ADDRESS" not in environment


@pytest.mark.parametrize(("gpus", "tasks"), [("gpu:4", "4"), ("", "2"), ("4", ""), ("04", "4")])
def test_counts_of_gpus_in_other_forms_stop_no_job(gpus: str, tasks: str, cluster: Path):
    assert run(cluster, errors.OK, SLURM_GPUS_ON_NODE=gpus, SLURM_NTASKS_PER_NODE=tasks)[0] == errors.OK


@pytest.mark.parametrize("code", [errors.OK, 1, errors.USAGE, errors.NON_FINITE, errors.STORAGE, errors.LAUNCH, 137])
def test_slurm_passes_other_codes_on_and_requeues_nothing(code: int, cluster: Path):
    assert run(cluster, code)[0] == code
    assert REQUEUE not in calls_of(cluster)


@pytest.mark.parametrize(
    ("state", "requeued"),
    [
        (RUNNING, True),  # preempted with a grace time: the processes alone were asked
        ("JobId=7 JobState=COMPLETING Reason=TimeLimit", True),
        ("JobId=7 JobState=COMPLETING Reason=None EndTime=2026-11-27T18:08:35", False),  # scancel
        ("JobId=7 JobState=COMPLETING Reason=None Restarts=1 EndTime=Unknown", False),  # preempted: SLURM requeues
    ],
)
def test_slurm_requeues_a_saved_job_that_nobody_cancelled_and_nobody_requeues(
    state: str, requeued: bool, cluster: Path
):
    (cluster / "state").write_text(state)
    code, printed = run(cluster, errors.INTERRUPTED)
    assert code == errors.INTERRUPTED
    assert calls_of(cluster).count(REQUEUE) == requeued, printed


@pytest.mark.parametrize(("restarts", "requeued"), [("2", True), ("3", False), ("4", False)])
def test_the_number_of_restarts_is_bounded(restarts: str, requeued: bool, cluster: Path):
    _, printed = run(cluster, errors.INTERRUPTED, SLURM_RESTART_COUNT=restarts, ECHOFORGE_MAX_RESTARTS="3")
    assert (REQUEUE in calls_of(cluster)) is requeued
    assert ("Submit the same command again" in printed) is not requeued


def test_before_the_time_limit_the_processes_are_asked_to_save_and_the_job_is_requeued(cluster: Path):
    (cluster / "code").write_text(str(errors.INTERRUPTED))
    job = submit(cluster, "--config=a.py")
    send(job, cluster, signal.SIGUSR1)
    code, printed = end(job)
    assert code == errors.INTERRUPTED, printed
    calls = calls_of(cluster)
    assert calls.count("scancel --quiet --signal=TERM 7") == 1 and calls[-1] == REQUEUE


def test_scancel_lets_the_processes_save_and_requeues_nothing(cluster: Path):
    (cluster / "code").write_text(str(errors.INTERRUPTED))
    (cluster / "state").write_text("JobId=7 JobState=COMPLETING Reason=None")
    job = submit(cluster, "--config=a.py")
    send(job, cluster, signal.SIGTERM)
    time.sleep(0.3)
    assert job.poll() is None  # SLURM would kill the processes if the batch shell ended before them
    (cluster / "asked").touch()
    code, printed = end(job)
    assert code == errors.INTERRUPTED, printed
    assert not [call for call in calls_of(cluster) if call.startswith("scancel") or call == REQUEUE]


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "no arguments"),
        (["--config=a.py"], {"SLURM_NTASKS_PER_NODE": "1"}, "1 processes and 4 GPUs on a node"),
        (["--config=a.py"], {"SLURM_HET_SIZE": "2"}, "heterogeneous"),
        (["--config=a.py"], {"ECHOFORGE_PYTHON": ".venv/bin/nothing"}, ".venv/bin/nothing cannot be started"),
    ],
)
def test_a_job_that_cannot_work_ends_before_it_starts_anything(
    arguments: list[str], environment: dict[str, str], message: str, cluster: Path
):
    code, printed = end(submit(cluster, *arguments, **environment))
    assert code == errors.USAGE and message in printed
    assert not [call for call in calls_of(cluster) if call.startswith("srun")]
