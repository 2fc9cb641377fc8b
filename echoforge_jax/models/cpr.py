"""CPR, continuous pseudo-label reforging (paper 3.3, eq. 5-6), used in training only.

The features of an unlabelled frame are rebuilt, channel by channel, under the guidance of a labelled frame (its
partner), and a pseudo-label is read from them.

Axes: n pairs of frames, h w rows and columns at stride 4, p cells (p = h w), c channels, d channels again where two of
them meet, i j rows and columns of any matrix, g clips of a group (the clips of one device), t frames of a clip. An axis
of size 2 is foreground, background.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from echoforge_jax.models.pooling import masked_mean, unit_vector


def instance_norm(x: Float[Array, "n i j"], epsilon: float = 1e-5) -> Float[Array, "n i j"]:
    """Normalises every matrix to mean 0 and variance 1: (x - mean) / sqrt(variance + epsilon).

    Args:
        x: matrices.
        epsilon: keeps a constant matrix finite.
    """
    mean = x.mean(axis=(1, 2), keepdims=True)
    variance = jnp.square(x - mean).mean(axis=(1, 2), keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + epsilon)


def channel_attention(
    q: Float[Array, "n p c"], k: Float[Array, "n p c"], v: Float[Array, "n p c"]
) -> Float[Array, "n p c"]:
    """Mixes the channels of V: A = softmax(IN(Q^T K)), F^ = A V^T (eq. 5-6).

    A is (c, c); its softmax runs over the channels of K, and IN is `instance_norm`.

    Args:
        q: Q.
        k: K.
        v: V.

    Returns:
        F^ with cells first and channels last.
    """
    attention = jax.nn.softmax(instance_norm(jnp.einsum("npc,npd->ncd", q, k)), axis=-1)
    return jnp.einsum("ncd,npd->npc", attention, v)


class Reforging(nn.Module):
    """Rebuilds F_U under the guidance of F_L: channel attention with Q = F_L Wq, K = F_U Wk, V = F_U Wv (eq. 5-6).

    Wq, Wk and Wv are (c, c). Everything is computed in float32.

    Attributes:
        channels: channels c of the features.
    """

    channels: int

    @nn.compact
    def __call__(
        self, labelled: Float[Array, "n h w c"], unlabelled: Float[Array, "n h w c"]
    ) -> Float[Array, "n h w c"]:
        """Reforges frames.

        Args:
            labelled: F_L, the features of each frame's partner.
            unlabelled: F_U, the features of the frames to reforge.

        Returns:
            F^_U, float32.
        """
        n, h, w, c = unlabelled.shape
        query, key, value = (
            nn.Dense(self.channels, use_bias=False, name=name, kernel_init=nn.initializers.lecun_normal())
            for name in ("query", "key", "value")
        )
        f_l = labelled.astype(jnp.float32).reshape(n, h * w, c)
        f_u = unlabelled.astype(jnp.float32).reshape(n, h * w, c)
        return channel_attention(query(f_l), key(f_u), value(f_u)).reshape(n, h, w, c)


def prototypes(features: Float[Array, "n h w c"], mask: Float[Array, "n h w"]) -> Float[Array, "n 2 c"]:
    """Averages labelled features over the foreground and over the background of their reference mask.

    Args:
        features: features of labelled frames.
        mask: share of foreground in each cell, float32.

    Returns:
        One vector for the foreground, one for the background, float32 (the pooling of eq. 3).
    """
    return masked_mean(features, mask)


def cosine_probability(
    features: Float[Array, "n h w c"], vectors: Float[Array, "n 2 c"], temperature: float
) -> Float[Array, "n h w"]:
    """Computes the foreground probability of every cell from its cosine similarities to the two prototypes.

    p = sigmoid((cos(F, v_fg) - cos(F, v_bg)) / T), the softmax of the two similarities over T.

    Args:
        features: F, float32.
        vectors: v_fg and v_bg, the prototypes, float32.
        temperature: T.
    """
    cosine = jnp.einsum("nhwc,nkc->nhwk", unit_vector(features), unit_vector(vectors)) / temperature
    return jax.nn.sigmoid(cosine[..., 0] - cosine[..., 1])


class Partners(NamedTuple):
    """The partner of every frame in a group of clips: the labelled frame that guides its reforging.

    Attributes:
        index: the partner's index among the g * t frames of the group, clip by clip. Always a valid index.
        exists: whether the frame has a partner; where it has none, its index means nothing.
    """

    index: Int[Array, "g t"]
    exists: Bool[Array, "g t"]


def find_partners(
    labelled: Float[Array, "g t"], view: Int[Array, " g"], record: Int[Array, " g"], *, exclude_self: bool
) -> Partners:
    """Chooses, for every frame, the labelled frame that guides its reforging.

    Order of preference: (1) same clip, smallest |dt|; (2) another clip of the group: same view, then smallest |dt|,
    then lowest record id. Ties go to the earlier frame. dt is the difference of frame numbers, each counted from the
    start of its clip; because clips run from ED to ES, an ED of another clip is preferred for an ED.

    Args:
        labelled: 1 where training may use the frame's label.
        view: number of each clip's view.
        record: record id of each clip, unique in the group.
        exclude_self: whether a labelled frame may not choose itself (for the training of Wq, Wk and Wv).

    Returns:
        The partners. None exists where no frame of the group is labelled, or no other one with `exclude_self`.
    """
    clips, frames = labelled.shape
    clip = jnp.repeat(jnp.arange(clips), frames)
    time = jnp.tile(jnp.arange(frames), clips)
    rank = jnp.argsort(jnp.argsort(record))  # position of each clip in the order of record ids
    same_clip = clip[:, None] == clip[None, :]
    other_view = (view[clip][:, None] != view[clip][None, :]).astype(jnp.int32)
    time_apart = jnp.abs(time[:, None] - time[None, :])
    # The preferences of (2) as the digits of one number, the most important first; above every cost of (1).
    cost_elsewhere = (
        frames + ((other_view * frames + time_apart) * clips + rank[clip][None, :]) * frames + time[None, :]
    )
    cost = jnp.where(same_clip, time_apart, cost_elsewhere)
    usable = jnp.broadcast_to((labelled.reshape(-1) > 0)[None, :], cost.shape)
    if exclude_self:
        usable &= ~jnp.eye(clips * frames, dtype=bool)
    cost = jnp.where(usable, cost, 2**30)
    return Partners(cost.argmin(axis=1).reshape(clips, frames), usable.any(axis=1).reshape(clips, frames))
