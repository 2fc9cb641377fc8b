"""ARC, anchor recalibration (paper 3.2.1, eq. 1-2, Fig. 2-3).

A few anchors (feature vectors of foreground and background) are pooled from a frame and refined by their K nearest
cells. Uncertain patches of the feature map then move towards the likelier anchor; the other patches keep their bits.

Axes: n images (clips x frames), h w rows and columns at stride 8, p cells of the map (p = h w), c channels, a anchors,
k neighbours of an anchor, i j rows and columns of patches, u v rows and columns inside a patch, s anchors of all images
(s = n a). The axis `patches` holds all patches of an image, row by row (i j of them).
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from echoforge_jax.models.layers.attention import Attention, FeedForward
from echoforge_jax.models.pooling import unit_vector

# Table 4: which anchors stand for the foreground, by the number of anchors.
FOREGROUND_ANCHORS = {1: (True,), 2: (True, False), 3: (True, False, False), 4: (True, True, False, False)}


class Recalibrated(NamedTuple):
    """The results of ARC.

    Attributes:
        features: the recalibrated map.
        mask_logits: ARC's own soft mask, as log-odds of the foreground in each cell (stride 8).
        uncertain_share: share of the patches that are uncertain, in each image.
    """

    features: Float[Array, "n h w c"]
    mask_logits: Float[Array, "n h w"]
    uncertain_share: Float[Array, " n"]


class PatchProbabilities(NamedTuple):
    """How likely the patches are to be foreground.

    Attributes:
        foreground: s_fg, the foreground probability of each patch.
        anchors: the softmax of each patch over the anchors; ones with a single anchor.
    """

    foreground: Float[Array, "n patches"]
    anchors: Float[Array, "n patches a"]


class PullScalars(NamedTuple):
    """The learned scalars of the recalibration.

    Attributes:
        alpha: factor of |s_fg - s_bg| in the pull.
        beta: offset of the pull.
        single_bias: b, the cosine similarity at which a patch is as likely foreground as background; needed where there
            is one anchor, else None.
    """

    alpha: Float[Array, ""]
    beta: Float[Array, ""]
    single_bias: Float[Array, ""] | None = None


@dataclasses.dataclass(frozen=True)
class PatchRule:
    """How the map is cut into patches and which of them are uncertain.

    Attributes:
        patch: side of a square patch, in cells.
        temperature: divisor of the cosine similarities.
        interval: foreground probabilities, both ends included, within which a patch is uncertain.
    """

    patch: int = 2
    temperature: float = 1.0
    interval: tuple[float, float] = (0.4, 0.6)


def anchor_weights(scores: Float[Array, "n p a"]) -> Float[Array, "n p a"]:
    """Turns scores into pooling weights (eq. 1): w[n, p, a] = exp(scores[n, p, a]) / sum_a' exp(scores[n, p, a']).

    With one anchor the weight is the sigmoid of the score, because the softmax of one score is always 1.
    """
    return jax.nn.sigmoid(scores) if scores.shape[-1] == 1 else jax.nn.softmax(scores, axis=-1)


def pool_anchors(x: Float[Array, "n p c"], weights: Float[Array, "n p a"]) -> Float[Array, "n a c"]:
    """Pools the initial anchors (eq. 2): A[n, a] = sum_p w[n, p, a] x[n, p] / (sum_p w[n, p, a] + 1e-6).

    Args:
        x: features of the cells.
        weights: w, from eq. 1.
    """
    return jnp.einsum("npa,npc->nac", weights, x) / (weights.sum(axis=1)[..., None] + 1e-6)


def foreground_logits(scores: Float[Array, "n p a"]) -> Float[Array, "n p"]:
    """Computes the log-odds that a cell is foreground: log sum_fg exp(scores) - log sum_bg exp(scores).

    The sums run over the foreground and the background anchors. With one anchor the score is the log-odds.
    """
    is_foreground = FOREGROUND_ANCHORS[scores.shape[-1]]
    if len(is_foreground) == 1:
        return scores[..., 0]
    foreground, background = (
        jax.nn.logsumexp(
            jnp.stack([scores[..., anchor] for anchor, of_side in enumerate(is_foreground) if of_side == side], -1),
            axis=-1,
        )
        for side in (True, False)
    )
    return foreground - background


def topk_neighbours(x: Float[Array, "p c"], anchors: Float[Array, "a c"], k: int) -> Int[Array, "a k"]:
    """Finds the k cells nearest to each anchor in squared distance, |x|^2 - 2 x . A + |A|^2.

    Distances need one (a, p) matrix product and no (p, p) array. No gradient flows through the choice.

    Args:
        x: features of one image's cells.
        anchors: A, the image's anchors.
        k: number of neighbours, at most p.

    Returns:
        Indices of cells, nearest first; of equally near cells, the lower index first.
    """
    x, anchors = jax.lax.stop_gradient((x.astype(jnp.float32), anchors.astype(jnp.float32)))
    product = jnp.matmul(anchors, x.T, precision="highest")
    squared = (x * x).sum(-1)[None] - 2.0 * product + (anchors * anchors).sum(-1)[:, None]
    return jax.lax.top_k(-squared, k)[1]


def patch_probabilities(
    patch_means: Float[Array, "n patches c"],
    anchors: Float[Array, "n a c"],
    temperature: float,
    single_bias: Float[Array, ""] | None = None,
) -> PatchProbabilities:
    """Computes the foreground probability of patches from their cosine similarity to the anchors.

    s_fg = sum over the foreground anchors of softmax_a(cos(P, A_a) / T). With one anchor: sigmoid(cos(P, A) / T - b).

    Args:
        patch_means: P, the mean feature vector of each patch, float32.
        anchors: A, float32.
        temperature: T.
        single_bias: b, where there is one anchor.

    Raises:
        ValueError: there is one anchor and no `single_bias`.
    """
    cosine = jnp.einsum("npc,nac->npa", unit_vector(patch_means), unit_vector(anchors)) / temperature
    if anchors.shape[1] == 1:
        if single_bias is None:
            raise ValueError("one anchor has no other to be compared with: give `single_bias`, its threshold")
        return PatchProbabilities(jax.nn.sigmoid(cosine[..., 0] - single_bias), jnp.ones_like(cosine))
    share = jax.nn.softmax(cosine, axis=-1)
    is_foreground = jnp.asarray(FOREGROUND_ANCHORS[anchors.shape[1]])
    return PatchProbabilities(jnp.where(is_foreground[None, None], share, 0.0).sum(-1), share)


def recalibrate(
    x: Float[Array, "n h w c"], anchors: Float[Array, "n a c"], scalars: PullScalars, rule: PatchRule
) -> tuple[Float[Array, "n h w c"], Bool[Array, "n patches"]]:
    """Moves uncertain patches towards the likelier anchor.

    P <- (1 - w) P + w A*, with w = sigmoid(alpha |s_fg - s_bg| + beta), s_bg = 1 - s_fg, and A* the likeliest anchor of
    the likelier class. P is every cell of the patch. Patches whose s_fg is outside the interval come back bit for bit.
    With a single (foreground) anchor only patches with s_fg >= 0.5 have a likelier anchor; the others stay.

    Args:
        x: the feature map; h and w are multiples of the patch's side.
        anchors: the anchors A of each image.
        scalars: alpha, beta and, with one anchor, b.
        rule: size of a patch, temperature and interval.

    Returns:
        The new map, and whether each patch was moved.
    """
    side = rule.patch
    rows, columns = x.shape[1] // side, x.shape[2] // side
    patches = einops.rearrange(x, "n (i u) (j v) c -> n (i j) (u v) c", u=side, v=side)
    means = patches.astype(jnp.float32).mean(axis=2)
    s_fg, share = patch_probabilities(means, anchors.astype(jnp.float32), rule.temperature, scalars.single_bias)
    uncertain = (s_fg >= rule.interval[0]) & (s_fg <= rule.interval[1])
    if anchors.shape[1] == 1:
        uncertain &= s_fg >= 0.5
    is_foreground = jnp.asarray(FOREGROUND_ANCHORS[anchors.shape[1]])
    in_likelier_class = is_foreground[None, None] == (s_fg >= 0.5)[..., None]
    likeliest = jnp.where(in_likelier_class, share, -1.0).argmax(-1)
    target = jnp.take_along_axis(anchors, likeliest[..., None], axis=1)
    pull = jax.nn.sigmoid(scalars.alpha * jnp.abs(2.0 * s_fg - 1.0) + scalars.beta)[..., None, None].astype(x.dtype)
    moved = (1.0 - pull) * patches + pull * target[:, :, None]
    patches = jnp.where(uncertain[..., None, None], moved, patches)
    out = einops.rearrange(patches, "n (i j) (u v) c -> n (i u) (j v) c", i=rows, j=columns, u=side, v=side)
    return out, uncertain


class FeatureFusion(nn.Module):
    """Refines an anchor A by its neighbours N (Fig. 3): N' = attention of N to A, A' = attention of A to N'.

    The result is LayerNorm(FeedForward(A')). Each attention and the feed-forward add to their input (see
    `layers/attention.py`). The neighbours read first, so that what they have read reaches the anchor.

    Attributes:
        heads: heads of the attention.
        dtype: type of the arithmetic.
    """

    heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, anchor: Float[Array, "s 1 c"], neighbours: Float[Array, "s k c"]) -> Float[Array, "s 1 c"]:
        """Refines anchors.

        Args:
            anchor: A, one for each anchor of each image.
            neighbours: N, the features of its k nearest cells.
        """
        neighbours = Attention(self.heads, self.dtype, name="neighbours_read_anchor")(neighbours, anchor)
        anchor = Attention(self.heads, self.dtype, name="anchor_reads_neighbours")(anchor, neighbours)
        anchor = FeedForward(dtype=self.dtype, name="feed_forward")(anchor)
        return nn.LayerNorm(dtype=self.dtype, name="norm")(anchor)


class AnchorRecalibration(nn.Module):
    """ARC: scores of the cells (a linear map of X) -> anchors (eq. 1-2) -> refined anchors (Fig. 3) -> recalibrated X.

    Attributes:
        anchors: number of anchors a, 1 to 4 (Table 4).
        neighbours: K, the cells that refine an anchor; all cells where the map has fewer.
        heads: heads of the attention between an anchor and its neighbours.
        rule: size of a patch, temperature and uncertain interval.
        dtype: type of the arithmetic; scores and probabilities are float32.
    """

    anchors: int = 2
    neighbours: int = 16
    heads: int = 8
    rule: PatchRule = PatchRule()
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Recalibrated:
        """Recalibrates the map X; h and w are multiples of the patch's side."""
        n, h, w, _ = x.shape
        cells = einops.rearrange(x, "n h w c -> n (h w) c")
        scores = nn.Dense(self.anchors, dtype=self.dtype, name="scores")(cells).astype(jnp.float32)
        initial = pool_anchors(cells.astype(jnp.float32), anchor_weights(scores)).astype(x.dtype)
        nearest = jax.vmap(topk_neighbours, in_axes=(0, 0, None))(cells, initial, min(self.neighbours, h * w))
        neighbours = jax.vmap(lambda features, index: features[index])(cells, nearest)  # (n, a, k, c)
        refined = FeatureFusion(self.heads, self.dtype, name="feature_fusion")(
            einops.rearrange(initial, "n a c -> (n a) 1 c"), einops.rearrange(neighbours, "n a k c -> (n a) k c")
        )
        scalars = PullScalars(
            self.param("alpha", nn.initializers.ones, ()),
            self.param("beta", nn.initializers.zeros, ()),
            self.param("single_bias", nn.initializers.zeros, ()) if self.anchors == 1 else None,
        )
        anchors = einops.rearrange(refined, "(n a) 1 c -> n a c", n=n)
        features, uncertain = recalibrate(x, anchors, scalars, self.rule)
        mask_logits = foreground_logits(scores).reshape(n, h, w)
        return Recalibrated(features, mask_logits, uncertain.mean(axis=1, dtype=jnp.float32))
