"""Shape and motion of the simulated heart: every volume follows from a formula, none from pixels.

The left ventricle is an ellipsoid cut off at the mitral plane (volume in closed form); its wall is incompressible;
a heart at one instant is a pure function of its phase.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy.optimize import root_scalar

# Shares of patients with EF above 55, 45 to 55 and at most 45 %, as in CAMUS (Leclerc et al., IEEE TMI 2019).
EF_GROUP_SHARES = (0.19, 0.32, 0.49)
APICAL_WALL_RATIO = 0.72  # the wall is thinner at the apex than at the sides


@dataclasses.dataclass(frozen=True)
class Heart:
    """One patient: the shape at end-diastole and how far it moves until end-systole.

    Attributes:
        edv_ml, ef_percent: end-diastolic volume and ejection fraction; the end-systolic volume follows.
        length_mm: long axis, endocardial apex to mitral plane.
        widest_fraction: where along the long axis the ventricle is widest, 0 apex, 1 mitral plane.
        radius_4ch_mm, radius_2ch_mm: largest half widths of the cavity in the two views.
        shortening: share of the long axis lost at end-systole.
        wall_mm: myocardial thickness at the sides at end-diastole.
        bend_4ch_mm, bend_2ch_mm: sideways bow of the long axis; a shear, so it changes no volume.
        atrium_length_mm, atrium_radius_mm: left atrium at end-diastole.
        right_width_mm: largest width of the right ventricle.
        systole_s: time from end-diastole to end-systole.
    """

    edv_ml: float
    ef_percent: float
    length_mm: float
    widest_fraction: float
    radius_4ch_mm: float
    radius_2ch_mm: float
    shortening: float
    wall_mm: float
    bend_4ch_mm: float
    bend_2ch_mm: float
    atrium_length_mm: float
    atrium_radius_mm: float
    right_width_mm: float
    systole_s: float

    @property
    def esv_ml(self) -> float:
        return self.edv_ml * (1 - self.ef_percent / 100)


@dataclasses.dataclass(frozen=True)
class Ventricle:
    """The left ventricle at one instant (mm), in three dimensions; `contraction` 0 end-diastole, 1 end-systole."""

    contraction: float
    length_mm: float
    widest_mm: float
    radius_4ch_mm: float
    radius_2ch_mm: float
    wall_mm: float

    @property
    def base_mm(self) -> float:
        """Distance from the widest level to the mitral plane."""
        return self.length_mm - self.widest_mm

    @property
    def volume_ml(self) -> float:
        return truncated_ellipsoid_ml(self.radius_4ch_mm, self.radius_2ch_mm, self.widest_mm, self.base_mm)

    @property
    def wall_volume_ml(self) -> float:
        return wall_volume_ml(self, self.wall_mm)


def truncated_ellipsoid_ml(radius_a_mm: float, radius_b_mm: float, apex_mm: float, base_mm: float) -> float:
    """Volume (ml) of an ellipsoid from its pole, `apex_mm` above the centre, to a plane `base_mm` below the centre.

    The integral of pi a b (1 - s^2 / apex^2) over s from -apex to base.
    """
    height = apex_mm + base_mm - (apex_mm**3 + base_mm**3) / (3 * apex_mm**2)
    return math.pi * radius_a_mm * radius_b_mm * height / 1000


def wall_volume_ml(ventricle: Ventricle, wall_mm: float) -> float:
    """Volume (ml) between the endocardium and an epicardium `wall_mm` further out, both cut at the mitral plane."""
    outer_ml = truncated_ellipsoid_ml(
        ventricle.radius_4ch_mm + wall_mm,
        ventricle.radius_2ch_mm + wall_mm,
        ventricle.widest_mm + APICAL_WALL_RATIO * wall_mm,
        ventricle.base_mm,
    )
    return outer_ml - ventricle.volume_ml


def contraction_at(phase: float) -> float:
    """Share of the stroke volume that has left the ventricle at `phase` (0 end-diastole, 1 end-systole).

    A short isovolumic plateau, then ejection that is fastest early.
    """
    ejection_time = min(max((phase - 0.10) / 0.88, 0.0), 1.0)
    return (1 - math.cos(math.pi * ejection_time**0.85)) / 2


def ventricle_at(heart: Heart, phase: float) -> Ventricle:
    """The left ventricle of `heart` at `phase`: volume exactly EDV (1 - EF contraction), wall incompressible."""
    contraction = contraction_at(phase)
    length_ratio = 1 - heart.shortening * contraction
    radius_ratio = math.sqrt((1 - heart.ef_percent / 100 * contraction) / length_ratio)
    cavity = Ventricle(
        contraction=contraction,
        length_mm=heart.length_mm * length_ratio,
        widest_mm=heart.length_mm * length_ratio * heart.widest_fraction,
        radius_4ch_mm=heart.radius_4ch_mm * radius_ratio,
        radius_2ch_mm=heart.radius_2ch_mm * radius_ratio,
        wall_mm=heart.wall_mm,
    )
    if contraction == 0:
        return cavity
    target_ml = ventricle_at(heart, 0.0).wall_volume_ml
    solved = root_scalar(lambda wall_mm: wall_volume_ml(cavity, wall_mm) - target_ml, bracket=(0.5, 60.0), xtol=1e-9)
    return dataclasses.replace(cavity, wall_mm=float(solved.root))


def sample_heart(rng: np.random.Generator) -> Heart:
    """Draws a patient from a population like that of CAMUS: half with EF of at most 45 %, weak hearts being larger."""
    group = rng.choice(3, p=EF_GROUP_SHARES)
    normal, borderline = rng.uniform(55, 72), rng.uniform(45, 55)
    reduced = float(np.clip(rng.normal(35, 7), 14, 45))
    ef_percent = float((normal, borderline, reduced)[group])

    dilation = min(max((55 - ef_percent) / 35, 0.0), 1.0)
    edv_ml = math.exp(rng.normal(math.log(82 + 48 * dilation), 0.20))
    widest_fraction = float(rng.uniform(0.58, 0.66))
    roundness = float(rng.normal(0.95, 0.05))
    elongation = float(np.clip(rng.normal(1.75 - 0.25 * dilation, 0.12), 1.35, 2.1))
    unit_widest = 2 * elongation * widest_fraction
    unit_ml = truncated_ellipsoid_ml(1.0, roundness, unit_widest, 2 * elongation - unit_widest)
    radius_4ch_mm = (edv_ml / unit_ml) ** (1 / 3)
    return Heart(
        edv_ml=edv_ml,
        ef_percent=ef_percent,
        length_mm=2 * elongation * radius_4ch_mm,
        widest_fraction=widest_fraction,
        radius_4ch_mm=radius_4ch_mm,
        radius_2ch_mm=roundness * radius_4ch_mm,
        shortening=float(np.clip(0.165 * ef_percent / 60 * rng.normal(1, 0.12), 0.02, 0.24)),
        wall_mm=float(np.clip(rng.normal(11.2, 1.4), 7.5, 15)),
        bend_4ch_mm=float(np.clip(rng.normal(0, 2), -4, 4)),
        bend_2ch_mm=float(np.clip(rng.normal(0, 2), -4, 4)),
        atrium_length_mm=float(np.clip(rng.normal(44, 8), 28, 64)),
        atrium_radius_mm=float(np.clip(rng.normal(20, 3), 13, 28)),
        right_width_mm=float(rng.uniform(20, 34)),
        systole_s=float(rng.uniform(0.30, 0.38)),
    )
