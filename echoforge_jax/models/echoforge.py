"""The whole network: encoder, pyramid, ARC, and TSF over the frames of a clip. (CPR, for training only, is `cpr.py`.)

Everything but TSF runs on all frames at once. TSF is a scan over frames, and the memory is its carry. So a clip in one
call and its frames one by one, with the memory handed on, are the same computation.

Axes: b clips, t frames, n images (n = b t), H W rows and columns of a frame, h w rows and columns at stride 4, u v at
stride 8, i j at stride 16, c channels.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from echoforge_jax.config import ModelConfig
from echoforge_jax.models.arc import AnchorRecalibration, PatchRule
from echoforge_jax.models.layers.convolution import ConvImplementation
from echoforge_jax.models.layers.pyramid import CoarsePyramid, FinePyramid
from echoforge_jax.models.layers.resampling import average_pool, resize
from echoforge_jax.models.layers.resnet import ResNet
from echoforge_jax.models.memory import Memory, empty_memory, remember, seeded, semantic_tokens
from echoforge_jax.models.tsf import TemporalFusion


class Outputs(NamedTuple):
    """The network's results for the frames of a clip.

    Attributes:
        logits: log-odds of the foreground at full size, float32.
        features: F, the features before the logits, at stride 4. CPR reads them.
        seed_logits: log-odds of ARC's own soft mask (without ARC: of the seed head's) at stride 8, float32; None where
            the network has neither ARC nor TSF.
        uncertain_share: share of ARC's patches that are uncertain, in each frame; None without ARC.
    """

    logits: Float[Array, "b t H W"]
    features: Float[Array, "b t h w c"]
    seed_logits: Float[Array, "b t u v"] | None
    uncertain_share: Float[Array, "b t"] | None


class FrameMaps(NamedTuple):
    """The maps of a frame that TSF reads. Inside the scan they have no axis t.

    Attributes:
        x: recalibrated features X at stride 16.
        seed_mask: ARC's or the seed head's soft mask at stride 16, values from 0 to 1.
        e: features E at stride 4.
        e_hidden: W_E E, the part of the hidden layer that depends on E alone.
    """

    x: Float[Array, "b t i j c"]
    seed_mask: Float[Array, "b t i j"]
    e: Float[Array, "b t h w c"]
    e_hidden: Float[Array, "b t h w c"]


class EchoForge(nn.Module):
    """The network. It has parameters and the running statistics of its norms, no other state and no randomness.

    Attributes:
        config: sizes and switches.
        convolutions: the forms in which convolutions and max pooling are compiled.
    """

    config: ModelConfig
    convolutions: ConvImplementation = dataclasses.field(default_factory=ConvImplementation.for_this_machine)

    def setup(self) -> None:
        c = self.config
        dtype = jnp.dtype(c.dtype)
        pyramid_norm = "group" if c.norm == "group" else "batch"
        self.encoder = ResNet(
            depth=c.encoder_depth,
            width=c.encoder_width,
            stages=c.encoder_stages,
            norm=c.norm,
            stride_in_first_1x1=c.stride_in_first_1x1,
            dtype=dtype,
            rematerialise="encoder" in c.rematerialise,
            convolutions=self.convolutions,
        )
        self.coarse_pyramid = CoarsePyramid(c.channels, pyramid_norm, self.convolutions, dtype)
        self.fine_pyramid = FinePyramid(c.channels, pyramid_norm, self.convolutions, dtype)
        if c.anchor_recalibration:
            rematerialise = "anchor_recalibration" in c.rematerialise
            layer = nn.remat(AnchorRecalibration) if rematerialise else AnchorRecalibration
            rule = PatchRule(c.patch, c.temperature, c.uncertain_interval)
            self.anchor_recalibration = layer(c.anchors, c.neighbours, c.heads, rule, dtype)
        elif c.temporal_fusion:
            self.seed_head = nn.Dense(1)
        if c.temporal_fusion:
            self.e_hidden = nn.Dense(c.channels, dtype=dtype)
            self.temporal_fusion = TemporalFusion(c.channels, c.heads, c.decoder_layers, c.memory_frames, dtype)
        self.head = nn.Dense(1)

    def initial_memory(self, batch: int) -> Memory:
        """Makes the memory before the first frame of `batch` clips."""
        return empty_memory(batch, self.config.memory_frames, self.config.channels, jnp.dtype(self.config.dtype))

    def mask_logits(self, features: Float[Array, "*batch c"]) -> Float[Array, "*batch"]:
        """Applies the mask head, a 1x1 convolution: F to log-odds of the foreground, at F's resolution, float32."""
        return self.head(features.astype(jnp.float32))[..., 0]

    def __call__(
        self, clip: Float[Array, "b t H W"], memory: Memory | None = None, *, train: bool = False
    ) -> tuple[Outputs, Memory]:
        """Segments the frames of clips.

        Args:
            clip: grey levels from 0 to 1; H and W are multiples of 16 (32 with four encoder stages).
            memory: the memory after the frames before these, where a clip comes in pieces; None at its start.
            train: whether the norms use the batch's statistics instead of the running ones.

        Returns:
            The results for every frame, and the memory after the last one.

        Raises:
            ValueError: H or W is not such a multiple.
        """
        c = self.config
        batch, _, height, width = clip.shape
        stride = 2 ** (1 + c.encoder_stages)
        if height % stride or width % stride:
            raise ValueError(f"frames are {height}x{width}; both sides must be multiples of {stride}: resize first")
        fine, *coarse = self.encoder(self._normalised_images(clip), train)
        x = self.coarse_pyramid(coarse, train)
        seed_logits = uncertain = None
        if c.anchor_recalibration:
            x, seed_logits, uncertain = self.anchor_recalibration(x)
        elif c.temporal_fusion:
            seed_logits = self.seed_head(x.astype(jnp.float32))[..., 0]
        e = self.fine_pyramid(x, fine, train)

        memory = self.initial_memory(batch) if memory is None else memory
        features = einops.rearrange(e, "(b t) h w c -> b t h w c", b=batch)
        if c.temporal_fusion and seed_logits is not None:  # with TSF the seed mask is ARC's or the seed head's
            seed_mask = average_pool(jax.nn.sigmoid(seed_logits)[..., None], 2)[..., 0]
            maps = FrameMaps(average_pool(x, 2), seed_mask, e, self.e_hidden(e))
            maps = FrameMaps(*(einops.rearrange(m, "(b t) ... -> b t ...", b=batch) for m in maps))
            memory, features = self._scan(memory, maps)
        logits = self.mask_logits(features)
        logits = resize(einops.rearrange(logits, "b t h w -> (b t) h w 1"), (height, width))
        seed_logits, uncertain = (
            None if m is None else einops.rearrange(m, "(b t) ... -> b t ...", b=batch)
            for m in (seed_logits, uncertain)
        )
        logits = einops.rearrange(logits, "(b t) h w 1 -> b t h w", b=batch)
        return Outputs(logits, features, seed_logits, uncertain), memory

    def _normalised_images(self, clip: Float[Array, "b t H W"]) -> Float[Array, "n H W c"]:
        """All frames as images, each channel shifted and scaled as the encoder's weights ask for."""
        images = einops.rearrange(clip, "b t h w -> (b t) h w 1")
        mean, std = (jnp.asarray(value, jnp.float32) for value in (self.config.input_mean, self.config.input_std))
        return ((images - mean[None, None, None]) / std[None, None, None]).astype(jnp.dtype(self.config.dtype))

    def _scan(self, memory: Memory, maps: FrameMaps) -> tuple[Memory, Float[Array, "b t h w c"]]:
        """Fuses the frames one after the other: the memory after the last one, and F of all."""
        rematerialise = "temporal_fusion" in self.config.rematerialise
        scan = nn.scan(
            nn.remat(EchoForge.fuse_frame, prevent_cse=False) if rematerialise else EchoForge.fuse_frame,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
        )
        return scan(self, memory, maps)

    def fuse_frame(self, memory: Memory, frame: FrameMaps) -> tuple[Memory, Float[Array, "b h w c"]]:
        """Fuses one frame with the memory, then appends it to the memory under its own predicted mask (eq. 3-4).

        Args:
            memory: the memory before the frame.
            frame: the frame's maps, without the axis t.

        Returns:
            The memory after the frame, and the frame's F.
        """
        read = seeded(memory, semantic_tokens(frame.x, frame.seed_mask))
        features = self.temporal_fusion(read, frame.x, frame.e, frame.e_hidden)
        mask = jax.nn.sigmoid(self.mask_logits(features))[..., None]
        own_mask = average_pool(mask, mask.shape[1] // frame.x.shape[1])[..., 0]
        return remember(memory, semantic_tokens(frame.x, own_mask)), features
