"""TSF, temporal semantic fusion (paper 3.2.2, eq. 3-4), for one frame; `echoforge.py` scans it over the frames.

The tokens of the last frames (eq. 3, see `memory.py`) and the cells of the current frame read each other (eq. 4).
Learned queries then decode a class for each token, and tokens times pixels give its mask.

Axes: b clips, m memory frames, q tokens (two for each memory frame: q = 2 m; there are as many learned queries), i j
rows and columns at stride 16, p cells (p = i j), h w rows and columns at stride 4, c channels, x y tokens or cells that
read and that are read, where either side may read the other. An axis of size 2 is foreground, background.
"""

from __future__ import annotations

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from echoforge_jax.models.layers.attention import Attention, FeedForward, sine_position_encoding
from echoforge_jax.models.layers.resampling import resize
from echoforge_jax.models.memory import Memory


def open_blocked_rows(mask: Bool[Array, "b q p"]) -> Bool[Array, "b q p"]:
    """Lets a query see every cell if the mask lets it see none (a softmax over nothing has no value)."""
    return mask | ~mask.any(axis=-1, keepdims=True)


def semantic_maps(
    class_logits: Float[Array, "b q 2"], masks: Float[Array, "b q h w"], filled: Bool[Array, "b q"]
) -> Float[Array, "b h w 2"]:
    """Sums the tokens' masks by class: S[b, h, w, k] = sum_q filled[b, q] softmax_k(L[b, q]) sigmoid(M[b, q, h, w]).

    Args:
        class_logits: L, float32.
        masks: M, the logits of each token's mask, float32.
        filled: whether the token exists.
    """
    classes = jax.nn.softmax(class_logits, axis=-1) * filled[..., None].astype(jnp.float32)
    return jnp.einsum("bqk,bqhw->bhwk", classes, jax.nn.sigmoid(masks))


class InContextFusion(nn.Module):
    """Lets tokens and frame read each other with one set of weights theta (eq. 4): P' = R(P, F), F' = R(F, P).

    R(X, Y) = FeedForward(CrossAttention(SelfAttention(X), LayerNorm(Y))); each of the three adds to its input. Both
    directions read the other side's old values.

    Attributes:
        heads: heads of the attention.
        dtype: type of the arithmetic.
    """

    heads: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        self.self_attention = Attention(self.heads, self.dtype)
        self.cross_attention = Attention(self.heads, self.dtype)
        self.feed_forward = FeedForward(dtype=self.dtype)
        self.context_norm = nn.LayerNorm(dtype=self.dtype)

    def __call__(
        self, tokens: Float[Array, "b q c"], frame: Float[Array, "b p c"], filled: Bool[Array, "b q"]
    ) -> tuple[Float[Array, "b q c"], Float[Array, "b p c"]]:
        """Applies eq. 4.

        Args:
            tokens: P, the memory's tokens.
            frame: F, the cells of the current frame.
            filled: whether the token exists; the others are read by nobody.

        Returns:
            P' and F'.
        """
        exists = filled[:, None]
        return self._read(tokens, frame, exists, None), self._read(frame, tokens, None, exists)

    def _read(
        self,
        reader: Float[Array, "b x c"],
        context: Float[Array, "b y c"],
        reader_exists: Bool[Array, "b 1 x"] | None,
        context_exists: Bool[Array, "b 1 y"] | None,
    ) -> Float[Array, "b x c"]:
        """R(X, Y) of the formula above."""
        reader = self.self_attention(reader, mask=reader_exists)
        reader = self.cross_attention(reader, self.context_norm(context), mask=context_exists)
        return self.feed_forward(reader)


class DecoderLayer(nn.Module):
    """One layer of the decoder: the queries Q gather what the prototypes P and the frame F say.

    (Q, P) = SelfAttention of both together; Q = CrossAttention(Q, keys LayerNorm(F) + position, values LayerNorm(F)),
    where query q sees cell p if P_q . F_p > 0 (P and F as they enter the layer), or all cells if there is none; then
    Q = FeedForward(Q), P = FeedForward(P). Each step adds to its input.

    Attributes:
        heads: heads of the attention.
        dtype: type of the arithmetic.
    """

    heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        queries: Float[Array, "b q c"],
        prototypes: Float[Array, "b q c"],
        frame: Float[Array, "b p c"],
        position: Float[Array, "p c"],
        filled: Bool[Array, "b q"],
    ) -> tuple[Float[Array, "b q c"], Float[Array, "b q c"]]:
        """Applies the layer.

        Args:
            queries: Q, one for each token.
            prototypes: P, the fused tokens.
            frame: F, the fused cells of the frame.
            position: position encoding of the cells.
            filled: whether the token exists; neither it nor its query is read where it does not.

        Returns:
            New Q and P.
        """
        gate = jnp.einsum("bqc,bpc->bqp", prototypes, frame, preferred_element_type=jnp.float32) > 0
        gate = open_blocked_rows(gate)
        joint = jnp.concatenate([queries, prototypes], axis=1)
        exists = jnp.concatenate([filled, filled], axis=1)
        joint = Attention(self.heads, self.dtype, name="self_attention")(joint, mask=exists[:, None])
        queries, prototypes = jnp.split(joint, 2, axis=1)
        values = nn.LayerNorm(dtype=self.dtype, name="frame_norm")(frame)
        queries = Attention(self.heads, self.dtype, name="cross_attention")(
            queries, values + position[None].astype(values.dtype), values, mask=gate
        )
        queries = FeedForward(dtype=self.dtype, name="query_feed_forward")(queries)
        prototypes = FeedForward(dtype=self.dtype, name="prototype_feed_forward")(prototypes)
        return queries, prototypes


class TemporalFusion(nn.Module):
    """TSF for one frame: F = ReLU(W_E E + W_F' F' upsampled + W_s S), the features before the logits.

    F' are the frame's cells after eq. 4. S are the semantic maps of the decoded tokens, whose mask logits are
    (W P + b) . E / sqrt(c), with P the decoder's prototypes (layer-normalised).

    Attributes:
        channels: channels c of all maps and tokens.
        heads: heads of every attention.
        layers: layers of the decoder.
        memory_frames: m, the memory's slots. Each token has a learned embedding of its slot.
        dtype: type of the arithmetic; class and mask logits are float32.
    """

    channels: int
    heads: int = 8
    layers: int = 3
    memory_frames: int = 3
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, memory: Memory, x: Float[Array, "b i j c"], e: Float[Array, "b h w c"], e_hidden: Float[Array, "b h w c"]
    ) -> Float[Array, "b h w c"]:
        """Fuses a frame with the memory.

        Args:
            memory: the frames before this one (for the first frame: itself, see `memory.seeded`).
            x: the frame's recalibrated features X at stride 16.
            e: its features E at stride 4.
            e_hidden: W_E E, computed for all frames at once by the caller.

        Returns:
            F at stride 4.
        """
        rows, columns = x.shape[1:3]
        tokens = einops.rearrange(memory.tokens, "b m k c -> b (m k) c")
        filled = jnp.repeat(memory.filled, 2, axis=1)
        slots = self.param("slot_embedding", nn.initializers.normal(0.02), (2 * self.memory_frames, self.channels))
        tokens = tokens + slots[None].astype(tokens.dtype)
        frame = einops.rearrange(x, "b i j c -> b (i j) c")
        prototypes, frame = InContextFusion(self.heads, self.dtype, name="in_context_fusion")(tokens, frame, filled)

        queries = self.param("queries", nn.initializers.normal(0.02), (2 * self.memory_frames, self.channels))
        queries = jnp.broadcast_to(queries[None].astype(frame.dtype), prototypes.shape)
        position = jnp.asarray(sine_position_encoding(rows, columns, self.channels))
        for layer in range(self.layers):
            queries, prototypes = DecoderLayer(self.heads, self.dtype, name=f"decoder_{layer}")(
                queries, prototypes, frame, position, filled
            )
        class_logits = nn.Dense(2, name="class_head")(nn.LayerNorm(name="class_norm")(queries.astype(jnp.float32)))
        prototypes = nn.LayerNorm(dtype=self.dtype, name="mask_norm")(prototypes)
        prototypes = nn.Dense(self.channels, dtype=self.dtype, name="mask_embedding")(prototypes)
        masks = jnp.einsum("bqc,bhwc->bqhw", prototypes, e, preferred_element_type=jnp.float32)
        semantic = semantic_maps(class_logits, masks * self.channels**-0.5, filled)

        # A linear layer on the concatenation [E, F', S] is the sum of three parts. F' is projected before it is
        # upsampled, which is the same with less work, because the two commute.
        coarse = nn.Dense(self.channels, use_bias=False, dtype=self.dtype, name="frame_hidden")(frame)
        coarse = resize(einops.rearrange(coarse, "b (i j) c -> b i j c", i=rows), e.shape[1:3])
        semantic = nn.Dense(self.channels, use_bias=False, dtype=self.dtype, name="semantic_hidden")(semantic)
        return nn.relu(e_hidden + coarse + semantic)
