"""The position encoding of a grid."""

import numpy as np

from echoforge_jax.models.layers.attention import sine_position_encoding


def test_position_encoding_tells_every_cell_apart():
    """Bounded, row-major, half of the channels for the row and half for the column."""
    encoding = sine_position_encoding(3, 5, 8).reshape(3, 5, 8)
    assert np.abs(encoding).max() <= 1.0
    np.testing.assert_array_equal(encoding[..., :4], np.broadcast_to(encoding[:, :1, :4], (3, 5, 4)))
    np.testing.assert_array_equal(encoding[..., 4:], np.broadcast_to(encoding[:1, :, 4:], (3, 5, 4)))
    flat = encoding.reshape(15, 8)
    assert min(np.abs(flat[i] - flat[j]).max() for i in range(15) for j in range(i)) > 0.1
