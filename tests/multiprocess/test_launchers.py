"""The launch scripts, with stand-ins for the cluster's commands: what they start, pass on and do with the exit code."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from echoforge_jax import errors
from echoforge_jax.config.files import find_config

SCRIPTS = Path(__file__).parents[2] / "scripts"


def stand_in(folder: Path, name: str, body: str) -> None:
    file = folder / name
    file.write_text(f'#!/bin/bash\necho "{name} $*" >> "{folder}/calls"\n{body}\n')
    file.chmod(0o755)


def launch(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_JOB_ID": "7",
        "https_proxy": "http://nowhere:1",
    }
    return subprocess.run(
        ["bash", str(SCRIPTS / script), *arguments],
        env=environment,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("script", sorted(p.relative_to(SCRIPTS).as_posix() for p in SCRIPTS.rglob("*.s*h")))
def test_the_shell_can_read_every_script(script: str):
    done = subprocess.run(["bash", "-n", str(SCRIPTS / script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (75, True), (3, False)])
def test_slurm_puts_an_interrupted_job_back_and_passes_other_codes_on(code: int, requeued: bool, tmp_path: Path):
    stand_in(tmp_path, "srun", f'env | grep -ci https_proxy >> "{tmp_path}/proxies"\nexit {code}')
    stand_in(tmp_path, "scontrol", "")
    done = launch("slurm/train.sbatch", tmp_path, "--config=a.py", "--workdir=runs/with space")
    assert done.returncode == code
    calls = (tmp_path / "calls").read_text().splitlines()
    assert "-m echoforge_jax.train --distributed=on --config=a.py --workdir=runs/with space" in calls[0]
    assert (calls[1:] == ["scontrol requeue 7"]) is requeued
    assert (tmp_path / "proxies").read_text() == "0\n"
    assert launch("slurm/train.sbatch", tmp_path).returncode == 2


def test_tpu_starts_the_same_command_on_every_worker(tmp_path: Path):
    stand_in(tmp_path, "gcloud", 'for a in "$@"; do case "$a" in --command=*) bash -c "echo ${a#*train }";; esac; done')
    done = launch("tpu/train.sh", tmp_path, "slice", "zone", "--config=a.py", "--workdir=/mnt/with space")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "--distributed=on --config=a.py --workdir=/mnt/with space\n"  # one argument stays one
    assert "ssh slice --zone=zone --worker=all" in (tmp_path / "calls").read_text()
    assert launch("tpu/train.sh", tmp_path, "slice").returncode == 2


def test_the_jobset_agrees_with_itself():
    documents = {d["kind"]: d for d in yaml.safe_load_all((SCRIPTS / "kubernetes/jobset.yaml").read_text())}
    assert set(documents) == {"ServiceAccount", "Role", "RoleBinding", "JobSet"}
    account = documents["ServiceAccount"]["metadata"]["name"]
    binding = documents["RoleBinding"]
    assert binding["roleRef"]["name"] == documents["Role"]["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account}]
    rules = documents["Role"]["rules"]
    rights = {(group, resource) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]}
    assert rights >= {("", "pods"), ("", "services"), ("batch", "jobs")}  # what JAX's detection reads
    job = documents["JobSet"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert job["parallelism"] == job["completions"] > 1 and job["completionMode"] == "Indexed"
    pod = job["template"]["spec"]
    assert pod["serviceAccountName"] == account and pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    promised = {variable["name"]: int(variable["value"]) for variable in container["env"]}
    assert promised["ECHOFORGE_PROCESSES"] == job["completions"]
    assert promised["ECHOFORGE_DEVICES"] == job["completions"] * container["resources"]["limits"]["nvidia.com/gpu"]
    (hopeless,) = job["podFailurePolicy"]["rules"]
    assert hopeless["onExitCodes"]["containerName"] == container["name"]
    assert set(hopeless["onExitCodes"]["values"]) == {errors.USAGE, errors.NON_FINITE, errors.STORAGE}  # not 75, 76
    config = next(a for a in container["command"] if a.startswith("--config="))
    assert find_config(config.partition("=")[2]).is_relative_to(SCRIPTS.parent / "configs")
