"""Strict JAX for every test: no silent dtype or rank promotion, four CPU devices, shapes checked at run time."""

import os
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.helpers")

from tests.helpers.xla import FAST_COMPILATION

_FLAGS = (os.environ.get("XLA_FLAGS", ""), FAST_COMPILATION, "--xla_force_host_platform_device_count=4")
os.environ["XLA_FLAGS"] = " ".join(_FLAGS)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "xla"))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"  # small programs are compiled again by many tests

import jax
from jaxtyping import install_import_hook

_HOOK = install_import_hook(["echoforge_jax", "data_pipelines"], "beartype.beartype")
_HOOK.__enter__()

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

from echoforge_jax import interruption
from echoforge_jax.config import Config, DataConfig, ModelConfig
from tests.helpers.configs import TINY_MODEL


@pytest.fixture(autouse=True)
def _signals_stay_with_pytest(monkeypatch: pytest.MonkeyPatch):
    """A command that a test calls in this process does not take SIGTERM over: it would end all tests later."""
    monkeypatch.setattr(interruption, "install", lambda: None)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real labelled frames, or a skip that says why."""
    folder = os.environ.get("ECHOFORGE_TEST_DATA")
    if not folder:
        pytest.skip("ECHOFORGE_TEST_DATA is not set: this test reads real frames, which do not ship with the project")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_model() -> ModelConfig:
    """Every part of the method at a size that compiles in seconds."""
    return TINY_MODEL


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    return Config(model=TINY_MODEL, data=DataConfig(size=32, frames=3, batch_clips=4))
