"""The built wheel, installed into a new environment and used outside the checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from echoforge_jax.config.files import config_names

ROOT = Path(__file__).parents[1]
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
FOLDERS = ("configs", "echoforge_jax", "data_pipelines")
TINY = (
    "data.simulate.patients=3",
    "data.simulate.size=64",
    "data.simulate.frames=4",
    "data.size=32",
    "data.frames=2",
    "data.batch_clips=4",
    "data.augment.crop=0",
    "model.encoder_width=8",
    "model.channels=16",
    "model.heads=2",
    "training.epochs=1",
    "training.steps_per_epoch=2",
    "training.validate_every_epochs=1",
    "training.checkpoint_every_epochs=1",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")  # a copy, for setuptools writes beside what it builds
    for file in FILES:
        shutil.copy(ROOT / file, source / file)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder)
    _pip("wheel", "--no-deps", f"--wheel-dir={source / 'dist'}", str(source))
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment that holds the wheel and sees the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    _pip("--python", str(python), "install", "--no-deps", str(wheel))
    packages = next((folder / "lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "bin"


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outside")


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _run(*command: str | Path, cwd: Path) -> str:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_the_wheel_holds_what_its_commands_need(wheel: Path, environment: Path, outside: Path):
    program = (
        "import json, echoforge_jax, data_pipelines; from pathlib import Path\n"
        "from echoforge_jax.config.files import config_names\n"
        "folders = [Path(package.__file__).parent for package in (echoforge_jax, data_pipelines)]\n"
        "print(json.dumps([list(map(str, folders)), config_names(), [(f / 'py.typed').is_file() for f in folders]]))"
    )
    folders, names, typed = json.loads(_run(environment / "python", "-c", program, cwd=outside))
    assert all(folder.startswith(str(environment.parent)) for folder in folders)
    assert names == config_names()
    assert typed == [True, True]
    assert wheel.stat().st_size < 4_000_000


def test_train_evaluate_and_export_run_outside_the_checkout(environment: Path, outside: Path):
    echoforge = environment / "echoforge"
    assert "train" in _run(echoforge, "--help", cwd=outside)
    _run(echoforge, "train", "--config=quickstart", *(f"--config.{field}" for field in TINY), cwd=outside)
    run = outside / "runs" / "quickstart"
    assert (run / "report.html").is_file()
    _run(echoforge, "evaluate", "--workdir=runs/quickstart", "--split=validation", cwd=outside)
    assert (run / "evaluation_validation" / "metrics.json").is_file()
    _run(echoforge, "export", "--workdir=runs/quickstart", cwd=outside)
    assert (run / "export.safetensors").is_file()


def test_the_small_network_loads_offline_by_name(environment: Path, outside: Path):
    program = (
        "import socket\n"
        "def refuse(*_): raise OSError('no network in this test')\n"
        "socket.socket.connect = refuse\n"
        "import numpy as np, echoforge_jax as ef\n"
        "mask = ef.load('camus-small').segment(np.zeros((2, 40, 40), np.uint8)).masks\n"
        "print(mask.shape)"
    )
    assert "(2, 40, 40)" in _run(environment / "python", "-c", program, cwd=outside)
