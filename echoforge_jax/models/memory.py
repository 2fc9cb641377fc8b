"""TSF's memory: the semantic tokens of the last M frames (eq. 3), a fixed-shape pytree that streams.

Eq. 3 pools each memory frame with its own masks, so a frame's foreground and background token are all that later
frames ever read: the ring keeps these two vectors in place of the map and the mask, with the same result.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Memory(NamedTuple):
    """Slots are ordered oldest to newest; empty ones have `filled` False."""

    tokens: Float[Array, "b m two c"]
    filled: Bool[Array, "b m"]


def empty_memory(batch: int, frames: int, channels: int, dtype: jnp.dtype) -> Memory:
    return Memory(jnp.zeros((batch, frames, 2, channels), dtype), jnp.zeros((batch, frames), bool))


def mask_pooling(features: Float[Array, "b h w c"], mask: Float[Array, "b h w"]) -> Float[Array, "b two c"]:
    """Eq. 3 for the soft foreground mask and its complement; no gradient into the mask, an epsilon under the sum."""
    foreground = jax.lax.stop_gradient(mask.astype(jnp.float32))
    masks = jnp.stack([foreground, 1.0 - foreground], axis=1)
    pooled = jnp.einsum("bkhw,bhwc->bkc", masks, features.astype(jnp.float32))
    return (pooled / (masks.sum(axis=(2, 3))[..., None] + 1e-6)).astype(features.dtype)


def remember(memory: Memory, tokens: Float[Array, "b two c"]) -> Memory:
    """The memory after one more frame: the oldest slot leaves, the new frame is the last."""
    filled = jnp.ones_like(memory.filled[:, :1])
    return Memory(
        jnp.concatenate([memory.tokens[:, 1:], tokens[:, None]], axis=1),
        jnp.concatenate([memory.filled[:, 1:], filled], axis=1),
    )


def seeded(memory: Memory, tokens: Float[Array, "b two c"]) -> Memory:
    """The memory as a frame reads it: where it is still empty, the frame's own tokens stand in the newest slot."""
    seed = remember(Memory(jnp.zeros_like(memory.tokens), jnp.zeros_like(memory.filled)), tokens)
    empty = ~memory.filled.any(axis=1)
    return Memory(
        jnp.where(empty[:, None, None, None], seed.tokens, memory.tokens),
        jnp.where(empty[:, None], seed.filled, memory.filled),
    )
