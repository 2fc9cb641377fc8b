"""The three classes of image quality, as numbers. Levels are in dB relative to myocardium that faces the beam."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ImageQuality:
    """How the pictures of one class of image quality look.

    Attributes:
        shadows: mean number of shadows of ribs and lung.
        shadow_db: how much a shadow darkens.
        blood_db: level of the blood.
        haze_db: level of the static clutter.
        noise_db: level of the receiver's noise.
        wall_roughness_db: how much the brightness of the wall varies around the cavity.
        apex_loss_db: how much darker the wall is at the apex.
        right_loss_db: how much darker the wall is on the right of the picture.
    """

    shadows: float
    shadow_db: float
    blood_db: float
    haze_db: float
    noise_db: float
    wall_roughness_db: float
    apex_loss_db: float
    right_loss_db: float


IMAGE_QUALITIES = {
    "Good": ImageQuality(
        shadows=0.5,
        shadow_db=7.0,
        blood_db=-18.5,
        haze_db=-23.5,
        noise_db=-36.0,
        wall_roughness_db=2.3,
        apex_loss_db=11.0,
        right_loss_db=4.0,
    ),
    "Medium": ImageQuality(
        shadows=1.4,
        shadow_db=9.5,
        blood_db=-17.0,
        haze_db=-20.5,
        noise_db=-33.0,
        wall_roughness_db=2.9,
        apex_loss_db=12.0,
        right_loss_db=5.0,
    ),
    "Poor": ImageQuality(
        shadows=2.6,
        shadow_db=12.5,
        blood_db=-15.5,
        haze_db=-17.5,
        noise_db=-28.0,
        wall_roughness_db=3.7,
        apex_loss_db=12.5,
        right_loss_db=6.0,
    ),
}
