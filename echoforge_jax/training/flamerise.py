"""FlameRise (paper 3.3, eq. 7-8): pseudo-labels gain weight and lose threshold as training goes on, as optax schedules.

The schedules take the epoch e, counted from 1. E0 and E1 are fractions of the epochs, rounded to whole epochs.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import optax

from echoforge_jax.config import SemiConfig


class FlameRise(NamedTuple):
    """lambda (eq. 7) and tau (eq. 8) as functions of the optimizer step."""

    pseudo_weight: optax.Schedule
    threshold: optax.Schedule


def pseudo_weight(burn_in: int, ramp_end: int, maximum: float) -> optax.Schedule:
    """Eq. 7: 0 up to E0 = burn_in, a straight line to `maximum` at E1 = ramp_end, `maximum` after it."""
    return optax.linear_schedule(0.0, maximum, max(ramp_end - burn_in, 1), transition_begin=burn_in)


def threshold(burn_in: int, ramp_end: int, start: float, end: float) -> optax.Schedule:
    """Eq. 8: tau0 = start up to E0, a straight line to tau1 = end at E1, tau1 after it."""
    return optax.linear_schedule(start, end, max(ramp_end - burn_in, 1), transition_begin=burn_in)


def by_step(config: SemiConfig, epochs: int, steps_per_epoch: int) -> FlameRise:
    """The schedules of a run as functions of the step: of the integer epoch, or with `per_step` of its fraction too."""
    if not config.flamerise:
        return FlameRise(optax.constant_schedule(config.lambda_max), optax.constant_schedule(config.tau_end))
    first, last = round(config.burn_in * epochs), round(config.ramp_end * epochs)
    if config.per_step:
        first, last = first * steps_per_epoch, last * steps_per_epoch
        weight = pseudo_weight(first, last, config.lambda_max)
        return FlameRise(weight, threshold(first, last, config.tau_start, config.tau_end))
    weight = pseudo_weight(first, last, config.lambda_max)
    tau = threshold(first, last, config.tau_start, config.tau_end)
    epoch = lambda step: jnp.asarray(step) // steps_per_epoch + 1
    return FlameRise(lambda step: weight(epoch(step)), lambda step: tau(epoch(step)))
