"""The JobSets for Kubernetes agree with themselves and with the exit codes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from echoforge_jax import errors
from echoforge_jax.config.files import find_config

FOLDER = Path(__file__).parents[2] / "scripts" / "kubernetes"
JOBSETS = ["jobset.yaml", "jobset_tpu.yaml"]
FOLDER_LOST = 77  # another command took the folder of the run over
ACCELERATORS = ("nvidia.com/gpu", "google.com/tpu")


def documents(name: str) -> dict[str, Any]:
    return {document["kind"]: document for document in yaml.safe_load_all((FOLDER / name).read_text())}


def action_of(jobset: dict[str, Any], reason: str, message: str) -> str:
    """What the JobSet does when a job fails: its first rule that fits, or a restart that counts."""
    for rule in jobset["spec"]["failurePolicy"]["rules"]:
        patterns = rule.get("onJobFailureMessagePatterns", [""])
        if reason in rule["onJobFailureReasons"] and any(re.search(pattern, message) for pattern in patterns):
            return rule["action"]
    return "RestartJobSet"


def end_of_pod(jobset: dict[str, Any], code: int, *conditions: str) -> str:
    """What the JobSet does when a pod ends: Kubernetes' reason and message for the job, then the JobSet's rules."""
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert job["backoffLimit"] == 0
    for index, rule in enumerate(job["podFailurePolicy"]["rules"]):
        assert rule["action"] == "FailJob"
        if code in rule.get("onExitCodes", {}).get("values", []):
            message = f"Container train for pod a/b failed with exit code {code} matching FailJob rule at index {index}"
            return action_of(jobset, "PodFailurePolicy", message)
        if any(pattern["type"] in conditions for pattern in rule.get("onPodConditions", [])):
            message = f"Pod a/b has condition DisruptionTarget matching FailJob rule at index {index}"
            return action_of(jobset, "PodFailurePolicy", message)
    return action_of(jobset, "BackoffLimitExceeded", "Job has reached the specified backoff limit")


@pytest.mark.parametrize("name", JOBSETS)
def test_a_preemption_uses_up_no_restart(name: str):
    jobset = documents(name)["JobSet"]
    assert end_of_pod(jobset, errors.INTERRUPTED) == "RestartJobSetAndIgnoreMaxRestarts"
    assert end_of_pod(jobset, errors.INTERRUPTED, "DisruptionTarget") == "RestartJobSetAndIgnoreMaxRestarts"
    assert end_of_pod(jobset, 137, "DisruptionTarget") == "RestartJobSetAndIgnoreMaxRestarts"  # no time to save


@pytest.mark.parametrize("name", JOBSETS)
def test_hopeless_ends_fail_at_once_and_others_restart_a_bounded_number_of_times(name: str):
    jobset = documents(name)["JobSet"]
    for code in (errors.USAGE, errors.NON_FINITE, errors.STORAGE, FOLDER_LOST):
        assert end_of_pod(jobset, code) == "FailJobSet"
    for code in (errors.FAILED, errors.LAUNCH, 134, 137):
        assert end_of_pod(jobset, code) == "RestartJobSet"
    assert 0 < jobset["spec"]["failurePolicy"]["maxRestarts"] < 100
    assert jobset["spec"]["failurePolicy"]["restartStrategy"] == "BlockingRecreate"  # one folder, one training


@pytest.mark.parametrize("name", JOBSETS)
def test_the_counts_names_and_volumes_agree(name: str):
    job = documents(name)["JobSet"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert job["parallelism"] == job["completions"] > 1 and job["completionMode"] == "Indexed"
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never" and pod["terminationGracePeriodSeconds"] >= 300
    (container,) = pod["containers"]
    names = {rule["onExitCodes"]["containerName"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule}
    assert names == {container["name"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounts.values()) == set(volumes)
    assert volumes[mounts["/dev/shm"]]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
    promised = {variable["name"]: variable["value"] for variable in container["env"]}
    assert int(promised["ECHOFORGE_PROCESSES"]) == job["completions"]
    (accelerator,) = set(ACCELERATORS) & set(container["resources"]["limits"])
    assert int(promised["ECHOFORGE_DEVICES"]) == job["completions"] * container["resources"]["limits"][accelerator]
    (batch,) = [a.partition("=")[2] for a in container["command"] if a.startswith("--config.data.batch_clips=")]
    assert int(batch) % int(promised["ECHOFORGE_DEVICES"]) == 0
    assert int(container["resources"]["requests"]["cpu"]) >= 10  # docs/explanation/scaling.md, cores of a host
    assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]
    config = next(argument for argument in container["command"] if argument.startswith("--config="))
    assert find_config(config.partition("=")[2]).is_file()
    assert container["command"][:3] == ["python", "-m", "echoforge_jax.train"]  # no shell that would swallow SIGTERM


def test_the_account_may_read_what_jax_asks_for():
    found = documents("jobset.yaml")
    account = found["ServiceAccount"]["metadata"]["name"]
    assert found["RoleBinding"]["roleRef"]["name"] == found["Role"]["metadata"]["name"]
    assert found["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": account}]
    rules = found["Role"]["rules"]
    rights = {(group, resource) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]}
    assert rights >= {("", "pods"), ("", "services"), ("batch", "jobs")}
    pod = found["JobSet"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account


def test_a_tpu_slice_has_one_pod_for_each_host_and_the_chips_of_its_topology():
    job = documents("jobset_tpu.yaml")["JobSet"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    rows, columns = map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    assert job["completions"] * pod["containers"][0]["resources"]["limits"]["google.com/tpu"] == rows * columns
