"""Rhythms of the simulator: the volume follows them, every beat has its true instants, older clips keep their bytes."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest

from data_pipelines.records import ENDOCARDIUM
from data_pipelines.simulator.clip import ClipSettings, simulate_clip
from data_pipelines.simulator.patient import Patient
from data_pipelines.simulator.rhythm import RHYTHMS, Beat, Rhythm, sample_rhythm

HEART = Patient(0, 1).heart()


@pytest.mark.parametrize(
    ("patient", "view", "settings", "digest"),
    [
        (Patient(0, 1), "4CH", ClipSettings(frames=5, size=96), "0bc4e3bcd1f55181"),
        (Patient(3, 2), "2CH", ClipSettings(frames=5, size=64, cycle="filling"), "3da101e24fff70b5"),
        (Patient(2, 3, "echonet"), "4CH", ClipSettings(frames=130, size=48, cycle="beats"), "aeed94024162f9e8"),
    ],
)
def test_clips_without_a_rhythm_keep_their_bytes(patient, view, settings, digest):
    clip = simulate_clip(patient, view, settings)
    numbers = repr((clip.ed_index, clip.es_index, clip.fps, clip.volumes_ml, clip.spacing_mm))
    content = clip.frames.tobytes() + clip.label_map.tobytes() + numbers.encode()
    assert hashlib.sha256(content).hexdigest()[:16] == digest


@pytest.mark.parametrize("kind", RHYTHMS)
def test_every_true_beat_is_an_extreme_of_the_contraction(kind):
    rhythm = sample_rhythm(np.random.default_rng(4), HEART, kind, beats=6)
    fps, frames = 1000.0, 9000
    contraction = np.array([rhythm.contraction_at(frame / fps) for frame in range(frames)])
    beats = rhythm.true_beats(HEART, frames=frames, fps=fps)
    assert len(beats) >= 8
    for beat, following in itertools.pairwise(beats):
        assert following.ed_frame == pytest.approx(beat.next_ed_frame)
    for beat in beats[1:-1]:
        ed, es, after = (round(instant) for instant in (beat.ed_frame, beat.es_frame, beat.next_ed_frame))
        assert contraction[ed] == pytest.approx(contraction[ed:es].min(), abs=0.01)
        assert contraction[es] == pytest.approx(contraction[ed:after].max(), abs=0.01)
        assert beat.edv_ml == pytest.approx(HEART.edv_ml * (1 - HEART.ef_percent / 100 * contraction[ed]), rel=0.01)
        assert beat.ef_percent == pytest.approx(100 * (1 - beat.esv_ml / beat.edv_ml))
    assert np.abs(np.diff(contraction)).max() < 0.02


def test_an_early_beat_is_weaker_and_a_pause_follows():
    rhythm = sample_rhythm(np.random.default_rng(1), HEART, "ectopic", beats=8)
    lengths = np.array([beat.duration_s for beat in rhythm.beats]) / HEART.beat_s
    early = int(np.argmin(lengths))
    assert lengths[early] < 0.8 and lengths[early] + lengths[early + 1] == pytest.approx(2)
    stroke = [beat.emptied - beat.unfilled for beat in rhythm.beats]
    assert stroke[early + 1] == min(stroke) < 0.8


def test_atrial_fibrillation_varies_more_than_sinus_rhythm():
    def spread(kind: str) -> float:
        rhythm = sample_rhythm(np.random.default_rng(2), HEART, kind, beats=200)
        return float(np.std([beat.duration_s for beat in rhythm.beats]) / HEART.beat_s)

    assert spread("regular") < 1e-9 < 0.05 < spread("varying") < 0.1 < 0.18 < spread("irregular") < 0.3


def test_a_clip_shows_its_rhythm():
    rhythm = Rhythm((Beat(0.3, 0.8), Beat(0.25, 0.6, unfilled=0.3, emptied=0.8)), start_s=0.2)
    settings = ClipSettings(frames=40, size=48, cycle="beats", fps=20.0, rhythm=rhythm)
    clip = simulate_clip(Patient(0, 1), "4CH", settings)
    area = (clip.label_map == ENDOCARDIUM).sum(axis=(1, 2)).astype(float)
    beats = rhythm.true_beats(HEART, frames=40, fps=20.0)
    assert [beat.ed_frame for beat in beats] == pytest.approx([-4, 12, 24])
    assert (clip.ed_index, clip.es_index) == (12, 17)
    assert area[2] < area[12] < area[24] and area[2] < area[17]


def test_a_clip_shorter_than_a_systole_has_no_instants():
    settings = ClipSettings(frames=4, size=32, cycle="beats", rhythm=Rhythm((Beat(0.3, 0.8),), start_s=0.1))
    clip = simulate_clip(Patient(0, 1), "4CH", settings)
    assert (clip.ed_index, clip.es_index) == (None, None)


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: Beat(0.5, 0.4), "systole_s is 0.5"),
        (lambda: Beat(0.3, 0.8, unfilled=0.9, emptied=0.5), "unfilled is 0.9"),
        (lambda: Rhythm(()), "has no beat"),
        (lambda: sample_rhythm(np.random.default_rng(0), HEART, "waltz", beats=3), "kind is 'waltz'"),
        (lambda: ClipSettings(rhythm=Rhythm((Beat(0.3, 0.8),))), "a rhythm is given"),
    ],
)
def test_rhythms_out_of_range_are_refused(refused, message):
    with pytest.raises(ValueError, match=message):
        refused()
