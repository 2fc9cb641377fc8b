"""One training step: `step(state, batch) -> (state, metrics)`, pure, jitted over a mesh with the state donated.

Two compiled variants: while lambda is 0 the frozen copy is not run at all (method: section 5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import einops
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from echoforge_jax import parallel
from echoforge_jax.config import Config
from echoforge_jax.models.convolution import average_pool, resize
from echoforge_jax.models.echoforge import Outputs
from echoforge_jax.models.reforging import Partners, cosine_probability, find_partners, prototypes
from echoforge_jax.training import losses
from echoforge_jax.training.flamerise import FlameRise
from echoforge_jax.training.state import Networks, TrainState

Batch = dict[str, Array]
Metrics = dict[str, Array]
Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


class PseudoLabels(NamedTuple):
    """Foreground probabilities of every frame, and the frames that have a partner to make them from."""

    probability: Float[Array, "b t H W"]
    exists: Float[Array, "b t"]


def reforge(
    networks: Networks,
    params: dict[str, Any],
    labelled_features: Float[Array, "n h w c"],
    labelled_mask: Float[Array, "n h w"],
    features: Float[Array, "n h w c"],
    cosine_temperature: float,
) -> Float[Array, "n h w"]:
    """Eq. 5-6 and the semantic alignment: the mean of what the mask head says of F^_U, and of its cosine similarity to
    the prototypes of the labelled frame. `params` holds both "network" (the mask head) and "reforging"."""
    reforged: Any = networks.reforging.apply({"params": params["reforging"]}, labelled_features, features)
    head: Any = networks.network.apply({"params": params["network"]}, reforged, method="mask_logits")
    cosine = cosine_probability(reforged, prototypes(labelled_features, labelled_mask), cosine_temperature)
    return 0.5 * (jax.nn.sigmoid(head) + cosine)


def reforge_frames(
    networks: Networks,
    params: dict[str, Any],
    features: Float[Array, "b t h w c"],
    batch: Batch,
    partners: Partners,
    frames: Any,
    groups: int,
    cosine_temperature: float,
) -> Float[Array, "b n H W"]:
    """Reforges chosen frames of every clip from their partners, at full size.

    Args:
        partners: (b, t) indices into the flat frames of the clip's group (the clips of one device).
        frames: (b, n) frame numbers to reforge.
        groups: devices of the data axis; the batch axis is cut into as many groups and no index leaves its group.
    """
    b, t, h, w, _ = features.shape
    n = frames.shape[1]
    by_group = lambda x: x.reshape(groups, (b // groups) * t, *x.shape[2:])
    flat_features, flat_masks = by_group(features), by_group(_pooled_mask(batch, h))
    clip_start = jnp.arange(b // groups)[:, None] * t
    chosen = (frames.reshape(groups, b // groups, n) + clip_start[None]).reshape(groups, -1)
    take = jax.vmap(lambda values, index: values[index])
    index = take(partners.index.reshape(groups, -1), chosen)
    flat = lambda x: einops.rearrange(x, "g n ... -> (g n) ...")
    probability = reforge(
        networks, params, flat(take(flat_features, index)), flat(take(flat_masks, index)),
        flat(take(flat_features, chosen)), cosine_temperature,
    )  # fmt: skip
    full = resize(probability[..., None], batch["image"].shape[2:])[..., 0]
    return full.reshape(b, n, *full.shape[1:])


def partners_in_groups(batch: Batch, groups: int, *, exclude_self: bool) -> Partners:
    """`find_partners` within the clips of each device: no collective is needed to fetch a partner."""
    usable = batch["labelled"] * batch["valid"][:, None]
    split = lambda x: x.reshape(groups, -1, *x.shape[1:])
    found = jax.vmap(lambda a, v, r: find_partners(a, v, r, exclude_self=exclude_self))(
        split(usable), split(batch["view"]), split(batch["record"])
    )
    return Partners(*(x.reshape(usable.shape) for x in found))


def pseudo_labels(
    networks: Networks, frozen: dict[str, Any], batch: Batch, groups: int, temperature: float
) -> PseudoLabels:
    """CPR's pseudo-labels from the epoch t-1 copy, in evaluation mode, on the same augmented clip. No gradient."""
    variables = {"params": frozen["params"]["network"], "batch_stats": frozen["batch_stats"]}
    outputs, _ = networks.network.apply(variables, batch["image"], train=False)
    partners = partners_in_groups(batch, groups, exclude_self=False)
    every = jnp.broadcast_to(jnp.arange(batch["labelled"].shape[1])[None], batch["labelled"].shape)
    probability = reforge_frames(
        networks, frozen["params"], outputs.features, batch, partners, every, groups, temperature
    )
    return PseudoLabels(*jax.lax.stop_gradient((probability, partners.exists.astype(jnp.float32))))


def reforging_loss(
    networks: Networks, params: dict[str, Any], outputs: Outputs, batch: Batch, groups: int, temperature: float
) -> Float[Array, ""]:
    """What trains Wq, Wk, Wv (method: section 4): the labelled frames of a clip reforge each other against their ground
    truth. Features and mask head are stopped, so that nothing but W gets a gradient. At most two frames a clip."""
    partners = partners_in_groups(batch, groups, exclude_self=True)
    usable = batch["labelled"] * batch["valid"][:, None]
    frames = jax.lax.top_k(usable, min(2, usable.shape[1]))[1]
    stopped = {"network": jax.lax.stop_gradient(params["network"]), "reforging": params["reforging"]}
    features = jax.lax.stop_gradient(outputs.features)
    probability = reforge_frames(networks, stopped, features, batch, partners, frames, groups, temperature)
    take = lambda x: jnp.take_along_axis(x, frames.reshape(frames.shape + (1,) * (x.ndim - 2)), axis=1)
    weights = take(usable * partners.exists.astype(jnp.float32))
    return losses.supervised_probability(probability, take(batch["mask"]).astype(jnp.float32), weights)


def total_loss(
    params: dict[str, Any],
    state: TrainState,
    batch: Batch,
    pseudo: PseudoLabels | None,
    networks: Networks,
    config: Config,
    schedules: FlameRise,
    groups: int,
) -> tuple[Float[Array, ""], tuple[dict[str, Any], Metrics]]:
    """Eq. 9 plus the two terms that are ours (ARC's own mask, W), each reported apart."""
    variables = {"params": params["network"], "batch_stats": state.batch_stats}
    applied: Any = networks.network.apply(variables, batch["image"], train=True, mutable=["batch_stats"])
    (outputs, _), updates = applied
    target = batch["mask"].astype(jnp.float32)
    labelled = batch["labelled"] * batch["valid"][:, None]
    bce, dice = losses.supervised(outputs.logits, target, labelled)
    metrics: Metrics = {"bce": bce, "dice_loss": dice}
    total = bce + dice
    if outputs.seed_logits is not None:
        coarse = _pooled_mask(batch, outputs.seed_logits.shape[2])
        per_frame = losses.cross_entropy_from_logits(outputs.seed_logits, coarse).mean((2, 3))
        metrics["seed_bce"] = losses.weighted_mean(per_frame, labelled)
        total = total + config.semi.seed_weight * metrics["seed_bce"]
    if outputs.uncertain_share is not None:
        valid = jnp.broadcast_to(batch["valid"][:, None], labelled.shape)
        metrics["uncertain_patch_share"] = losses.weighted_mean(outputs.uncertain_share, valid)
    if config.semi.pseudo_labels == "reforging":
        temperature = config.semi.cosine_temperature
        metrics["reforging"] = reforging_loss(networks, params, outputs, batch, groups, temperature)
        total = total + config.semi.reforging_weight * metrics["reforging"]
    if pseudo is not None:
        with jax.numpy_dtype_promotion("standard"):
            weight, tau = schedules.pseudo_weight(state.step), schedules.threshold(state.step)
            weight, tau = jnp.asarray(weight, jnp.float32), jnp.asarray(tau, jnp.float32)
        unlabelled = (1.0 - batch["labelled"]) * batch["valid"][:, None] * pseudo.exists
        confidence = jnp.maximum(pseudo.probability, 1.0 - pseudo.probability)
        confident = (confidence >= tau).astype(jnp.float32) * unlabelled[..., None, None]
        hard = (pseudo.probability >= 0.5).astype(jnp.float32)
        metrics["unsupervised"] = losses.unsupervised(outputs.logits, hard, confident)
        total = total + weight * metrics["unsupervised"]
        metrics |= {"lambda": weight, "tau": tau}
        metrics["confident_share"] = losses.weighted_mean(confident.mean((2, 3)), unlabelled)
        known = unlabelled * batch["annotated"]  # for monitoring alone: references of frames the training may not use
        metrics["pseudo_dice_percent"] = losses.weighted_mean(losses.dice_percent(hard, target), known)
    metrics["loss"] = total
    return total, (updates.get("batch_stats", {}), metrics)


def make_step(
    config: Config,
    networks: Networks,
    optimiser: optax.GradientTransformation,
    learning_rate: optax.Schedule,
    schedules: FlameRise,
    mesh: Mesh,
    *,
    with_pseudo_labels: bool,
) -> Step:
    """The compiled step. A step whose loss or gradient is not finite leaves the state as it was (metrics["finite"] is 0
    then, and the loop stops)."""
    groups = mesh.shape["data"]
    decay = config.optimiser.ema_decay

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        pseudo = None
        if with_pseudo_labels:
            pseudo = pseudo_labels(networks, state.frozen, batch, groups, config.semi.cosine_temperature)
        gradient = jax.grad(total_loss, has_aux=True)
        gradients, (batch_stats, metrics) = gradient(
            state.params, state, batch, pseudo, networks, config, schedules, groups
        )
        with jax.numpy_dtype_promotion("standard"):  # optax mixes Python floats and integer counts
            updates, opt_state = optimiser.update(gradients, state.opt_state, state.params)
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

    same, rows = parallel.replicated(mesh), parallel.over_batch(mesh)
    return jax.jit(step, in_shardings=(same, rows), out_shardings=(same, same), donate_argnums=0)


def _pooled_mask(batch: Batch, height: int) -> Float[Array, "b t h w"]:
    """The batch's masks at a smaller size: the share of foreground in each cell."""
    mask = batch["mask"].astype(jnp.float32)
    b = mask.shape[0]
    pooled = average_pool(einops.rearrange(mask, "b t h w -> (b t) h w 1"), mask.shape[2] // height)
    return einops.rearrange(pooled, "(b t) h w 1 -> b t h w", b=b)
