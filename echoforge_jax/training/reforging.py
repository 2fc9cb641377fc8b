"""CPR on the frames of a batch (paper 3.3): who reforges whom, pseudo-labels, and the term that trains Wq, Wk and Wv.

`models/cpr.py` holds the mathematics of one pair of frames. Axes: b clips, t frames, n chosen frames, h w cells of
stride 4, c channels, g groups (the clips of one device form a group).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import einops
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from data_pipelines.batch import Batch
from echoforge_jax.models.cpr import Partners, cosine_probability, find_partners, prototypes
from echoforge_jax.models.layers.resampling import resize
from echoforge_jax.models.pooling import pool_to_cells
from echoforge_jax.training import losses
from echoforge_jax.training.state import Networks


@dataclasses.dataclass(frozen=True)
class Reforger:
    """CPR with the parameters that it reads.

    Attributes:
        networks: The modules of the training.
        params: {"network": ..., "reforging": ...}; of the network only the mask head is read.
        num_groups: Groups into which the batch axis is cut, one for each device. No partner is taken from another
            group, so that no data move between devices.
        cosine_temperature: Divides the cosine similarities of the prototypes.
    """

    networks: Networks
    params: dict[str, Any]
    num_groups: int
    cosine_temperature: float

    def reforge(
        self,
        labelled_features: Float[Array, "n h w c"],
        labelled_mask: Float[Array, "n h w"],
        features: Float[Array, "n h w c"],
    ) -> Float[Array, "n h w"]:
        """Reforges frames from labelled partners (eq. 5-6 and the semantic alignment).

        Args:
            labelled_features: F_L of the partners.
            labelled_mask: share of foreground in each cell of the partners' reference masks.
            features: F_U of the frames.

        Returns:
            Foreground probability: the mean of what the mask head says of F^_U, and of the cosine similarity of F^_U to
            the prototypes of the partner.
        """
        reforged: Any = self.networks.reforging.apply({"params": self.params["reforging"]}, labelled_features, features)
        head: Any = self.networks.network.apply({"params": self.params["network"]}, reforged, method="mask_logits")
        means = prototypes(labelled_features, labelled_mask)
        cosine = cosine_probability(reforged, means, self.cosine_temperature)
        return 0.5 * (jax.nn.sigmoid(head) + cosine)

    def reforge_frames(
        self, features: Float[Array, "b t h w c"], batch: Batch, partners: Partners, frames: Int[Array, "b n"]
    ) -> Float[Array, "b n H W"]:
        """Reforges chosen frames of every clip from their partners, at full size.

        Args:
            features: F of every frame.
            batch: the batch that the features belong to.
            partners: for each frame the index of its partner among the flat frames of its group.
            frames: numbers of the frames to reforge.
        """
        b, t, h, w, _ = features.shape
        n = frames.shape[1]
        clips_per_group = b // self.num_groups

        def by_group(values: Array) -> Array:
            return values.reshape(self.num_groups, clips_per_group * t, *values.shape[2:])

        def take(values: Array, index: Array) -> Array:
            chosen = jax.vmap(lambda of_group, places: of_group[places])(values, index)
            return einops.rearrange(chosen, "g n ... -> (g n) ...")

        grouped_features, grouped_masks = by_group(features), by_group(mask_shares(batch, h))
        first_frame = jnp.arange(clips_per_group)[:, None] * t
        chosen = (frames.reshape(self.num_groups, clips_per_group, n) + first_frame[None]).reshape(self.num_groups, -1)
        index = jax.vmap(lambda of_group, places: of_group[places])(partners.index.reshape(self.num_groups, -1), chosen)
        probability = self.reforge(
            take(grouped_features, index), take(grouped_masks, index), take(grouped_features, chosen)
        )
        full = resize(probability[..., None], batch.image.shape[2:])[..., 0]
        return full.reshape(b, n, *full.shape[1:])

    def partners(self, batch: Batch, *, exclude_self: bool) -> Partners:
        """Finds the partner of every frame among the labelled frames of its group.

        Args:
            batch: the batch.
            exclude_self: a labelled frame may not be its own partner.
        """
        usable = batch.may_train * batch.valid[:, None]

        def by_group(values: Array) -> Array:
            return values.reshape(self.num_groups, -1, *values.shape[1:])

        partners = jax.vmap(
            lambda may_train, view, record: find_partners(may_train, view, record, exclude_self=exclude_self)
        )(by_group(usable), by_group(batch.view), by_group(batch.record))
        return Partners(*(values.reshape(usable.shape) for values in partners))

    def loss(self, features: Float[Array, "b t h w c"], batch: Batch) -> Float[Array, ""]:
        """The term that trains Wq, Wk and Wv: labelled frames of a clip reforge each other against their references.

        At most two frames of each clip take part. Features and mask head are constants, so that nothing but Wq, Wk and
        Wv gets a gradient (docs/explanation/method.md).

        Args:
            features: F of every frame.
            batch: the batch that the features belong to.
        """
        partners = self.partners(batch, exclude_self=True)
        usable = batch.may_train * batch.valid[:, None]
        frames = jax.lax.top_k(usable, min(2, usable.shape[1]))[1]
        network = jax.lax.stop_gradient(self.params["network"])
        fixed = dataclasses.replace(self, params={"network": network, "reforging": self.params["reforging"]})
        probability = fixed.reforge_frames(jax.lax.stop_gradient(features), batch, partners, frames)

        def take(values: Array) -> Array:
            return jnp.take_along_axis(values, frames.reshape(frames.shape + (1,) * (values.ndim - 2)), axis=1)

        weights = take(usable * partners.exists.astype(jnp.float32))
        return losses.supervised_probability(probability, take(batch.cavity).astype(jnp.float32), weights)


def mask_shares(batch: Batch, height: int) -> Float[Array, "b t h w"]:
    """Returns the share of foreground in each cell of the batch's masks.

    Args:
        batch: the batch.
        height: rows of cells.
    """
    return pool_to_cells(batch.cavity.astype(jnp.float32), height)
