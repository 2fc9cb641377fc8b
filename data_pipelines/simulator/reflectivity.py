"""How strongly each point of a section reflects, as an amplitude (1, or 0 dB, is myocardium that faces the beam).

Reflectivity follows from the outlines of the section, so the picture fits the labels at any instant. The scatterers
that carry the speckle move with the tissue: see `motion`.
"""

from __future__ import annotations

import math

import numpy as np

from data_pipelines.simulator.curves import amplitude, elliptic_radius, ridge, smooth_step
from data_pipelines.simulator.polar_grid import Polar
from data_pipelines.simulator.section import Section
from data_pipelines.simulator.tissue import ANGLE_BINS, Tissue


def reflectivity(tissue: Tissue, section: Section) -> Polar:
    """Returns the echo amplitude of every sample, (ranges, beams).

    Args:
        tissue: what the samples are made of.
        section: the heart at one instant.
    """
    u, v = tissue.points
    radius, widest, length, wall = section.radius_mm, section.widest_mm, section.length_mm, section.wall_mm
    across, along = v / (radius * section.stretch_at(u, v)), (u - widest) / widest
    inner = np.asarray(elliptic_radius(across, along))
    outer_mm = (np.asarray(section.epicardial_radius(u, v)) - 1) * (radius + wall)  # distance outside the epicardium
    inner_mm = (inner - 1) * radius  # distance outside the endocardium

    bins = ((np.arctan2(across, -along) + math.pi) * ((ANGLE_BINS - 1) / (2 * math.pi))).astype(np.int32)
    gain_db = tissue.wall_gain_db[bins]
    normal_u, normal_v = along / widest, across / radius
    facing = np.abs(normal_u * tissue.beam_u + normal_v * tissue.beam_v)  # 1 where the wall faces the beam
    facing /= np.sqrt(normal_u * normal_u + normal_v * normal_v) + 1e-6

    ragged_mm = tissue.trabeculae_mm[bins] * np.clip((0.9 * length - u) / 20, 0, 1)
    above_plane = smooth_step((length + 1 - u) / 1.2)
    cavity = smooth_step((-inner_mm - ragged_mm) / tissue.border_mm[bins]) * above_plane
    muscle = smooth_step(-outer_mm / tissue.margin_mm) * smooth_step((length + 2 - u) / 1.5) * (1 - cavity)
    atrial_mm = (np.asarray(section.atrial_radius(u, v)) - 1) * section.atrium_radius_mm
    atrium = smooth_step(-atrial_mm / tissue.left_atrium.margin_mm) * smooth_step((u - length) / 1.2)

    depth_in_wall = np.clip(inner_mm / np.maximum(inner_mm - outer_mm, 1), 0, 1)
    muscle_db = gain_db - 5 + 3 * facing + 10 * depth_in_wall * (1.4 - 0.6 * depth_in_wall)
    bright = amplitude(gain_db)
    surroundings = tissue.surroundings + _annulus_tissue(tissue, section)
    if section.shows_right_heart:
        surroundings = _with_right_heart(tissue, section, surroundings=surroundings, left_atrium=atrium)
    echo = surroundings * (1 - np.clip(cavity + muscle + atrium, 0, 1))
    echo += (cavity + tissue.left_atrium.gain * atrium) * tissue.blood + muscle * amplitude(muscle_db)

    pericardium = ridge((outer_mm - 1.2) / 1.2) * (u < length + 3) * bright
    if section.shows_right_heart:
        pericardium *= v > -0.35 * radius  # the septum has none
    echo += tissue.pericardium * pericardium * (0.25 + facing)
    echo += 0.45 * ridge((inner_mm - 0.6) / 0.8) * (u < length) * facing * facing * bright
    echo += tissue.left_atrium.wall * ridge((atrial_mm - 1) / 1.2) * (u > length - 2)
    return echo + _cavity_structures(tissue, section, cavity) + _mitral_leaflets(tissue, section)


def _annulus_tissue(tissue: Tissue, section: Section) -> Polar:
    """The bright tissue around the two ends of the mitral annulus."""
    (u, v), edge_mm = tissue.points, section.annulus_mm + section.wall_mm
    septal = ridge((u - section.length_mm - 5) / 8) * ridge((v + edge_mm - 3) / 6)
    lateral = ridge((u - section.length_mm - 1) / 9) * ridge((v - edge_mm - 5) / 8)
    return tissue.annulus.septal * septal + tissue.annulus.lateral * lateral


def _with_right_heart(tissue: Tissue, section: Section, *, surroundings: Polar, left_atrium: Polar) -> Polar:
    """Lays the right ventricle and atrium, left of the septum, over the surroundings."""
    right = tissue.right_heart
    u, v, length = tissue.points.u_mm, tissue.points.v_mm + right.warp_mm, section.length_mm
    level = np.clip(1 - ((u - section.widest_mm) / (section.widest_mm + section.apical_wall_mm)) ** 2, 0, None)
    septum_mm = (section.radius_mm + section.wall_mm) * np.sqrt(level)
    from_septum_mm = -v - septum_mm
    start_mm = right.apex * length
    descent = np.clip((u - start_mm) / (length - start_mm), 0, 1)
    width_mm = section.right_width_mm * np.sqrt(1 - (1 - descent) ** 2) * (1 - 0.3 * descent**3)
    above_plane = smooth_step((length - u) / 1.5)
    below_apex = smooth_step((u - start_mm) / 2)
    ventricle = smooth_step((from_septum_mm - 1) / 1.5)
    ventricle *= smooth_step((width_mm - from_septum_mm) / right.margin_mm)
    ventricle *= above_plane * below_apex

    half_mm = 0.5 * (section.roof_mm - length)
    middle_mm = section.atrium_slope * np.maximum(u - length, 0) - section.atrium_radius_mm - 21
    atrial = np.asarray(elliptic_radius((v - middle_mm) / 18, (u - length - half_mm) / half_mm))
    atrium = smooth_step((1 - atrial) * 18 / right.margin_mm) * (1 - left_atrium)

    chambers = np.clip(ventricle + atrium, 0, 1)
    free_wall = ridge((from_septum_mm - width_mm - 2.2) / 2.2) * above_plane * below_apex
    hinge_mm = section.annulus_mm + section.wall_mm
    tricuspid = ridge((u - length + 1.5) / 1.2) * (v < -hinge_mm) * (v > -hinge_mm - 0.7 * section.right_width_mm)
    return surroundings * (1 - chambers) + chambers * tissue.blood + right.free_wall * free_wall + 0.45 * tricuspid


def _cavity_structures(tissue: Tissue, section: Section, cavity: Polar) -> Polar:
    """Papillary muscles and chordae: blobs in the lower cavity that move inwards with the wall."""
    echo = np.zeros_like(cavity)
    for blob in tissue.blobs:
        along = (tissue.points.u_mm - blob.along * section.length_mm) / blob.half_length_mm
        across = (tissue.points.v_mm - blob.across * section.radius_mm) / blob.half_width_mm
        echo += blob.strength * np.exp(-np.square(along * along + across * across))
    return echo * cavity


def _mitral_leaflets(tissue: Tissue, section: Section) -> Polar:
    """Two lines from the ends of the annulus to the point where the leaflets meet."""
    (u, v), valve = tissue.points, tissue.mitral_valve
    hinge_u = section.length_mm + 1
    tip_u, tip_v = section.length_mm + 1 - valve.tenting_mm, valve.meeting * section.annulus_mm
    echo = np.zeros_like(u)
    for side, leaflet in ((-1, valve.left), (1, valve.right)):
        hinge_v = side * section.annulus_mm
        run_u, run_v = tip_u - hinge_u, tip_v - hinge_v
        part = ((u - hinge_u) * run_u + (v - hinge_v) * run_v) / (run_u**2 + run_v**2)
        part = np.clip(part, 0, 1)
        off_u, off_v = u - hinge_u - part * run_u, v - hinge_v - part * run_v
        echo += leaflet.strength * np.exp((off_u * off_u + off_v * off_v) * (-1 / leaflet.thickness_mm**2))
    return echo
