"""DICOM files of every kind, made here: grey levels within the codec's loss, fps, spacing, view, and every fault."""

import hashlib

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit, JPEGLosslessSV1

from data_pipelines.formats.cine import dicom
from data_pipelines.formats.cine.dicom import reader
from data_pipelines.records import UnreadableRecord
from tests.helpers.dicom_files import KINDS, grey_file, jpeg_422_file, picture, region, rle_grey_file, write


def fault(path):
    with pytest.raises(UnreadableRecord) as caught:
        dicom.read(path, "case")
    assert caught.value.record_id == "case" and "Secret" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("make", KINDS)
def test_grey_levels_and_orientation(tmp_path, make):
    path, expected, tolerance = make(tmp_path / "ä 心.dcm", picture())
    frames = dicom.read(path, "case").frames
    assert frames.dtype == np.uint8 and frames.shape == expected.shape
    assert np.abs(frames.astype(int) - expected).max() <= tolerance  # a flip of any axis is 40 grey levels and more


DEEP = (picture().astype(np.uint16) * 16) + 7  # 12 bits


@pytest.mark.parametrize(
    ("elements", "expected", "note"),
    [
        ({}, DEEP / 4095 * 255, "12 bits stored"),
        ({"WindowCenter": 2048, "WindowWidth": 1024}, ((DEEP - 2047.5) / 1023 + 0.5) * 255, "window"),
        (
            {"WindowCenter": [2048, 7], "WindowWidth": [1024, 9], "VOILUTFunction": "LINEAR_EXACT"},
            ((DEEP - 2048.0) / 1024 + 0.5) * 255,
            "window",
        ),
        (
            {"WindowCenter": 2048, "WindowWidth": 1024, "VOILUTFunction": "SIGMOID"},
            255 / (1 + np.exp(-4 * (DEEP - 2048.0) / 1024)),
            "window",
        ),
        (
            {"WindowCenter": 5096, "WindowWidth": 2048, "RescaleSlope": 2, "RescaleIntercept": 1000},
            ((DEEP * 2.0 + 1000 - 5095.5) / 2047 + 0.5) * 255,
            "window",
        ),
    ],
    ids=["bits", "window", "exact", "sigmoid", "rescaled"],
)
def test_deep_grey_through_the_window_or_the_bits(tmp_path, elements, expected, note):
    recording = dicom.read(write(tmp_path / "a.dcm", DEEP, BitsStored=12, **elements), "case")
    np.testing.assert_array_equal(recording.frames, np.rint(np.clip(expected, 0, 255)))
    assert note in recording.notes[0].text.lower()


def test_signed_samples_and_a_voi_table(tmp_path):
    signed = (picture().astype(np.int32) * 256 - 32768).astype(np.int16)
    recording = dicom.read(write(tmp_path / "a.dcm", signed), "case")
    assert np.abs(recording.frames.astype(int) - picture()).max() <= 1
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4096, 0, 16])
    table.add_new("LUTData", "OW", (257 * (255 - np.arange(4096) // 16)).astype("<u2").tobytes())
    recording = dicom.read(write(tmp_path / "b.dcm", DEEP, BitsStored=12, VOILUTSequence=[table]), "case")
    np.testing.assert_array_equal(recording.frames, 255 - picture())
    assert "voi lut" in recording.notes[0].text.lower()


@pytest.mark.parametrize(
    ("elements", "fps"),
    [
        ({"FrameTime": "33.333", "CineRate": 60}, 1000 / 33.333),
        ({"FrameTime": "0", "FrameTimeVector": [0, 20, 20, 30], "CineRate": 60}, 50.0),
        ({"CineRate": 60, "RecommendedDisplayFrameRate": 30}, 60.0),
        ({"RecommendedDisplayFrameRate": 30}, 30.0),
        ({"FrameTime": "0.001", "RecommendedDisplayFrameRate": 1}, None),
        ({}, None),
    ],
)
def test_frame_rate(tmp_path, elements, fps):
    assert dicom.read(write(tmp_path / "a.dcm", picture(), **elements), "case").fps == pytest.approx(fps)


WHOLE = (slice(0, 64), slice(0, 80))


@pytest.mark.parametrize(
    ("elements", "spacing_mm", "limit"),
    [
        ({"SequenceOfUltrasoundRegions": [region(10, 5, 69, 60)]}, (0.5, 0.3), (slice(5, 61), slice(10, 70))),
        (
            {
                "SequenceOfUltrasoundRegions": [
                    region(0, 0, 79, 20, kind=(2, 10), delta_cm=(1, 1)),
                    region(0, 0, 20, 20, delta_cm=(9, 9)),
                    region(0, 0, 500, 500),
                    region(0, 0, 79, 63, kind=(1, 2), delta_cm=(7, 7)),
                ]
            },
            (0.5, 0.3),
            WHOLE,
        ),
        ({"SequenceOfUltrasoundRegions": [region(0, 0, 79, 63, units=(3, 4))]}, None, WHOLE),
        (
            {"SequenceOfUltrasoundRegions": [region(0, 0, 79, 63, delta_cm=(0.0, 0.1))], "PixelSpacing": [0.25, 0.125]},
            (0.25, 0.125),
            WHOLE,
        ),
        ({"SequenceOfUltrasoundRegions": [region(0, 0, 79, 63, delta_cm=(-0.03, 0.05))]}, (0.5, 0.3), WHOLE),
        ({"SequenceOfUltrasoundRegions": [region(90, 90, 95, 95)]}, (0.5, 0.3), None),
        ({"PixelSpacing": [0.25, 0.125]}, (0.25, 0.125), None),
        ({"NominalScannedPixelSpacing": [0.25, 0.125]}, None, None),
        ({}, None, None),
    ],
    ids=["one", "several", "not-cm", "zero-delta", "negative", "outside", "pixel-spacing", "nominal", "none"],
)
def test_spacing_and_region(tmp_path, elements, spacing_mm, limit):
    recording = dicom.read(write(tmp_path / "a.dcm", picture(), **elements), "case")
    assert recording.spacing_mm == (None if spacing_mm is None else pytest.approx(spacing_mm))
    assert recording.limit == limit


def code(value, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        ({"ViewCodeSequence": [code("399214001", "Apical four chamber")]}, "4CH"),
        ({"ViewCodeSequence": [code("G-A19B", "Apical two chamber")]}, "2CH"),
        ({"ViewName": "Apical 4-chamber"}, "4CH"),
        ({"ViewName": "A2C"}, "2CH"),
        ({"ViewName": "AP4CH"}, "4CH"),
        ({"ViewName": "subcostal 4 ch"}, ""),
        ({"ViewName": "Apical 3 chamber"}, ""),
        ({"ViewName": "A2C", "ViewCodeSequence": [code("399214001", "Apical four chamber")]}, ""),
        ({}, ""),
    ],
)
def test_the_view_is_read_only_where_the_header_gives_it(tmp_path, elements, view):
    assert dicom.read(write(tmp_path / "a.dcm", picture(), **elements), "case").view == view


GARBAGE = pydicom.encaps.encapsulate([frame.tobytes() for frame in picture()])
NOT_TISSUE = "no two-dimensional tissue region"


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "not ultrasound"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.2"}, "three-dimensional volume"),
        ({"SequenceOfUltrasoundRegions": [region(0, 0, 79, 63, kind=(3, 3))]}, NOT_TISSUE),
        ({"SequenceOfUltrasoundRegions": [region(0, 0, 79, 63, kind=(1, 2))]}, NOT_TISSUE),
        ({"PhotometricInterpretation": "HSV"}, "pixel format not supported"),
        ({"payload": b""}, "no pixel data"),
        ({"syntax": JPEGLosslessSV1, "payload": GARBAGE}, "frame damaged"),
        ({"syntax": JPEGBaseline8Bit, "payload": GARBAGE}, "frame damaged"),
        ({"Rows": 63}, "pixel data of another size"),
        ({"Rows": 0}, "header garbled"),
        ({"Rows": 60000, "Columns": 60000}, "picture too large"),
    ],
)
def test_faults_by_reason(tmp_path, elements, reason):
    assert fault(write(tmp_path / "a.dcm", picture(), **elements)) == reason


@pytest.mark.parametrize("name", ["PixelData", "Rows"])
def test_dicom_without_pixels_is_refused(tmp_path, name):
    ds = pydicom.dcmread(write(tmp_path / "a.dcm", picture()))
    delattr(ds, name)
    ds.save_as(tmp_path / "a.dcm")
    assert fault(tmp_path / "a.dcm") == "no pixel data"


@pytest.mark.parametrize("make", [grey_file, rle_grey_file, jpeg_422_file])
@pytest.mark.parametrize("part", [0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, make, part):
    path, _, _ = make(tmp_path / "a.dcm", picture())
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert fault(path) == "truncated file"


def test_a_truncated_frame_is_refused(tmp_path):
    """The file is whole, one of its JPEG streams is not."""
    path, _, _ = jpeg_422_file(tmp_path / "a.dcm", picture())
    ds = pydicom.dcmread(path)
    frames = list(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=4))
    frames[2] = frames[2][: len(frames[2]) // 4 * 2]
    ds.PixelData = pydicom.encaps.encapsulate(frames)
    ds.save_as(path)
    assert fault(path) == "truncated file"


def test_a_text_file_and_a_garbled_header(tmp_path):
    (tmp_path / "a.dcm").write_text("Dear colleague, the cine is attached. " * 20)
    assert fault(tmp_path / "a.dcm") == "not a DICOM file"
    (tmp_path / "b.dcm").write_bytes(b"")
    assert fault(tmp_path / "b.dcm") == "not a DICOM file"
    path = write(tmp_path / "c.dcm", picture(), FrameTime="33.3")
    path.write_bytes(path.read_bytes().replace(b"33.3", b"ab?!"))
    recording = dicom.read(path, "case")
    assert recording.fps is None and "element ignored" in [one.code for one in recording.notes]


def test_no_personal_data_is_read(tmp_path):
    path = write(tmp_path / "a.dcm", picture())
    assert b"Secret^Name" in path.read_bytes()
    assert "ecret" not in repr(dicom.read(path, "case")) and "ECRET" not in repr(dicom.read(path, "case"))
    assert not {"PatientName", "PatientID", "PatientBirthDate", "StudyDate"} & {*reader.NAMES}


def test_the_real_cine(real_data):
    recording = dicom.read(real_data / "clips" / "color3d_jpeg_baseline.dcm", "case")
    assert recording.frames.shape == (120, 480, 640) and recording.view == ""
    assert recording.fps == pytest.approx(30.0003, abs=1e-4)
    assert recording.spacing_mm == pytest.approx((0.510497, 0.510497), abs=1e-6)
    assert recording.limit == (slice(31, 415), slice(84, 596))
    assert recording.notes[0].text == "Luminance of YBR_FULL_422."
    assert [one.severity for one in recording.notes] == ["info"] * 3
    assert hashlib.sha256(recording.frames.tobytes()).hexdigest().startswith("94fbe3c63b6b5a92")
