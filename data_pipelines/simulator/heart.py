"""Shape (mm) and motion of the simulated heart: every volume (ml) follows from a formula, none from pixels.

The left ventricle is an ellipsoid cut off at the mitral plane; a weak segment bulges out of it; the wall keeps its
volume. Time is a phase: 0 is end-diastole, 1 end-systole, and the length of a beat is end-diastole again.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Float
from scipy.optimize import root_scalar

APICAL_WALL_RATIO = 0.72  # thickness of the wall at the apex, relative to the sides
NODES, WEIGHTS = np.polynomial.legendre.leggauss(96)  # Gauss-Legendre rule for integrals along the long axis
# The E wave, diastasis and the A wave: start and end of each as shares of diastole, and its share of the filling.
FILLING_WAVES = ((0.10, 0.48, 0.66), (0.40, 0.80, 0.06), (0.74, 0.98, 0.28))


@dataclasses.dataclass(frozen=True)
class WeakSegment:
    """A part of the wall that moves inwards less than the rest (regional wall-motion abnormality).

    Attributes:
        azimuth_rad: direction of its middle around the long axis: 0 is the lateral wall (right of a 4CH picture),
            pi / 2 the anterior wall (right of a 2CH picture).
        level: place of its middle along the long axis, 0 at the apex, 1 at the mitral plane.
        reach: distance from its middle to its end, as a share of the long axis.
        bulge: at end-systole the endocardium stands out from the ellipse by this share of the radius, and the wall is
            thinner by as much.
    """

    azimuth_rad: float
    level: float
    reach: float
    bulge: float

    def along(self, level: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Returns the weight of the bulge along the long axis: 1 in its middle, 0 from `reach` on."""
        return np.cos(math.pi / 2 * np.clip((level - self.level) / self.reach, -1, 1)) ** 2

    def around(self, azimuth_rad: float) -> float:
        """Returns the weight of the bulge around the long axis: 1 in its middle, 0 on the opposite side."""
        return (1 + math.cos(azimuth_rad - self.azimuth_rad)) / 2


@dataclasses.dataclass(frozen=True)
class Heart:
    """The heart of one patient: its shape at end-diastole, and how far it moves until end-systole.

    Attributes:
        edv_ml: end-diastolic volume.
        ef_percent: ejection fraction; the end-systolic volume follows from it.
        length_mm: long axis, from the endocardial apex to the mitral plane.
        widest_fraction: where along the long axis the ventricle is widest at end-diastole, 0 apex, 1 mitral plane.
        widest_gain: how much further down it is widest at end-systole; so the apical half narrows more.
        radius_4ch_mm: largest half width of the cavity in the four-chamber view.
        radius_2ch_mm: largest half width of the cavity in the two-chamber view.
        shortening: share of the long axis that is lost at end-systole.
        wall_mm: thickness of the myocardium at the sides at end-diastole.
        bend_4ch_mm: sideways bow of the long axis in the four-chamber view; a shear, so it changes no volume.
        bend_2ch_mm: the same in the two-chamber view.
        atrium_length_mm: length of the left atrium at end-diastole.
        atrium_radius_mm: half width of the left atrium at end-diastole.
        atrium_slope_4ch: sideways shift of the left atrium's axis per mm below the mitral plane, four-chamber view.
        atrium_slope_2ch: the same in the two-chamber view.
        right_width_mm: largest width of the right ventricle.
        systole_s: time from end-diastole to end-systole.
        beat_s: time from one end-diastole to the next.
        weak: a segment that moves less, or None.
    """

    edv_ml: float
    ef_percent: float
    length_mm: float
    widest_fraction: float
    widest_gain: float
    radius_4ch_mm: float
    radius_2ch_mm: float
    shortening: float
    wall_mm: float
    bend_4ch_mm: float
    bend_2ch_mm: float
    atrium_length_mm: float
    atrium_radius_mm: float
    atrium_slope_4ch: float
    atrium_slope_2ch: float
    right_width_mm: float
    systole_s: float
    beat_s: float
    weak: WeakSegment | None

    @property
    def esv_ml(self) -> float:
        """End-systolic volume."""
        return self.edv_ml * (1 - self.ef_percent / 100)

    @property
    def beat(self) -> float:
        """Length of a beat as a phase; systole has length 1."""
        return self.beat_s / self.systole_s


@dataclasses.dataclass(frozen=True)
class Ventricle:
    """The left ventricle at one instant, in three dimensions.

    Attributes:
        contraction: share of the stroke volume that has left it: 0 at end-diastole, 1 at end-systole.
        length_mm: long axis, from the endocardial apex to the mitral plane.
        widest_mm: distance from the apex to the level where the cavity is widest.
        radius_4ch_mm: largest half width of the cavity in the four-chamber view.
        radius_2ch_mm: largest half width of the cavity in the two-chamber view.
        wall_mm: thickness of the myocardium at the sides.
        weak: a segment that moves less, or None.
    """

    contraction: float
    length_mm: float
    widest_mm: float
    radius_4ch_mm: float
    radius_2ch_mm: float
    wall_mm: float
    weak: WeakSegment | None = None

    @property
    def base_mm(self) -> float:
        """Distance from the widest level to the mitral plane."""
        return self.length_mm - self.widest_mm

    @property
    def volume_ml(self) -> float:
        """Volume inside the endocardium."""
        radii_mm = (self.radius_4ch_mm, self.radius_2ch_mm)
        return truncated_ellipsoid_ml(radii_mm, apex_mm=self.widest_mm, base_mm=self.base_mm) + (
            self.radius_4ch_mm * self.radius_2ch_mm * self._bulge_ml_per_square_mm
        )

    @property
    def bulge(self) -> float:
        """How far the weak segment stands out now, as a share of the radius."""
        return self.weak.bulge * self.contraction if self.weak else 0.0

    @property
    def _bulge_ml_per_square_mm(self) -> float:
        """The volume that the weak segment adds, divided by both radii.

        The radius at azimuth psi is that of the ellipse times 1 + k (1 + cos psi) / 2 with k = bulge along(level); the
        mean of its square around the axis is 1 + k + 3/8 k^2.
        """
        if self.weak is None:
            return 0.0
        level = (NODES + 1) / 2
        squared = 1 - ((level * self.length_mm - self.widest_mm) / self.widest_mm) ** 2
        k = self.bulge * self.weak.along(level)
        return float(math.pi * self.length_mm / 2 * np.sum(WEIGHTS * squared * (k + 0.375 * k * k)) / 1000)

    @property
    def wall_volume_ml(self) -> float:
        """Volume of the myocardium."""
        return wall_volume_ml(self, self.wall_mm)


def truncated_ellipsoid_ml(radii_mm: tuple[float, float], *, apex_mm: float, base_mm: float) -> float:
    """Returns the volume of an ellipsoid between its pole and a plane across its axis.

    The integral of pi a b (1 - s^2 / apex^2) over s from -apex to base, where a and b are the radii.

    Args:
        radii_mm: the two half widths a, b at the centre.
        apex_mm: distance from the centre to the pole.
        base_mm: distance from the centre to the plane, on the other side.
    """
    height = apex_mm + base_mm - (apex_mm**3 + base_mm**3) / (3 * apex_mm**2)
    return math.pi * radii_mm[0] * radii_mm[1] * height / 1000


def wall_volume_ml(ventricle: Ventricle, wall_mm: float) -> float:
    """Returns the volume between the endocardium and an epicardium further out, both cut at the mitral plane.

    Args:
        ventricle: the cavity; its own `wall_mm` is not used.
        wall_mm: distance between the two at the sides; at the apex it is smaller by `APICAL_WALL_RATIO`.
    """
    outer_ml = truncated_ellipsoid_ml(
        (ventricle.radius_4ch_mm + wall_mm, ventricle.radius_2ch_mm + wall_mm),
        apex_mm=ventricle.widest_mm + APICAL_WALL_RATIO * wall_mm,
        base_mm=ventricle.base_mm,
    )
    return outer_ml - ventricle.volume_ml


def contraction_at(phase: float, beat: float = math.inf) -> float:
    """Returns the share of the stroke volume that has left the ventricle: 0 at end-diastole, 1 at end-systole.

    Args:
        phase: any instant; later beats repeat the first.
        beat: length of a beat as a phase.
    """
    phase = phase % beat if math.isfinite(beat) else phase
    return ejected_share(phase) if phase <= 1 else 1 - filled_share((phase - 1) / (beat - 1))


def ejected_share(systole: float) -> float:
    """Returns the share of a stroke that has left: a short isovolumic plateau, then ejection that is fastest early.

    Args:
        systole: share of systole that has passed: 0 at end-diastole, 1 at end-systole.
    """
    ejection_time = min(max((systole - 0.10) / 0.88, 0.0), 1.0)
    return (1 - math.cos(math.pi * ejection_time**0.85)) / 2


def filled_share(diastole: float) -> float:
    """Returns the share of a stroke that has come back.

    Isovolumic relaxation, early filling (the E wave), diastasis, and filling by the atrium (the A wave).

    Args:
        diastole: share of diastole that has passed: 0 at end-systole, 1 at the next end-diastole.
    """
    filled = 0.0
    for begin, end, share in FILLING_WAVES:
        filled += share * (1 - math.cos(math.pi * min(max((diastole - begin) / (end - begin), 0.0), 1.0))) / 2
    return filled


def ventricle_at(heart: Heart, phase: float) -> Ventricle:
    """Returns the left ventricle at one instant of a regular beat.

    Args:
        heart: the patient's heart.
        phase: 0 end-diastole, 1 end-systole, `heart.beat` end-diastole again.
    """
    return contracted_ventricle(heart, contraction_at(phase, heart.beat))


def contracted_ventricle(heart: Heart, contraction: float) -> Ventricle:
    """Returns the left ventricle in one state of contraction; its volume is exactly EDV (1 - EF contraction).

    The thickness of the wall is solved for, so that the volume of the myocardium is that of end-diastole.

    Args:
        heart: the patient's heart.
        contraction: share of the stroke volume that has left it: 0 at end-diastole, 1 at end-systole.
    """
    length_mm = heart.length_mm * (1 - heart.shortening * contraction)
    roundness = heart.radius_2ch_mm / heart.radius_4ch_mm
    cavity = Ventricle(
        contraction=contraction,
        length_mm=length_mm,
        widest_mm=length_mm * (heart.widest_fraction + heart.widest_gain * contraction),
        radius_4ch_mm=1.0,
        radius_2ch_mm=roundness,
        wall_mm=heart.wall_mm,
        weak=heart.weak,
    )
    radius_mm = math.sqrt(heart.edv_ml * (1 - heart.ef_percent / 100 * contraction) / cavity.volume_ml)
    cavity = dataclasses.replace(cavity, radius_4ch_mm=radius_mm, radius_2ch_mm=roundness * radius_mm)
    if contraction == 0:
        return cavity
    target_ml = contracted_ventricle(heart, 0.0).wall_volume_ml
    solved = root_scalar(lambda wall_mm: wall_volume_ml(cavity, wall_mm) - target_ml, bracket=(0.5, 60.0), xtol=1e-9)
    return dataclasses.replace(cavity, wall_mm=float(solved.root))
