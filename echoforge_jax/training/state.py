"""Everything a training step reads and writes, as one pytree. A checkpoint is this, whole."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray

from echoforge_jax.config import Config, OptimizerConfig
from echoforge_jax.models.cpr import Reforging
from echoforge_jax.models.echoforge import EchoForge
from echoforge_jax.weights.pretrained import load_encoder


class Networks(NamedTuple):
    """The two modules of a training: the network itself, and CPR's Wq, Wk, Wv."""

    network: EchoForge
    reforging: Reforging


class TrainState(flax.struct.PyTreeNode):
    """
    Attributes:
        step: optimizer steps done, an int32 scalar. (Fields are not shape-checked: a pytree also carries shardings.)
        params: {"network": ..., "reforging": ...}.
        batch_stats: running statistics of the network's norms ({} with group norm).
        opt_state: of the optimizer.
        frozen: the epoch t-1 copy that CPR reads: {"params": ..., "batch_stats": ...}, refreshed at each epoch's end.
        ema: moving average of `params["network"]`, {} where it is off.
    """

    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any
    frozen: Any
    ema: Any


def make_networks(config: Config) -> Networks:
    return Networks(EchoForge(config.model), Reforging(config.model.channels))


def make_optimizer(config: OptimizerConfig, total_steps: int) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Adam with polynomial decay to 0 over the whole training, and its learning rate by step."""
    decay = max(total_steps - config.warmup_steps, 1)
    schedule = optax.polynomial_schedule(config.learning_rate, 0.0, config.power, decay)
    if config.warmup_steps:
        warmup = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
        schedule = optax.join_schedules([warmup, schedule], [config.warmup_steps])
    parts: list[optax.GradientTransformation] = [optax.adam(schedule)]
    if config.weight_decay:
        parts = [optax.adamw(schedule, weight_decay=config.weight_decay, mask=_kernels)]
    if config.clip_norm:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    if config.encoder_rate != 1.0:
        parts.append(optax.masked(optax.scale(config.encoder_rate), _encoder))
    return (optax.chain(*parts) if len(parts) > 1 else parts[0]), schedule


def _kernels(params: Any) -> Any:
    """Which parameters weight decay may shrink: not biases, norms and ARC's scalars."""
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _encoder(params: Any) -> Any:
    """Which parameters are the encoder's."""
    return jax.tree.map_with_path(lambda path, _: any(part.key == "encoder" for part in path), params)


def initial_state(
    config: Config, optimizer: optax.GradientTransformation, key: PRNGKeyArray, start: dict[str, Any] | None = None
) -> TrainState:
    """Kaiming initialisation, the pretrained encoder where the configuration names one, or the variables of the trained
    network `start` (a head that it lacks begins afresh). To be called under `jit`."""
    networks = make_networks(config)
    network_key, reforging_key = jax.random.split(key)
    clip = jnp.zeros((1, 1, config.data.size, config.data.size), jnp.float32)
    variables: Any = networks.network.init(network_key, clip)
    if start is not None:
        given = flax.traverse_util.flatten_dict(jax.tree.map(jnp.asarray, start))
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
    """The same values in other buffers (a state is donated: no buffer may stand in it twice)."""
    return jax.tree.map(jnp.copy, tree)


def refresh_frozen(state: TrainState, teacher: str) -> TrainState:
    """CPR's "epoch t-1 flow" (method: section 4): at an epoch's end the frozen copy becomes what has been learned, the
    network's `teacher` "last" parameters or their "average"."""
    params = state.params if teacher == "last" else {**state.params, "network": state.ema}
    return state.replace(frozen=copy_of({"params": params, "batch_stats": state.batch_stats}))


def inference_variables(state: TrainState) -> dict[str, Any]:
    """What prediction needs: the network's parameters (their moving average where there is one) and statistics."""
    return {"params": state.ema or state.params["network"], "batch_stats": state.batch_stats}
