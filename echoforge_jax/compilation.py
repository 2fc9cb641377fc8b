"""Compilation by XLA: its programs are kept between commands, and a person who waits for it is told.

Without a cache every start compiles anew, a training step of the paper's size for minutes on a CPU.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from data_pipelines.local_path import local_path
from echoforge_jax import interruption
from echoforge_jax.distributed import processes

VARIABLE, OFF = "ECHOFORGE_COMPILATION_CACHE", "off"
BEGUN = "/jax/compilation_cache/compile_requests_use_cache"
ENDED = "/jax/core/compile/backend_compile_duration"

USUALLY = "1 to 3 min"  # on CPUs; measured: docs/results/training_step.md


def keep_programs(where: str | None = None) -> Path | None:
    """Keeps compiled programs in a folder, from which later commands read them.

    JAX's own variable JAX_COMPILATION_CACHE_DIR is left in charge where it is set and nothing else is asked for.

    Args:
        where: the folder, or "off". None takes the variable ECHOFORGE_COMPILATION_CACHE, and without it a folder of
            this user and this kind of processor below XDG_CACHE_HOME (or ~/.cache).

    Returns:
        The folder; None where programs are not kept.

    Raises:
        NoLocalPath: `where` is a URL.
    """
    asked = where or os.environ.get(VARIABLE)
    if asked == OFF:
        jax.config.update("jax_enable_compilation_cache", False)
        return None
    of_jax = jax.config.values["jax_compilation_cache_dir"]
    if not asked and of_jax:
        return Path(str(of_jax))
    folder = Path(local_path(asked)).expanduser() if asked else _default_folder()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        if asked:
            interruption.tell(f"{folder} cannot be written: compiled programs are not kept")
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def _default_folder() -> Path:
    """The user's cache; processors of other kinds share a home on a cluster, but not programs for CPUs."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~"), ".cache"))
    kind = hashlib.sha256(f"{platform.machine()} {_processor()}".encode()).hexdigest()[:8]
    return home / "echoforge_jax" / "xla" / kind


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def silence_alarm() -> None:
    """Silences XLA's own words on a compilation of more than two minutes, which ask for a bug report.

    XLA logs them as an error, from a timer. So messages of that level are held back while a program is compiled, where
    a real error is raised as an exception; at any other time they are shown.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ and os.environ["TF_CPP_MIN_LOG_LEVEL"] != "1":  # 1 is what JAX sets
        return  # somebody looks for something
    level = jax.config.values["jax_logging_level"]

    def begun(event: str, **_: Any) -> None:
        if event == BEGUN:
            jax.config.update("jax_logging_level", "CRITICAL")

    def ended(event: str, duration_secs: float, **_: Any) -> None:
        if event == ENDED and jax.config.values["jax_logging_level"] == "CRITICAL":
            jax.config.update("jax_logging_level", level or "WARNING")  # None alone would leave XLA's level as it is
            jax.config.update("jax_logging_level", level)

    jax.monitoring.register_event_listener(begun)
    jax.monitoring.register_event_duration_secs_listener(ended)


@contextlib.contextmanager
def announced(what: str) -> Iterator[None]:
    """Says that something is being compiled, how long that usually takes, and how long it took.

    Args:
        what: a training step, a validation.
    """
    if processes.is_main():
        interruption.tell(f"compiling {what} (usually {USUALLY} the first time, seconds after that)")
    began = time.monotonic()
    yield
    if processes.is_main():
        interruption.tell(f"compiled {what} in {time.monotonic() - began:.0f} s")
