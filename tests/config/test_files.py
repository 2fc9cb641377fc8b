"""Configuration files are found by path and by name, from any folder."""

from pathlib import Path

import pytest

from echoforge_jax.config import read_config
from echoforge_jax.config.files import config_names, find_config, load_config_file, resolve_flag
from echoforge_jax.errors import ConfigError


@pytest.fixture(autouse=True)
def another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["quickstart", "quickstart.py", "configs/quickstart.py", "configs/quickstart"])
def test_a_configuration_is_found_by_name_from_any_folder(name: str):
    assert find_config(name).name == "quickstart.py"


def test_names_include_those_of_folders():
    assert {"quickstart", "camus_semi", "ablations/small"} <= set(config_names())
    assert find_config("ablations/small").parent.name == "ablations"


def test_a_file_that_exists_comes_first(tmp_path: Path):
    own = tmp_path / "quickstart"
    own.mkdir()
    assert find_config("quickstart").is_file()
    (own / "mine.py").write_text("")
    assert find_config("quickstart/mine.py") == Path("quickstart/mine.py")
    assert find_config(own / "mine.py") == own / "mine.py"


def test_a_missing_configuration_names_the_closest_and_lists_all():
    with pytest.raises(ConfigError, match=r"did you mean quickstart\?.*camus_semi.*simulated"):
        find_config("quikstart")
    with pytest.raises(ConfigError, match="no such file"):
        find_config("/nowhere/quickstart.toml")


def test_every_configuration_is_valid():
    arguments = {"camus_small": "256", "camus_released": "gpu"}
    for name in config_names():
        read_config(load_config_file(name, arguments.get(name)))


def test_a_file_builds_on_another_by_name(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from echoforge_jax.config.files import load_config_file\n\n\n"
        "def get_config(epochs='3'):\n"
        "    config = load_config_file('camus_small', '256')\n"
        "    config.training.epochs = int(epochs)\n"
        "    return config\n"
    )
    assert read_config(load_config_file(file)).training.epochs == 3
    config = read_config(load_config_file(file, "7"))
    assert config.training.epochs == 7 and config.model.encoder_depth == 18


def test_a_file_without_get_config_is_refused(tmp_path: Path):
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ConfigError, match="defines no get_config"):
        load_config_file(tmp_path / "empty.py")


def test_the_argument_of_a_flag_is_kept():
    path = find_config("camus_released")
    assert resolve_flag("camus_released:256") == f"{path}:256"
    assert resolve_flag(f"{path}") == str(path)
