"""How the tissue of a section moves: points that carry the speckle, from end-diastole to any instant."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Float32

from data_pipelines.simulator.section import Section, View, elliptic_radius

DISPLACEMENT_REACH_MM = 14.0  # how far outside the wall the surroundings follow it
ATRIAL_REACH_MM = 40.0  # how far below the mitral plane the surroundings follow it
Points = Float[np.ndarray, "..."]


@dataclasses.dataclass(frozen=True)
class MaterialPoints:
    """Points that stick to the tissue, described at end-diastole so that their place at any instant follows.

    A point in the cavity scales with it; a point in the wall keeps its elliptic angle and its share of the thickness; a
    point outside moves as the nearest epicardium does, less with distance.
    """

    view: View
    rest: Section
    u_mm: Float32[np.ndarray, " n"]
    v_mm: Float32[np.ndarray, " n"]
    sine: Float32[np.ndarray, " n"]
    cosine: Float32[np.ndarray, " n"]
    wall_share: Float32[np.ndarray, " n"]  # 0 endocardium, 1 epicardium; -1 inside the cavity
    follows: Float32[np.ndarray, " n"]  # share of the wall's displacement, 0..1

    @property
    def in_cavity(self) -> np.ndarray:
        return self.wall_share < 0

    def only(self, chosen: np.ndarray) -> MaterialPoints:
        """The points where `chosen` is True."""
        columns = (self.u_mm, self.v_mm, self.sine, self.cosine, self.wall_share, self.follows)
        return MaterialPoints(self.view, self.rest, *(column[chosen] for column in columns))

    def positions_mm(self, section: Section) -> tuple[Points, Points]:
        """Probe coordinates (x, z), mm, at the instant of `section`."""
        start_u, start_v = self._attachment_mm(self.rest)
        now_u, now_v = self._attachment_mm(section)
        inside = self.in_cavity
        length_growth = section.length_mm / self.rest.length_mm - 1
        radius_growth = section.radius_mm / self.rest.radius_mm * section.stretch_at(now_u, self.sine) - 1
        shift_u = np.where(inside, self.u_mm * length_growth, now_u - start_u) * self.follows
        shift_v = np.where(inside, self.v_mm * radius_growth, now_v - start_v) * self.follows
        u_mm = self.u_mm + shift_u
        return self.view.to_probe(u_mm, self.v_mm + shift_v + section.bend_at(u_mm))

    def _attachment_mm(self, section: Section) -> tuple[Points, Points]:
        widest_mm = section.widest_mm + self.wall_share * section.apical_wall_mm
        u_mm = section.widest_mm - widest_mm * self.cosine
        stretched_mm = (1 - self.wall_share) * section.radius_mm * (section.stretch_at(u_mm, self.sine) - 1)
        radius_mm = section.radius_mm + stretched_mm + self.wall_share * section.wall_mm
        return u_mm, radius_mm * self.sine


def attach(view: View, rest: Section, x_mm: Float[np.ndarray, " n"], z_mm: Float[np.ndarray, " n"]) -> MaterialPoints:
    """Attaches points given in probe coordinates (mm) at end-diastole to the tissue of the section `rest`."""
    u, v = view.to_heart(x_mm, z_mm)
    v = v - rest.bend_at(u)
    inside = rest.endocardial_radius(u, v) < 1
    share = np.zeros_like(u)
    for _ in range(6):  # the ellipse through the point, by Newton's rule on its share of the wall
        radius_mm = rest.radius_mm + share * rest.wall_mm
        across, along = v / radius_mm, (rest.widest_mm - u) / (rest.widest_mm + share * rest.apical_wall_mm)
        share = np.clip(share + (elliptic_radius(across, along) - 1) * radius_mm / rest.wall_mm, 0, 1)
    radius_mm, widest_mm = rest.radius_mm + share * rest.wall_mm, rest.widest_mm + share * rest.apical_wall_mm
    angle = np.arctan2(v / radius_mm, (rest.widest_mm - u) / widest_mm)
    outside_mm = np.maximum(rest.epicardial_radius(u, v) - 1, 0) * (rest.radius_mm + rest.wall_mm)
    follows = np.exp(-outside_mm / DISPLACEMENT_REACH_MM - np.maximum(u - rest.length_mm, 0) / ATRIAL_REACH_MM)
    columns = (u, v, np.sin(angle), np.cos(angle), np.where(inside, -1, share), follows)
    return MaterialPoints(view, rest, *(column.astype(np.float32) for column in columns))
