"""TSF, temporal semantic fusion (paper 3.2.2, eq. 3-4): tokens of the last frames and the current frame read each
other, learned queries decode them, and tokens times pixels give the mask. One frame at a time; `echoforge.py` scans it.
"""

from __future__ import annotations

from typing import Any

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from echoforge_jax.models.layers.attention import Attention, FeedForward, sine_position_encoding
from echoforge_jax.models.layers.convolution import resize
from echoforge_jax.models.memory import Memory


def open_blocked_rows(mask: Bool[Array, "b n p"]) -> Bool[Array, "b n p"]:
    """A query whose every key is blocked sees all of them."""
    return mask | ~mask.any(axis=-1, keepdims=True)


def semantic_maps(
    class_logits: Float[Array, "b n two"], masks: Float[Array, "b n h w"], filled: Bool[Array, "b n"]
) -> Float[Array, "b h w two"]:
    """Class probabilities times mask probabilities, summed over the tokens that exist (method: section 3)."""
    classes = jax.nn.softmax(class_logits, axis=-1) * filled[..., None].astype(jnp.float32)
    return jnp.einsum("bnk,bnhw->bhwk", classes, jax.nn.sigmoid(masks))


class InContextFusion(nn.Module):
    """Eq. 4: self-attention, cross-attention, feed-forward, each with its residual; one set of weights, both ways."""

    heads: int
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.self_attention = Attention(self.heads, self.dtype)
        self.cross_attention = Attention(self.heads, self.dtype)
        self.feed_forward = FeedForward(dtype=self.dtype)
        self.context_norm = nn.LayerNorm(dtype=self.dtype)

    def read(
        self,
        x: Float[Array, "b q c"],
        context: Float[Array, "b n c"],
        own: Bool[Array, "b 1 q"] | None,
        seen: Bool[Array, "b 1 n"] | None,
    ) -> Float[Array, "b q c"]:
        x = self.self_attention(x, mask=own)
        x = self.cross_attention(x, self.context_norm(context), mask=seen)
        return self.feed_forward(x)

    def __call__(
        self, tokens: Float[Array, "b n c"], frame: Float[Array, "b p c"], filled: Bool[Array, "b n"]
    ) -> tuple[Float[Array, "b n c"], Float[Array, "b p c"]]:
        """Both directions read the OLD values of the other side."""
        exists = filled[:, None]
        return self.read(tokens, frame, exists, None), self.read(frame, tokens, None, exists)


class DecoderLayer(nn.Module):
    """Queries and prototypes share one self-attention; the queries take masked
    cross-attention to the frame; each side has its own feed-forward."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        queries: Float[Array, "b n c"],
        prototypes: Float[Array, "b n c"],
        frame: Float[Array, "b p c"],
        position: Float[Array, "p c"],
        filled: Bool[Array, "b n"],
    ) -> tuple[Float[Array, "b n c"], Float[Array, "b n c"]]:
        gate = jnp.einsum("bnc,bpc->bnp", prototypes, frame, preferred_element_type=jnp.float32) > 0
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
    """One frame of TSF: what the memory holds and the frame's own maps -> F, the features before the logits."""

    channels: int
    heads: int = 8
    layers: int = 3
    memory_frames: int = 3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, memory: Memory, x: Float[Array, "b i j c"], e: Float[Array, "b h w c"], e_hidden: Float[Array, "b h w c"]
    ) -> Float[Array, "b h w c"]:
        """
        Args:
            memory: the frames before this one (for the first frame: itself, see `memory.seeded`).
            x: the frame's recalibrated features at stride 16.
            e: its features at stride 4.
            e_hidden: e's share of the mask head's hidden layer (made for all frames at once).
        """
        grid = x.shape[1:3]
        tokens = einops.rearrange(memory.tokens, "b m k c -> b (m k) c")
        filled = jnp.repeat(memory.filled, 2, axis=1)
        slots = self.param("slot_embedding", nn.initializers.normal(0.02), (2 * self.memory_frames, self.channels))
        tokens = tokens + slots[None].astype(tokens.dtype)
        frame = einops.rearrange(x, "b i j c -> b (i j) c")
        prototypes, frame = InContextFusion(self.heads, self.dtype, name="in_context_fusion")(tokens, frame, filled)

        queries = self.param("queries", nn.initializers.normal(0.02), (2 * self.memory_frames, self.channels))
        queries = jnp.broadcast_to(queries[None].astype(frame.dtype), prototypes.shape)
        position = jnp.asarray(sine_position_encoding(grid[0], grid[1], self.channels))
        for layer in range(self.layers):
            queries, prototypes = DecoderLayer(self.heads, self.dtype, name=f"decoder_{layer}")(
                queries, prototypes, frame, position, filled
            )
        class_logits = nn.Dense(2, name="class_head")(nn.LayerNorm(name="class_norm")(queries.astype(jnp.float32)))
        prototypes = nn.LayerNorm(dtype=self.dtype, name="mask_norm")(prototypes)
        prototypes = nn.Dense(self.channels, dtype=self.dtype, name="mask_embedding")(prototypes)
        masks = jnp.einsum("bnc,bhwc->bnhw", prototypes, e, preferred_element_type=jnp.float32)
        semantic = semantic_maps(class_logits, masks * self.channels**-0.5, filled)

        # The per-pixel feed-forward on [E, F'_t upsampled, semantic maps]. Its hidden layer is linear in the
        # concatenation, so it is a sum of three parts; F'_t is projected before it is upsampled (the two commute).
        coarse = nn.Dense(self.channels, use_bias=False, dtype=self.dtype, name="frame_hidden")(frame)
        coarse = resize(einops.rearrange(coarse, "b (i j) c -> b i j c", i=grid[0]), e.shape[1:3])
        semantic = nn.Dense(self.channels, use_bias=False, dtype=self.dtype, name="semantic_hidden")(semantic)
        return nn.relu(e_hidden + coarse + semantic)
