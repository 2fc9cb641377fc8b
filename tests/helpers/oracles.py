"""The layers of the network once more in plain NumPy (float64), on the parameters of their Flax counterparts.

Axes: q tokens that read, k tokens that are read, c channels. Parameters `p` are the module's, as nested dicts.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


def as_float64(tree):
    """Converts a tree of arrays to nested dicts of float64 arrays."""
    if isinstance(tree, dict):
        return {name: as_float64(value) for name, value in tree.items()}
    return np.asarray(tree, np.float64)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-np.asarray(x, np.float64)))


def softmax(x):
    """Computes the softmax over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def dense(x, p):
    return x @ p["kernel"] + p.get("bias", 0.0)


def layer_norm(x, p):
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * p["scale"] + p["bias"]


def gelu(x):
    """Computes the tanh form, which Flax uses."""
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


def multi_head(query, keys, values, p, may_attend=None):
    """Computes the multi-head attention of one sample, head by head.

    Args:
        query: (q, c).
        keys: (k, c).
        values: (k, c).
        p: parameters of `nn.MultiHeadDotProductAttention`.
        may_attend: (q, k), True where a token may read another; None: everywhere.
    """
    heads, width = p["query"]["kernel"].shape[1:]
    out = np.zeros((query.shape[0], p["out"]["kernel"].shape[-1])) + p["out"]["bias"]
    for head in range(heads):
        q, k, v = (
            x @ p[name]["kernel"][:, head] + p[name]["bias"][head]
            for x, name in ((query, "query"), (keys, "key"), (values, "value"))
        )
        scores = q @ k.T / np.sqrt(width)
        if may_attend is not None:
            scores = np.where(may_attend, scores, -1e30)
        out += softmax(scores) @ v @ p["out"]["kernel"][head]
    return out


def attention(x, p, keys=None, values=None, may_attend=None):
    """Computes x + MultiHead(LayerNorm(x), keys, values) of one sample.

    Args:
        x: (q, c).
        p: parameters of `layers.attention.Attention`.
        keys: (k, c); None: LayerNorm(x).
        values: (k, c); None: the keys.
        may_attend: (q, k), True where a token may read another; None: everywhere.
    """
    query = layer_norm(x, p["LayerNorm_0"])
    keys = query if keys is None else keys
    return x + multi_head(query, keys, keys if values is None else values, p["attention"], may_attend)


def feed_forward(x, p):
    return x + dense(gelu(dense(layer_norm(x, p["LayerNorm_0"]), p["Dense_0"])), p["Dense_1"])


def random_variables(module: nn.Module, *inputs: Any, seed: int = 0, noise: float = 0.3) -> dict[str, Any]:
    """Draws a module's variables without compiling its initialisation.

    Kernels are normal with variance 1 / fan-in; scales, alpha and running variances start from 1, all else from 0.
    Noise is added to every parameter, so that zero biases and unit scales hide nothing.

    Args:
        module: the module.
        inputs: arguments of its call.
        seed: seed of all draws.
        noise: standard deviation of the noise.

    Returns:
        {"params": ..., and "batch_stats": ... where the module has them}, float32 on the device.
    """
    rng = np.random.default_rng(seed)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        collection, name = path[0].key, path[-1].key
        value = np.full(leaf.shape, float(name in ("scale", "alpha", "var")))
        if name == "kernel":
            value = rng.standard_normal(leaf.shape) / np.sqrt(math.prod(leaf.shape[:-1]))
        if collection == "params":
            value = value + noise * rng.standard_normal(leaf.shape)
        return float32(value)

    return jax.tree.map_with_path(draw, jax.eval_shape(module.init, jax.random.key(0), *inputs))


def float32(values: Any) -> jax.Array:
    """Puts numbers of any type on the device as float32."""
    return jnp.asarray(np.asarray(values, np.float32))
