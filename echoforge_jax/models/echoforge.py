"""EchoForge assembled: encoder, pyramid, ARC, TSF over the frames of a clip (CPR: see `cpr.py`).

Everything but TSF runs on all frames at once; TSF is a scan over frames whose carry is the memory. A clip in one call
and its frames one by one, with the memory handed on, are the same computation.
"""

from __future__ import annotations

from typing import NamedTuple

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from echoforge_jax.config import ModelConfig
from echoforge_jax.models.arc import AnchorRecalibration
from echoforge_jax.models.layers.convolution import average_pool, resize
from echoforge_jax.models.layers.pyramid import CoarsePyramid, FinePyramid
from echoforge_jax.models.layers.resnet import ResNet
from echoforge_jax.models.memory import Memory, empty_memory, mask_pooling, remember, seeded
from echoforge_jax.models.tsf import TemporalFusion


class Outputs(NamedTuple):
    """What the network says of a clip.

    Attributes:
        logits: foreground log-odds at full size, (b, t, H, W).
        features: F, the features before the logits at stride 4, (b, t, h, w, c). CPR reads them.
        seed_logits: the soft mask of ARC (or, without ARC, of the seed head) at stride 8; None for the baseline.
        uncertain_share: share of ARC's patches inside the uncertain interval, (b, t); None without ARC.
    """

    logits: Float[Array, "b t H W"]
    features: Float[Array, "b t h w c"]
    seed_logits: Float[Array, "b t i j"] | None
    uncertain_share: Float[Array, "b t"] | None


class FrameMaps(NamedTuple):
    """The parts of a frame that TSF reads: strides 16, 16, 4 and 4."""

    x: Float[Array, "b t i j c"]
    seed_mask: Float[Array, "b t i j"]
    e: Float[Array, "b t h w c"]
    e_hidden: Float[Array, "b t h w c"]


class EchoForge(nn.Module):
    """The network of `config`. Parameters and statistics only; no state, no randomness."""

    config: ModelConfig

    def setup(self) -> None:
        c = self.config
        dtype = jnp.dtype(c.dtype)
        self.encoder = ResNet(
            depth=c.encoder_depth,
            width=c.encoder_width,
            stages=c.encoder_stages,
            norm=c.norm,
            stride_in_first_1x1=c.stride_in_first_1x1,
            dtype=dtype,
            rematerialise="encoder" in c.rematerialise,
        )
        self.coarse_pyramid = CoarsePyramid(c.channels, "group" if c.norm == "group" else "batch", dtype)
        self.fine_pyramid = FinePyramid(c.channels, "group" if c.norm == "group" else "batch", dtype)
        if c.anchor_recalibration:
            again = "anchor_recalibration" in c.rematerialise
            self.anchor_recalibration = (nn.remat(AnchorRecalibration) if again else AnchorRecalibration)(
                c.anchors, c.neighbours, c.heads, c.patch, c.temperature, c.uncertain_interval, dtype
            )
        elif c.temporal_fusion:
            self.seed_head = nn.Dense(1)
        if c.temporal_fusion:
            self.e_hidden = nn.Dense(c.channels, dtype=dtype)
            self.temporal_fusion = TemporalFusion(c.channels, c.heads, c.decoder_layers, c.memory_frames, dtype)
        self.head = nn.Dense(1)

    def initial_memory(self, batch: int) -> Memory:
        """The memory before the first frame."""
        return empty_memory(batch, self.config.memory_frames, self.config.channels, jnp.dtype(self.config.dtype))

    def mask_logits(self, features: Float[Array, "*b c"]) -> Float[Array, "*b"]:
        """The mask head: F -> foreground log-odds, at F's resolution."""
        return self.head(features.astype(jnp.float32))[..., 0]

    def __call__(
        self, clip: Float[Array, "b t H W"], memory: Memory | None = None, *, train: bool = False
    ) -> tuple[Outputs, Memory]:
        """
        Args:
            clip: grey levels 0..1; H and W multiples of 16 (32 with four encoder stages).
            memory: what earlier frames left, when a clip comes in pieces; None at the start of a clip.
            train: batch statistics instead of running ones in the norms.

        Returns:
            Outputs of every frame, and the memory after the last one.
        """
        c = self.config
        batch, _, height, width = clip.shape
        stride = 2 ** (1 + c.encoder_stages)
        if height % stride or width % stride:
            raise ValueError(f"frames are {height}x{width}; both sides must be multiples of {stride}: resize first")
        images = einops.rearrange(clip, "b t h w -> (b t) h w 1")
        mean, std = jnp.asarray(c.input_mean, jnp.float32), jnp.asarray(c.input_std, jnp.float32)
        images = ((images - mean[None, None, None]) / std[None, None, None]).astype(jnp.dtype(c.dtype))
        maps = self.encoder(images, train)
        x = self.coarse_pyramid(maps[1:], train)
        seed_logits = uncertain = None
        if c.anchor_recalibration:
            x, seed_logits, uncertain = self.anchor_recalibration(x)
        elif c.temporal_fusion:
            seed_logits = self.seed_head(x.astype(jnp.float32))[..., 0]
        e = self.fine_pyramid(x, maps[0], train)

        memory = self.initial_memory(batch) if memory is None else memory
        features = einops.rearrange(e, "(b t) h w c -> b t h w c", b=batch)
        if c.temporal_fusion:
            assert seed_logits is not None
            coarse = FrameMaps(
                average_pool(x, 2), average_pool(jax.nn.sigmoid(seed_logits)[..., None], 2)[..., 0], e, self.e_hidden(e)
            )
            coarse = FrameMaps(*(einops.rearrange(m, "(b t) ... -> b t ...", b=batch) for m in coarse))
            again = "temporal_fusion" in c.rematerialise
            scan = nn.scan(
                nn.remat(EchoForge.fuse_frame, prevent_cse=False) if again else EchoForge.fuse_frame,
                variable_broadcast="params",
                split_rngs={"params": False},
                in_axes=1,
                out_axes=1,
            )
            memory, features = scan(self, memory, coarse)
        logits = self.mask_logits(features)
        logits = resize(einops.rearrange(logits, "b t h w -> (b t) h w 1"), (height, width))
        seed_logits, uncertain = (
            None if m is None else einops.rearrange(m, "(b t) ... -> b t ...", b=batch)
            for m in (seed_logits, uncertain)
        )
        logits = einops.rearrange(logits, "(b t) h w 1 -> b t h w", b=batch)
        return Outputs(logits, features, seed_logits, uncertain), memory

    def fuse_frame(self, memory: Memory, frame: FrameMaps) -> tuple[Memory, Float[Array, "b h w c"]]:
        """One frame of the scan: read the memory, make F, and enter the memory with the frame's own predicted mask."""
        read = seeded(memory, mask_pooling(frame.x, frame.seed_mask))
        features = self.temporal_fusion(read, frame.x, frame.e, frame.e_hidden)
        mask = jax.nn.sigmoid(self.mask_logits(features))[..., None]
        own_mask = average_pool(mask, mask.shape[1] // frame.x.shape[1])[..., 0]
        return remember(memory, mask_pooling(frame.x, own_mask)), features
