"""Traces some steps of a training for TensorBoard or Perfetto (`--profile=FIRST:LAST`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax

from echoforge_jax.errors import ConfigError


class StepRange(NamedTuple):
    """Steps of a training, counted from 1, both ends included.

    Attributes:
        first: The first step.
        last: The last step.
    """

    first: int
    last: int


def parse_step_range(text: str | None) -> StepRange | None:
    """Reads "20:25" as the steps 20 to 25; None stays None.

    Raises:
        ConfigError: another text.
    """
    if text is None:
        return None
    first, _, last = text.partition(":")
    if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise ConfigError(f"--profile is {text!r}; expected FIRST:LAST, steps counted from 1, e.g. 20:25")
    return StepRange(int(first), int(last))


class Profile:
    """Writes a trace of the steps of a range.

    Args:
        steps: the steps to trace, or None.
        folder: where the trace is written.
    """

    def __init__(self, steps: StepRange | None, folder: Path):
        self.steps, self.folder, self._is_on = steps, folder, False

    def before(self, step: int) -> None:
        """To be called before each step, counted from 1."""
        if self.steps is not None and step == self.steps.first:
            jax.profiler.start_trace(str(self.folder))
            self._is_on = True

    def after(self, step: int, results: Any) -> None:
        """To be called after each step.

        Args:
            step: the step, counted from 1.
            results: arrays that the step computes; the trace waits for them.
        """
        if self._is_on and self.steps is not None and step >= self.steps.last:
            jax.block_until_ready(results)
            self.close()

    def close(self) -> None:
        """Ends the trace, if one is being written."""
        if self._is_on:
            jax.profiler.stop_trace()
            self._is_on = False
