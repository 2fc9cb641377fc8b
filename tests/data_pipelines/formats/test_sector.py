"""The sector of drawn screens, of real cines and of frames that are cropped already; masks back onto the picture."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.formats import camus
from data_pipelines.formats.cine import sector
from data_pipelines.formats.cine.clips import load
from tests.helpers.screens import SHAPE, fan, screen, speckle


def sweep_trace(frames):
    """An ECG drawn across the bottom, over the sector's edge too, with a bar that moves along it."""
    columns = np.arange(frames.shape[2])
    curve = (226 - 14 * np.exp(-(((columns % 80) - 40) ** 2) / 6)).astype(int)
    for t, frame in enumerate(frames):
        cv2.polylines(frame, [np.stack([columns, curve], axis=1).astype(np.int32)], False, 220, 1)
        at = 20 + t * (frames.shape[2] - 40) // len(frames)
        frame[208:238, at : at + 3] = 255
    return frames


def scroll_trace(frames):
    columns = np.arange(frames.shape[2])
    for t, frame in enumerate(frames):
        curve = (226 - 14 * np.exp(-((((columns + 9 * t) % 80) - 40) ** 2) / 6)).astype(int)
        cv2.polylines(frame, [np.stack([columns, curve], axis=1).astype(np.int32)], False, 220, 1)
    return frames


def on_picture(found, shape=SHAPE):
    return sector.place_back(found.mask, found, shape)


def assert_found(frames, area):
    found = sector.find(frames)
    mask = on_picture(found, area.shape)
    assert found.warning == ""
    assert (mask & area).sum() >= 0.99 * area.sum()
    assert (mask & ~area).sum() <= 0.04 * area.sum()
    return found


@pytest.mark.parametrize("trace", [lambda frames: frames, sweep_trace, scroll_trace], ids=["none", "sweep", "scroll"])
def test_text_bars_and_ecg_are_cut_away(trace):
    area = fan()
    frames = trace(screen(speckle(area)))
    found = assert_found(frames, area)
    cropped = sector.crop(frames, found)
    assert cropped.shape[1:] == found.mask.shape and cropped.shape[1] < 215 and cropped.shape[2] < 260
    assert not cropped[:, ~found.mask].any()
    rows, columns = slice(*found.rows), slice(*found.columns)
    np.testing.assert_array_equal(cropped[:, found.mask], frames[:, rows, columns][:, found.mask])


def test_dark_walls_stay_within_the_hull():
    area = fan()
    frames = speckle(area)
    frames[:, 80:150, 60:120] = 0  # a shadow at one side
    frames[:, 90:150, 150:180] = 0  # a cavity without noise
    frames[:, 120:140, 200:230] = 0
    assert_found(screen(frames), area)


def test_noise_of_a_codec_around_text_is_not_the_sector():
    area = fan()
    frames = screen(speckle(area))
    noise = np.random.default_rng(3).integers(0, 2, frames.shape, dtype=np.uint8)
    assert_found(np.where(area, frames, np.minimum(frames, 254) + noise), area)


def test_repeated_frames_do_not_hide_the_motion():
    area = fan()
    assert_found(screen(np.repeat(speckle(area, 6), 5, axis=0)), area)


def test_two_frames_are_enough():
    area = fan()
    assert_found(screen(speckle(area, 2)), area)


@settings(max_examples=8, deadline=None)
@given(tip=st.tuples(st.integers(5, 60), st.integers(120, 200)), reach=st.integers(90, 150), angle=st.floats(0.4, 0.8))
def test_the_sector_is_found_anywhere_in_the_picture(tip, reach, angle):
    area = fan(tip=tip, radii=(10, reach), half_angle=angle)
    frames = speckle(area, 6)
    frames[:, 225:235, 5:60] = 200
    found = assert_found(frames, area)
    for got, used in ((found.rows, area.any(axis=1)), (found.columns, area.any(axis=0))):
        places = np.flatnonzero(used)
        np.testing.assert_allclose(got, (places[0], places[-1] + 1), atol=4)


@pytest.mark.parametrize("shape", [(112, 112), (300, 400)])
@pytest.mark.parametrize("full", [True, False], ids=["rectangle", "fan"])
def test_cropped_frames_come_back_unchanged(shape, full):
    height, width = shape
    area = np.ones(shape, bool) if full else fan(shape, (0.0, width / 2), (3.0, height - 1.0), 0.75)
    frames = speckle(area, mean=60)
    found = sector.find(frames)
    np.testing.assert_array_equal(sector.crop(frames, found), frames)
    assert found == sector.Sector((0, height), (0, width), found.mask) and found.mask.all()


def test_the_region_of_the_file_is_the_outer_limit():
    area = fan()
    frames = screen(speckle(area))
    frames[:, 100:, :20] = speckle(np.ones((140, 20), bool), seed=5)  # flickering text, say, outside of the region
    limit = (slice(15, 215), slice(30, 290))
    found = sector.find(frames, limit)
    assert found.rows[0] >= 15 and found.rows[1] <= 215 and found.columns[0] >= 30 and found.columns[1] <= 290
    mask = on_picture(found)
    assert (mask & area).sum() >= 0.99 * area[limit].sum() and not mask[:15].any() and not mask[:, :30].any()


def test_two_sectors_side_by_side_give_the_larger():
    shape = (240, 480)
    left, right = fan(shape, (20.0, 130.0), (8.0, 170.0)), fan(shape, (20.0, 360.0), (8.0, 150.0))
    found = sector.find(speckle(left | right))
    mask = on_picture(found, shape)
    assert found.warning == sector.TWO_SECTORS
    assert (mask & left).sum() >= 0.99 * left.sum() and not (mask & right).any()


def test_a_still_picture_is_found_by_brightness_and_says_so():
    area = fan()
    frames = screen(np.repeat(speckle(area, 1), 4, axis=0))
    found = sector.find(frames)
    mask = on_picture(found)
    assert found.warning == sector.NO_MOTION
    assert (mask & area).sum() >= 0.98 * area.sum() and not mask[:40, :100].any()


@pytest.mark.parametrize("frames", [np.zeros((4, 60, 80), np.uint8), np.zeros((1, 60, 80), np.uint8)])
def test_without_a_sector_the_whole_picture_is_kept_with_a_warning(frames):
    frames = frames.copy()
    frames[:, 5, 5:20] = 255
    found = sector.find(frames)
    assert (found.rows, found.columns, found.warning) == ((0, 60), (0, 80), sector.NO_SECTOR) and found.mask.all()


def test_masks_of_the_box_return_to_the_picture():
    found = sector.Sector((2, 5), (1, 3), np.ones((3, 2), bool))
    placed = sector.place_back(np.arange(12, dtype=np.uint8).reshape(2, 3, 2), found, (6, 7))
    assert placed.shape == (2, 6, 7) and placed.dtype == np.uint8 and placed.sum() == 66
    assert placed[1, 4, 2] == 11 and placed[0, 2, 1] == 0 and placed[0, 2, 2] == 1
    assert sector.place_back(np.ones((3, 2), bool), found, (6, 7)).sum() == 6
    for mask, shape in ((np.ones((2, 2)), (6, 7)), (np.ones((3, 2)), (4, 7)), (np.ones((3, 2)), (6, 2))):
        with pytest.raises(ValueError, match="original"):
            sector.place_back(mask, found, shape)


@pytest.mark.parametrize(
    ("name", "rows", "columns", "share"),
    [
        ("input.mp4", (0, 768), (0, 1024), 1.0),  # touches all sides: unchanged
        ("input1.mp4", (0, 584), (11, 627), 0.60),
        ("color3d_jpeg_baseline.dcm", (45, 403), (84, 596), 0.60),
    ],
)
def test_real_cines(real_data, name, rows, columns, share):
    cine = load(real_data / "clips" / name)
    np.testing.assert_allclose((cine.sector.rows, cine.sector.columns), (rows, columns), atol=3)
    assert cine.sector.mask.mean() == pytest.approx(share, abs=0.02) and cine.sector.warning == ""
    original = load(real_data / "clips" / name, crop=False)
    placed = sector.place_back(cine.clip.frames, cine.sector, original.shape)
    lost = (original.clip.frames - placed).max(axis=0)  # placed is the original or 0
    live = np.ptp(original.clip.frames, axis=0) > 25
    assert (live & (lost > 0)).sum() <= 0.01 * live.sum()  # what moves is kept
    assert cine.clip.spacing_mm == original.clip.spacing_mm


def test_real_two_frame_clips_lose_no_heart(real_data):
    entries = camus.index(real_data / "camus_ed_es", "all").entries
    for entry in entries[::100]:
        clip = camus.read(entry)
        found = sector.find(clip.frames)
        np.testing.assert_array_equal(sector.crop(clip.frames, found), clip.frames)
