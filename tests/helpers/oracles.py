"""The layers of the network once more in plain numpy (float64), reading the parameters of their Flax counterparts."""

import numpy as np


def as_float64(tree):
    """A tree of arrays as nested dicts of float64 arrays."""
    if isinstance(tree, dict):
        return {name: as_float64(value) for name, value in tree.items()}
    return np.asarray(tree, np.float64)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-np.asarray(x, np.float64)))


def softmax(x):
    """Over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def dense(x, p):
    return x @ p["kernel"] + p.get("bias", 0.0)


def layer_norm(x, p):
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * p["scale"] + p["bias"]


def gelu(x):
    """The tanh form."""
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


def multi_head(query, keys, values, p, may_attend=None):
    """Multi-head attention of one sample, head by head. query (q, c), keys and values (n, c), may_attend (q, n)."""
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
    """x + attention(norm(x), keys, values) of one sample; keys and values default to norm(x)."""
    query = layer_norm(x, p["LayerNorm_0"])
    keys = query if keys is None else keys
    return x + multi_head(query, keys, keys if values is None else values, p["attention"], may_attend)


def feed_forward(x, p):
    return x + dense(gelu(dense(layer_norm(x, p["LayerNorm_0"]), p["Dense_0"])), p["Dense_1"])


def perturbed(tree, seed=0, scale=0.3):
    """Initial parameters with noise on every leaf, so that zero biases and unit scales hide nothing."""
    rng = np.random.default_rng(seed)
    if isinstance(tree, dict):
        return {name: perturbed(value, seed + 7919 * (i + 1), scale) for i, (name, value) in enumerate(tree.items())}
    return (np.asarray(tree) + scale * rng.standard_normal(tree.shape)).astype(np.float32)
