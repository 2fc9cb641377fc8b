"""Beats in area curves of known rhythm: whole and cut beats, noise, outliers, gaps, arrhythmia, no beats at all."""

from __future__ import annotations

import numpy as np
import pytest

from echoforge_jax.measurement import beats as module
from echoforge_jax.measurement.beats import Beat, find_beats

pytestmark = pytest.mark.fast


def cosine(frames: int, cycle: float, *, start: float = 0.0) -> np.ndarray:
    """An area that is largest at every multiple of `cycle` and smallest halfway between."""
    return 100 + 20 * np.cos(2 * np.pi * (np.arange(frames) + start) / cycle)


def instants(area: np.ndarray, **known) -> list[tuple[int | None, int | None, int | None]]:
    return [(beat.ed_frame, beat.es_frame, beat.next_ed_frame) for beat in find_beats(area, **known).beats]


def test_whole_beats_and_their_rate():
    found = find_beats(cosine(97, 24), fps=30.0)
    assert [(b.ed_frame, b.es_frame, b.next_ed_frame) for b in found.beats] == [
        (first, first + 12, first + 24) for first in (0, 24, 48, 72)
    ]
    assert found.heart_rate_per_min == pytest.approx(75) and found.frames_per_beat == 24
    assert found.reason is None and all(beat.whole for beat in found.beats)
    assert found.area_change == pytest.approx(40 / 120, abs=0.02)


def test_the_rate_needs_the_frame_rate_and_two_equal_instants():
    assert find_beats(cosine(97, 24)).heart_rate_per_min is None
    assert find_beats(cosine(13, 24), fps=30.0).heart_rate_per_min is None


@pytest.mark.parametrize("frames", [8, 10, 16, 32])
def test_half_a_cycle_is_half_a_beat(frames: int):
    area = cosine(frames, 2 * (frames - 1))
    assert instants(area) == [(0, frames - 1, None)]
    assert instants(area[::-1]) == [(None, 0, frames - 1)]
    (half,) = find_beats(area).beats
    assert half.has_systole and not half.whole and half.flags == (module.EDGE_FLAG,)


def test_a_cycle_that_is_cut_in_the_middle_of_its_limbs_has_no_instant_at_the_edges():
    (beat,) = find_beats(cosine(31, 60, start=15)).beats
    assert beat == Beat(None, 15, None)


def test_a_limb_alone_has_no_beat():
    assert find_beats(np.linspace(100, 70, 40)).reason == module.NO_TURN


def test_an_edge_counts_where_it_is_as_high_as_the_other_beats():
    assert instants(cosine(80, 40, start=-2))[0] == (2, 22, 42)
    assert instants(cosine(80, 40, start=10))[0] == (None, 10, 30)


@pytest.mark.parametrize("fps", [8, 15, 30, 60, 120, 200])
def test_noise_of_a_tenth_of_the_stroke_adds_no_beat(fps: int):
    rng = np.random.default_rng(fps)
    cycle = 0.8 * fps
    area = cosine(round(6 * cycle), cycle, start=cycle / 4) + rng.normal(0, 4, round(6 * cycle))
    found = find_beats(area, fps=float(fps))
    ends = [beat.es_frame for beat in found.beats if beat.es_frame is not None]
    true = np.arange(6) * cycle + cycle / 4
    assert len(ends) == 6
    assert np.abs(ends - true).max() < 0.09 * fps + 1
    assert found.heart_rate_per_min == pytest.approx(75, rel=0.05)


def test_single_outliers_move_nothing():
    area = cosine(200, 40)
    area[[7, 33, 61, 100, 158]] += (30, -40, 35, -30, 40)
    assert instants(area) == instants(cosine(200, 40))


def test_missing_and_doubtful_frames_are_bridged():
    area, confidence = cosine(200, 40), np.ones(200)
    area[[5, 60, 61, 62]] = np.nan
    area[110:114], confidence[110:114] = 500, 0.2
    assert instants(area, confidence=confidence) == instants(cosine(200, 40))


def test_repeated_frames_keep_the_beats():
    twice = instants(np.repeat(cosine(97, 24), 2))
    assert np.abs(np.array(twice) - 2 * np.array(instants(cosine(97, 24)))).max() <= 1


def test_uneven_times_are_used():
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.05, 150))
    found = find_beats(100 + 20 * np.cos(2 * np.pi * times / 0.9), times_s=times)
    assert found.heart_rate_per_min == pytest.approx(60 / 0.9, rel=0.05)
    true = np.arange(1, 4) * 0.9 - 0.45
    ends = times[[beat.es_frame for beat in found.beats if beat.es_frame is not None]]
    assert np.abs(ends[:3] - true).max() < 0.06


def test_a_slow_drift_larger_than_the_stroke_hides_no_beat():
    drift = 40 * np.sin(2 * np.pi * np.arange(400) / 400)
    assert len(find_beats(cosine(400, 40) + drift).beats) == 10


def test_every_other_beat_weak_is_still_a_beat():
    strength = np.where((np.arange(300) // 30) % 2 == 0, 20, 10)
    area = 100 + strength * (np.cos(2 * np.pi * np.arange(300) / 30) - 1)
    assert [beat.es_frame for beat in find_beats(area).beats] == list(range(15, 300, 30))


def test_a_notch_in_early_filling_is_no_beat():
    area = cosine(200, 40)
    for start in (30, 110):
        area[start : start + 6] -= 14
    assert [beat.es_frame for beat in find_beats(area).beats] == pytest.approx([20, 60, 100, 140, 180], abs=1)


@pytest.mark.parametrize(
    ("area", "reason"),
    [
        (np.zeros(0), module.NO_AREA),
        (np.full(20, np.nan), module.NO_AREA),
        (np.zeros(20), module.NO_AREA),
        (np.array([3.0, 2.0, 1.0]), module.TOO_FEW_FRAMES),
        (np.full(50, 7.0), module.STILL),
        (100 + np.sin(np.arange(80)), module.STILL),
        (4 * cosine(90, 30) - 310, module.IMPLAUSIBLE),
        (np.eye(1, 40, 7)[0], module.STILL),
    ],
)
def test_no_beat_is_said_with_its_reason(area: np.ndarray, reason: str):
    found = find_beats(area)
    assert (found.beats, found.reason, found.heart_rate_per_min) == ((), reason, None)


def test_noise_around_a_still_heart_has_no_beats():
    rng = np.random.default_rng(0)
    found = [find_beats(100 + rng.normal(0, 5, rng.integers(30, 200))) for _ in range(40)]
    assert sum(bool(beats.beats) for beats in found) <= 4


def test_a_rate_outside_of_physiology_is_said():
    assert find_beats(cosine(300, 100), fps=25.0).flags == (module.RATE_FLAG,)
    assert find_beats(cosine(300, 100)).flags == ()


def test_few_frames_a_beat_are_said():
    assert module.FEW_FRAMES_FLAG in find_beats(cosine(60, 6), fps=8.0).flags


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_the_unit_of_the_area_changes_nothing(scale: float):
    assert instants(scale * cosine(97, 24)) == instants(cosine(97, 24))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"area": np.ones(9), "fps": 0.0}, "fps is 0.0"),
        ({"area": np.ones(9), "fps": np.nan}, "fps is nan"),
        ({"area": np.ones(9), "times_s": np.ones(9)}, "times_s does not rise"),
        ({"area": np.ones(9), "times_s": np.array([*np.arange(8.0), 1e9])}, "long gaps"),
        ({"area": np.ones(9), "times_s": np.arange(8.0)}, "times_s has shape"),
        ({"area": np.ones(9), "confidence": np.ones(8)}, "confidence has shape"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        find_beats(**arguments)
