"""ARC, anchor recalibration (paper 3.2.1, eq. 1-2, Fig. 2-3).

A few anchors (feature vectors of foreground and background) are pooled from the frame, refined by their K nearest
cells, and uncertain patches of the feature map are pulled towards the likelier anchor. Certain patches stay bit-equal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from echoforge_jax.models.layers.attention import Attention, FeedForward

FOREGROUND_ANCHORS = {1: (True,), 2: (True, False), 3: (True, False, False), 4: (True, True, False, False)}  # Table 4


class Recalibrated(NamedTuple):
    """What ARC returns: the features, its own soft mask as logits (stride 8), and the share of uncertain patches."""

    features: Float[Array, "n h w c"]
    mask_logits: Float[Array, "n h w"]
    uncertain_share: Float[Array, " n"]


def anchor_weights(scores: Float[Array, "n p a"]) -> Float[Array, "n p a"]:
    """Eq. 1: softmax over the anchors at each cell; with one anchor a sigmoid, since the softmax of one score is 1."""
    return jax.nn.sigmoid(scores) if scores.shape[-1] == 1 else jax.nn.softmax(scores, axis=-1)


def pool_anchors(x: Float[Array, "n p c"], weights: Float[Array, "n p a"]) -> Float[Array, "n a c"]:
    """Eq. 2: the weighted mean of the features, one vector an anchor."""
    return jnp.einsum("npa,npc->nac", weights, x) / (weights.sum(axis=1)[..., None] + 1e-6)


def foreground_logits(scores: Float[Array, "n p a"]) -> Float[Array, "n p"]:
    """The log-odds that a cell is foreground, from the scores of eq. 1 (their softmax, summed over the fg anchors)."""
    is_foreground = FOREGROUND_ANCHORS[scores.shape[-1]]
    if len(is_foreground) == 1:
        return scores[..., 0]
    groups = [
        jax.nn.logsumexp(jnp.stack([scores[..., i] for i, f in enumerate(is_foreground) if f == wanted], -1), axis=-1)
        for wanted in (True, False)
    ]
    return groups[0] - groups[1]


def topk_neighbours(x: Float[Array, "p c"], anchors: Float[Array, "a c"], k: int) -> Int[Array, "a k"]:
    """Indices of the k cells nearest to each anchor in squared distance, nearest first, ties to the lower index.

    |x|^2 - 2 x.a + |a|^2 with one (a, p) matrix product; no (p, p) array. Gradients go through the gathered features.
    """
    x, anchors = jax.lax.stop_gradient((x.astype(jnp.float32), anchors.astype(jnp.float32)))
    product = jnp.matmul(anchors, x.T, precision="highest")
    squared = (x * x).sum(-1)[None] - 2.0 * product + (anchors * anchors).sum(-1)[:, None]
    return jax.lax.top_k(-squared, k)[1]


def patch_probabilities(
    patch_means: Float[Array, "n p c"],
    anchors: Float[Array, "n a c"],
    temperature: float,
    single_bias: Float[Array, ""] | None = None,
) -> tuple[Float[Array, "n p"], Float[Array, "n p a"]]:
    """Foreground probability of each patch and its softmax over the anchors, from cosine similarities.

    With one anchor the probability is sigmoid(cos - b), b learned.
    """
    patches, unit = _unit(patch_means), _unit(anchors)
    cosine = jnp.einsum("npc,nac->npa", patches, unit) / temperature
    if anchors.shape[1] == 1:
        assert single_bias is not None
        return jax.nn.sigmoid(cosine[..., 0] - single_bias), jnp.ones_like(cosine)
    share = jax.nn.softmax(cosine, axis=-1)
    foreground = jnp.asarray(FOREGROUND_ANCHORS[anchors.shape[1]])
    return jnp.where(foreground[None, None], share, 0.0).sum(-1), share


def recalibrate(
    x: Float[Array, "n h w c"],
    anchors: Float[Array, "n a c"],
    alpha: Float[Array, ""],
    beta: Float[Array, ""],
    *,
    patch: int = 2,
    temperature: float = 1.0,
    interval: tuple[float, float] = (0.4, 0.6),
    single_bias: Float[Array, ""] | None = None,
) -> tuple[Float[Array, "n h w c"], Bool[Array, "n p"]]:
    """Pulls uncertain patches to the likelier anchor: P <- (1 - w) P + w a*, w = sigmoid(alpha |s_fg - s_bg| + beta).

    a* is the likeliest anchor of the likelier class. Returns the new map and which patches were uncertain. Patches
    outside `interval` come back bit-equal. With a single (foreground) anchor only the patches with s_fg >= 0.5 have a
    likelier anchor; the others are left alone.
    """
    n, h, w, c = x.shape
    rows, columns = h // patch, w // patch
    patches = einops.rearrange(x, "n (i p) (j q) c -> n (i j) (p q) c", p=patch, q=patch)
    s_fg, share = patch_probabilities(
        patches.astype(jnp.float32).mean(axis=2), anchors.astype(jnp.float32), temperature, single_bias
    )
    uncertain = (s_fg >= interval[0]) & (s_fg <= interval[1])
    if anchors.shape[1] == 1:
        uncertain &= s_fg >= 0.5
    is_foreground = jnp.asarray(FOREGROUND_ANCHORS[anchors.shape[1]])
    of_likelier_class = is_foreground[None, None] == (s_fg >= 0.5)[..., None]
    best = jnp.where(of_likelier_class, share, -1.0).argmax(-1)
    likelier = jnp.take_along_axis(anchors, best[..., None], axis=1)
    pull = jax.nn.sigmoid(alpha * jnp.abs(2.0 * s_fg - 1.0) + beta)[..., None, None].astype(x.dtype)
    moved = (1.0 - pull) * patches + pull * likelier[:, :, None]
    patches = jnp.where(uncertain[..., None, None], moved, patches)
    out = einops.rearrange(patches, "n (i j) (p q) c -> n (i p) (j q) c", i=rows, j=columns, p=patch, q=patch)
    return out, uncertain


def _unit(x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
    return x * jax.lax.rsqrt((x * x).sum(-1, keepdims=True) + 1e-12)


class FeatureFusion(nn.Module):
    """Fig. 3: an anchor and its neighbours attend to each other; feed-forward, residual and norm give the new anchor.

    The neighbours read the anchor first, so that what they read reaches it when it reads them.
    """

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, anchor: Float[Array, "m one c"], neighbours: Float[Array, "m k c"]) -> Float[Array, "m one c"]:
        neighbours = Attention(self.heads, self.dtype, name="neighbours_read_anchor")(neighbours, anchor)
        anchor = Attention(self.heads, self.dtype, name="anchor_reads_neighbours")(anchor, neighbours)
        anchor = FeedForward(dtype=self.dtype, name="feed_forward")(anchor)
        return nn.LayerNorm(dtype=self.dtype, name="norm")(anchor)


class AnchorRecalibration(nn.Module):
    """ARC as a layer: X -> recalibrated X, ARC's own soft mask, the share of uncertain patches."""

    anchors: int = 2
    neighbours: int = 16
    heads: int = 8
    patch: int = 2
    temperature: float = 1.0
    interval: tuple[float, float] = (0.4, 0.6)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Recalibrated:
        n, h, w, _ = x.shape
        cells = einops.rearrange(x, "n h w c -> n (h w) c")
        scores = nn.Dense(self.anchors, dtype=self.dtype, name="scores")(cells).astype(jnp.float32)
        initial = pool_anchors(cells.astype(jnp.float32), anchor_weights(scores)).astype(x.dtype)
        nearest = jax.vmap(topk_neighbours, in_axes=(0, 0, None))(cells, initial, min(self.neighbours, h * w))
        near = jax.vmap(lambda f, i: f[i])(cells, nearest)  # (n, a, k, c)
        fused = FeatureFusion(self.heads, self.dtype, name="feature_fusion")(
            einops.rearrange(initial, "n a c -> (n a) 1 c"), einops.rearrange(near, "n a k c -> (n a) k c")
        )
        anchors = einops.rearrange(fused, "(n a) 1 c -> n a c", n=n)
        alpha = self.param("alpha", nn.initializers.ones, ())
        beta = self.param("beta", nn.initializers.zeros, ())
        bias = self.param("single_bias", nn.initializers.zeros, ()) if self.anchors == 1 else None
        features, uncertain = recalibrate(
            x,
            anchors,
            alpha,
            beta,
            patch=self.patch,
            temperature=self.temperature,
            interval=self.interval,
            single_bias=bias,
        )
        mask_logits = foreground_logits(scores).reshape(n, h, w)
        return Recalibrated(features, mask_logits, uncertain.mean(axis=1, dtype=jnp.float32))
