"""Six pairs of masks against numbers that medpy 0.5.2 gave (dc, hd, hd95, asd both ways, assd; connectivity 1).

medpy is GPL: its numbers are frozen here, the package is not needed.
"""

import numpy as np
import pytest

from echoforge_jax.evaluation.overlap import dice
from echoforge_jax.evaluation.surface import surface_distances


def ellipse(shape, centre, axes, angle_deg=0.0):
    y, x = np.mgrid[: shape[0], : shape[1]] - np.array(centre, np.float64)[:, None, None]
    turn = np.deg2rad(angle_deg)
    u, v = np.cos(turn) * y + np.sin(turn) * x, np.cos(turn) * x - np.sin(turn) * y
    return (u / axes[0]) ** 2 + (v / axes[1]) ** 2 <= 1


A, B = (64, 48), (97, 80)
PAIRS = {
    "turned": (ellipse(A, (30, 24), (20, 11), 20), ellipse(A, (32, 22), (18, 12), -10), (1.0, 1.0)),
    "fine, anisotropic": (ellipse(B, (50, 40), (30, 17), 8), ellipse(B, (47, 44), (33, 15), 15), (0.154, 0.308)),
    "coarse, anisotropic": (ellipse(B, (50, 40), (30, 17)), ellipse(B, (55, 37), (24, 20), 40), (1.5, 0.75)),
    "two pieces": (
        ellipse(B, (40, 40), (22, 14)) | ellipse(B, (85, 12), (6, 5)),
        ellipse(B, (42, 41), (23, 13), 5),
        (0.5, 0.8),
    ),
    "at the border": (ellipse(A, (10, 20), (18, 12), 30), ellipse(A, (8, 22), (16, 14)), (0.3, 0.3)),
    "one pixel": (ellipse(A, (20, 20), (0.5, 0.5)), ellipse(A, (40, 30), (9, 6), 60), (2.0, 1.0)),
}
VALUES = {
    "turned": (0.802325581, 6.40312424, 5.65685425, 2.62570441, 2.65149942, 2.63845367),
    "fine, anisotropic": (0.801652893, 1.97216227, 1.86108542, 1.00590673, 0.923742693, 0.963925104),
    "coarse, anisotropic": (0.786127168, 19.6293785, 16.5, 5.53979128, 3.31281792, 4.48672636),
    "two pieces": (0.870175439, 24.992799, 22.2664711, 5.29406646, 0.92266216, 3.3676849),
    "at the border": (0.881239243, 1.61554944, 1.2, 0.423123285, 0.468280207, 0.445840264),
    "one pixel": (0, 54.405882, 53.8516481, 28.2842712, 41.5407547, 41.2174258),
}


@pytest.mark.parametrize("name", PAIRS)
def test_medpy_gives_the_same(name):
    prediction, reference, spacing = PAIRS[name]
    found = surface_distances(prediction, reference, spacing)
    ours = (
        dice(prediction, reference),
        found.hd,
        found.hd95,
        found.asd_prediction_to_reference,
        found.asd_reference_to_prediction,
        found.assd,
    )
    assert ours == pytest.approx(VALUES[name], rel=2e-8, abs=1e-9)
