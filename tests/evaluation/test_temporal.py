"""Steadiness of drawn clips whose motion is known."""

import numpy as np

from echoforge_jax.evaluation.temporal import temporal_consistency


def beating(radii, shift=0):
    rows, columns = np.mgrid[:64, :64]
    return np.stack([(rows - 32) ** 2 + (columns - 32 - shift * (t % 2)) ** 2 <= r**2 for t, r in enumerate(radii)])


SMOOTH = np.linspace(22, 15, 9)


def test_the_reference_itself_has_no_excess():
    steadiness = temporal_consistency(beating(SMOOTH), beating(SMOOTH))
    assert steadiness.frame_to_frame_dice_excess == 0 and steadiness.area_roughness_ratio == 1
    assert steadiness.n_frames == 9 and steadiness.frames_in_pieces == 0


def test_motion_of_the_heart_is_not_flicker_but_jumping_is():
    still = temporal_consistency(beating(np.full(9, 18.0)), beating(SMOOTH))
    assert still.frame_to_frame_dice_excess > 0  # lags behind the heart
    jumping = temporal_consistency(beating(SMOOTH, shift=4), beating(SMOOTH))
    assert jumping.frame_to_frame_dice_excess < -0.05


def test_an_area_that_flickers_is_rough():
    flicker = SMOOTH + np.where(np.arange(9) % 2, 1.5, -1.5)
    assert temporal_consistency(beating(flicker), beating(SMOOTH)).area_roughness_ratio > 5


def test_pieces_and_short_clips():
    masks = beating(SMOOTH)
    masks[3, 2, 2] = True
    assert temporal_consistency(masks, beating(SMOOTH)).frames_in_pieces == 1
    assert np.isnan(temporal_consistency(masks[:2], masks[:2]).area_roughness)
    assert np.isnan(temporal_consistency(np.zeros_like(masks), beating(SMOOTH)).area_roughness)
