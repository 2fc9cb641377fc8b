"""FlameRise (paper 3.3, eq. 7-8): schedules by which pseudo-labels gain weight and their threshold falls.

They are optax schedules and take the epoch e, counted from 1. E0 and E1 are shares of the epochs, rounded to whole
epochs.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from echoforge_jax.config import FlameRiseConfig


class FlameRise(NamedTuple):
    """The schedules of a training, as functions of the optimizer's step.

    Attributes:
        pseudo_weight: lambda of eq. 7.
        threshold: tau of eq. 8.
    """

    pseudo_weight: optax.Schedule
    threshold: optax.Schedule


def pseudo_weight(burn_in: int, ramp_end: int, maximum: float) -> optax.Schedule:
    """Eq. 7: 0 up to E0, a straight line to the maximum at E1, the maximum after it.

    Args:
        burn_in: E0.
        ramp_end: E1, in the same unit.
        maximum: lambda_max.
    """
    return optax.linear_schedule(0.0, maximum, max(ramp_end - burn_in, 1), transition_begin=burn_in)


def threshold(burn_in: int, ramp_end: int, *, start: float, end: float) -> optax.Schedule:
    """Eq. 8: `start` up to E0, a straight line to `end` at E1, `end` after it.

    Args:
        burn_in: E0.
        ramp_end: E1, in the same unit.
        start: tau_0.
        end: tau_1.
    """
    return optax.linear_schedule(start, end, max(ramp_end - burn_in, 1), transition_begin=burn_in)


def by_step(config: FlameRiseConfig, *, epochs: int, steps_per_epoch: int) -> FlameRise:
    """Returns the schedules of a training as functions of the step.

    They follow the whole epoch, or with `config.per_step` e = step / steps_per_epoch.

    Args:
        config: the fields of FlameRise.
        epochs: epochs of the training.
        steps_per_epoch: steps of an epoch.
    """
    if not config.enabled:
        return FlameRise(optax.constant_schedule(config.lambda_max), optax.constant_schedule(config.tau_end))
    unit = steps_per_epoch if config.per_step else 1
    first, last = round(config.burn_in * epochs) * unit, round(config.ramp_end * epochs) * unit
    weight = pseudo_weight(first, last, config.lambda_max)
    tau = threshold(first, last, start=config.tau_start, end=config.tau_end)
    if config.per_step:
        return FlameRise(weight, tau)

    def epoch(step: int | jax.Array) -> jax.Array:
        return jnp.asarray(step) // steps_per_epoch + 1

    return FlameRise(lambda step: weight(epoch(step)), lambda step: tau(epoch(step)))
