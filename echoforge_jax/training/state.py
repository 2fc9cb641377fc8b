"""Everything that a training step reads and writes, as one pytree. A checkpoint is this state, whole."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray

from echoforge_jax.config import Config
from echoforge_jax.models.cpr import Reforging
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.models.layers.convolution import ConvImplementation
from echoforge_jax.weights.pretrained import load_encoder


class Networks(NamedTuple):
    """The two modules of a training.

    Attributes:
        network: The network itself.
        reforging: Wq, Wk and Wv of CPR, which only the training needs.
    """

    network: EchoForge
    reforging: Reforging


class TrainState(flax.struct.PyTreeNode):
    """The state of a training. (Its fields are not shape-checked: the same pytree also carries shapes or shardings.)

    Attributes:
        step: Optimizer steps done, an int32 scalar.
        params: {"network": ..., "reforging": ...}.
        batch_stats: Running statistics of the network's norms ({} with group norm).
        opt_state: State of the optimizer.
        frozen: The copy of epoch t-1 that CPR reads, {"params": ..., "batch_stats": ...}; renewed at each epoch's end.
        ema: Moving average of `params["network"]`; {} where it is off.
    """

    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any
    frozen: Any
    ema: Any


def make_networks(config: Config, convolutions: ConvImplementation) -> Networks:
    """Builds the modules of a configuration; they hold no parameters yet.

    Args:
        config: the configuration.
        convolutions: the forms in which convolutions are compiled.
    """
    return Networks(EchoForge(config.model, convolutions), Reforging(config.model.channels))


def initial_state(
    config: Config,
    networks: Networks,
    optimizer: optax.GradientTransformation,
    key: PRNGKeyArray,
    *,
    trained_variables: dict[str, Any] | None = None,
) -> TrainState:
    """Makes the state before the first step. To be called under `jit`.

    The network starts from the variables of a trained network where they are given, else from the pretrained encoder
    that the configuration names, else from Kaiming initialisation.

    Args:
        config: the configuration.
        networks: its modules.
        optimizer: its optimizer.
        key: of the initialisation.
        trained_variables: {"params": ..., "batch_stats": ...} of a network of the same configuration.
    """
    network_key, reforging_key = jax.random.split(key)
    clip = jnp.zeros((1, 1, config.data.size, config.data.size), jnp.float32)
    variables: Any = networks.network.init(network_key, clip)
    if trained_variables is not None:
        given = flax.traverse_util.flatten_dict(jax.tree.map(jnp.asarray, trained_variables))
        variables = flax.traverse_util.unflatten_dict(flax.traverse_util.flatten_dict(variables) | given)
    elif config.model.pretrained:
        variables = load_encoder(variables, config.model)
    features = jnp.zeros((1, 2, 2, config.model.channels), jnp.float32)
    reforging = networks.reforging.init(reforging_key, features, features)["params"]
    params = {"network": variables["params"], "reforging": reforging}
    batch_stats = variables.get("batch_stats", {})
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=optimizer.init(params),
        frozen=copy_of({"params": params, "batch_stats": batch_stats}),
        ema=copy_of(params["network"]) if config.optimizer.ema_decay else {},
    )


def copy_of(tree: Any) -> Any:
    """Copies the values into other buffers (a state is donated: no buffer may stand in it twice)."""
    return jax.tree.map(jnp.copy, tree)


def refresh_frozen(state: TrainState, *, from_average: bool) -> TrainState:
    """Renews the frozen copy of CPR's "epoch t-1 flow" at an epoch's end.

    Args:
        state: the state after the epoch.
        from_average: takes the moving average of the network's parameters in place of the last ones.
    """
    params = {**state.params, "network": state.ema} if from_average else state.params
    return state.replace(frozen=copy_of({"params": params, "batch_stats": state.batch_stats}))


def inference_variables(state: TrainState) -> dict[str, Any]:
    """Returns what prediction needs: the network's parameters (their average where there is one) and statistics."""
    return {"params": state.ema or state.params["network"], "batch_stats": state.batch_stats}
