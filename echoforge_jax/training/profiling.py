"""echoforge_jax.training.profiling."""

from __future__ import annotations

from typing import Any

import jax

from echoforge_jax.errors import ConfigError


def parse_step_range(text: str | None) -> tuple[int, int] | None:
    """ "20:25" -> (20, 25).

    Raises:
        ConfigError: another text.
    """
    if text is None:
        return None
    first, _, last = text.partition(":")
    if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise ConfigError(f"--profile is {text!r}; expected FIRST:LAST, steps counted from 1, e.g. 20:25")
    return int(first), int(last)


class Profile:
    """Traces the steps FIRST to LAST of a training (`--profile=FIRST:LAST`) for TensorBoard or Perfetto."""

    def __init__(self, steps: tuple[int, int] | None, folder: str):
        self.steps, self.folder, self._on = steps, folder, False

    def before(self, step: int) -> None:
        """To be called before each step, counted from 1."""
        if self.steps is not None and step == self.steps[0]:
            jax.profiler.start_trace(self.folder)
            self._on = True

    def after(self, step: int, results: Any) -> None:
        """To be called after each step."""
        if self._on and self.steps is not None and step >= self.steps[1]:
            jax.block_until_ready(results)
            self.close()

    def close(self) -> None:
        if self._on:
            jax.profiler.stop_trace()
            self._on = False
