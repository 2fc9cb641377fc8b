"""How the tissue of a section moves: points that carry the speckle, from end-diastole to any instant (mm)."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float32

from data_pipelines.simulator.coordinates import HeartPoints, Points, ProbePoints
from data_pipelines.simulator.curves import elliptic_radius
from data_pipelines.simulator.placement import Placement
from data_pipelines.simulator.section import Section

DISPLACEMENT_REACH_MM = 14.0  # how far outside the wall the surroundings follow it
ATRIAL_REACH_MM = 40.0  # how far below the mitral plane the surroundings follow it
NEWTON_STEPS = 6


@dataclasses.dataclass(frozen=True)
class MaterialPoints:
    """Points that stick to the tissue, described at end-diastole so that their place at any instant follows.

    A point in the cavity scales with the cavity. A point in the wall keeps its elliptic angle and its share of the
    thickness. A point outside moves as the nearest point of the epicardium does, but less with distance.

    Attributes:
        placement: where the heart lies in front of the probe.
        rest: the section at end-diastole.
        u_mm: along the long axis at end-diastole.
        v_mm: across the bowed long axis at end-diastole.
        sine: sine of the elliptic angle.
        cosine: cosine of the elliptic angle.
        wall_share: place in the wall: 0 on the endocardium, 1 on the epicardium and outside, -1 inside the cavity.
        follows: share of the wall's displacement that the point takes part in, 0..1.
    """

    placement: Placement
    rest: Section
    u_mm: Float32[np.ndarray, " n"]
    v_mm: Float32[np.ndarray, " n"]
    sine: Float32[np.ndarray, " n"]
    cosine: Float32[np.ndarray, " n"]
    wall_share: Float32[np.ndarray, " n"]
    follows: Float32[np.ndarray, " n"]

    @property
    def in_cavity(self) -> Bool[np.ndarray, " n"]:
        """Whether each point lies inside the endocardium."""
        return self.wall_share < 0

    def only(self, chosen: Bool[np.ndarray, " n"]) -> MaterialPoints:
        """Returns the points where `chosen` is True."""
        return dataclasses.replace(
            self,
            u_mm=self.u_mm[chosen],
            v_mm=self.v_mm[chosen],
            sine=self.sine[chosen],
            cosine=self.cosine[chosen],
            wall_share=self.wall_share[chosen],
            follows=self.follows[chosen],
        )

    def positions(self, section: Section) -> ProbePoints:
        """Returns where the points are at the instant of `section`."""
        start_u, start_v = self._attachment(self.rest)
        now_u, now_v = self._attachment(section)
        inside = self.in_cavity
        length_growth = section.length_mm / self.rest.length_mm - 1
        radius_growth = section.radius_mm / self.rest.radius_mm * section.stretch_at(now_u, self.sine) - 1
        shift_u = np.where(inside, self.u_mm * length_growth, now_u - start_u) * self.follows
        shift_v = np.where(inside, self.v_mm * radius_growth, now_v - start_v) * self.follows
        u_mm = self.u_mm + shift_u
        return self.placement.to_probe(HeartPoints(u_mm, self.v_mm + shift_v + section.bend_at(u_mm)))

    def _attachment(self, section: Section) -> HeartPoints:
        """The point of the wall to which each point is attached."""
        widest_mm = section.widest_mm + self.wall_share * section.apical_wall_mm
        u_mm = section.widest_mm - widest_mm * self.cosine
        stretched_mm = (1 - self.wall_share) * section.radius_mm * (section.stretch_at(u_mm, self.sine) - 1)
        radius_mm = section.radius_mm + stretched_mm + self.wall_share * section.wall_mm
        return HeartPoints(u_mm, radius_mm * self.sine)


def attach(points: ProbePoints, *, placement: Placement, rest: Section) -> MaterialPoints:
    """Attaches points to the tissue.

    Args:
        points: their places at end-diastole, (n,).
        placement: where the heart lies in front of the probe.
        rest: the section at end-diastole.
    """
    u, v = rest.straightened(placement.to_heart(points))
    inside = rest.endocardial_radius(u, v) < 1
    share = _wall_share(rest, u, v)
    radius_mm, widest_mm = rest.radius_mm + share * rest.wall_mm, rest.widest_mm + share * rest.apical_wall_mm
    angle = np.arctan2(v / radius_mm, (rest.widest_mm - u) / widest_mm)
    outside_mm = np.maximum(rest.epicardial_radius(u, v) - 1, 0) * (rest.radius_mm + rest.wall_mm)
    follows = np.exp(-outside_mm / DISPLACEMENT_REACH_MM - np.maximum(u - rest.length_mm, 0) / ATRIAL_REACH_MM)
    return MaterialPoints(
        placement=placement,
        rest=rest,
        u_mm=u.astype(np.float32),
        v_mm=v.astype(np.float32),
        sine=np.sin(angle).astype(np.float32),
        cosine=np.cos(angle).astype(np.float32),
        wall_share=np.where(inside, -1, share).astype(np.float32),
        follows=follows.astype(np.float32),
    )


def _wall_share(rest: Section, u: Points, v: Points) -> Points:
    """The place in the wall of the ellipse through each point, by Newton's method: 0 endocardium, 1 epicardium."""
    share = np.zeros_like(u)
    for _ in range(NEWTON_STEPS):
        radius_mm = rest.radius_mm + share * rest.wall_mm
        across, along = v / radius_mm, (rest.widest_mm - u) / (rest.widest_mm + share * rest.apical_wall_mm)
        share = np.clip(share + (elliptic_radius(across, along) - 1) * radius_mm / rest.wall_mm, 0, 1)
    return share
