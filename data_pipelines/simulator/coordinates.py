"""The two coordinate systems of a view: that of the probe and that of the heart. All lengths are in mm."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "..."]


class ProbePoints(NamedTuple):
    """Points in probe coordinates; the origin is the probe.

    Attributes:
        x_mm: to the right of the picture.
        z_mm: into the depth.
    """

    x_mm: Points
    z_mm: Points


class HeartPoints(NamedTuple):
    """Points in heart coordinates; the origin is the endocardial apex.

    Attributes:
        u_mm: along the long axis, from the apex towards the left atrium.
        v_mm: across the long axis, positive to the right of the picture.
    """

    u_mm: Points
    v_mm: Points
