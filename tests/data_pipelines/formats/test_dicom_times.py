"""Statements of time in DICOM: which one wins, and which disagreements are told."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from data_pipelines.formats.cine import dicom
from tests.helpers.dicom_files import picture, write

FRAMES = picture(6)
POINTER = "FrameIncrementPointer"
TIME, VECTOR = Tag("FrameTime"), Tag("FrameTimeVector")


def read(tmp_path, **elements):
    return dicom.read(write(tmp_path / "a.dcm", FRAMES, **elements), "case")


def codes(recording):
    return {one.code for one in recording.notes if one.severity == "warning"}


@pytest.mark.parametrize(
    ("elements", "fps", "warned"),
    [
        ({POINTER: VECTOR, "FrameTimeVector": [0, 20, 20, 20, 20, 20], "FrameTime": 33.3}, 50, {"frame rate disputed"}),
        ({POINTER: TIME, "FrameTimeVector": [0, 20, 20, 20, 20, 20], "FrameTime": 40}, 25, {"frame rate disputed"}),
        ({POINTER: TIME, "FrameTime": 20}, 50, set()),
        ({POINTER: VECTOR, "FrameTime": 20}, 50, {"frame times doubtful"}),
        ({POINTER: Tag(0x00201041), "FrameTime": 20}, 50, {"frame times doubtful"}),
        ({POINTER: [TIME, VECTOR], "FrameTime": 20}, 50, set()),
        ({"FrameTime": 40, "FrameTimeVector": [0, 20, 20, 20, 20, 20]}, 50, {"frame rate disputed"}),
        ({"FrameTime": 40, "CineRate": 25, "FrameTimeVector": [0, 20, 20, 20, 20, 20]}, 25, {"frame rate disputed"}),
        ({"FrameTime": 20, "FrameTimeVector": [0, 20, 20, 20, 20, 20]}, 50, set()),
        ({"FrameTimeVector": [0, 20, 20, 20, 20, 200]}, 50, {"uneven frame times"}),
        ({"FrameTimeVector": [0, 16, 17, 17, 16, 17]}, 1000 / 17, set()),
        ({"FrameTimeVector": [20, 20, 20, 20, 20]}, 50, {"frame times doubtful"}),
        ({"FrameTimeVector": [0, 20, 20]}, 50, {"frame times doubtful"}),
        ({"FrameTimeVector": [0] + [20] * 9}, 50, {"frame times doubtful"}),
        ({"FrameTimeVector": 20}, 50, {"frame times doubtful"}),
        ({"FrameTimeVector": [0, 20, 0, 20, -20, 20]}, 50, {"frame times doubtful"}),
        ({"FrameTimeVector": [0, 20, 40, 60, 80, 100]}, 50, {"frame times doubtful"}),
        ({"FrameTimeVector": [0, 0, 0, 0, 0, 0], "FrameTime": 25}, 40, {"frame times doubtful"}),
        ({"FrameTimeVector": ["0", "20", "nan", "20", "20", "20"]}, 50, {"frame times doubtful"}),
        ({"FrameTime": 0.02, "CineRate": 50}, 50, {"element ignored"}),
        ({"FrameTime": 20000, "CineRate": 50}, 50, {"element ignored"}),
        ({"FrameTime": 0.02}, None, {"element ignored"}),
        ({"FrameTime": -33.3}, None, {"element ignored"}),
        ({"FrameTime": "nan"}, None, {"element ignored"}),
        ({"FrameTime": "1e30", "CineRate": 40}, 40, {"element ignored", "frame rate is one of display"}),
        ({"FrameTime": ["20", "40"]}, None, {"element ignored"}),
        ({"FrameTime": ""}, None, set()),
        ({"FrameTime": 20, "CineRate": 30}, 50, {"frame rate disputed"}),
        ({"FrameTime": 16.6, "CineRate": 60}, 1000 / 16.6, set()),
        ({"FrameTime": 20, "RecommendedDisplayFrameRate": 30}, 50, set()),
        ({"ActualFrameDuration": 20}, 50, set()),
        ({"ActualFrameDuration": 20, "FrameTime": 40}, 25, {"frame rate disputed"}),
        ({"EffectiveDuration": 0.12}, 50, set()),
        ({"EffectiveDuration": 0.1, "FrameTime": 20}, 50, set()),
        ({"EffectiveDuration": 0.3, "FrameTime": 20}, 50, {"frame rate disputed"}),
        ({"CineRate": 0, "FrameTime": 20}, 50, set()),
        ({"CineRate": 0}, None, set()),
        ({"FrameTime": 20, "StartTrim": 2, "StopTrim": 4}, 50, set()),
        ({"FrameTime": 20, "StartTrim": 1, "StopTrim": 9}, 50, {"frames missing"}),
    ],
)
def test_the_times_of_the_frames_are_the_truth(tmp_path, elements, fps, warned):
    recording = read(tmp_path, **elements)
    assert recording.fps == (None if fps is None else pytest.approx(fps)) and codes(recording) == warned


def groups(name, values, sequence):
    frames = []
    for value in values:
        inner, outer = Dataset(), Dataset()
        setattr(inner, name, value)
        setattr(outer, sequence, [inner])
        frames.append(outer)
    return frames


@pytest.mark.parametrize(
    ("name", "sequence", "values"),
    [
        ("TemporalPositionTimeOffset", "TemporalPositionSequence", np.arange(6) * 0.02),
        ("NominalCardiacTriggerDelayTime", "CardiacSynchronizationSequence", np.arange(6) * 20.0),
        ("FrameAcquisitionDateTime", "FrameContentSequence", [f"20200101120000.{20 * i:03}" for i in range(6)]),
    ],
)
def test_times_of_the_functional_groups(tmp_path, name, sequence, values):
    items = groups(name, [v if isinstance(v, str) else float(v) for v in values], sequence)
    recording = read(tmp_path, PerFrameFunctionalGroupsSequence=items, CineRate=50)
    assert recording.fps == pytest.approx(50) and codes(recording) == set()
    recording = read(tmp_path, PerFrameFunctionalGroupsSequence=items, FrameTime=40)
    assert "frame rate disputed" in codes(recording)


def test_frame_time_among_the_groups_that_all_frames_share(tmp_path):
    shared = groups("FrameTime", [20], "CardiacSynchronizationSequence")
    assert read(tmp_path, SharedFunctionalGroupsSequence=shared).fps == 50
