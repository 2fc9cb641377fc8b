"""Where the heart lies in front of the probe in one view, and how wide (rad) and deep (mm) the probe looks."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from data_pipelines.records import VIEWS
from data_pipelines.simulator.coordinates import HeartPoints, ProbePoints
from data_pipelines.simulator.heart import Heart
from data_pipelines.simulator.population import Population
from data_pipelines.simulator.section import FOUR_CHAMBER, section_at

LARGEST_HALF_ANGLE_RAD = math.radians(41.0)
RETREAT_MM = 0.25  # how far the probe backs off between two attempts


@dataclasses.dataclass(frozen=True)
class Placement:
    """The placement of the heart in one view.

    Attributes:
        view: "2CH" or "4CH".
        depth_mm: radius of the sector.
        half_angle_rad: half of the sector's opening angle.
        apex_depth_mm: depth of the endocardial apex below the probe.
        apex_offset_mm: how far the apex lies to the right of the probe.
        tilt_rad: angle between the long axis of the heart and the middle of the sector.
    """

    view: str
    depth_mm: float
    half_angle_rad: float
    apex_depth_mm: float
    apex_offset_mm: float
    tilt_rad: float

    def to_heart(self, points: ProbePoints) -> HeartPoints:
        """Converts probe coordinates to heart coordinates."""
        cosine, sine = math.cos(self.tilt_rad), math.sin(self.tilt_rad)
        dx, dz = points.x_mm - self.apex_offset_mm, points.z_mm - self.apex_depth_mm
        return HeartPoints(cosine * dz + sine * dx, cosine * dx - sine * dz)

    def to_probe(self, points: HeartPoints) -> ProbePoints:
        """Converts heart coordinates to probe coordinates."""
        cosine, sine = math.cos(self.tilt_rad), math.sin(self.tilt_rad)
        return ProbePoints(
            self.apex_offset_mm + cosine * points.v_mm + sine * points.u_mm,
            self.apex_depth_mm + cosine * points.u_mm - sine * points.v_mm,
        )


def sample_placement(rng: np.random.Generator, heart: Heart, view: str, population: Population) -> Placement:
    """Draws a placement with the whole ventricle inside the sector; the probe backs off until there is one.

    The spread of depth, tilt, offset and opening angle is that of the CAMUS frames: the half angle is 37.3 degrees in
    nearly all of them, and the atrium is often cut off below.

    Args:
        rng: the random generator.
        heart: the patient's heart.
        view: "2CH" or "4CH".
        population: says how much of the left atrium is cut off.

    Raises:
        ValueError: `view` has another value.
    """
    if view not in VIEWS:
        raise ValueError(f"view is {view!r}; expected one of {', '.join(VIEWS)}: choose one of these")
    retreat_mm = 0.0
    while True:
        placement = _draw_placement(rng, heart, view, population, retreat_mm=retreat_mm)
        needed_rad = 1.03 * half_angle_needed_rad(heart, placement)
        if needed_rad < LARGEST_HALF_ANGLE_RAD:
            return dataclasses.replace(placement, half_angle_rad=max(placement.half_angle_rad, needed_rad))
        retreat_mm += RETREAT_MM


def _draw_placement(
    rng: np.random.Generator, heart: Heart, view: str, population: Population, *, retreat_mm: float
) -> Placement:
    """Draws a placement in which the ventricle may be too wide for the sector."""
    four_chamber = view == FOUR_CHAMBER
    apex_depth_mm = float(np.clip(rng.normal(30, 6), 17, 46)) + retreat_mm
    below_mm = float(np.clip(rng.normal(3, 9), -16, 26))
    half_angle_deg = float(rng.choice([37.3, rng.uniform(32, 42)], p=[0.75, 0.25]))
    placement = Placement(
        view=view,
        depth_mm=math.nan,
        half_angle_rad=math.radians(half_angle_deg),
        apex_depth_mm=apex_depth_mm,
        apex_offset_mm=float(np.clip(rng.normal(-3.0, 4.5), -14, 7)),
        tilt_rad=math.radians(float(rng.normal(11, 7) if four_chamber else rng.normal(9, 6.5))),
    )
    slope = heart.atrium_slope_4ch if four_chamber else heart.atrium_slope_2ch
    axis_mm = np.array([heart.length_mm, heart.length_mm + heart.atrium_length_mm])
    axis = placement.to_probe(HeartPoints(axis_mm, slope * (axis_mm - heart.length_mm)))
    base_z_mm, roof_z_mm = axis.z_mm
    below_mm -= population.hidden_atrium * heart.atrium_length_mm
    return dataclasses.replace(placement, depth_mm=float(max(roof_z_mm + below_mm, base_z_mm + 14.0)))


def half_angle_needed_rad(heart: Heart, placement: Placement) -> float:
    """Returns the half angle of the narrowest sector that holds the end-diastolic ventricle and a third of its wall.

    Args:
        heart: the patient's heart.
        placement: where it lies; its own half angle is not used.
    """
    section = section_at(heart, placement.view, 0.0)
    angle = np.linspace(-math.pi, math.pi, 91)
    u_mm = section.widest_mm - section.widest_mm * np.cos(angle)
    v_mm = (section.radius_mm + 0.35 * section.wall_mm) * np.sin(angle) + section.bend_at(u_mm)
    x_mm, z_mm = placement.to_probe(HeartPoints(u_mm, v_mm))
    return float(np.abs(np.arctan2(x_mm, z_mm))[u_mm <= section.length_mm].max())
