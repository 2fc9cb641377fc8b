"""The polar grid on which echoes are computed: samples along each beam (mm) and beams side by side (rad)."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Float32

from data_pipelines.simulator.coordinates import ProbePoints
from data_pipelines.simulator.placement import Placement

GUARD = 1.06  # the grid is a little wider than the sector, because the Fourier transform over the beams wraps around

Polar = Float32[np.ndarray, "r b"]


@dataclasses.dataclass(frozen=True)
class PolarGrid:
    """A grid of samples in front of the probe.

    Attributes:
        depth_mm: length of the beams.
        half_angle_rad: half of the angle that the beams cover.
        ranges: number of samples along each beam.
        beams: number of beams.
    """

    depth_mm: float
    half_angle_rad: float
    ranges: int
    beams: int

    @property
    def shape(self) -> tuple[int, int]:
        """(ranges, beams)."""
        return self.ranges, self.beams

    @property
    def range_step_mm(self) -> float:
        """Distance between two samples of a beam."""
        return self.depth_mm / self.ranges

    @property
    def angle_step_rad(self) -> float:
        """Angle between two beams."""
        return 2 * self.half_angle_rad / self.beams

    @property
    def range_mm(self) -> Float[np.ndarray, " r"]:
        """Distance of every sample from the probe."""
        return (np.arange(self.ranges) + 0.5) * self.range_step_mm

    @property
    def angle_rad(self) -> Float[np.ndarray, " b"]:
        """Angle of every beam: 0 in the middle, positive to the right."""
        return (np.arange(self.beams) + 0.5) * self.angle_step_rad - self.half_angle_rad

    def thinned(self, factor: int) -> PolarGrid:
        """Returns the same sector with `factor` times fewer samples along the beams."""
        return dataclasses.replace(self, ranges=self.ranges // factor)

    def points(self) -> ProbePoints:
        """Returns the place of every sample, (ranges, beams)."""
        x_mm = self.range_mm[:, None] * np.sin(self.angle_rad)
        z_mm = self.range_mm[:, None] * np.cos(self.angle_rad)
        return ProbePoints(x_mm.astype(np.float32), z_mm.astype(np.float32))

    def indices_at(self, points: ProbePoints) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
        """Returns the fractional indices (range, beam) of points."""
        range_index = np.hypot(points.x_mm, points.z_mm) / np.float32(self.range_step_mm) - np.float32(0.5)
        beam = (beam_angle_rad(points) + np.float32(self.half_angle_rad)) / np.float32(self.angle_step_rad)
        return range_index, beam - np.float32(0.5)


def beam_angle_rad(points: ProbePoints) -> Float32[np.ndarray, "*s"]:
    """Returns the angle of points in front of the probe, 0 in the middle, positive to the right."""
    # np.arctan2, which also knows the points behind the probe, takes three times as long.
    return np.arctan(points.x_mm / np.maximum(points.z_mm, np.float32(1e-3)))


def polar_grid(placement: Placement, size: int) -> PolarGrid:
    """Returns a grid that is fine enough for a picture.

    Args:
        placement: gives the depth and the opening angle of the sector.
        size: height and width of the picture in pixels.
    """
    ranges, beams = (448, 160) if size >= 192 else (288, 120)
    return PolarGrid(placement.depth_mm, GUARD * placement.half_angle_rad, ranges, beams)
