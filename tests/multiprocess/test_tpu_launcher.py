"""The script for Cloud TPU, with stand-ins for gcloud and for the commands of a host."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.stand_ins import calls_of, stand_in

SCRIPT = Path(__file__).parents[2] / "scripts" / "tpu" / "train.sh"
RESOURCE = "gcloud compute tpus queued-resources"


@pytest.fixture
def cloud(tmp_path: Path) -> Path:
    """A folder with gcloud and one host, whose home is `host`.

    The files `slices` and `trainings` hold, a line each, the states that gcloud and systemd report one after another.
    """
    (tmp_path / "host").mkdir()
    next_line = '{ head -n 1 "$HERE/%s"; sed -i 1d "$HERE/%s"; }'
    stand_in(
        tmp_path,
        "gcloud",
        f"""case "$*" in
          *"queued-resources list"*) {next_line % ("slices", "slices")} ;;
          *"tpu-vm scp"*) cp "$5" "$HERE/host/${{6#*:}}" ;;
          *"tpu-vm ssh"*)
            for a in "$@"; do case "$a" in --command=*) HOME="$HERE/host" bash -c "${{a#--command=}}" ;; esac; done ;;
        esac""",
    )
    stand_in(tmp_path, "sudo", '"$@"')
    stand_in(
        tmp_path, "systemctl", f'case "$1" in show) {next_line % ("trainings", "trainings")} | tr " " "\\n" ;; esac'
    )
    stand_in(tmp_path, "systemd-run", 'printf "%s\\n" "$@" > "$HERE/unit"')
    stand_in(tmp_path, "uv", 'case "$1" in venv) mkdir -p .venv/bin && printf "" > .venv/bin/python ;; esac')
    return tmp_path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout with a changed file and everything that must stay here."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / ".gitignore").write_text(".venv/\nruns/\n.cache/\n")
    (folder / "code.py").write_text("old")
    commit = "git init -q && git add . && git -c user.name=a -c user.email=a@b commit -qm a"
    subprocess.run(["bash", "-c", commit], cwd=folder, check=True, capture_output=True)
    (folder / "code.py").write_text("changed")
    for ignored in (".venv", "runs", ".cache"):
        (folder / ignored).mkdir()
        (folder / ignored / "large").write_text("x")
    return folder


def launch(cloud: Path, checkout: Path, *arguments: str) -> subprocess.CompletedProcess:
    variables = {"PATH": f"{cloud}:{os.environ['PATH']}", "ECHOFORGE_POLL_S": "0"}
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments],
        env=os.environ | variables,
        cwd=checkout,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_start_copies_what_git_knows_and_runs_a_unit_that_outlives_the_session(cloud: Path, checkout: Path):
    results = cloud / "host" / "echoforge_jax" / "runs"
    results.mkdir(parents=True)
    done = launch(cloud, checkout, "start", "slice", "zone", "--config=a.py", "--workdir=/mnt/with space")
    assert done.returncode == 0, done.stderr
    copied = cloud / "host" / "echoforge_jax"
    assert (copied / "code.py").read_text() == "changed"
    assert not (copied / ".git").exists() and not (copied / ".cache").exists() and not (copied / ".venv/large").exists()
    assert results.is_dir()  # what lay on the host stays
    assert (checkout / "code.py").read_text() == "changed"
    unit = (cloud / "unit").read_text().splitlines()
    assert unit[-6:] == [
        f"{copied}/.venv/bin/python",
        "-m",
        "echoforge_jax.train",
        "--distributed=on",
        "--config=a.py",
        "--workdir=/mnt/with space",
    ]
    assert "--property=Restart=on-failure" in unit and "--property=RestartPreventExitStatus=1 2 3 74 77" in unit
    assert "--property=StartLimitBurst=21" in unit  # the first start and twenty more
    calls = calls_of(cloud)
    assert "uv venv --quiet --python 3.12 .venv" in calls
    assert all("--worker=all" in call for call in calls if " tpu-vm " in call)
    stopped = calls.index("systemctl stop echoforge")
    assert stopped < next(number for number, call in enumerate(calls) if "tpu-vm scp" in call)


def test_a_second_start_keeps_the_environment(cloud: Path, checkout: Path):
    for _ in range(2):
        assert launch(cloud, checkout, "start", "slice", "zone", "--config=a.py").returncode == 0
        (cloud / "host/echoforge_jax/.venv/bin/python").chmod(0o755)
    assert len([call for call in calls_of(cloud) if call.startswith("uv venv")]) == 1


def test_the_slice_is_asked_for_as_a_queued_resource(cloud: Path, checkout: Path):
    assert launch(cloud, checkout, "create", "slice", "zone", "v5litepod-16", "image", "--spot").returncode == 0
    assert calls_of(cloud) == [
        f"{RESOURCE} create slice --node-id=slice --zone=zone --accelerator-type=v5litepod-16 --runtime-version=image "
        "--spot"
    ]


KEEP = ("slice", "zone", "v5litepod-16", "image", "--spot", "--", "--config=a.py")


def test_keep_asks_for_a_preempted_slice_again_and_continues_until_the_training_is_done(cloud: Path, checkout: Path):
    (cloud / "slices").write_text("\nPROVISIONING\nACTIVE\nACTIVE\nSUSPENDED\n\nACTIVE\nACTIVE\n")
    (cloud / "trainings").write_text(
        "ExecMainStatus=0 SubState=dead\nExecMainStatus=0 SubState=running\n"
        "ExecMainStatus=0 SubState=dead\nExecMainStatus=0 SubState=exited\n"
    )
    done = launch(cloud, checkout, "keep", "1", *KEEP)
    assert done.returncode == 0, done.stderr
    assert "still costs money" in done.stderr
    calls = calls_of(cloud)
    assert [call.split()[4] for call in calls if call.startswith(RESOURCE) and " list " not in call] == [
        "create",
        "delete",
        "create",
    ]
    assert len([call for call in calls if call.startswith("systemd-run")]) == 2


@pytest.mark.parametrize(
    ("slices", "trainings", "message"),
    [
        ("SUSPENDED\n", "", "as often as you allowed"),
        ("ACTIVE\n", "ExecMainStatus=2 SubState=failed\n", "failed 2"),
        ("ACTIVE\n", "ExecMainStatus=75 SubState=failed\n", "stopped and saved"),
    ],
)
def test_keep_ends_with_a_message_and_deletes_nothing(
    slices: str, trainings: str, message: str, cloud: Path, checkout: Path
):
    (cloud / "slices").write_text(slices)
    (cloud / "trainings").write_text(trainings)
    done = launch(cloud, checkout, "keep", "0", *KEEP)
    assert done.returncode == 2 and message in done.stderr
    assert not [call for call in calls_of(cloud) if " delete " in call or call.startswith("systemd-run")]


def test_keep_waits_while_gcloud_does_not_answer(cloud: Path, checkout: Path):
    (cloud / "slices").write_text("ACTIVE\n")
    (cloud / "trainings").write_text("ExecMainStatus=0 SubState=exited\n")
    real = (cloud / "gcloud").read_text()
    silent = 'if [ ! -e "$HERE/asked" ]; then touch "$HERE/asked"; exit 1; fi\n'
    (cloud / "gcloud").write_text(real.replace("case ", silent + "case ", 1))
    assert launch(cloud, checkout, "keep", "0", *KEEP).returncode == 0
    assert not [call for call in calls_of(cloud) if " create " in call]  # no answer is not "no such slice"


@pytest.mark.parametrize("command", ["status", "stop", "logs"])
def test_status_stop_and_logs_reach_the_hosts(command: str, cloud: Path, checkout: Path):
    (cloud / "slices").write_text("ACTIVE\n")
    (cloud / "trainings").write_text("ExecMainStatus=0 SubState=running\n")
    stand_in(cloud, "tail", "echo last line")
    done = launch(cloud, checkout, command, "slice", "zone")
    assert done.returncode == 0, done.stderr
    if command == "status":
        assert "slice: ACTIVE" in done.stderr and "SubState=running" in done.stdout and "last line" in done.stdout
    elif command == "stop":
        assert "systemctl stop echoforge" in calls_of(cloud)
    else:
        assert "last line" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("start", "slice", "zone"),
        ("create", "slice", "zone", "v5litepod-16"),
        ("keep", "often", *KEEP),
        ("keep", "1", "slice", "zone", "v5litepod-16", "image", "--config=a.py"),
        ("other", "slice", "zone"),
    ],
)
def test_arguments_that_are_missing_or_unknown_end_with_exit_code_2(
    arguments: tuple[str, ...], cloud: Path, checkout: Path
):
    done = launch(cloud, checkout, *arguments)
    assert done.returncode == 2 and "train.sh" in done.stderr
    assert not calls_of(cloud)
