"""The library as a user imports it: names, what an import costs, the examples in the docstrings, bad frames."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import echoforge_jax as ef
from data_pipelines.errors import DataError
from data_pipelines.records import UnreadableRecord
from echoforge_jax.evaluation.ejection_fraction import MeasurementError

HEAVY = ("orbax", "optax", "tensorflow_datasets", "grain", "nibabel", "matplotlib", "tensorboardX")


def test_every_public_name_is_there():
    for name in ef.__all__:
        assert getattr(ef, name) is not None
    assert set(ef.__all__) <= set(dir(ef)) and 12 <= len(ef.__all__) <= 18
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        ef.lod  # noqa: B018


@pytest.mark.parametrize("module", ["echoforge_jax", "echoforge_jax.inference"])
def test_an_import_pulls_in_no_training(module: str):
    program = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "module", ["echoforge_jax", "echoforge_jax.api", "echoforge_jax.inference", "echoforge_jax.config.reader"]
)
def test_the_examples_in_the_docstrings_run(module: str):
    results = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert results.attempted and not results.failed


@pytest.fixture(scope="module")
def predictor() -> ef.Predictor:
    return ef.load("camus-small", threshold=0.6)


def test_a_network_by_name_segments_frames_of_any_size(predictor: ef.Predictor):
    frames = np.random.default_rng(0).integers(0, 255, (2, 90, 120), np.uint8)
    segmentation = predictor.segment(frames)
    assert segmentation.masks.shape == frames.shape and segmentation.masks.dtype == np.uint8
    assert segmentation.probability.shape == (2, 256, 256) and predictor.threshold == 0.6
    averaged = ef.Ensemble([predictor, predictor])
    assert averaged.num_networks == 2
    np.testing.assert_array_equal(averaged.segment(frames).masks, segmentation.masks)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 64, 64), np.float32),
        np.zeros((64, 64), np.uint8),
        np.zeros((2, 64, 64, 3), np.uint8),
        np.zeros((0, 64, 64), np.uint8),
        np.zeros((2, 64, 64), np.uint16),
        np.zeros((2, 64, 64), bool),
    ],
)
def test_frames_that_are_no_grey_levels_are_refused(predictor: ef.Predictor, frames: np.ndarray):
    match = r"expected grey levels 0\.\.255 as uint8"
    for ask in (
        predictor.segment,
        lambda f: predictor.probabilities([f]),
        lambda f: list(predictor.predict_clips([f])),
    ):
        with pytest.raises(DataError, match=match):
            ask(frames)
    with pytest.raises(DataError, match=match):
        predictor.stream_frame(predictor.start_stream(), frames)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (np.full((2, 64, 64), 0.5, np.float32), "to_grey_levels"),
        (np.zeros((64, 64), np.uint8), r"frames\[None\]"),
        (np.zeros((2, 64, 64, 3), np.uint8), "luminance"),
        (np.eye(64, dtype=np.uint8)[None], "rounded"),
    ],
)
def test_the_refusal_says_what_to_do(predictor: ef.Predictor, frames: np.ndarray, words: str):
    with pytest.raises(DataError, match=words):
        predictor.segment(frames)


def test_a_recording_is_read_and_a_missing_one_named(real_data: Path, tmp_path: Path):
    cines = sorted((real_data / "clips").glob("*.mp4"))
    clip = ef.read_clip(cines[0])
    assert clip.frames.ndim == 3 and clip.fps and not clip.has_reference.any()
    with pytest.raises(UnreadableRecord, match="file missing"):
        ef.read_clip(tmp_path / "nowhere.mp4")


def test_an_ejection_fraction_is_that_of_the_discs():
    rows, columns = np.mgrid[:120, :120] - 60.0

    def ellipse(long: float, short: float) -> np.ndarray:
        return ((rows / long) ** 2 + (columns / short) ** 2 < 1).astype(np.uint8)

    large, small = ellipse(50, 24), ellipse(45, 16)
    expected = 100 * (1 - 45 * 16**2 / (50 * 24**2))  # of ellipsoids
    assert ef.ejection_fraction(large, small) == pytest.approx(expected, abs=1.5)
    mm = (0.3, 0.3)
    both = ef.ejection_fraction(large, small, spacing_mm=mm, two_chamber=(large, small), two_chamber_spacing_mm=mm)
    assert both == pytest.approx(expected, abs=1.5)
    with pytest.raises(ValueError, match="needs spacing_mm"):
        ef.ejection_fraction(large, small, two_chamber=(large, small))
    with pytest.raises(MeasurementError):
        ef.ejection_fraction(np.zeros_like(large), small)
