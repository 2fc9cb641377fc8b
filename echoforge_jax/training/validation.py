"""Validation during the training: mean Dice of end-diastole and end-systole of a split, at network size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from data_pipelines.preprocessing import to_unit_range
from data_pipelines.records import SampledClip
from echoforge_jax.distributed import sharding
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.training.losses import dice_percent


class Validator:
    """Scores the network on clips in memory. No reference reaches the network: it is compared afterwards.

    Args:
        network: the network.
        clips: the clips of the split.
        batch_clips: clips of a batch, over all devices.
        mesh: the device mesh.
    """

    def __init__(self, network: EchoForge, clips: Sequence[SampledClip], *, batch_clips: int, mesh: Mesh):
        self.clips, self.batch_clips, self.mesh = clips, batch_clips, mesh

        def score(
            variables: dict[str, Any], image: Float[Array, "b t h w"], cavity: Float[Array, "b t h w"]
        ) -> Float[Array, "b t"]:
            outputs, _ = network.apply(variables, image)
            return dice_percent((outputs.logits >= 0).astype(jnp.float32), cavity)

        rows = sharding.over_batch(mesh)
        self._score = jax.jit(score, in_shardings=(None, rows, rows), out_shardings=sharding.replicated(mesh))

    def compile(self, variables: dict[str, Any]) -> None:
        """Compiles the validation, by scoring its first clips."""
        self._dice_of_batch(variables, 0)

    def dice_percent(self, variables: dict[str, Any], *, stops: Callable[[], bool] = bool) -> float | None:
        """Returns the mean Dice in per cent over the first (ED) and last (ES) frames that have a reference.

        Args:
            variables: of the network.
            stops: asked before every batch; where it says True, the validation is given up and None returned.
        """
        scores = []
        for first in range(0, len(self.clips), self.batch_clips):
            if stops():
                return None
            dice, clips = self._dice_of_batch(variables, first)
            for row in range(min(self.batch_clips, len(self.clips) - first)):
                scores += [dice[row, t] for t in (0, -1) if clips[row].has_reference[t]]
        return float(np.mean(scores))

    def _dice_of_batch(self, variables: dict[str, Any], first: int) -> tuple[np.ndarray, list[SampledClip]]:
        """Scores the batch that begins with a clip: (clips, frames), and the clips."""
        indices = [min(i, len(self.clips) - 1) for i in range(first, first + self.batch_clips)]
        clips = [self.clips[i] for i in indices]
        image = to_unit_range(np.stack([clip.frames for clip in clips]))
        cavity = np.stack([clip.cavity for clip in clips]).astype(np.float32)
        share = self.batch_clips // jax.process_count()
        rows = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
        placed = sharding.put_batch((image[rows], cavity[rows]), self.mesh)
        return np.asarray(self._score(variables, *placed)), clips
