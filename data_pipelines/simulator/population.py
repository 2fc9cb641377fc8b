"""The populations from which patients are drawn: how large their hearts are (ml, mm) and how well they pump (EF, %)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from data_pipelines.simulator.heart import Heart, WeakSegment, truncated_ellipsoid_ml

# Shares of patients with EF above 55, 45 to 55 and at most 45 %, as in CAMUS (Leclerc et al., IEEE TMI 2019).
EF_GROUP_SHARES = (0.19, 0.32, 0.49)


@dataclasses.dataclass(frozen=True)
class EjectionFractions:
    """A normal distribution of ejection fractions, cut off at both ends.

    Attributes:
        mean_percent: mean before the cut.
        deviation_percent: standard deviation before the cut.
        lowest_percent: smaller draws become this value.
        highest_percent: larger draws become this value.
    """

    mean_percent: float
    deviation_percent: float
    lowest_percent: float
    highest_percent: float


@dataclasses.dataclass(frozen=True)
class Population:
    """What distinguishes the patients, and the pictures, of one data set from those of another.

    Attributes:
        ejection_fractions: their distribution; None draws from the three groups of CAMUS (`EF_GROUP_SHARES`).
        hidden_atrium: the picture ends higher by this share of the left atrium's length.
    """

    ejection_fractions: EjectionFractions | None
    hidden_atrium: float


# EchoNet-Dynamic has an EF of 55.8 +- 12.4 % (Ouyang et al., Nature 2020) and pictures that look less deep.
POPULATIONS = {
    "camus": Population(ejection_fractions=None, hidden_atrium=0.0),
    "echonet": Population(EjectionFractions(56.5, 12.4, lowest_percent=12.0, highest_percent=80.0), hidden_atrium=0.45),
}


def sample_heart(rng: np.random.Generator, population: Population) -> Heart:
    """Draws the heart of one patient. Hearts with a low ejection fraction are larger and rounder.

    Args:
        rng: the random generator.
        population: the population to draw from, one of `POPULATIONS`.
    """
    ef_percent = _sample_ejection_fraction(rng, population)
    dilation = min(max((55 - ef_percent) / 35, 0.0), 1.0)
    edv_ml = math.exp(rng.normal(math.log(75 + 45 * dilation), 0.27))
    widest_fraction = float(rng.uniform(0.58, 0.71))
    roundness = float(rng.normal(0.95, 0.06))
    elongation = float(np.clip(rng.normal(1.75 - 0.25 * dilation, 0.16), 1.3, 2.2))
    unit_widest = 2 * elongation * widest_fraction
    unit_ml = truncated_ellipsoid_ml((1.0, roundness), apex_mm=unit_widest, base_mm=2 * elongation - unit_widest)
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


def _sample_ejection_fraction(rng: np.random.Generator, population: Population) -> float:
    """Draws an EF in per cent; the groups of CAMUS are always drawn, so that later draws do not depend on them."""
    group = rng.choice(3, p=EF_GROUP_SHARES)
    normal, borderline = rng.uniform(55, 72), rng.uniform(45, 55)
    reduced = float(np.clip(rng.normal(35, 7), 14, 45))
    if population.ejection_fractions is None:
        return float((normal, borderline, reduced)[group])
    stated = population.ejection_fractions
    draw = rng.normal(stated.mean_percent, stated.deviation_percent)
    return float(np.clip(draw, stated.lowest_percent, stated.highest_percent))


def _sample_weak_segment(rng: np.random.Generator, ef_percent: float) -> WeakSegment | None:
    """Draws a weak segment for two thirds of the hearts with an EF below 50 %, and for one in twenty of the others."""
    segment = WeakSegment(
        azimuth_rad=float(rng.uniform(-math.pi, math.pi)),
        level=float(rng.uniform(0.25, 0.75)),
        reach=float(rng.uniform(0.3, 0.5)),
        bulge=float(rng.uniform(0.12, 0.4)),
    )
    return segment if rng.random() < (0.65 if ef_percent < 50 else 0.05) else None
