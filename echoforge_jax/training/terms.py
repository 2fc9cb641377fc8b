"""The loss as a list of terms: eq. 9, and the terms that this implementation adds. Each is reported under its name."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from data_pipelines.batch import Batch
from echoforge_jax.config import Config
from echoforge_jax.models.echoforge import Outputs
from echoforge_jax.training import losses
from echoforge_jax.training.flamerise import FlameRise
from echoforge_jax.training.reforging import Reforger, mask_shares
from echoforge_jax.training.state import Networks, TrainState
from echoforge_jax.training.strategies import PseudoLabels
from echoforge_jax.training.strong_view import student_view

Metrics = dict[str, Array]


class MicroBatch(NamedTuple):
    """One micro-batch of gradient accumulation.

    Its loss means are multiplied by (its frames) / (mean frames per micro-batch), separately for labelled and
    unlabelled frames, so that the average of the micro-batch gradients equals the full-batch gradient.

    Attributes:
        index: Number of the micro-batch, from 0.
        labelled_weight: Multiplies the means over labelled frames.
        unlabelled_weight: Multiplies the means over unlabelled frames.
    """

    index: int | Array = 0
    labelled_weight: float | Array = 1.0
    unlabelled_weight: float | Array = 1.0


WHOLE_BATCH = MicroBatch()  # a batch that is not cut


class Term(NamedTuple):
    """One term of the loss.

    Attributes:
        name: Its name among the metrics.
        value: A mean over frames or pixels, a float32 scalar.
        weight: Multiplies the value in the loss.
    """

    name: str
    value: Float[Array, ""]
    weight: float | Float[Array, ""]


class LossValue(NamedTuple):
    """The loss of a batch, and what else its computation gives.

    Attributes:
        total: The loss, a float32 scalar.
        batch_stats: The running statistics after the forward pass.
        metrics: Every term by its name, what is monitored, and the total as "loss".
    """

    total: Float[Array, ""]
    batch_stats: dict[str, Any]
    metrics: Metrics


@dataclasses.dataclass(frozen=True)
class Objective:
    """The loss of a configuration.

    Attributes:
        config: The configuration.
        networks: Its modules.
        schedules: Weight and threshold of the pseudo-labels by step.
        num_groups: Groups into which the batch axis is cut, one for each device.
    """

    config: Config
    networks: Networks
    schedules: FlameRise
    num_groups: int

    def __call__(
        self,
        params: dict[str, Any],
        state: TrainState,
        batch: Batch,
        pseudo_labels: PseudoLabels | None = None,
        micro_batch: MicroBatch = WHOLE_BATCH,
    ) -> LossValue:
        """Computes the loss of a batch.

        Args:
            params: {"network": ..., "reforging": ...}, what the loss is differentiated by.
            state: the state before the step; of it step and running statistics are read.
            batch: the batch.
            pseudo_labels: labels of the unlabelled frames; None while they have no weight.
            micro_batch: which part of an accumulated batch this is.
        """
        outputs, batch_stats = self._forward(params, state, batch, micro_batch)
        usable = batch.may_train * batch.valid[:, None]
        terms = self._supervised_terms(outputs, batch, usable, micro_batch)
        metrics: Metrics = {}
        if outputs.uncertain_share is not None:
            valid = jnp.broadcast_to(batch.valid[:, None], usable.shape)
            metrics["uncertain_patch_share"] = losses.weighted_mean(outputs.uncertain_share, valid)
        if self.config.pseudo_labels.rules.trains_reforging:
            terms.append(self._reforging_term(params, outputs, batch, micro_batch))
        if pseudo_labels is not None:
            term, monitored = self._pseudo_label_term(outputs, state, batch, pseudo_labels, micro_batch)
            terms.append(term)
            metrics |= monitored
        total = jnp.zeros((), jnp.float32)
        for term in terms:
            total = total + term.weight * term.value
        metrics |= {term.name: term.value for term in terms}
        return LossValue(total, batch_stats, metrics | {"loss": total})

    def _forward(
        self, params: dict[str, Any], state: TrainState, batch: Batch, micro_batch: MicroBatch
    ) -> tuple[Outputs, dict[str, Any]]:
        image = batch.image
        if self.config.pseudo_labels.changes_student_view:
            step_key = jax.random.fold_in(jax.random.key(self.config.seed), state.step)
            image = student_view(batch, jax.random.fold_in(step_key, micro_batch.index))
        variables = {"params": params["network"], "batch_stats": state.batch_stats}
        applied: Any = self.networks.network.apply(variables, image, train=True, mutable=["batch_stats"])
        (outputs, _), updates = applied
        return outputs, updates.get("batch_stats", {})

    def _supervised_terms(
        self, outputs: Outputs, batch: Batch, usable: Float[Array, "b t"], micro_batch: MicroBatch
    ) -> list[Term]:
        """Eq. 9 on labelled frames, and the binary cross-entropy of ARC's own mask at stride 8."""
        weights = self.config.loss
        supervised = losses.supervised(outputs.logits, batch.cavity.astype(jnp.float32), usable)
        terms = [
            Term("bce", micro_batch.labelled_weight * supervised.bce, 1.0),
            Term("dice_loss", micro_batch.labelled_weight * supervised.dice, weights.dice_weight),
        ]
        if outputs.seed_logits is not None:
            shares = mask_shares(batch, outputs.seed_logits.shape[2])
            per_frame = losses.cross_entropy_from_logits(outputs.seed_logits, shares).mean((2, 3))
            seed = micro_batch.labelled_weight * losses.weighted_mean(per_frame, usable)
            terms.append(Term("seed_bce", seed, weights.seed_weight))
        return terms

    def _reforging_term(self, params: dict[str, Any], outputs: Outputs, batch: Batch, micro_batch: MicroBatch) -> Term:
        temperature = self.config.pseudo_labels.cosine_temperature
        loss = Reforger(self.networks, params, self.num_groups, temperature).loss(outputs.features, batch)
        return Term("reforging", micro_batch.labelled_weight * loss, self.config.loss.reforging_weight)

    def _pseudo_label_term(
        self, outputs: Outputs, state: TrainState, batch: Batch, pseudo_labels: PseudoLabels, micro_batch: MicroBatch
    ) -> tuple[Term, Metrics]:
        """L_U of eq. 9 on the confident pixels of unlabelled frames (eq. 7 and 8), and what is monitored of it."""
        with jax.numpy_dtype_promotion("standard"):  # optax mixes Python floats and integer counts
            weight = jnp.asarray(self.schedules.pseudo_weight(state.step), jnp.float32)
            threshold = jnp.asarray(self.schedules.threshold(state.step), jnp.float32)
        unlabelled = (1.0 - batch.may_train) * batch.valid[:, None] * pseudo_labels.exists
        confidence = jnp.maximum(pseudo_labels.probability, 1.0 - pseudo_labels.probability)
        confident = (confidence >= threshold).astype(jnp.float32) * unlabelled[..., None, None]
        hard = (pseudo_labels.probability >= 0.5).astype(jnp.float32)
        loss = micro_batch.unlabelled_weight * losses.unsupervised(outputs.logits, hard, confident)
        monitored: Metrics = {
            "lambda": weight,
            "tau": threshold,
            "confident_share": losses.weighted_mean(confident.mean((2, 3)), unlabelled),
        }
        if not self.config.pseudo_labels.rules.carries_labels:  # carried labels stand in the place of the references
            has_reference = unlabelled * batch.has_reference
            dice_percent = losses.dice_percent(hard, batch.cavity.astype(jnp.float32))
            monitored["pseudo_dice_percent"] = losses.weighted_mean(dice_percent, has_reference)
        return Term("unsupervised", loss, weight), monitored
