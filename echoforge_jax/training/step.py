"""One training step: `step(state, batch) -> (state, metrics)`, pure, jitted over a mesh with the state donated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from data_pipelines.batch import Batch
from echoforge_jax.distributed import sharding
from echoforge_jax.training.optimizer import Optimizer
from echoforge_jax.training.state import TrainState
from echoforge_jax.training.strategies import Labeller
from echoforge_jax.training.terms import WHOLE_BATCH, Metrics, MicroBatch, Objective

Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


class Gradients(NamedTuple):
    """What the backward pass of a batch gives.

    Attributes:
        params: Gradients of the parameters.
        batch_stats: The running statistics after the forward pass.
        metrics: Terms of the loss and what is monitored.
    """

    params: Any
    batch_stats: Any
    metrics: Metrics


def make_step(
    objective: Objective, optimizer: Optimizer, mesh: Mesh, *, state_shardings: Any, with_pseudo_labels: bool
) -> Step:
    """Builds the compiled step.

    A step whose loss or gradient is not finite leaves the state as it was; `metrics["finite"]` is 0 then, and the loop
    stops.

    Args:
        objective: the loss.
        optimizer: the optimizer and its learning rate.
        mesh: the device mesh; the batch axis is split over it.
        state_shardings: where each array of the state lives (`sharding.state_shardings`).
        with_pseudo_labels: False while pseudo-labels have no weight: the frozen copy is then not run at all.
    """
    config = objective.config
    labeller = Labeller(objective.networks, config.pseudo_labels, objective.num_groups)
    num_micro_batches, ema_decay = config.training.accumulate, config.optimizer.ema_decay or 0.0

    def loss(params: Any, state: TrainState, batch: Batch, pseudo_labels: Any, micro_batch: MicroBatch) -> Any:
        value = objective(params, state, batch, pseudo_labels, micro_batch)
        return value.total, (value.batch_stats, value.metrics)

    def gradients_of(state: TrainState, batch: Batch, micro_batch: MicroBatch = WHOLE_BATCH) -> Gradients:
        pseudo_labels = labeller.label(state, batch) if with_pseudo_labels else None
        gradients, (batch_stats, metrics) = jax.grad(loss, has_aux=True)(
            state.params, state, batch, pseudo_labels, micro_batch
        )
        return Gradients(gradients, batch_stats, metrics)

    def accumulated(state: TrainState, batch: Batch) -> Gradients:
        """Averages gradients and metrics over micro-batches. Batch norm sees each micro-batch on its own; the running
        statistics pass from one to the next."""

        def add(carry: tuple[Any, Any], inputs: tuple[Batch, MicroBatch]) -> tuple[tuple[Any, Any], Metrics]:
            total, batch_stats = carry
            gradients = gradients_of(state.replace(batch_stats=batch_stats), *inputs)
            return (jax.tree.map(jnp.add, total, gradients.params), gradients.batch_stats), gradients.metrics

        rows = sharding.in_parts(batch, mesh, num_micro_batches)
        start = jax.tree.map(jnp.zeros_like, state.params), state.batch_stats
        (total, batch_stats), metrics = jax.lax.scan(add, start, (rows, _micro_batches(rows, num_micro_batches)))
        mean = jax.tree.map(lambda gradient: gradient / num_micro_batches, total)
        return Gradients(mean, batch_stats, jax.tree.map(lambda values: values.mean(0), metrics))

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        gradients = (gradients_of if num_micro_batches == 1 else accumulated)(state, batch)
        metrics = gradients.metrics
        with jax.numpy_dtype_promotion("standard"):  # optax mixes Python floats and integer counts
            updates, opt_state = optimizer.transformation.update(gradients.params, state.opt_state, state.params)
            metrics["learning_rate"] = jnp.asarray(optimizer.learning_rate(state.step), jnp.float32)
        params: Any = optax.apply_updates(state.params, updates)
        ema = state.ema
        if ema_decay:
            ema = jax.tree.map(
                lambda average, new: ema_decay * average + (1.0 - ema_decay) * new, ema, params["network"]
            )
        metrics["gradient_norm"] = optax.tree.norm(gradients.params)
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient_norm"])
        metrics["finite"] = finite.astype(jnp.float32)
        changed = state.replace(
            step=state.step + 1, params=params, batch_stats=gradients.batch_stats, opt_state=opt_state, ema=ema
        )
        return jax.tree.map(lambda new, old: jnp.where(finite, new, old), changed, state), metrics

    replicated, rows = sharding.replicated(mesh), sharding.over_batch(mesh)
    return jax.jit(
        step, in_shardings=(state_shardings, rows), out_shardings=(state_shardings, replicated), donate_argnums=0
    )


def _micro_batches(rows: Batch, count: int) -> MicroBatch:
    """Weighs each micro-batch by its frames that count, relative to the mean over the micro-batches."""
    valid = rows.valid[..., None]
    labelled, unlabelled = (
        frames / jnp.maximum(frames.mean(), 1e-6)
        for frames in ((rows.may_train * valid).sum((1, 2)), ((1.0 - rows.may_train) * valid).sum((1, 2)))
    )
    return MicroBatch(jnp.arange(count), labelled, unlabelled)
