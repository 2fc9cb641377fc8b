"""Regions and spacings of DICOM: one picture or several, and statements that disagree."""

import shutil

import numpy as np
import pytest
from pydicom.dataset import Dataset

from data_pipelines.doctor.diagnosis import diagnose
from data_pipelines.formats import cine
from data_pipelines.formats.cine import dicom
from data_pipelines.records import UnreadableRecord
from tests.helpers.dicom_files import picture, region, write

FRAMES = picture(4)
LEFT, RIGHT = region(0, 0, 39, 63), region(40, 0, 79, 63, delta_cm=(0.04, 0.04))


def file(tmp_path, regions, **elements):
    return write(tmp_path / "case.dcm", FRAMES, SequenceOfUltrasoundRegions=regions, **elements)


def warned(recording):
    return {one.code for one in recording.notes if one.severity == "warning"}


@pytest.mark.parametrize(
    ("regions", "boxes"),
    [
        ([LEFT, RIGHT], [(0, 40, 0.5), (40, 80, 0.4)]),
        ([RIGHT, LEFT], [(0, 40, 0.5), (40, 80, 0.4)]),
        ([LEFT, region(40, 0, 79, 63)], [(0, 40, 0.5), (40, 80, 0.5)]),
        ([LEFT, region(45, 40, 70, 62, delta_cm=(0.01, 0.01))], [(0, 40, 0.5), (45, 71, 0.1)]),
        ([region(0, 0, 79, 63), region(45, 40, 70, 62, delta_cm=(0.01, 0.01))], [(0, 80, 0.5), (45, 71, 0.1)]),
        ([LEFT, RIGHT, LEFT, region(40, 0, 79, 63, kind=(1, 2))], [(0, 40, 0.5), (40, 80, 0.4)]),
        ([LEFT, region(40, 0, 79, 63, units=(0, 0))], [(0, 40, 0.5), (40, 80, None)]),
        (
            [region(0, 0, 25, 63), region(26, 0, 52, 63), region(53, 0, 79, 63)],
            [(0, 26, 0.5), (26, 53, 0.5), (53, 80, 0.5)],
        ),
    ],
    ids=["biplane", "reversed", "equal", "inset beside", "inset within", "with colour", "unknown unit", "three"],
)
def test_each_of_several_pictures_is_a_record(tmp_path, regions, boxes):
    path = file(tmp_path, regions, ViewName="A4C")
    with pytest.raises(UnreadableRecord) as caught:
        cine.read(path)
    assert caught.value.reason == "several pictures" and "cine.index" in caught.value.detail
    listed = cine.index(path).entries
    assert [entry.record_id for entry in listed] == [f"case-region{i + 1}" for i in range(len(boxes))]
    assert {entry.patient_id for entry in listed} == {"case"}
    for entry, (left, right, row_mm) in zip(listed, boxes, strict=True):
        recording = dicom.read(path, "case", entry.part)
        assert recording.limit is not None and (recording.limit[1].start, recording.limit[1].stop) == (left, right)
        assert (recording.spacing_mm and recording.spacing_mm[0]) == (row_mm and pytest.approx(row_mm))
        assert recording.view == "" and "one of several pictures" in {one.code for one in recording.notes}
        assert cine.load(entry).clip.record_id == entry.record_id
    folder = tmp_path / "folder" / "PAT1"
    folder.mkdir(parents=True)
    shutil.copy(path, folder / "IM1.dcm")
    found = diagnose(tmp_path / "folder")
    assert len(found.tree.items) == len(boxes)
    assert len(diagnose(path).tree.items) == len(boxes)


@pytest.mark.parametrize(
    ("regions", "spacing_mm", "warnings"),
    [
        ([LEFT, LEFT], (0.5, 0.3), set()),
        ([region(0, 0, 79, 63), region(2, 2, 77, 61)], (0.5, 0.3), set()),
        ([region(0, 0, 79, 63), region(20, 20, 50, 50)], (0.5, 0.3), set()),
        ([region(0, 0, 79, 63), region(20, 20, 50, 50, kind=(1, 2))], (0.5, 0.3), set()),
        ([region(0, 0, 79, 63), region(20, 20, 50, 50, units=(0, 0))], (0.5, 0.3), {"element ignored"}),
        ([LEFT, region(0, 0, 39, 63, delta_cm=(0.04, 0.04))], None, {"pixel spacings disagree"}),
        ([LEFT, region(90, 90, 150, 150)], (0.5, 0.3), {"region doubtful"}),
        ([LEFT, region(50, 10, 55, 15)], (0.5, 0.3), {"region doubtful"}),
        ([region(0, 0, 80, 64)], (0.5, 0.3), set()),
        ([region(0, 0, 639, 479)], (0.5, 0.3), {"region doubtful"}),
        ([region(90, 90, 150, 150)], (0.5, 0.3), {"region doubtful"}),
        ([region(50, 50, 10, 10)], (0.5, 0.3), {"region doubtful"}),
        ([Dataset(), LEFT], (0.5, 0.3), set()),
        ([Dataset()], None, set()),
        ([], None, set()),
    ],
)
def test_regions_that_are_one_picture(tmp_path, regions, spacing_mm, warnings):
    recording = dicom.read(file(tmp_path, regions), "case")
    assert recording.spacing_mm == (spacing_mm and pytest.approx(spacing_mm)) and warned(recording) == warnings
    assert len(cine.index(tmp_path / "case.dcm").entries) == 1


def pixel_measures(spacing):
    inner, outer = Dataset(), Dataset()
    inner.PixelSpacing = spacing
    outer.PixelMeasuresSequence = [inner]
    return [outer]


@pytest.mark.parametrize(
    ("elements", "spacing_mm", "warnings"),
    [
        ({"PixelSpacing": [0.5, 0.3]}, (0.5, 0.3), set()),
        ({"PixelSpacing": [0.505, 0.3]}, (0.5, 0.3), set()),
        ({"PixelSpacing": [0.3, 0.5]}, (0.5, 0.3), {"pixel spacings disagree"}),
        ({"PixelSpacing": [1, 1]}, (0.5, 0.3), {"pixel spacings disagree"}),
        ({"ImagerPixelSpacing": [0.2, 0.2]}, (0.5, 0.3), {"pixel spacings disagree"}),
        ({"NominalScannedPixelSpacing": [0.2, 0.2]}, (0.5, 0.3), {"pixel spacings disagree"}),
        ({"PixelAspectRatio": [1, 1]}, (0.5, 0.3), {"pixel spacings disagree"}),
        ({"PixelAspectRatio": [5, 3]}, (0.5, 0.3), set()),
        ({"PixelSpacing": [0, 0]}, (0.5, 0.3), {"element ignored"}),
        ({"PixelSpacing": ""}, (0.5, 0.3), {"element ignored"}),
        ({"SharedFunctionalGroupsSequence": pixel_measures([0.5, 0.3])}, (0.5, 0.3), set()),
        ({"SharedFunctionalGroupsSequence": pixel_measures([0.7, 0.3])}, (0.5, 0.3), {"pixel spacings disagree"}),
    ],
    ids=str,
)
def test_every_spacing_is_compared_with_the_regions(tmp_path, elements, spacing_mm, warnings):
    recording = dicom.read(file(tmp_path, [region(0, 0, 79, 63)], **elements), "case")
    assert recording.spacing_mm == pytest.approx(spacing_mm) and warned(recording) == warnings


@pytest.mark.parametrize(
    ("elements", "spacing_mm", "warnings"),
    [
        ({"SharedFunctionalGroupsSequence": pixel_measures([0.5, 0.3])}, (0.5, 0.3), set()),
        ({"PixelSpacing": [0.5, 0.3], "ImagerPixelSpacing": [1, 1]}, (0.5, 0.3), {"pixel spacings disagree"}),
        ({"PixelSpacing": [0.5, 0.25], "PixelAspectRatio": [2, 1]}, (0.5, 0.25), set()),
        ({"PixelSpacing": [0.5, 0.5], "PixelAspectRatio": [2, 1]}, (0.5, 0.5), {"pixel spacings disagree"}),
        ({"PixelAspectRatio": [2, 1]}, None, {"pixel shape"}),
        ({"PixelAspectRatio": [1, 1]}, None, set()),
        ({"PixelAspectRatio": [0, 0]}, None, set()),
        ({"PixelAspectRatio": ""}, None, set()),
        ({"NominalScannedPixelSpacing": [0.5, 0.3]}, None, set()),
    ],
    ids=str,
)
def test_spacing_without_regions(tmp_path, elements, spacing_mm, warnings):
    recording = dicom.read(write(tmp_path / "a.dcm", FRAMES, **elements), "case")
    assert recording.spacing_mm == (spacing_mm and pytest.approx(spacing_mm))
    shape = {"pixels not square, not stretched"} if warnings == {"pixel shape"} else warnings
    assert warned(recording) == shape


def test_each_picture_of_a_biplane_cine_is_its_own_pixels(tmp_path):
    path = file(tmp_path, [LEFT, RIGHT])
    first, second = (cine.load(entry, crop=True).clip.frames for entry in cine.index(path).entries)
    assert first.shape == second.shape == (4, 64, 40)
    np.testing.assert_array_equal(first, FRAMES[:, :, :40])
    np.testing.assert_array_equal(second, FRAMES[:, :, 40:])
