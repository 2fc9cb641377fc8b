"""The plane that an apical view cuts out of the heart at one instant: its outlines (mm) and its labels.

The two views of a patient are two sections of the same heart. Labels come from the outlines, so they are exact at any
resolution.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import UInt8

from data_pipelines.records import ATRIUM, BACKGROUND, ENDOCARDIUM, MYOCARDIUM
from data_pipelines.simulator.coordinates import HeartPoints, Points
from data_pipelines.simulator.curves import elliptic_radius
from data_pipelines.simulator.heart import (
    APICAL_WALL_RATIO,
    Heart,
    Ventricle,
    WeakSegment,
    contracted_ventricle,
    contraction_at,
)

FOUR_CHAMBER = "4CH"


@dataclasses.dataclass(frozen=True)
class Section:
    """The section of one view through the heart at one instant.

    Its methods take heart coordinates with `v_mm` measured from the bowed long axis: see `straightened`.

    Attributes:
        view: "2CH" or "4CH".
        contraction: share of the stroke volume that has left the ventricle: 0 at end-diastole, 1 at end-systole.
        length_mm: long axis, from the endocardial apex to the mitral plane.
        widest_mm: distance from the apex to the level where the cavity is widest.
        radius_mm: half width of the cavity there.
        wall_mm: thickness of the myocardium at the sides.
        bend_mm: largest sideways bow of the long axis.
        rest_length_mm: long axis at end-diastole.
        roof_mm: distance from the apex to the roof of the left atrium, which does not move.
        atrium_radius_mm: half width of the left atrium.
        atrium_slope: sideways shift of the left atrium's axis per mm below the mitral plane.
        right_width_mm: largest width of the right ventricle.
        weak: a segment that moves less, or None.
        left_bulge: how far the weak segment stands out on the left of the axis, as a share of the radius.
        right_bulge: the same on the right of the axis.
    """

    view: str
    contraction: float
    length_mm: float
    widest_mm: float
    radius_mm: float
    wall_mm: float
    bend_mm: float
    rest_length_mm: float
    roof_mm: float
    atrium_radius_mm: float
    atrium_slope: float
    right_width_mm: float
    weak: WeakSegment | None
    left_bulge: float
    right_bulge: float

    @property
    def shows_right_heart(self) -> bool:
        """Whether the right ventricle and atrium are in the picture."""
        return self.view == FOUR_CHAMBER

    @property
    def apical_wall_mm(self) -> float:
        """Thickness of the myocardium at the apex."""
        return APICAL_WALL_RATIO * self.wall_mm

    @property
    def annulus_mm(self) -> float:
        """Half width of the mitral annulus."""
        return self.radius_mm * math.sqrt(1 - ((self.length_mm - self.widest_mm) / self.widest_mm) ** 2)

    def bend_at(self, u_mm: Points) -> Points:
        """Returns the sideways bow of the long axis at level u (mm), widest above the middle, the same at any time."""
        return self.bend_mm * np.sin(1.25 * math.pi * np.clip(u_mm / self.rest_length_mm, -0.2, 1.2))

    def straightened(self, points: HeartPoints) -> HeartPoints:
        """Measures `v_mm` from the bowed long axis in place of the straight one."""
        return HeartPoints(points.u_mm, points.v_mm - self.bend_at(points.u_mm))

    def stretch_at(self, u_mm: Points, v_mm: Points) -> Points | float:
        """Returns how much wider than the ellipse the cavity is: 1 without a weak segment.

        Args:
            u_mm: level along the long axis.
            v_mm: its sign chooses the side.
        """
        if self.weak is None or not (self.left_bulge or self.right_bulge):
            return 1.0
        side = np.where(v_mm < 0, np.float32(self.left_bulge), np.float32(self.right_bulge))
        return 1 + side * self.weak.along(np.asarray(u_mm / np.float32(self.length_mm)))

    def endocardial_radius(self, u_mm: Points, v_mm: Points) -> Points:
        """Returns the elliptic distance from the centre of the cavity: 1 on the endocardium, less inside.

        Args:
            u_mm: along the long axis.
            v_mm: across the bowed long axis.
        """
        across = v_mm / (self.radius_mm * self.stretch_at(u_mm, v_mm))
        return elliptic_radius(across, (u_mm - self.widest_mm) / self.widest_mm)

    def epicardial_radius(self, u_mm: Points, v_mm: Points) -> Points:
        """Returns the elliptic distance from the centre of the cavity: 1 on the epicardium, less inside.

        Args:
            u_mm: along the long axis.
            v_mm: across the bowed long axis.
        """
        across = v_mm / (self.radius_mm + self.wall_mm)
        return elliptic_radius(across, (u_mm - self.widest_mm) / (self.widest_mm + self.apical_wall_mm))

    def atrial_radius(self, u_mm: Points, v_mm: Points) -> Points:
        """Returns the elliptic distance from the centre of the left atrium: 1 on its wall, less inside.

        The roof of the atrium stays, its floor moves with the mitral plane.

        Args:
            u_mm: along the long axis.
            v_mm: across the bowed long axis.
        """
        half_mm = (self.roof_mm - self.length_mm) / 1.7
        along = (u_mm - self.length_mm - 0.7 * half_mm) / half_mm
        across_mm = v_mm - self.atrium_slope * np.maximum(u_mm - self.length_mm, 0)
        return elliptic_radius(across_mm / self.atrium_radius_mm, along)


def section_at(heart: Heart, view: str, phase: float) -> Section:
    """Cuts the heart in the plane of a view at one instant of a regular beat.

    Args:
        heart: the patient's heart.
        view: "2CH" or "4CH".
        phase: 0 end-diastole, 1 end-systole, `heart.beat` end-diastole again.
    """
    return contracted_section(heart, view, contraction_at(phase, heart.beat))


def contracted_section(heart: Heart, view: str, contraction: float) -> Section:
    """Cuts the heart in the plane of a view in one state of contraction.

    Args:
        heart: the patient's heart.
        view: "2CH" or "4CH".
        contraction: share of the stroke volume that has left the ventricle: 0 at end-diastole, 1 at end-systole.
    """
    ventricle = contracted_ventricle(heart, contraction)
    four_chamber = view == FOUR_CHAMBER
    azimuth_rad = 0.0 if four_chamber else math.pi / 2
    return Section(
        view=view,
        contraction=ventricle.contraction,
        length_mm=ventricle.length_mm,
        widest_mm=ventricle.widest_mm,
        radius_mm=ventricle.radius_4ch_mm if four_chamber else ventricle.radius_2ch_mm,
        wall_mm=ventricle.wall_mm,
        bend_mm=heart.bend_4ch_mm if four_chamber else heart.bend_2ch_mm,
        rest_length_mm=heart.length_mm,
        roof_mm=heart.length_mm + heart.atrium_length_mm,
        atrium_radius_mm=heart.atrium_radius_mm * (1 + 0.1 * ventricle.contraction),
        atrium_slope=heart.atrium_slope_4ch if four_chamber else heart.atrium_slope_2ch,
        right_width_mm=heart.right_width_mm * (1 - 0.3 * ventricle.contraction),
        weak=heart.weak,
        left_bulge=_bulge_at(ventricle, azimuth_rad + math.pi),
        right_bulge=_bulge_at(ventricle, azimuth_rad + 0.0),
    )


def _bulge_at(ventricle: Ventricle, azimuth_rad: float) -> float:
    return ventricle.bulge * ventricle.weak.around(azimuth_rad) if ventricle.weak else 0.0


def label_map_at(section: Section, points: HeartPoints) -> UInt8[np.ndarray, "h w"]:
    """Labels points of the section: 0 background, 1 LV endocardium, 2 myocardium, 3 left atrium.

    Args:
        section: the heart at one instant.
        points: heart coordinates, (h, w), with `v_mm` measured from the bowed long axis.
    """
    above_mitral_plane = points.u_mm < section.length_mm
    label_map = np.full(points.u_mm.shape, BACKGROUND, np.uint8)
    label_map[(section.epicardial_radius(*points) < 1) & above_mitral_plane] = MYOCARDIUM
    label_map[(section.atrial_radius(*points) < 1) & ~above_mitral_plane] = ATRIUM
    label_map[(section.endocardial_radius(*points) < 1) & above_mitral_plane] = ENDOCARDIUM
    return label_map
