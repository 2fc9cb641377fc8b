"""What the probe looks at in one view, drawn once: brightness and roughness of tissue and blood (dB, amplitudes, mm).

Amplitude 1 (0 dB) is myocardium that faces the beam. `reflectivity` turns a `Tissue` and a section into echoes.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from jaxtyping import Float32

from data_pipelines.simulator.coordinates import HeartPoints
from data_pipelines.simulator.curves import amplitude, ridge, smooth_field, smooth_noise, smooth_step
from data_pipelines.simulator.placement import Placement
from data_pipelines.simulator.polar_grid import Polar, PolarGrid
from data_pipelines.simulator.quality import ImageQuality
from data_pipelines.simulator.section import Section

ANGLE_BINS = 256  # directions around the centre of the cavity, from the base over the apex to the base

AroundCavity = Float32[np.ndarray, " bins"]


@dataclasses.dataclass(frozen=True)
class Blob:
    """A small bright structure in the cavity (papillary muscle, chordae) that follows the wall.

    Attributes:
        along: place along the long axis, as a share of its length.
        across: place across it, as a share of the half width of the cavity; negative on the left.
        half_length_mm: size along the long axis.
        half_width_mm: size across it.
        strength: amplitude.
    """

    along: float
    across: float
    half_length_mm: float
    half_width_mm: float
    strength: float


@dataclasses.dataclass(frozen=True)
class Leaflet:
    """One leaflet of the closed mitral valve.

    Attributes:
        thickness_mm: half of its thickness, where the amplitude has fallen to 1 / e.
        strength: amplitude.
    """

    thickness_mm: float
    strength: float


@dataclasses.dataclass(frozen=True)
class MitralValve:
    """The closed mitral valve: two leaflets from the ends of the annulus to a meeting point in the cavity.

    Attributes:
        tenting_mm: how far above the annulus the leaflets meet.
        meeting: where they meet across the annulus, as a share of its half width, 0 in the middle.
        left: the leaflet that begins at the left end of the annulus.
        right: the leaflet that begins at the right end.
    """

    tenting_mm: float
    meeting: float
    left: Leaflet
    right: Leaflet


@dataclasses.dataclass(frozen=True)
class RightHeart:
    """The right ventricle and atrium of the four-chamber view.

    Attributes:
        warp_mm: unevenness of their outline at every sample, (ranges, beams).
        free_wall: amplitude of the ventricle's free wall.
        margin_mm: half of the distance over which their blood turns into wall.
        apex: where the ventricle begins, as a share of the left ventricle's long axis.
    """

    warp_mm: Polar
    free_wall: float
    margin_mm: float
    apex: float


@dataclasses.dataclass(frozen=True)
class LeftAtrium:
    """The left atrium.

    Attributes:
        margin_mm: half of the distance over which its blood merges into the tissue around it.
        gain: amplitude of its blood relative to that of the ventricle.
        wall: amplitude of the bright line around it.
    """

    margin_mm: float
    gain: float
    wall: float


@dataclasses.dataclass(frozen=True)
class AnnulusTissue:
    """The bright fibrous tissue around the mitral annulus.

    Attributes:
        septal: amplitude at the left end of the annulus.
        lateral: amplitude at the right end.
    """

    septal: float
    lateral: float


@dataclasses.dataclass(frozen=True)
class Tissue:
    """Everything about the reflectivity of one view that does not change with time.

    Attributes:
        points: the samples of a polar grid in heart coordinates, `v_mm` from the bowed long axis, (ranges, beams).
        beam_u: direction of the beam at each sample, a unit vector: its part along the long axis, (ranges, beams).
        beam_v: its part across the long axis, (ranges, beams).
        surroundings: amplitude of the tissue around the heart, (ranges, beams).
        blood: amplitude of the blood, (ranges, beams).
        wall_gain_db: how much brighter the wall is in each direction around the cavity.
        trabeculae_mm: how far the rough border of the blood lies inside the smooth endocardium, in each direction.
        border_mm: half of the distance over which blood turns into wall, in each direction.
        margin_mm: half of the distance over which the wall merges into the tissue around it.
        pericardium: amplitude of the bright line behind the free wall.
        blobs: bright structures in the cavity.
        mitral_valve: the closed valve.
        right_heart: drawn in both views, visible in the four-chamber view.
        left_atrium: the left atrium.
        annulus: the fibrous tissue at the ends of the mitral annulus.
    """

    points: HeartPoints
    beam_u: Polar
    beam_v: Polar
    surroundings: Polar
    blood: Polar
    wall_gain_db: AroundCavity
    trabeculae_mm: AroundCavity
    border_mm: AroundCavity
    margin_mm: float
    pericardium: float
    blobs: tuple[Blob, ...]
    mitral_valve: MitralValve
    right_heart: RightHeart
    left_atrium: LeftAtrium
    annulus: AnnulusTissue


def sample_tissue(
    rng: np.random.Generator, grid: PolarGrid, *, placement: Placement, rest: Section, quality: ImageQuality
) -> Tissue:
    """Draws the tissue of one view.

    Args:
        rng: the random generator.
        grid: the samples at which the tissue is described.
        placement: where the heart lies in front of the probe.
        rest: the section at end-diastole.
        quality: levels of the blood and of the wall.
    """
    # The order of the draws decides the pictures: another order needs another SIMULATOR_VERSION (cohort.py).
    surroundings_db = _sample_surroundings_db(rng, grid)
    blood_db = _sample_blood_db(rng, grid, quality.blood_db)
    wall_gain_db = _sample_wall_gain_db(rng, quality)
    blobs = _sample_blobs(rng)
    trabeculae_mm = 1.3 * smooth_noise(rng, ANGLE_BINS, 4)
    mitral_valve = _sample_mitral_valve(rng)
    right_heart = _sample_right_heart(rng, grid)
    points = rest.straightened(placement.to_heart(grid.points()))
    beam_u, beam_v = _beam_directions(placement, grid)
    return Tissue(
        points=HeartPoints(points.u_mm.astype(np.float32), points.v_mm.astype(np.float32)),
        beam_u=beam_u,
        beam_v=beam_v,
        surroundings=amplitude(surroundings_db).astype(np.float32),
        blood=amplitude(blood_db).astype(np.float32),
        wall_gain_db=wall_gain_db,
        trabeculae_mm=trabeculae_mm,
        blobs=blobs,
        mitral_valve=mitral_valve,
        right_heart=right_heart,
        border_mm=_sample_border_mm(rng),
        margin_mm=float(rng.uniform(1.0, 4.5)),
        left_atrium=_sample_left_atrium(rng),
        pericardium=float(np.exp(rng.normal(0.6, 0.6))),
        annulus=AnnulusTissue(septal=float(np.exp(rng.normal(0.6, 0.5))), lateral=float(np.exp(rng.normal(0.1, 0.7)))),
    )


def _beam_directions(placement: Placement, grid: PolarGrid) -> tuple[Polar, Polar]:
    """Returns unit vectors away from the probe: their parts along and across the long axis of the heart."""
    x_mm, z_mm = grid.points()
    range_mm = np.hypot(x_mm, z_mm)
    cosine, sine = math.cos(placement.tilt_rad), math.sin(placement.tilt_rad)
    along, across = (cosine * z_mm + sine * x_mm) / range_mm, (cosine * x_mm - sine * z_mm) / range_mm
    return along.astype(np.float32), across.astype(np.float32)


def _sample_surroundings_db(rng: np.random.Generator, grid: PolarGrid) -> Polar:
    """Draws the tissue around the heart: dark at the apex, bright deep down; bright arcs (diaphragm, pericardium)."""
    range_mm, share = grid.range_mm[:, None], grid.range_mm[:, None] / grid.depth_mm
    angle = grid.angle_rad[None] / grid.half_angle_rad
    deep_db = rng.uniform(3, 16) * smooth_step((share - rng.uniform(0.7, 0.9)) / 0.3)
    level_db = rng.normal(-10, 1.5) + rng.normal(-1, 3) * angle + deep_db + 4.5 * smooth_field(rng, grid.shape, (9, 7))
    for _ in range(rng.integers(1, 7)):
        where, width = rng.uniform(-1, 1), rng.uniform(0.06, 0.3)
        at_mm = grid.depth_mm * rng.uniform(0.45, 1.0) + rng.normal(0, 10) * (angle - where)
        arc = np.exp(-(((range_mm - at_mm) / rng.uniform(1.2, 4)) ** 2) - ((angle - where) / width) ** 2)
        level_db = level_db + rng.uniform(7, 21) * arc
    return level_db.astype(np.float32)


def _sample_blood_db(rng: np.random.Generator, grid: PolarGrid, level_db: float) -> Polar:
    """Draws the blood: slow variations (reverberation), and brighter deep down, where the beams are wide."""
    share = np.linspace(0, 1, grid.ranges)[:, None]
    slope_db = rng.normal(0, 2) * (2 * share - 1) + rng.uniform(2, 7) * smooth_step((share - 0.68) / 0.2)
    mean_db = level_db + rng.normal(0, 1.5)
    return (mean_db + slope_db + 1.6 * smooth_field(rng, grid.shape, (7, 6))).astype(np.float32)


def _sample_wall_gain_db(rng: np.random.Generator, quality: ImageQuality) -> AroundCavity:
    """Draws the brightness of the wall around the cavity.

    It is uneven everywhere; weak at the apex, which lies in the near field under the ribs; weak on the right of the
    picture, where the wall runs along the beam behind the lung. The septum (inferior wall in 2CH) is seen best.
    """
    angle = np.linspace(-math.pi, math.pi, ANGLE_BINS, dtype=np.float32)
    rough = 0.9 * smooth_noise(rng, ANGLE_BINS, 22) + 0.45 * smooth_noise(rng, ANGLE_BINS, 6)
    uneven_db = quality.wall_roughness_db * rough
    apex_loss_db = quality.apex_loss_db * float(np.clip(rng.normal(1, 0.45), 0, 2.2))
    apex_db = apex_loss_db * ridge(angle / rng.uniform(0.6, 1.2))
    right_loss_db = quality.right_loss_db * float(np.clip(rng.normal(1, 0.5), -0.3, 2.2))
    right_db = right_loss_db * (0.2 + 0.5 * np.tanh(1.5 * angle))
    return (uneven_db - apex_db - right_db).astype(np.float32)


def _sample_blobs(rng: np.random.Generator) -> tuple[Blob, ...]:
    """Draws two to five blobs, more on the right of the long axis than on the left."""
    return tuple(
        Blob(
            along=float(rng.uniform(0.45, 0.85)),
            across=float(side * rng.uniform(0.35, 0.8)),
            half_length_mm=float(rng.uniform(3, 9)),
            half_width_mm=float(rng.uniform(1.5, 3.2)),
            strength=float(rng.uniform(0.1, 0.7)),
        )
        for side in rng.choice([-1, 1, 1], size=rng.integers(2, 6))
    )


def _sample_mitral_valve(rng: np.random.Generator) -> MitralValve:
    return MitralValve(
        tenting_mm=float(rng.uniform(2, 11)),
        meeting=float(rng.uniform(-0.1, 0.35)),
        left=Leaflet(thickness_mm=float(rng.uniform(0.7, 1.6)), strength=float(np.exp(rng.normal(-0.1, 0.6)))),
        right=Leaflet(thickness_mm=float(rng.uniform(0.7, 1.6)), strength=float(np.exp(rng.normal(-0.1, 0.6)))),
    )


def _sample_right_heart(rng: np.random.Generator, grid: PolarGrid) -> RightHeart:
    patches_mm = 1.8 * rng.standard_normal((14, 12)).astype(np.float32)
    return RightHeart(
        warp_mm=cv2.resize(patches_mm, grid.shape[::-1], interpolation=cv2.INTER_CUBIC),
        free_wall=float(rng.uniform(0.1, 0.9)),
        margin_mm=float(rng.uniform(1.5, 6)),
        apex=float(rng.uniform(0.12, 0.32)),
    )


def _sample_left_atrium(rng: np.random.Generator) -> LeftAtrium:
    return LeftAtrium(
        margin_mm=float(rng.uniform(1.2, 6)),
        gain=10 ** (min(float(rng.normal(3.8, 3)), 8.0) / 20),
        wall=float(rng.uniform(0, 0.7)),
    )


def _sample_border_mm(rng: np.random.Generator) -> AroundCavity:
    """Draws the width of the change from blood to wall: narrow at the left wall, wide where trabeculae fill it."""
    angle = np.linspace(-math.pi, math.pi, ANGLE_BINS, dtype=np.float32)
    apex, right = rng.uniform(2, 8) * ridge(angle / 0.9), rng.uniform(2, 8) * (0.5 + 0.5 * np.tanh(1.5 * angle))
    return (rng.uniform(1.2, 3.2) + np.maximum(apex, right)).astype(np.float32)
