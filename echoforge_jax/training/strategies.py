"""How each strategy of Table 6 labels the frames that have no label of their own.

All strategies enter the same loss with the same schedules; only where a frame's label comes from differs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from data_pipelines.batch import Batch
from echoforge_jax.config import PseudoLabelConfig
from echoforge_jax.config.strategy import DEFORMATION, MEAN_TEACHER, REFORGING, REGISTRATION, THRESHOLD, Strategy
from echoforge_jax.training.reforging import Reforger
from echoforge_jax.training.state import Networks, TrainState


class PseudoLabels(NamedTuple):
    """Labels of unlabelled frames.

    Attributes:
        probability: Foreground probability of every pixel of every frame.
        exists: 1 for the frames that have a pseudo-label.
    """

    probability: Float[Array, "b t H W"]
    exists: Float[Array, "b t"]


@dataclasses.dataclass(frozen=True)
class Labeller:
    """What a strategy may read besides the state and the batch.

    Attributes:
        networks: The modules of the training.
        config: The fields of the pseudo-labels.
        num_groups: Groups into which the batch axis is cut, one for each device.
    """

    networks: Networks
    config: PseudoLabelConfig
    num_groups: int

    def label(self, state: TrainState, batch: Batch) -> PseudoLabels:
        """Labels every frame of the (augmented, but otherwise unchanged) clips by the configured strategy.

        No gradient goes into a pseudo-label.

        Args:
            state: the state before the step.
            batch: the batch.
        """
        return PseudoLabels(*jax.lax.stop_gradient(_LABELLERS[self.config.rules](self, state, batch)))


def _reforged(labeller: Labeller, state: TrainState, batch: Batch) -> PseudoLabels:
    """CPR: reforges every frame with the frozen copy of epoch t-1, in evaluation mode."""
    frozen, own_weight = state.frozen, labeller.config.own_weight
    variables = {"params": frozen["params"]["network"], "batch_stats": frozen["batch_stats"]}
    outputs, _ = labeller.networks.network.apply(variables, batch.image, train=False)
    reforger = Reforger(labeller.networks, frozen["params"], labeller.num_groups, labeller.config.cosine_temperature)
    partners = reforger.partners(batch, exclude_self=False)
    every_frame = jnp.broadcast_to(jnp.arange(batch.may_train.shape[1])[None], batch.may_train.shape)
    probability = reforger.reforge_frames(outputs.features, batch, partners, every_frame)
    if own_weight:
        probability = own_weight * jax.nn.sigmoid(outputs.logits) + (1.0 - own_weight) * probability
    return PseudoLabels(probability, partners.exists.astype(jnp.float32))


def _predicted(labeller: Labeller, params: Any, state: TrainState, batch: Batch) -> PseudoLabels:
    variables = {"params": params, "batch_stats": state.batch_stats}
    outputs, _ = labeller.networks.network.apply(variables, batch.image, train=False)
    return PseudoLabels(jax.nn.sigmoid(outputs.logits), jnp.ones_like(batch.may_train))


def _predicted_by_network(labeller: Labeller, state: TrainState, batch: Batch) -> PseudoLabels:
    """Takes what the network says now of the clean clip (FixMatch, Sohn et al. 2020)."""
    return _predicted(labeller, state.params["network"], state, batch)


def _predicted_by_average(labeller: Labeller, state: TrainState, batch: Batch) -> PseudoLabels:
    """Takes what the network's moving average says of the clean clip (Tarvainen and Valpola 2017)."""
    return _predicted(labeller, state.ema, state, batch)


def _carried(_: Labeller, state: TrainState, batch: Batch) -> PseudoLabels:
    """Takes the labels that optical flow carried through the clips before the training."""
    del state
    probability = batch.cavity.astype(jnp.float32)
    if batch.decided is not None:
        probability = jnp.where(batch.decided > 0, probability, 0.5)
    return PseudoLabels(probability, batch.has_reference)


_LABELLERS: dict[Strategy, Callable[[Labeller, TrainState, Batch], PseudoLabels]] = {
    REFORGING: _reforged,
    THRESHOLD: _predicted_by_network,
    MEAN_TEACHER: _predicted_by_average,
    REGISTRATION: _carried,
    DEFORMATION: _carried,
}
