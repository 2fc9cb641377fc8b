"""Trained networks are found by name or path, and a damaged or missing one is named."""

import dataclasses
import subprocess
from pathlib import Path

import pytest

from echoforge_jax import networks
from echoforge_jax.errors import ConfigError
from echoforge_jax.networks import NETWORKS, find_network


@pytest.fixture(autouse=True)
def nothing_checked_yet() -> None:
    networks._checked.cache_clear()


def test_the_small_network_is_found_from_any_folder_and_says_its_licence_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = find_network("camus-small")
    assert find_network("camus-small") == file and file.suffix == ".safetensors"
    assert capsys.readouterr().err.count("CC BY-NC-SA 4.0") == 1


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_every_network_of_a_checkout_is_whole(network: networks.Network):
    assert find_network(network.name) == network.file


def test_a_path_comes_first(tmp_path: Path, capsys):
    assert find_network(tmp_path) == tmp_path
    assert not capsys.readouterr().err


def test_an_unknown_name_lists_the_networks_and_the_closest():
    with pytest.raises(ConfigError, match=r"did you mean camus-small\?.*camus-small, camus-large"):
        find_network("camus_small")


def test_a_network_that_is_not_installed_says_where_to_get_it(monkeypatch, tmp_path: Path):
    absent = dataclasses.replace(NETWORKS[1], file=tmp_path / "absent")
    monkeypatch.setattr(networks, "NETWORKS", (absent,))
    with pytest.raises(ConfigError, match="checkout of the repository"):
        find_network("camus-large")


def test_a_damaged_file_is_refused(monkeypatch, tmp_path: Path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(NETWORKS[0].file.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(networks, "NETWORKS", (dataclasses.replace(NETWORKS[0], file=damaged),))
    with pytest.raises(ConfigError, match="is damaged"):
        find_network("camus-small")


def test_the_licence_of_the_weights_lies_beside_them():
    text = (NETWORKS[0].file.parent / "LICENSE").read_text(encoding="utf-8")
    assert "CC BY-NC-SA 4.0" in text and "10.1109/TMI.2019.2900516" in text and "Leclerc" in text


def test_large_networks_are_not_in_the_package():
    package = Path(networks.__file__).parent
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=package, capture_output=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    files = [package / name for name in tracked.stdout.decode().split("\0") if name]
    assert all(file.stat().st_size < 3_000_000 for file in files)
