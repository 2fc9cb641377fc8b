"""Shape and motion of the simulated heart: every volume follows from a formula, none from pixels.

The left ventricle is an ellipsoid cut off at the mitral plane (volume in closed form); a weak segment bulges out of it
by a factor whose share of the volume is an integral along the axis; the wall is incompressible. A heart at one instant
is a pure function of its phase: 0 end-diastole, 1 end-systole, the length of a beat end-diastole again.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Float
from scipy.optimize import root_scalar

# Shares of patients with EF above 55, 45 to 55 and at most 45 %, as in CAMUS (Leclerc et al., IEEE TMI 2019).
EF_GROUP_SHARES = (0.19, 0.32, 0.49)
APICAL_WALL_RATIO = 0.72  # the wall is thinner at the apex than at the sides


NODES, WEIGHTS = np.polynomial.legendre.leggauss(96)  # for integrals along the long axis


@dataclasses.dataclass(frozen=True)
class WeakSegment:
    """A part of the wall that moves in less than the rest (regional wall-motion abnormality).

    At end-systole its endocardium stands out from the ellipse by up to `bulge` of the radius, its wall thinner by
    as much. Azimuth: 0 is the lateral wall (right of a 4CH picture), pi / 2 the anterior one (right of a 2CH picture).
    """

    azimuth_rad: float
    level: float  # of its middle, as a share of the long axis from the apex
    reach: float  # from its middle to where it ends
    bulge: float

    def along(self, level: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """1 in its middle, 0 from `reach` on."""
        return np.cos(math.pi / 2 * np.clip((level - self.level) / self.reach, -1, 1)) ** 2

    def around(self, azimuth_rad: float) -> float:
        """1 in its middle, 0 on the opposite side."""
        return (1 + math.cos(azimuth_rad - self.azimuth_rad)) / 2


@dataclasses.dataclass(frozen=True)
class Heart:
    """One patient: the shape at end-diastole and how far it moves until end-systole.

    Attributes:
        edv_ml, ef_percent: end-diastolic volume and ejection fraction; the end-systolic volume follows.
        length_mm: long axis, endocardial apex to mitral plane.
        widest_fraction: where along the long axis the ventricle is widest at end-diastole, 0 apex, 1 mitral plane.
        widest_gain: how much further down that is at end-systole: the apical half narrows more.
        radius_4ch_mm, radius_2ch_mm: largest half widths of the cavity in the two views.
        shortening: share of the long axis lost at end-systole.
        wall_mm: myocardial thickness at the sides at end-diastole.
        bend_4ch_mm, bend_2ch_mm: sideways bow of the long axis; a shear, so it changes no volume.
        atrium_length_mm, atrium_radius_mm: left atrium at end-diastole.
        atrium_slope_4ch, atrium_slope_2ch: sideways shift of the left atrium's axis for each mm below the mitral plane.
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
        return self.edv_ml * (1 - self.ef_percent / 100)

    @property
    def beat(self) -> float:
        """Length of a beat as a phase: that of systole is 1."""
        return self.beat_s / self.systole_s


@dataclasses.dataclass(frozen=True)
class Ventricle:
    """The left ventricle at one instant (mm), in three dimensions; `contraction` 0 end-diastole, 1 end-systole."""

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
        return truncated_ellipsoid_ml(self.radius_4ch_mm, self.radius_2ch_mm, self.widest_mm, self.base_mm) + (
            self.radius_4ch_mm * self.radius_2ch_mm * self._bulge_ml_per_square_mm
        )

    @property
    def bulge(self) -> float:
        """How far the weak segment stands out now, as a share of the radius."""
        return self.weak.bulge * self.contraction if self.weak else 0.0

    @property
    def _bulge_ml_per_square_mm(self) -> float:
        """What the weak segment adds to the volume, divided by both radii.

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


def contraction_at(phase: float, beat: float = math.inf) -> float:
    """Share of the stroke volume that has left the ventricle at `phase` of a beat as long as `beat`.

    Systole (0 to 1): a short isovolumic plateau, then ejection that is fastest early. Diastole (1 to `beat`):
    isovolumic relaxation, early filling (the E wave), diastasis, and what the atrium adds (the A wave).
    """
    phase = phase % beat if math.isfinite(beat) else phase
    if phase <= 1:
        ejection_time = min(max((phase - 0.10) / 0.88, 0.0), 1.0)
        return (1 - math.cos(math.pi * ejection_time**0.85)) / 2
    diastole = (phase - 1) / (beat - 1)
    filled = 0.0
    for begin, end, share in ((0.10, 0.48, 0.66), (0.40, 0.80, 0.06), (0.74, 0.98, 0.28)):
        filled += share * (1 - math.cos(math.pi * min(max((diastole - begin) / (end - begin), 0.0), 1.0))) / 2
    return 1 - filled


def ventricle_at(heart: Heart, phase: float) -> Ventricle:
    """The left ventricle of `heart` at `phase`: volume exactly EDV (1 - EF contraction), wall incompressible."""
    contraction = contraction_at(phase, heart.beat)
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
    target_ml = ventricle_at(heart, 0.0).wall_volume_ml
    solved = root_scalar(lambda wall_mm: wall_volume_ml(cavity, wall_mm) - target_ml, bracket=(0.5, 60.0), xtol=1e-9)
    return dataclasses.replace(cavity, wall_mm=float(solved.root))


def sample_heart(rng: np.random.Generator, population: str = "camus") -> Heart:
    """Draws a patient from a population.

    "camus": half with EF of at most 45 %, weak hearts being larger. "echonet": EF 55.8 +- 12.4 %, as EchoNet-Dynamic
    (Ouyang et al., Nature 2020).
    """
    group = rng.choice(3, p=EF_GROUP_SHARES)
    normal, borderline = rng.uniform(55, 72), rng.uniform(45, 55)
    reduced = float(np.clip(rng.normal(35, 7), 14, 45))
    ef_percent = float((normal, borderline, reduced)[group])
    if population == "echonet":
        ef_percent = float(np.clip(rng.normal(56.5, 12.4), 12, 80))

    dilation = min(max((55 - ef_percent) / 35, 0.0), 1.0)
    edv_ml = math.exp(rng.normal(math.log(75 + 45 * dilation), 0.27))
    widest_fraction = float(rng.uniform(0.58, 0.71))
    roundness = float(rng.normal(0.95, 0.06))
    elongation = float(np.clip(rng.normal(1.75 - 0.25 * dilation, 0.16), 1.3, 2.2))
    unit_widest = 2 * elongation * widest_fraction
    unit_ml = truncated_ellipsoid_ml(1.0, roundness, unit_widest, 2 * elongation - unit_widest)
    radius_4ch_mm = (edv_ml / unit_ml) ** (1 / 3)
    systole_s = float(rng.uniform(0.30, 0.38))
    return Heart(
        edv_ml=edv_ml,
        ef_percent=ef_percent,
        length_mm=2 * elongation * radius_4ch_mm,
        widest_fraction=widest_fraction,
        widest_gain=float(rng.uniform(0.04, 0.14)),
        radius_4ch_mm=radius_4ch_mm,
        radius_2ch_mm=roundness * radius_4ch_mm,
        shortening=float(np.clip(0.205 * ef_percent / 60 * rng.normal(1, 0.15), 0.02, 0.28)),
        wall_mm=float(np.clip(rng.normal(12.6, 1.8), 8, 17)),
        bend_4ch_mm=float(np.clip(rng.normal(2.2, 1.8), -2, 6)),
        bend_2ch_mm=float(np.clip(rng.normal(2.0, 1.8), -2, 6)),
        atrium_length_mm=float(np.clip(rng.normal(42, 8), 26, 64)),
        atrium_radius_mm=float(np.clip(rng.normal(18.5, 3.2), 11, 28)),
        atrium_slope_4ch=float(np.clip(rng.normal(-0.12, 0.12), -0.4, 0.15)),
        atrium_slope_2ch=float(np.clip(rng.normal(-0.08, 0.12), -0.35, 0.2)),
        right_width_mm=float(rng.uniform(20, 34)),
        systole_s=systole_s,
        beat_s=float(max(60 / np.clip(rng.normal(68, 11), 45, 110), systole_s / 0.48)),
        weak=_sample_weak_segment(rng, ef_percent),
    )


def _sample_weak_segment(rng: np.random.Generator, ef_percent: float) -> WeakSegment | None:
    """Two thirds of the hearts with an EF below 50 % have one, and one in twenty of the others."""
    segment = WeakSegment(
        azimuth_rad=float(rng.uniform(-math.pi, math.pi)),
        level=float(rng.uniform(0.25, 0.75)),
        reach=float(rng.uniform(0.3, 0.5)),
        bulge=float(rng.uniform(0.12, 0.4)),
    )
    return segment if rng.random() < (0.65 if ef_percent < 50 else 0.05) else None
