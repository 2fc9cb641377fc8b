"""One training step: `step(state, batch) -> (state, metrics)`, pure, jitted over a mesh with the state donated.

Two compiled variants: while lambda is 0 the frozen copy is not run at all (method: section 5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Integer

from data_pipelines.propagation import PROPAGATION_METHODS
from data_pipelines.records import ATRIUM, MYOCARDIUM
from echoforge_jax.config import Config
from echoforge_jax.distributed import sharding
from echoforge_jax.training import losses
from echoforge_jax.training.flamerise import FlameRise
from echoforge_jax.training.pseudo_labels import (
    PERTURBED,
    Batch,
    PseudoLabels,
    pooled,
    pooled_mask,
    pseudo_labels,
    reforging_loss,
    student_view,
)
from echoforge_jax.training.state import Networks, TrainState

Metrics = dict[str, Array]


class Part(NamedTuple):
    """Which part of an accumulated batch this is, and how much its means count: the frames that it holds against the
    mean over the parts. So the mean of the parts' gradients is the whole batch's."""

    number: int | Array = 0
    labelled: float | Array = 1.0
    unlabelled: float | Array = 1.0


WHOLE = Part()


Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def total_loss(
    params: dict[str, Any],
    state: TrainState,
    batch: Batch,
    pseudo: PseudoLabels | None,
    networks: Networks,
    config: Config,
    schedules: FlameRise,
    groups: int,
    part: Part = WHOLE,
) -> tuple[Float[Array, ""], tuple[dict[str, Any], Metrics]]:
    """Eq. 9 plus the terms that are ours (ARC's own mask, what is around the cavity, W), each reported apart."""
    variables = {"params": params["network"], "batch_stats": state.batch_stats}
    image = batch.image
    if config.semi.pseudo_labels in PERTURBED or config.semi.strong_student:
        of_step = jax.random.fold_in(jax.random.key(config.seed), state.step)
        image = student_view(batch, jax.random.fold_in(of_step, part.number))
    applied: Any = networks.network.apply(variables, image, train=True, mutable=["batch_stats"])
    (outputs, _), updates = applied
    target = batch.cavity.astype(jnp.float32)
    labelled = batch.may_train * batch.valid[:, None]
    bce, dice = losses.supervised(outputs.logits, target, labelled)
    metrics: Metrics = {"bce": part.labelled * bce, "dice_loss": part.labelled * dice}
    total = metrics["bce"] + config.semi.dice_weight * metrics["dice_loss"]
    if outputs.seed_logits is not None:
        coarse = pooled_mask(batch, outputs.seed_logits.shape[2])
        per_frame = losses.cross_entropy_from_logits(outputs.seed_logits, coarse).mean((2, 3))
        metrics["seed_bce"] = part.labelled * losses.weighted_mean(per_frame, labelled)
        total = total + config.semi.seed_weight * metrics["seed_bce"]
    if outputs.uncertain_share is not None:
        valid = jnp.broadcast_to(batch.valid[:, None], labelled.shape)
        metrics["uncertain_patch_share"] = losses.weighted_mean(outputs.uncertain_share, valid)
    if config.semi.pseudo_labels == "reforging":
        temperature = config.semi.cosine_temperature
        reforging = reforging_loss(networks, params, outputs, batch, groups, temperature)
        metrics["reforging"] = part.labelled * reforging
        total = total + config.semi.reforging_weight * metrics["reforging"]
    if pseudo is not None:
        with jax.numpy_dtype_promotion("standard"):
            weight, tau = schedules.pseudo_weight(state.step), schedules.threshold(state.step)
            weight, tau = jnp.asarray(weight, jnp.float32), jnp.asarray(tau, jnp.float32)
        unlabelled = (1.0 - batch.may_train) * batch.valid[:, None] * pseudo.exists
        confidence = jnp.maximum(pseudo.probability, 1.0 - pseudo.probability)
        confident = (confidence >= tau).astype(jnp.float32) * unlabelled[..., None, None]
        hard = (pseudo.probability >= 0.5).astype(jnp.float32)
        metrics["unsupervised"] = part.unlabelled * losses.unsupervised(outputs.logits, hard, confident)
        total = total + weight * metrics["unsupervised"]
        metrics |= {"lambda": weight, "tau": tau}
        metrics["confident_share"] = losses.weighted_mean(confident.mean((2, 3)), unlabelled)
        if config.semi.pseudo_labels not in PROPAGATION_METHODS:  # there the masks are the pseudo-labels
            known = unlabelled * batch.has_reference  # to monitor: references of frames the training may not use
            metrics["pseudo_dice_percent"] = losses.weighted_mean(losses.dice_percent(hard, target), known)
    metrics["loss"] = total
    return total, (updates.get("batch_stats", {}), metrics)


def surroundings_loss(
    logits: Float[Array, "b t h w two"], labels: Integer[Array, "b t H W"], labelled: Float[Array, "b t"]
) -> Float[Array, ""]:
    """BCE + Dice of myocardium and left atrium at the logits' size, against the share of each cell. A labelled frame
    without one of them (a data set that marks the cavity alone) teaches nothing of it."""
    total = jnp.zeros(())
    for place, structure in enumerate((MYOCARDIUM, ATRIUM)):
        target = pooled((labels == structure).astype(jnp.float32), logits.shape[2])
        known = labelled * (target.sum((2, 3)) > 0).astype(jnp.float32)
        total = total + sum(losses.supervised(logits[..., place], target, known))
    return total


def make_step(
    config: Config,
    networks: Networks,
    optimizer: optax.GradientTransformation,
    learning_rate: optax.Schedule,
    schedules: FlameRise,
    mesh: Mesh,
    *,
    with_pseudo_labels: bool,
    shardings: Any = None,
) -> Step:
    """The compiled step. A step whose loss or gradient is not finite leaves the state as it was (metrics["finite"] is 0
    then, and the loop stops).

    Args:
        shardings: of the state (`sharding.state_shardings`); None: replicated.
    """
    groups = sharding.batch_parts(mesh)
    decay = config.optimizer.ema_decay

    def gradients_of(state: TrainState, batch: Batch, part: Part = WHOLE) -> tuple[Any, Any, Metrics]:
        pseudo = None
        if with_pseudo_labels:
            pseudo = pseudo_labels(networks, state, batch, groups, config.semi)
        gradient = jax.grad(total_loss, has_aux=True)
        gradients, (batch_stats, metrics) = gradient(
            state.params, state, batch, pseudo, networks, config, schedules, groups, part
        )
        return gradients, batch_stats, metrics

    def accumulated(state: TrainState, batch: Batch) -> tuple[Any, Any, Metrics]:
        """Means of the parts' gradients and metrics; each part has its own statistics in batch norm, whose running ones
        pass from part to part."""

        def add(carry: tuple[Any, Any], rows_and_part: tuple[Batch, Part]) -> tuple[tuple[Any, Any], Metrics]:
            total, batch_stats = carry
            gradients, batch_stats, metrics = gradients_of(state.replace(batch_stats=batch_stats), *rows_and_part)
            return (jax.tree.map(jnp.add, total, gradients), batch_stats), metrics

        rows = sharding.in_parts(batch, mesh, accumulate)
        valid = rows.valid[..., None]
        frames = [(rows.may_train * valid).sum((1, 2)), ((1.0 - rows.may_train) * valid).sum((1, 2))]
        parts = rows, Part(jnp.arange(accumulate), *(n / jnp.maximum(n.mean(), 1e-6) for n in frames))
        start = jax.tree.map(jnp.zeros_like, state.params), state.batch_stats
        (total, batch_stats), metrics = jax.lax.scan(add, start, parts)
        mean = jax.tree.map(lambda gradient: gradient / accumulate, total)
        return mean, batch_stats, jax.tree.map(lambda values: values.mean(0), metrics)

    accumulate = config.training.accumulate

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        gradients, batch_stats, metrics = (gradients_of if accumulate == 1 else accumulated)(state, batch)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes Python floats and integer counts
            updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
            metrics["learning_rate"] = jnp.asarray(learning_rate(state.step), jnp.float32)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if decay:
            learned: Any = params
            ema = jax.tree.map(lambda average, new: decay * average + (1.0 - decay) * new, ema, learned["network"])
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["gradient_norm"])
        metrics["finite"] = finite.astype(jnp.float32)
        changed = state.replace(
            step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state, ema=ema
        )
        return jax.tree.map(lambda new, old: jnp.where(finite, new, old), changed, state), metrics

    same, rows = sharding.replicated(mesh), sharding.over_batch(mesh)
    placed = same if shardings is None else shardings
    return jax.jit(step, in_shardings=(placed, rows), out_shardings=(placed, same), donate_argnums=0)
