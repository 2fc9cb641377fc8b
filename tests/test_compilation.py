"""Where compiled programs are kept, and what is said while they are made."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from data_pipelines.local_path import NoLocalPath
from echoforge_jax import compilation

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    before = {name: getattr(jax.config, name) for name in ("jax_compilation_cache_dir", "jax_enable_compilation_cache")}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(compilation.VARIABLE, raising=False)
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_programs_are_kept_in_the_user_s_cache_by_kind_of_processor(tmp_path: Path):
    folder = compilation.keep_programs()
    assert folder is not None and folder.parent == tmp_path / "cache" / "echoforge_jax" / "xla" and folder.is_dir()
    assert jax.config.jax_compilation_cache_dir == str(folder)


def test_flag_and_variables_say_where_or_turn_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(compilation.VARIABLE, str(tmp_path / "variable"))
    assert compilation.keep_programs() == tmp_path / "variable"
    assert compilation.keep_programs(str(tmp_path / "flag")) == tmp_path / "flag"
    monkeypatch.delenv(compilation.VARIABLE)
    assert compilation.keep_programs() == tmp_path / "flag"  # as JAX_COMPILATION_CACHE_DIR would say it
    assert compilation.keep_programs("off") is None and not jax.config.jax_enable_compilation_cache
    with pytest.raises(NoLocalPath):
        compilation.keep_programs("gs://bucket/cache")


def test_a_folder_that_cannot_be_written_is_not_used(tmp_path: Path, monkeypatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert compilation.keep_programs() is None and jax.config.jax_compilation_cache_dir is None
    assert capfd.readouterr().err == ""
    assert compilation.keep_programs(str(tmp_path / "wanted")) is None
    assert "wanted cannot be written: compiled programs are not kept" in capfd.readouterr().err


def test_xla_is_silenced_while_it_compiles_and_only_then(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    levels: list[str | None] = []
    level = jax.config.jax_logging_level
    set_level = jax.config.update
    monkeypatch.setattr(jax.config, "update", lambda name, value: (levels.append(value), set_level(name, value)))
    listeners: list = []
    for name in ("register_event_listener", "register_event_duration_secs_listener"):
        register = getattr(jax.monitoring, name)
        monkeypatch.setattr(
            jax.monitoring, name, lambda call, register=register: (listeners.append(call), register(call))
        )
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    set_level("jax_compilation_cache_dir", str(tmp_path))
    compilation.silence_alarm()
    try:
        jax.block_until_ready(jax.jit(lambda x: jnp.sin(x) * 7.25 + 3.5)(jnp.ones(5)))
    finally:
        jax.monitoring.unregister_event_listener(listeners[0])
        jax.monitoring.unregister_event_duration_listener(listeners[1])
    assert levels[0] == "CRITICAL" and levels[-1] == level == jax.config.jax_logging_level


def test_a_compilation_is_announced_with_its_usual_and_its_real_time(capfd: pytest.CaptureFixture[str]):
    with compilation.announced("the training step"):
        pass
    said = capfd.readouterr().err
    assert said.startswith("compiling the training step (usually ") and "compiled the training step in 0 s" in said
