"""CPR, continuous pseudo-label reforging (paper 3.3, eq. 5-6): features of an unlabelled frame are rebuilt, channel by
channel, in the language of a labelled frame, and read as a pseudo-label. Used in training only.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def instance_norm(x: Float[Array, "n i j"], epsilon: float = 1e-5) -> Float[Array, "n i j"]:
    """Zero mean and unit variance over each (i, j) matrix."""
    mean = x.mean(axis=(1, 2), keepdims=True)
    variance = jnp.square(x - mean).mean(axis=(1, 2), keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + epsilon)


def channel_attention(
    q: Float[Array, "n p c"], k: Float[Array, "n p c"], v: Float[Array, "n p c"]
) -> Float[Array, "n p c"]:
    """Eq. 5-6: A = softmax(IN(Q^T K)) over the channels of K, F^ = A V^T, returned as (n, p, c)."""
    attention = jax.nn.softmax(instance_norm(jnp.einsum("npc,npd->ncd", q, k)), axis=-1)
    return jnp.einsum("ncd,npd->npc", attention, v)


class Reforging(nn.Module):
    """Wq, Wk and Wv of CPR, as Q = F_L Wq, K = F_U Wk, V = F_U Wv."""

    channels: int

    @nn.compact
    def __call__(
        self, labelled: Float[Array, "n h w c"], unlabelled: Float[Array, "n h w c"]
    ) -> Float[Array, "n h w c"]:
        """F_L of the partner and F_U -> F^_U, in float32."""
        n, h, w, c = unlabelled.shape
        dense = {
            name: nn.Dense(self.channels, use_bias=False, name=name, kernel_init=nn.initializers.lecun_normal())
            for name in ("query", "key", "value")
        }
        f_l = labelled.astype(jnp.float32).reshape(n, h * w, c)
        f_u = unlabelled.astype(jnp.float32).reshape(n, h * w, c)
        reforged = channel_attention(dense["query"](f_l), dense["key"](f_u), dense["value"](f_u))
        return reforged.reshape(n, h, w, c)


def prototypes(features: Float[Array, "n h w c"], mask: Float[Array, "n h w"]) -> Float[Array, "n two c"]:
    """Foreground and background means of labelled features under their ground truth (eq. 3's pooling)."""
    masks = jnp.stack([mask, 1.0 - mask], axis=1)
    pooled = jnp.einsum("nkhw,nhwc->nkc", masks, features.astype(jnp.float32))
    return pooled / (masks.sum(axis=(2, 3))[..., None] + 1e-6)


def cosine_probability(
    features: Float[Array, "n h w c"], prototypes_: Float[Array, "n two c"], temperature: float
) -> Float[Array, "n h w"]:
    """Foreground probability from the cosine similarities to the two prototypes."""
    unit = lambda x: x * jax.lax.rsqrt((x * x).sum(-1, keepdims=True) + 1e-12)
    cosine = jnp.einsum("nhwc,nkc->nhwk", unit(features), unit(prototypes_)) / temperature
    return jax.nn.sigmoid(cosine[..., 0] - cosine[..., 1])


class Partners(NamedTuple):
    """For each frame of a group of clips, the labelled frame that reforges it, as an index into the flat frames."""

    index: Int[Array, "g t"]
    exists: Bool[Array, "g t"]


def find_partners(
    labelled: Float[Array, "g t"], view: Int[Array, " g"], record: Int[Array, " g"], *, exclude_self: bool
) -> Partners:
    """The partner of every frame: the nearest labelled frame in time of its own clip; if that has none, a labelled
    frame of another clip of the group: of the same view before others, then the nearest in time (clips run from ED to
    ES: ED is reforged from an ED), then the lowest record id.

    Ties go to the earlier frame. With `exclude_self`, a labelled frame is not its own partner (ED and ES reforge each
    other); such a frame looks no further than what else is labelled.
    """
    clips, frames = labelled.shape
    clip = jnp.repeat(jnp.arange(clips), frames)
    time = jnp.tile(jnp.arange(frames), clips)
    rank = jnp.argsort(jnp.argsort(record))  # position in the order of record ids
    far = clips * frames
    same_clip = clip[:, None] == clip[None, :]
    other_view = (view[clip][:, None] != view[clip][None, :]).astype(jnp.int32)
    apart = jnp.abs(time[:, None] - time[None, :])
    elsewhere = frames + ((other_view * frames + apart) * clips + rank[clip][None, :]) * frames + time[None, :]
    cost = jnp.where(same_clip, apart, elsewhere)
    usable = jnp.broadcast_to((labelled.reshape(-1) > 0)[None, :], cost.shape)
    if exclude_self:
        usable &= ~jnp.eye(far, dtype=bool)
    cost = jnp.where(usable, cost, 2**30)
    return Partners(cost.argmin(axis=1).reshape(clips, frames), usable.any(axis=1).reshape(clips, frames))
