"""Adam with polynomial decay of the learning rate (paper, 4.2), and its options."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import optax

from echoforge_jax.config import OptimizerConfig


class Optimizer(NamedTuple):
    """An optimizer and the learning rate that it follows.

    Attributes:
        transformation: what turns gradients into updates.
        learning_rate: the learning rate as a function of the step.
    """

    transformation: optax.GradientTransformation
    learning_rate: optax.Schedule


def make_optimizer(config: OptimizerConfig, total_steps: int) -> Optimizer:
    """Builds the optimizer of a training, whose learning rate decays to 0 over all its steps.

    Args:
        config: the optimizer's fields.
        total_steps: steps of the whole training.
    """
    decay = max(total_steps - config.warmup_steps, 1)
    schedule = optax.polynomial_schedule(config.learning_rate, 0.0, config.power, decay)
    if config.warmup_steps:
        warmup = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
        schedule = optax.join_schedules([warmup, schedule], [config.warmup_steps])
    parts: list[optax.GradientTransformation] = [optax.adam(schedule)]
    if config.weight_decay:
        parts = [optax.adamw(schedule, weight_decay=config.weight_decay, mask=_kernels)]
    if config.clip_norm:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    if config.encoder_rate != 1.0:
        parts.append(optax.masked(optax.scale(config.encoder_rate), _encoder))
    return Optimizer(optax.chain(*parts) if len(parts) > 1 else parts[0], schedule)


def _kernels(params: Any) -> Any:
    """Marks the parameters that weight decay may shrink: no biases, no norms, not ARC's scalars."""
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _encoder(params: Any) -> Any:
    return jax.tree.map_with_path(lambda path, _: any(part.key == "encoder" for part in path), params)
