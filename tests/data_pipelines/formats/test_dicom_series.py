"""Cines that are stored as one DICOM file a frame, and stills that are none."""

import numpy as np
import pytest

from data_pipelines.doctor.diagnosis import diagnose
from data_pipelines.formats import cine
from data_pipelines.formats.cine import dicom
from data_pipelines.records import UnreadableRecord
from tests.helpers.dicom_files import coloured, luminance, picture, region, write

FRAMES = picture(12)


def series(folder, frames=FRAMES, uid="1.2.3", names="IM{:04}", interpretation="MONOCHROME2", **elements):
    """Writes one file a frame; an element may be a function of the number of the frame."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(frames):
        own = {name: value(i) if callable(value) else value for name, value in elements.items()}
        if uid:
            own["SeriesInstanceUID"] = uid
        write(folder / names.format(i), frame[None], interpretation, **own)
    return folder


def only(folder):
    (entry,) = cine.index(folder).entries
    return cine.load(entry, crop=False).clip


def codes(clip):
    return {one.code for one in clip.notes if one.severity == "warning"}


@pytest.mark.parametrize("name", ["IM{:04}", "IM{}", "frame{}.dcm", "{}.DICOM"])
@pytest.mark.parametrize("uid", ["1.2.3", ""])
def test_one_file_a_frame_is_one_cine(tmp_path, name, uid):
    folder = series(tmp_path / "patient", names=name, uid=uid, InstanceNumber=lambda i: i + 1, FrameTime=20)
    clip = only(folder)
    np.testing.assert_array_equal(clip.frames, FRAMES)
    assert clip.fps == 50 and codes(clip) == set() and "one file a frame" in {one.code for one in clip.notes}
    np.testing.assert_array_equal(cine.load(folder, crop=False).clip.frames, FRAMES)
    assert not [finding for finding in diagnose(tmp_path).findings if "one frame only" in finding.title]


@pytest.mark.parametrize(
    ("elements", "fps", "warnings"),
    [
        ({"InstanceNumber": lambda i: 12 - i}, None, set()),
        ({"TriggerTime": lambda i: (11 - i) * 25}, 40, set()),
        ({"AcquisitionTime": lambda i: f"120000.{(11 - i) * 20:03}"}, 50, set()),
        ({"ContentTime": lambda i: f"120000.{(11 - i) * 20:03}"}, 50, set()),
        ({"AcquisitionDateTime": lambda i: f"20200101120000.{(11 - i) * 20:03}"}, 50, set()),
        ({"InstanceNumber": lambda i: 12 - i, "TriggerTime": lambda i: i * 20}, None, {"frame times doubtful"}),
        ({"InstanceNumber": lambda i: 3 * (12 - i) if i else 90}, None, {"frames missing"}),
        (
            {"InstanceNumber": lambda i: 12 - i, "FrameTime": 40, "TriggerTime": lambda i: 220 - 20 * i},
            50,
            {"frame rate disputed"},
        ),
    ],
)
def test_the_order_of_the_files(tmp_path, elements, fps, warnings):
    clip = only(series(tmp_path / "patient", **elements))
    np.testing.assert_array_equal(clip.frames, FRAMES[::-1])
    assert clip.fps == (None if fps is None else pytest.approx(fps)) and codes(clip) == warnings


def test_levels_of_a_series_are_decided_for_all_its_frames(tmp_path):
    deep = FRAMES.astype(np.uint16)
    deep[3:] *= 16
    clip = only(series(tmp_path / "deep", deep, InstanceNumber=lambda i: i))
    np.testing.assert_array_equal(clip.frames, np.rint(deep / 4095 * 255))
    clip = only(series(tmp_path / "colour", coloured(FRAMES), interpretation="YBR_FULL", InstanceNumber=lambda i: i))
    np.testing.assert_array_equal(clip.frames, luminance(coloured(FRAMES)))
    assert codes(clip) == {"colour space corrected"}


def test_stills_are_no_cine(tmp_path):
    apart = series(tmp_path / "a", InstanceNumber=lambda i: i, AcquisitionTime=lambda i: f"12{i:02}00")
    pair = series(tmp_path / "b", FRAMES[:2], InstanceNumber=lambda i: i)
    beside = series(tmp_path / "c", FRAMES[:4], InstanceNumber=lambda i: i)
    write(beside / "cine.dcm", FRAMES, SeriesInstanceUID="1.2.3")
    for folder, count in ((apart, 12), (pair, 2), (beside, 5)):
        assert len(cine.index(folder).entries) == count
        reasons = set()
        for entry in cine.index(folder).entries:
            try:
                cine.load(entry)
            except UnreadableRecord as error:
                reasons.add(error.reason)
        assert reasons == {"one frame only"}


def test_two_series_of_one_folder_stay_apart(tmp_path):
    series(tmp_path, FRAMES[:5], uid="1.2.3", names="a{}.dcm", InstanceNumber=lambda i: i)
    series(tmp_path, FRAMES[5:], uid="1.2.4", names="b{}.dcm", InstanceNumber=lambda i: i)
    first, second = (cine.load(entry, crop=False).clip.frames for entry in cine.index(tmp_path).entries)
    np.testing.assert_array_equal(first, FRAMES[:5])
    np.testing.assert_array_equal(second, FRAMES[5:])


def test_sizes_that_differ_are_named(tmp_path):
    series(tmp_path, FRAMES[:4], InstanceNumber=lambda i: i)
    series(tmp_path, FRAMES[:4, :60], names="small{}", InstanceNumber=lambda i: i + 4)
    assert len(cine.index(tmp_path).entries) == 2
    with pytest.raises(UnreadableRecord) as caught:
        dicom.read_series([tmp_path / "IM0000", tmp_path / "IM0001", tmp_path / "small0"], "case")
    assert caught.value.reason == "frames of another size" and "small0" in caught.value.detail


def test_a_damaged_file_of_a_series_is_told(tmp_path):
    folder = series(tmp_path, InstanceNumber=lambda i: i)
    content = (folder / "IM0003").read_bytes()
    paths = [folder / f"IM{i:04}" for i in range(12)]
    (folder / "IM0003").write_bytes(content[:-2000])
    with pytest.raises(UnreadableRecord) as caught:
        dicom.read_series(paths, "case")
    assert caught.value.reason == "truncated file"


def test_spacing_and_region_of_a_series(tmp_path):
    clip = only(series(tmp_path, InstanceNumber=lambda i: i, SequenceOfUltrasoundRegions=[region(0, 0, 79, 63)]))
    assert clip.spacing_mm == pytest.approx((0.5, 0.3))
    assert "1.2.3" not in repr(clip)
