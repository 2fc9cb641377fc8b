"""Maps at another size.

Axes: n images, h w rows and columns of the input, i j rows and columns of the output, c channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import einops
import jax
from jaxtyping import Array, Float


def resize(x: Float[Array, "n h w c"], size: Sequence[int]) -> Float[Array, "n i j c"]:
    """Resizes a map bilinearly, with half-pixel centres and without antialiasing.

    Args:
        x: the map.
        size: rows i and columns j of the result.
    """
    return jax.image.resize(x, (x.shape[0], size[0], size[1], x.shape[3]), "bilinear", antialias=False)


def average_pool(x: Float[Array, "n h w c"], factor: int) -> Float[Array, "n i j c"]:
    """Takes the mean over `factor` x `factor` cells that do not overlap.

    Args:
        x: the map; h and w are multiples of `factor`.
        factor: side of a cell, pixels of x.
    """
    return einops.reduce(x, "n (i u) (j v) c -> n i j c", "mean", u=factor, v=factor)
