"""The plane that an apical view cuts out of the heart: placement in front of the probe, outlines, labels.

Two views are two sections of the same heart. Labels come from the outlines, so they are exact at any resolution.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.records import ATRIUM, BACKGROUND, ENDOCARDIUM, MYOCARDIUM, VIEWS
from data_pipelines.simulator.heart import APICAL_WALL_RATIO, Heart, WeakSegment, ventricle_at

LARGEST_HALF_ANGLE_RAD = math.radians(41.0)
Points = Float[np.ndarray, "..."]


@dataclasses.dataclass(frozen=True)
class View:
    """An apical view: where the heart lies in front of the probe, and how much the probe sees.

    Probe coordinates (mm): x to the right, z into the depth, origin at the probe. Heart coordinates (mm): u along the
    long axis from the endocardial apex towards the atrium, v across it, positive to the right of the image.
    """

    name: str
    depth_mm: float
    half_angle_rad: float
    apex_depth_mm: float
    apex_offset_mm: float
    tilt_rad: float

    def to_heart(self, x_mm: Points, z_mm: Points) -> tuple[Points, Points]:
        """Probe (x, z) to heart (u, v)."""
        cosine, sine = math.cos(self.tilt_rad), math.sin(self.tilt_rad)
        dx, dz = x_mm - self.apex_offset_mm, z_mm - self.apex_depth_mm
        return cosine * dz + sine * dx, cosine * dx - sine * dz

    def to_probe(self, u_mm: Points, v_mm: Points) -> tuple[Points, Points]:
        """Heart (u, v) to probe (x, z)."""
        cosine, sine = math.cos(self.tilt_rad), math.sin(self.tilt_rad)
        return self.apex_offset_mm + cosine * v_mm + sine * u_mm, self.apex_depth_mm + cosine * u_mm - sine * v_mm


def half_angle_needed_rad(heart: Heart, view: View) -> float:
    """Half opening angle of a sector that just holds the end-diastolic ventricle with a third of its wall."""
    section = section_at(heart, view.name, 0.0)
    angle = np.linspace(-math.pi, math.pi, 91)
    u_mm = section.widest_mm - section.widest_mm * np.cos(angle)
    v_mm = (section.radius_mm + 0.35 * section.wall_mm) * np.sin(angle) + section.bend_at(u_mm)
    x_mm, z_mm = view.to_probe(u_mm, v_mm)
    return float(np.abs(np.arctan2(x_mm, z_mm))[u_mm <= section.length_mm].max())


def sample_view(rng: np.random.Generator, heart: Heart, name: str, population: str = "camus") -> View:
    """Draws a placement in which the whole ventricle lies inside the sector; the probe backs off until it does.

    The spread of depth, tilt, offset and opening angle is that of the CAMUS frames (half angle 37.3 degrees in nearly
    all of them, the atrium often cut off below); "echonet" looks less deep.
    """
    if name not in VIEWS:
        raise ValueError(f"view is {name!r}; expected one of {', '.join(VIEWS)}: choose one of these")
    four_chamber = name == "4CH"
    slope = heart.atrium_slope_4ch if four_chamber else heart.atrium_slope_2ch
    for attempt in itertools.count():
        apex_depth_mm = float(np.clip(rng.normal(30, 6), 17, 46)) + 0.25 * attempt
        below_mm = float(np.clip(rng.normal(3, 9), -16, 26))
        half_angle_deg = float(rng.choice([37.3, rng.uniform(32, 42)], p=[0.75, 0.25]))
        view = View(
            name=name,
            depth_mm=1.0,
            half_angle_rad=math.radians(half_angle_deg),
            apex_depth_mm=apex_depth_mm,
            apex_offset_mm=float(np.clip(rng.normal(-3.0, 4.5), -14, 7)),
            tilt_rad=math.radians(float(rng.normal(11, 7) if four_chamber else rng.normal(9, 6.5))),
        )
        axis_mm = np.array([heart.length_mm, heart.length_mm + heart.atrium_length_mm])
        base_z_mm, roof_z_mm = view.to_probe(axis_mm, slope * (axis_mm - heart.length_mm))[1]
        if population == "echonet":
            below_mm -= 0.45 * heart.atrium_length_mm
        depth_mm = max(roof_z_mm + below_mm, base_z_mm + 14.0)
        view = dataclasses.replace(view, depth_mm=float(depth_mm))
        needed_rad = 1.03 * half_angle_needed_rad(heart, view)
        if needed_rad < LARGEST_HALF_ANGLE_RAD:
            return dataclasses.replace(view, half_angle_rad=max(view.half_angle_rad, needed_rad))
    raise AssertionError("unreachable")


def elliptic_radius(across: Points, along: Points) -> Points:
    """Distance from the centre in units of the ellipse; np.hypot, which guards against overflow, is slower."""
    return np.sqrt(across * across + along * along)


@dataclasses.dataclass(frozen=True)
class Section:
    """The cut of one view through the heart at one instant (mm). `v` below is measured from the bowed long axis."""

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
    def apical_wall_mm(self) -> float:
        return APICAL_WALL_RATIO * self.wall_mm

    @property
    def annulus_mm(self) -> float:
        """Half width of the mitral annulus."""
        return self.radius_mm * math.sqrt(1 - ((self.length_mm - self.widest_mm) / self.widest_mm) ** 2)

    def bend_at(self, u_mm: Points) -> Points:
        """Sideways bow of the long axis (mm) at level u, widest above the middle; it does not change with time."""
        return self.bend_mm * np.sin(1.25 * math.pi * np.clip(u_mm / self.rest_length_mm, -0.2, 1.2))

    def stretch_at(self, u_mm: Points, v_mm: Points) -> Points | float:
        """How much wider than the ellipse the cavity is at level u on the side of v: 1 without a weak segment."""
        if self.weak is None or not (self.left_bulge or self.right_bulge):
            return 1.0
        side = np.where(v_mm < 0, np.float32(self.left_bulge), np.float32(self.right_bulge))
        return 1 + side * self.weak.along(np.asarray(u_mm / np.float32(self.length_mm)))

    def endocardial_radius(self, u_mm: Points, v_mm: Points) -> Points:
        """Elliptic distance from the centre of the cavity: 1 on the endocardium."""
        across = v_mm / (self.radius_mm * self.stretch_at(u_mm, v_mm))
        return elliptic_radius(across, (u_mm - self.widest_mm) / self.widest_mm)

    def epicardial_radius(self, u_mm: Points, v_mm: Points) -> Points:
        """Elliptic distance from the centre of the cavity: 1 on the epicardium."""
        across = v_mm / (self.radius_mm + self.wall_mm)
        return elliptic_radius(across, (u_mm - self.widest_mm) / (self.widest_mm + self.apical_wall_mm))

    def atrial_radius(self, u_mm: Points, v_mm: Points) -> Points:
        """Elliptic distance from the centre of the left atrium: 1 on its wall. The roof stays, the floor moves."""
        half_mm = (self.roof_mm - self.length_mm) / 1.7
        along = (u_mm - self.length_mm - 0.7 * half_mm) / half_mm
        across_mm = v_mm - self.atrium_slope * np.maximum(u_mm - self.length_mm, 0)
        return elliptic_radius(across_mm / self.atrium_radius_mm, along)


def section_at(heart: Heart, view_name: str, phase: float) -> Section:
    """The cut of the named view through `heart` at `phase`."""
    ventricle = ventricle_at(heart, phase)
    four_chamber = view_name == "4CH"
    azimuth_rad = 0.0 if four_chamber else math.pi / 2
    bulge = lambda side_rad: ventricle.bulge * heart.weak.around(azimuth_rad + side_rad) if heart.weak else 0.0
    return Section(
        view=view_name,
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
        left_bulge=bulge(math.pi),
        right_bulge=bulge(0.0),
    )


def labels_at(
    section: Section, u_mm: Float[np.ndarray, "h w"], v_mm: Float[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w"]:
    """Labels: 0 background, 1 LV endocardium, 2 myocardium, 3 left atrium; `v_mm` is measured from the bowed axis."""
    above_mitral_plane = u_mm < section.length_mm
    labels = np.full(u_mm.shape, BACKGROUND, np.uint8)
    labels[(section.epicardial_radius(u_mm, v_mm) < 1) & above_mitral_plane] = MYOCARDIUM
    labels[(section.atrial_radius(u_mm, v_mm) < 1) & ~above_mitral_plane] = ATRIUM
    labels[(section.endocardial_radius(u_mm, v_mm) < 1) & above_mitral_plane] = ENDOCARDIUM
    return labels
