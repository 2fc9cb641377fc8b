"""When a training logs, validates and saves."""

from __future__ import annotations

import dataclasses

from echoforge_jax.config import TrainingConfig


@dataclasses.dataclass(frozen=True)
class Cadence:
    """What is due after a step. Steps are counted from 1.

    Attributes:
        config: The fields of the training.
        steps_per_epoch: Steps of an epoch.
    """

    config: TrainingConfig
    steps_per_epoch: int

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self.config.epochs * self.steps_per_epoch

    @property
    def last_step(self) -> int:
        """The step after which this command stops."""
        return min(self.total_steps, self.config.max_steps or self.total_steps)

    def epoch(self, step: int) -> int:
        """The epoch of a step, counted from 1."""
        return (step - 1) // self.steps_per_epoch + 1

    def ends_epoch(self, step: int) -> bool:
        """Whether a step is the last of its epoch."""
        return step % self.steps_per_epoch == 0

    def saves(self, step: int) -> bool:
        """Whether the state is saved after a step."""
        every = self.config.checkpoint_every_steps
        at_epoch = self.ends_epoch(step) and self.epoch(step) % self.config.checkpoint_every_epochs == 0
        return at_epoch or step == self.last_step or (every is not None and step % every == 0)

    def logs(self, step: int) -> bool:
        """Whether a line is logged after a step."""
        return self.ends_epoch(step) or step % self.config.log_every_steps == 0

    def validates_after(self, step: int) -> bool:
        """Whether this command, which stops at `last_step`, still validates after a step."""
        epochs = range(step // self.steps_per_epoch + 1, self.last_step // self.steps_per_epoch + 1)
        return any(self.validates(epoch) for epoch in epochs)

    def validates(self, epoch: int) -> bool:
        """Whether the network is validated at the end of an epoch."""
        return epoch % self.config.validate_every_epochs == 0 or epoch == self.config.epochs
