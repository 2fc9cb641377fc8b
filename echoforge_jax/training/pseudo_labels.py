"""Pseudo-labels of unlabelled frames: CPR's (paper 3.3), and the strategies it is compared with (Table 6).

All of them enter the same loss with the same schedules; only where a frame's label comes from differs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import einops
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from data_pipelines.propagation import PROPAGATION_METHODS, UNDECIDED
from echoforge_jax.config import SemiConfig
from echoforge_jax.models.cpr import Partners, cosine_probability, find_partners, prototypes
from echoforge_jax.models.echoforge import Outputs
from echoforge_jax.models.layers.convolution import average_pool, resize
from echoforge_jax.training import losses
from echoforge_jax.training.state import Networks, TrainState

Batch = dict[str, Array]
STRONG_NOISE = 0.05  # standard deviation, grey levels of 0..1
PERTURBED = ("threshold", "mean_teacher")  # strategies whose student sees `strong_view` in any case


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
    flat_features, flat_masks = by_group(features), by_group(pooled_mask(batch, h))
    clip_start = jnp.arange(b // groups)[:, None] * t
    chosen = (frames.reshape(groups, b // groups, n) + clip_start[None]).reshape(groups, -1)
    take = jax.vmap(lambda values, index: values[index])
    index = take(partners.index.reshape(groups, -1), chosen)
    flat = lambda x: einops.rearrange(x, "g n ... -> (g n) ...")
    probability = reforge(
        networks,
        params,
        flat(take(flat_features, index)),
        flat(take(flat_masks, index)),
        flat(take(flat_features, chosen)),
        cosine_temperature,
    )
    full = resize(probability[..., None], batch.image.shape[2:])[..., 0]
    return full.reshape(b, n, *full.shape[1:])


def partners_in_groups(batch: Batch, groups: int, *, exclude_self: bool) -> Partners:
    """`find_partners` within the clips of each device: no collective is needed to fetch a partner."""
    usable = batch.may_train * batch.valid[:, None]
    split = lambda x: x.reshape(groups, -1, *x.shape[1:])
    found = jax.vmap(lambda a, v, r: find_partners(a, v, r, exclude_self=exclude_self))(
        split(usable), split(batch.view), split(batch.record)
    )
    return Partners(*(x.reshape(usable.shape) for x in found))


def pseudo_labels(networks: Networks, state: TrainState, batch: Batch, groups: int, config: SemiConfig) -> PseudoLabels:
    """Pseudo-labels of every frame on the same augmented clip, by the strategy of `config`. No gradient.

    - "reforging": CPR, from the epoch t-1 copy.
    - "threshold": what the network says now of the unperturbed clip (FixMatch).
    - "mean_teacher": what its moving average says (Tarvainen and Valpola 2017).
    - "registration", "deformation": labels that the data carry already (`data_pipelines.propagation`).
    """
    if config.pseudo_labels == "reforging":
        found = _reforged(networks, state.frozen, batch, groups, config)
    elif config.pseudo_labels in PROPAGATION_METHODS:
        mask = batch.cavity.astype(jnp.float32)
        found = PseudoLabels(jnp.where(batch.cavity == UNDECIDED, 0.5, mask), batch.has_reference)
    else:
        params = state.ema if config.pseudo_labels == "mean_teacher" else state.params["network"]
        variables = {"params": params, "batch_stats": state.batch_stats}
        outputs, _ = networks.network.apply(variables, batch.image, train=False)
        found = PseudoLabels(jax.nn.sigmoid(outputs.logits), jnp.ones_like(batch.may_train))
    return PseudoLabels(*jax.lax.stop_gradient(found))


def student_view(batch: Batch, key: PRNGKeyArray) -> Float[Array, "b t h w"]:
    """What the student sees where it has to reproduce labels that were made of the clean clip: `strong_view`, but clips
    whose every frame is labelled as they are."""
    image = batch.image
    clean = batch.may_train.all(1)[:, None, None, None]
    return jnp.where(clean, image, strong_view(image, key))


def strong_view(image: Float[Array, "b t h w"], key: PRNGKeyArray) -> Float[Array, "b t h w"]:
    """One draw of gamma, contrast and brightness a clip, and noise. Intensities only (no CutMix, no perturbed
    features)."""
    keys = jax.random.split(key, 4)
    draw = lambda k, low, high: jax.random.uniform(k, (image.shape[0], 1, 1, 1), minval=low, maxval=high)
    image = jnp.power(jnp.maximum(image, 1e-6), jnp.exp2(draw(keys[0], -1.0, 1.0)))
    mean = image.mean(axis=(1, 2, 3), keepdims=True)
    image = mean + (image - mean) * draw(keys[1], 0.5, 1.5) + draw(keys[2], -0.15, 0.15)
    return jnp.clip(image + STRONG_NOISE * jax.random.normal(keys[3], image.shape), 0.0, 1.0)


def _reforged(
    networks: Networks, frozen: dict[str, Any], batch: Batch, groups: int, config: SemiConfig
) -> PseudoLabels:
    """CPR's pseudo-labels, the frozen copy in evaluation mode; with `config.own_weight` its own prediction beside."""
    variables = {"params": frozen["params"]["network"], "batch_stats": frozen["batch_stats"]}
    outputs, _ = networks.network.apply(variables, batch.image, train=False)
    partners = partners_in_groups(batch, groups, exclude_self=False)
    every = jnp.broadcast_to(jnp.arange(batch.may_train.shape[1])[None], batch.may_train.shape)
    probability = reforge_frames(
        networks, frozen["params"], outputs.features, batch, partners, every, groups, config.cosine_temperature
    )
    own = config.own_weight
    if own:
        probability = own * jax.nn.sigmoid(outputs.logits) + (1.0 - own) * probability
    return PseudoLabels(probability, partners.exists.astype(jnp.float32))


def reforging_loss(
    networks: Networks, params: dict[str, Any], outputs: Outputs, batch: Batch, groups: int, temperature: float
) -> Float[Array, ""]:
    """What trains Wq, Wk, Wv (method: section 4): the labelled frames of a clip reforge each other against their ground
    truth. Features and mask head are stopped, so that nothing but W gets a gradient. At most two frames a clip."""
    partners = partners_in_groups(batch, groups, exclude_self=True)
    usable = batch.may_train * batch.valid[:, None]
    frames = jax.lax.top_k(usable, min(2, usable.shape[1]))[1]
    stopped = {"network": jax.lax.stop_gradient(params["network"]), "reforging": params["reforging"]}
    features = jax.lax.stop_gradient(outputs.features)
    probability = reforge_frames(networks, stopped, features, batch, partners, frames, groups, temperature)
    take = lambda x: jnp.take_along_axis(x, frames.reshape(frames.shape + (1,) * (x.ndim - 2)), axis=1)
    weights = take(usable * partners.exists.astype(jnp.float32))
    return losses.supervised_probability(probability, take(batch.cavity).astype(jnp.float32), weights)


def pooled_mask(batch: Batch, height: int) -> Float[Array, "b t h w"]:
    """The batch's masks at a smaller size: the share of foreground in each cell."""
    return pooled(batch.cavity.astype(jnp.float32), height)


def pooled(mask: Float[Array, "b t H W"], height: int) -> Float[Array, "b t h w"]:
    """Masks at a smaller size: the mean of each cell."""
    cells = average_pool(einops.rearrange(mask, "b t h w -> (b t) h w 1"), mask.shape[2] // height)
    return einops.rearrange(cells, "(b t) h w 1 -> b t h w", b=len(mask))
