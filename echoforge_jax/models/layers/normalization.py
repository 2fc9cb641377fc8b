"""The norm that follows a convolution, chosen by name."""

from __future__ import annotations

import functools
from collections.abc import Callable

import flax.linen as nn
from jax.typing import DTypeLike


def make_norm(kind: str, train: bool, dtype: DTypeLike) -> Callable[..., nn.Module]:
    """Chooses the normalisation that follows a convolution.

    Args:
        kind: "batch": statistics of the global batch in training, running statistics otherwise; "frozen": running
            statistics always; "group": statistics of 8 channels of one image, none are kept.
        train: whether this is a training step. Without effect on "frozen" and "group".
        dtype: type of the output.

    Returns:
        A constructor of the module; it takes the module's `name`.
    """
    if kind == "group":
        return functools.partial(nn.GroupNorm, num_groups=None, group_size=8, epsilon=1e-5, dtype=dtype)
    running = kind == "frozen" or not train
    return functools.partial(nn.BatchNorm, use_running_average=running, momentum=0.9, epsilon=1e-5, dtype=dtype)
