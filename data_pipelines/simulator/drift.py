"""The slow movement of the probe against the heart with the breath (mm, rad). The heart moves in the picture."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from data_pipelines.simulator.coordinates import ProbePoints

BREATH_S = 4.0  # duration of one breath


@dataclasses.dataclass(frozen=True)
class Drift:
    """How far the heart moves in the picture; the sector stays where it is.

    Attributes:
        sideways_mm: shift to the right a quarter of a breath after the middle position.
        depth_mm: shift into the depth at the same time.
        rotation_rad: rotation about the middle of the sector at the same time.
        start_rad: phase of the breath in the first frame.
    """

    sideways_mm: float
    depth_mm: float
    rotation_rad: float
    start_rad: float

    def undone(self, points: ProbePoints, *, time_s: float, depth_mm: float) -> ProbePoints:
        """Returns where points of the picture were before the probe moved.

        Args:
            points: places in the picture, (h, w), float32.
            time_s: time since the first frame, in which the drift is 0.
            depth_mm: depth of the sector; the rotation is about its half.
        """
        share = math.sin(2 * math.pi * time_s / BREATH_S + self.start_rad) - math.sin(self.start_rad)
        angle, middle = share * self.rotation_rad, np.float32(depth_mm / 2)
        cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        dx = points.x_mm - np.float32(share * self.sideways_mm)
        dz = points.z_mm - np.float32(share * self.depth_mm) - middle
        return ProbePoints(cosine * dx - sine * dz, sine * dx + cosine * dz + middle)


def sample_drift(rng: np.random.Generator) -> Drift:
    """Draws the drift of one clip: about a millimetre and a degree."""
    sideways_mm, depth_mm, rotation_rad = rng.normal(0, 1, 3) * (1.2, 1.2, math.radians(1.0))
    return Drift(float(sideways_mm), float(depth_mm), float(rotation_rad), float(rng.uniform(0, 2 * math.pi)))
