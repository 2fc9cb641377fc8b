"""What the probe looks at: how strongly each point of a section reflects.

Reflectivity is evaluated in space, from the outlines of the section, so that the picture fits the labels at any
instant; the scatterers that carry the speckle move with the tissue (motion.py). Amplitude 1 (0 dB) is myocardium facing
the beam.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
from jaxtyping import Float, Float32

from data_pipelines.simulator.section import Section, View, elliptic_radius

ANGLE_BINS = 256  # around the centre of the cavity, from base over apex to base
Points = Float[np.ndarray, "..."]
Plane = Float32[np.ndarray, "r b"]


def smooth_step(distance: Points) -> Points:
    """0 below -1, 1 above 1, smooth between."""
    clipped = np.clip(distance, -1, 1)
    return 0.5 + clipped * (0.75 - 0.25 * clipped * clipped)


def ridge(distance: Points) -> Points:
    """A thin line: 1 at distance 0, Gaussian on both sides."""
    return np.exp(-distance * distance)


def amplitude(level_db: Points) -> Points:
    """Decibel to amplitude."""
    return np.exp(level_db * (math.log(10) / 20))


def smooth_noise(rng: np.random.Generator, count: int, width: int) -> Float32[np.ndarray, " n"]:
    """Noise of mean 0 and unit deviation whose neighbours within about `width` samples are alike."""
    rough = rng.standard_normal(count + 4 * width)
    smooth = np.convolve(rough, np.hanning(2 * width + 1), "same")[2 * width : -2 * width]
    return ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Blob:
    """A small bright structure in the cavity that follows the wall: place as shares of the ventricle, sizes in mm."""

    along: float
    across: float
    half_length_mm: float
    half_width_mm: float
    strength: float


@dataclasses.dataclass(frozen=True)
class Tissue:
    """Everything about the reflectivity of one view that does not change with time.

    `u_mm`, `v_mm` (from the bowed axis) are the points of a polar grid in heart coordinates; `beam_u`, `beam_v` the
    direction of the beam there; `surroundings` and `blood` amplitudes outside and inside the chambers.
    """

    u_mm: Plane
    v_mm: Plane
    beam_u: Plane
    beam_v: Plane
    surroundings: Plane
    blood: Plane
    wall_gain_db: Float32[np.ndarray, " bins"]
    trabeculae_mm: Float32[np.ndarray, " bins"]
    blobs: tuple[Blob, ...]
    leaflet_tips: tuple[float, float]  # tenting height (mm) and meeting point across the annulus (share of its half)
    leaflets: tuple[tuple[float, float], ...]  # thickness (mm) and strength of the left and the right one
    right_warp_mm: Plane  # unevenness of the right heart's outline
    right_line: float  # strength of the right ventricle's free wall
    right_margin_mm: float  # over what distance the right heart's blood turns into wall
    right_apex: float  # where the right ventricle begins, as a share of the long axis
    border_mm: Float32[np.ndarray, " bins"]  # over what distance blood turns into wall
    margin_mm: float  # over what distance the wall merges into the tissue around it
    atrial_margin_mm: float  # the same for the left atrium
    atrial_gain: float  # amplitude of its blood relative to that of the ventricle
    atrial_line: float  # strength of the bright line around the left atrium
    pericardium: float  # strength of the bright line behind the free wall
    fibrous: tuple[float, float]  # strength of the bright tissue at the left and the right end of the annulus


def sample_tissue(
    rng: np.random.Generator,
    section: Section,
    view: View,
    x_mm: Plane,
    z_mm: Plane,
    surroundings_db: Plane,
    blood_db: Plane,
    wall_gain_db: Float32[np.ndarray, " bins"],
) -> Tissue:
    """Draws the texture of one view; arrays are polar (ranges, beams), `section` is the end-diastolic one.

    `wall_gain_db` is how much brighter the wall is at each angle around the centre of the cavity (`wall_gain`).
    """
    u_mm, v_mm = map(np.asarray, view.to_heart(x_mm, z_mm))
    range_mm = np.hypot(x_mm, z_mm)
    cosine, sine = math.cos(view.tilt_rad), math.sin(view.tilt_rad)
    blobs = tuple(
        Blob(
            along=float(rng.uniform(0.45, 0.85)),
            across=float(side * rng.uniform(0.35, 0.8)),
            half_length_mm=float(rng.uniform(3, 9)),
            half_width_mm=float(rng.uniform(1.5, 3.2)),
            strength=float(rng.uniform(0.1, 0.7)),
        )
        for side in rng.choice([-1, 1, 1], size=rng.integers(2, 6))
    )
    return Tissue(
        u_mm=u_mm.astype(np.float32),
        v_mm=(v_mm - section.bend_at(u_mm)).astype(np.float32),
        beam_u=((cosine * z_mm + sine * x_mm) / range_mm).astype(np.float32),
        beam_v=((cosine * x_mm - sine * z_mm) / range_mm).astype(np.float32),
        surroundings=amplitude(surroundings_db).astype(np.float32),
        blood=amplitude(blood_db).astype(np.float32),
        wall_gain_db=wall_gain_db.astype(np.float32),
        trabeculae_mm=1.3 * smooth_noise(rng, ANGLE_BINS, 4),
        blobs=blobs,
        leaflet_tips=(float(rng.uniform(2, 11)), float(rng.uniform(-0.1, 0.35))),
        leaflets=tuple((float(rng.uniform(0.7, 1.6)), float(np.exp(rng.normal(-0.1, 0.6)))) for _ in range(2)),
        right_warp_mm=cv2.resize(
            1.8 * rng.standard_normal((14, 12)).astype(np.float32), u_mm.shape[::-1], interpolation=cv2.INTER_CUBIC
        ),
        right_line=float(rng.uniform(0.1, 0.9)),
        right_margin_mm=float(rng.uniform(1.5, 6)),
        right_apex=float(rng.uniform(0.12, 0.32)),
        border_mm=_border_mm(rng),
        margin_mm=float(rng.uniform(1.0, 4.5)),
        atrial_margin_mm=float(rng.uniform(1.2, 6)),
        atrial_gain=10 ** (min(float(rng.normal(3.8, 3)), 8.0) / 20),
        atrial_line=float(rng.uniform(0, 0.7)),
        pericardium=float(np.exp(rng.normal(0.6, 0.6))),
        fibrous=(float(np.exp(rng.normal(0.6, 0.5))), float(np.exp(rng.normal(0.1, 0.7)))),
    )


def wall_gain(
    rng: np.random.Generator, roughness_db: float, apex_loss_db: float, right_loss_db: float
) -> Float32[np.ndarray, " bins"]:
    """Brightness (dB) of the wall by angle around the cavity, from base over apex to base.

    Uneven everywhere; weak at the apex, which lies in the near field under the ribs; weak on the right of the picture,
    where the wall runs along the beam behind the lung, while the septum (inferior wall in 2CH) is seen best.
    """
    angle = np.linspace(-math.pi, math.pi, ANGLE_BINS, dtype=np.float32)
    uneven_db = roughness_db * (0.9 * smooth_noise(rng, ANGLE_BINS, 22) + 0.45 * smooth_noise(rng, ANGLE_BINS, 6))
    apex_db = apex_loss_db * float(np.clip(rng.normal(1, 0.45), 0, 2.2)) * ridge(angle / rng.uniform(0.6, 1.2))
    right_db = right_loss_db * float(np.clip(rng.normal(1, 0.5), -0.3, 2.2)) * (0.2 + 0.5 * np.tanh(1.5 * angle))
    return (uneven_db - apex_db - right_db).astype(np.float32)


def _border_mm(rng: np.random.Generator) -> Float32[np.ndarray, " bins"]:
    """Half width of the change from blood to wall: narrow at the left wall, wide where trabeculae fill the border."""
    angle = np.linspace(-math.pi, math.pi, ANGLE_BINS, dtype=np.float32)
    apex, right = rng.uniform(2, 8) * ridge(angle / 0.9), rng.uniform(2, 8) * (0.5 + 0.5 * np.tanh(1.5 * angle))
    return (rng.uniform(1.2, 3.2) + np.maximum(apex, right)).astype(np.float32)


def reflectivity(tissue: Tissue, section: Section) -> Plane:
    """Echo amplitude of every point of the polar grid at the instant of `section`, (ranges, beams)."""
    u, v = tissue.u_mm, tissue.v_mm
    radius, widest, length, wall = section.radius_mm, section.widest_mm, section.length_mm, section.wall_mm
    across, along = v / (radius * section.stretch_at(u, v)), (u - widest) / widest
    inner = np.asarray(elliptic_radius(across, along))
    outer_mm = (np.asarray(section.epicardial_radius(u, v)) - 1) * (radius + wall)  # distance outside the epicardium
    inner_mm = (inner - 1) * radius  # distance outside the endocardium

    bins = ((np.arctan2(across, -along) + math.pi) * ((ANGLE_BINS - 1) / (2 * math.pi))).astype(np.int32)
    gain_db = tissue.wall_gain_db[bins]
    normal_u, normal_v = along / widest, across / radius
    facing = np.abs(normal_u * tissue.beam_u + normal_v * tissue.beam_v)
    facing /= np.sqrt(normal_u * normal_u + normal_v * normal_v) + 1e-6

    ragged_mm = tissue.trabeculae_mm[bins] * np.clip((0.9 * length - u) / 20, 0, 1)
    above_plane = smooth_step((length + 1 - u) / 1.2)
    cavity = smooth_step((-inner_mm - ragged_mm) / tissue.border_mm[bins]) * above_plane
    muscle = smooth_step(-outer_mm / tissue.margin_mm) * smooth_step((length + 2 - u) / 1.5) * (1 - cavity)
    atrial_mm = (np.asarray(section.atrial_radius(u, v)) - 1) * section.atrium_radius_mm
    atrium = smooth_step(-atrial_mm / tissue.atrial_margin_mm) * smooth_step((u - length) / 1.2)

    depth_in_wall = np.clip(inner_mm / np.maximum(inner_mm - outer_mm, 1), 0, 1)
    muscle_db = gain_db - 5 + 3 * facing + 10 * depth_in_wall * (1.4 - 0.6 * depth_in_wall)
    bright = amplitude(gain_db)
    surroundings = tissue.surroundings + _fibrous_tissue(tissue, section)
    if section.view == "4CH":
        surroundings = _right_heart(tissue, section, surroundings, atrium)
    echo = surroundings * (1 - np.clip(cavity + muscle + atrium, 0, 1))
    echo += (cavity + tissue.atrial_gain * atrium) * tissue.blood + muscle * amplitude(muscle_db)

    pericardium = ridge((outer_mm - 1.2) / 1.2) * (u < length + 3) * bright
    if section.view == "4CH":
        pericardium *= v > -0.35 * radius  # the septum has none
    echo += tissue.pericardium * pericardium * (0.25 + facing)
    echo += 0.45 * ridge((inner_mm - 0.6) / 0.8) * (u < length) * facing * facing * bright
    echo += tissue.atrial_line * ridge((atrial_mm - 1) / 1.2) * (u > length - 2)
    return echo + _cavity_structures(tissue, section, cavity) + _mitral_leaflets(tissue, section)


def _fibrous_tissue(tissue: Tissue, section: Section) -> Plane:
    """The bright tissue around the two ends of the mitral annulus."""
    u, v, edge_mm = tissue.u_mm, tissue.v_mm, section.annulus_mm + section.wall_mm
    septal = ridge((u - section.length_mm - 5) / 8) * ridge((v + edge_mm - 3) / 6)
    lateral = ridge((u - section.length_mm - 1) / 9) * ridge((v - edge_mm - 5) / 8)
    return tissue.fibrous[0] * septal + tissue.fibrous[1] * lateral


def _right_heart(tissue: Tissue, section: Section, surroundings: Plane, left_atrium: Plane) -> Plane:
    """The four-chamber view's right ventricle and atrium, left of the septum, laid over the surroundings."""
    u, v, length = tissue.u_mm, tissue.v_mm + tissue.right_warp_mm, section.length_mm
    level = np.clip(1 - ((u - section.widest_mm) / (section.widest_mm + section.apical_wall_mm)) ** 2, 0, None)
    septum_mm = (section.radius_mm + section.wall_mm) * np.sqrt(level)
    from_septum_mm = -v - septum_mm
    start_mm = tissue.right_apex * length
    descent = np.clip((u - start_mm) / (length - start_mm), 0, 1)
    width_mm = section.right_width_mm * np.sqrt(1 - (1 - descent) ** 2) * (1 - 0.3 * descent**3)
    above_plane = smooth_step((length - u) / 1.5)
    below_apex = smooth_step((u - start_mm) / 2)
    ventricle = smooth_step((from_septum_mm - 1) / 1.5)
    ventricle *= smooth_step((width_mm - from_septum_mm) / tissue.right_margin_mm)
    ventricle *= above_plane * below_apex

    half_mm = 0.5 * (section.roof_mm - length)
    middle_mm = section.atrium_slope * np.maximum(u - length, 0) - section.atrium_radius_mm - 21
    atrial = np.asarray(elliptic_radius((v - middle_mm) / 18, (u - length - half_mm) / half_mm))
    atrium = smooth_step((1 - atrial) * 18 / tissue.right_margin_mm) * (1 - left_atrium)

    chambers = np.clip(ventricle + atrium, 0, 1)
    free_wall = ridge((from_septum_mm - width_mm - 2.2) / 2.2) * above_plane * below_apex
    hinge_mm = section.annulus_mm + section.wall_mm
    tricuspid = ridge((u - length + 1.5) / 1.2) * (v < -hinge_mm) * (v > -hinge_mm - 0.7 * section.right_width_mm)
    return surroundings * (1 - chambers) + chambers * tissue.blood + tissue.right_line * free_wall + 0.45 * tricuspid


def _cavity_structures(tissue: Tissue, section: Section, cavity: Plane) -> Plane:
    """Papillary muscles and chordae: blobs in the lower cavity that move in with the wall."""
    echo = np.zeros_like(cavity)
    for blob in tissue.blobs:
        along = (tissue.u_mm - blob.along * section.length_mm) / blob.half_length_mm
        across = (tissue.v_mm - blob.across * section.radius_mm) / blob.half_width_mm
        echo += blob.strength * np.exp(-np.square(along * along + across * across))
    return echo * cavity


def _mitral_leaflets(tissue: Tissue, section: Section) -> Plane:
    """Two closed leaflets from the ends of the annulus to a meeting point in the cavity."""
    tent_mm, meeting = tissue.leaflet_tips
    hinge_u, tip_u, tip_v = section.length_mm + 1, section.length_mm + 1 - tent_mm, meeting * section.annulus_mm
    echo = np.zeros_like(tissue.u_mm)
    for side, (thick_mm, strength) in zip((-1, 1), tissue.leaflets, strict=True):
        hinge_v = side * section.annulus_mm
        run_u, run_v = tip_u - hinge_u, tip_v - hinge_v
        part = ((tissue.u_mm - hinge_u) * run_u + (tissue.v_mm - hinge_v) * run_v) / (run_u**2 + run_v**2)
        part = np.clip(part, 0, 1)
        off_u, off_v = tissue.u_mm - hinge_u - part * run_u, tissue.v_mm - hinge_v - part * run_v
        echo += strength * np.exp((off_u * off_u + off_v * off_v) * (-1 / thick_mm**2))
    return echo
