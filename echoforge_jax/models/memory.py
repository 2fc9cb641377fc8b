"""TSF's memory: the semantic tokens of the last M frames (eq. 3).

Eq. 3 averages the features of each memory frame under that frame's own masks, so later frames read nothing of a frame
but two vectors, its foreground and its background token. The memory keeps these two instead of the map and the mask.
Its shape is fixed, so that frames can be streamed.

Axes: b clips, m memory frames (slots), h w rows and columns at stride 16, c channels. An axis of size 2 is foreground,
background.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from echoforge_jax.models.pooling import masked_mean


class Memory(NamedTuple):
    """The tokens of the last M frames, oldest first.

    Attributes:
        tokens: foreground and background token of each frame.
        filled: whether the slot holds a frame. The tokens of the others are zeros and must not be read.
    """

    tokens: Float[Array, "b m 2 c"]
    filled: Bool[Array, "b m"]


def empty_memory(batch: int, frames: int, channels: int, dtype: jnp.dtype) -> Memory:
    """Makes the memory before the first frame.

    Args:
        batch: clips b.
        frames: slots m.
        channels: channels c of a token.
        dtype: type of the tokens.
    """
    return Memory(jnp.zeros((batch, frames, 2, channels), dtype), jnp.zeros((batch, frames), bool))


def semantic_tokens(features: Float[Array, "b h w c"], mask: Float[Array, "b h w"]) -> Float[Array, "b 2 c"]:
    """Pools a frame to its two tokens (eq. 3; the formula is at `masked_mean`).

    Args:
        features: recalibrated features of the frame.
        mask: soft foreground mask, values from 0 to 1. No gradient flows into it.

    Returns:
        Foreground and background token, in the features' type.
    """
    mask = jax.lax.stop_gradient(mask.astype(jnp.float32))
    return masked_mean(features, mask).astype(features.dtype)


def remember(memory: Memory, tokens: Float[Array, "b 2 c"]) -> Memory:
    """Appends a frame to the memory; the oldest slot leaves.

    Args:
        memory: the memory before the frame.
        tokens: the frame's tokens.
    """
    filled = jnp.ones_like(memory.filled[:, :1])
    return Memory(
        jnp.concatenate([memory.tokens[:, 1:], tokens[:, None]], axis=1),
        jnp.concatenate([memory.filled[:, 1:], filled], axis=1),
    )


def seeded(memory: Memory, tokens: Float[Array, "b 2 c"]) -> Memory:
    """Puts a frame's own tokens into the memories that are still empty, so that a first frame has something to read.

    Args:
        memory: the memory before the frame.
        tokens: the frame's own tokens, pooled with its seed mask.

    Returns:
        For each clip: the memory as it is if it holds a frame, else a memory with the tokens in the newest slot.
    """
    seed = remember(Memory(jnp.zeros_like(memory.tokens), jnp.zeros_like(memory.filled)), tokens)
    empty = ~memory.filled.any(axis=1)
    return Memory(
        jnp.where(empty[:, None, None, None], seed.tokens, memory.tokens),
        jnp.where(empty[:, None], seed.filled, memory.filled),
    )
