"""Paths of this machine are told from URLs, by every command."""

import os
from pathlib import Path

import pytest

from data_pipelines.local_path import NoLocalPath, local_path
from echoforge_jax import errors
from echoforge_jax.config import Config, MixConfig, replace
from echoforge_jax.errors import ConfigError
from tests.helpers.commands import run_command

pytestmark = pytest.mark.fast
URLS = [
    ("gs://bucket/run", "gcsfuse"),
    ("gs:/bucket/run", "gcsfuse"),
    ("GS://bucket", "gcsfuse"),
    ("s3://bucket/data", "s3fs"),
    ("s3a://bucket/data", "s3fs"),
    ("az://container/x", "blobfuse2"),
    ("abfss://c@a.dfs.core.windows.net/x", "blobfuse2"),
    ("https://example.org/CAMUS.zip", "curl"),
    ("hdfs://node:8020/x", "hdfs dfs -get"),
    ("sftp://node/x", "sshfs"),
    ("node7:/data/CAMUS", "mount it or copy it"),
    ("memory://x", "mount it or copy it"),
    ("file://other-host/x", "file:///FOLDER"),
]


@pytest.mark.parametrize(("url", "way"), URLS)
def test_a_url_is_refused_with_the_way(url: str, way: str):
    with pytest.raises(NoLocalPath) as refused:
        local_path(url)
    assert url in str(refused.value) and way in str(refused.value)


@pytest.mark.parametrize(
    "path",
    ["runs/camus", "/data/CAMUS", "C:/data", "2024-01-05T12:30:00.mp4", "a:b", "~/x", "", "camus-small", "ratio"],
)
def test_a_path_stays_as_it_is(path: str):
    assert local_path(path) == path


def test_a_file_url_becomes_its_path():
    assert local_path("file:///data/my%20clips") == local_path("file://localhost/data/my clips") == "/data/my clips"


def test_a_folder_that_is_named_like_a_place_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study:").mkdir()
    assert local_path("study:/a") == "study:/a"
    (tmp_path / "gs:").mkdir()  # what an earlier version made by mistake
    with pytest.raises(NoLocalPath, match="gcsfuse"):
        local_path("gs://bucket/run")


@pytest.mark.parametrize("field", ["data.root", "data.split_scheme", "model.pretrained", "training.start_from"])
def test_fields_of_the_configuration_hold_no_url(field: str):
    with pytest.raises(ConfigError, match=rf"config\.{field}: s3://b/c is no path"):
        replace(Config(), {field: "s3://b/c"})
    section, name = field.split(".")
    assert getattr(getattr(replace(Config(), {field: "file:///b/c"}), section), name) == "/b/c"


def test_a_mixed_data_set_is_no_url():
    with pytest.raises(ConfigError, match=r"config\.data\.mix\.root: gs://b is no path"):
        MixConfig(root="gs://b")


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("echoforge_jax.train", ["--config=quickstart", "--workdir=URL"]),
        ("echoforge_jax.train", ["--config=URL"]),
        ("echoforge_jax.train", ["--config=quickstart", "--config.data.root=URL"]),
        ("echoforge_jax.evaluate", ["--workdir=URL"]),
        ("echoforge_jax.evaluate", ["--predictions=URL", "--references=x"]),
        ("echoforge_jax.evaluate", ["--predictions=x", "--references=URL"]),
        ("echoforge_jax.evaluate", ["--predictions=x", "--references=x", "--out=URL"]),
        ("echoforge_jax.evaluate", ["--predictions=x", "--references=x", "--against=URL"]),
        ("echoforge_jax.evaluate", ["--checkpoint=URL", "--data=x"]),
        ("echoforge_jax.evaluate", ["--checkpoint=camus-small", "--data=URL"]),
        ("echoforge_jax.export", ["--workdir=URL"]),
        ("echoforge_jax.export", ["--workdir=camus-small", "--out=URL"]),
        ("echoforge_jax.reproduction.command", ["table3", "--workdir=URL"]),
        ("echoforge_jax.reproduction.command", ["table3", "--results=URL"]),
        ("echoforge_jax.reproduction.command", ["table3", "--set=data.root=URL"]),
        ("data_pipelines.doctor", ["URL"]),
        ("data_pipelines.doctor", ["x", "--json=URL"]),
        ("data_pipelines.doctor", ["x", "--split_scheme=URL"]),
        ("data_pipelines.prepare", ["camus", "--source=URL", "--data_dir=x"]),
        ("data_pipelines.prepare", ["camus", "--source=x", "--data_dir=URL"]),
        ("data_pipelines.simulator", ["--patients=3", "--out=URL"]),
    ],
)
def test_every_command_refuses_a_url_and_makes_no_folder(
    module: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    ended = run_command(module, *(argument.replace("URL", "gs://bucket/x") for argument in arguments))
    assert ended.code == errors.USAGE, ended.err
    assert "gs://bucket/x is no path on this machine" in " ".join(ended.err.split()) and "Traceback" not in ended.err
    assert os.listdir(tmp_path) == []
