"""Optional elements that are empty, impossible or multi-valued: the pixels survive, and a note says so."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from data_pipelines.formats.cine import dicom
from data_pipelines.records import UnreadableRecord
from tests.helpers.dicom_files import picture, region, write

FRAMES = picture(4)
FRAMES[0, 0, :2] = 0, 255
DEEP = FRAMES.astype(np.uint16) * 16 + 15  # 12 bits


def read(tmp_path, pixels=DEEP, interpretation="MONOCHROME2", **elements):
    return dicom.read(write(tmp_path / "a.dcm", pixels, interpretation, **elements), "case")


def warned(recording):
    return {one.code for one in recording.notes if one.severity == "warning"}


def voi(descriptor, data):
    item = Dataset()
    if descriptor is not None:
        item.add_new("LUTDescriptor", "US", descriptor)
    if data is not None:
        item.add_new("LUTData", "OW", data)
    return [item]


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": 128, "WindowWidth": 0},
        {"WindowCenter": 128, "WindowWidth": -256},
        {"WindowCenter": 128, "WindowWidth": 0.5},
        {"WindowCenter": "nan", "WindowWidth": 256},
        {"WindowCenter": 128, "WindowWidth": "inf"},
        {"WindowCenter": "", "WindowWidth": ""},
        {"WindowCenter": 128, "WindowWidth": ""},
        {"WindowCenter": 128},
        {"WindowWidth": 256},
        {"WindowCenter": [128, 128], "WindowWidth": [0, 0]},
        {"WindowCenter": 128, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 128, "WindowWidth": 0, "VOILUTFunction": "LINEAR_EXACT"},
        {"VOILUTSequence": []},
        {"VOILUTSequence": voi(None, None)},
        {"VOILUTSequence": voi([4096, 0, 16], b"")},
        {"VOILUTSequence": voi([0, 0, 0], b"\0\0")},
        {"VOILUTSequence": voi([4096, 0, 16], b"\0\0")},
    ],
    ids=str,
)
def test_a_window_or_table_that_is_impossible(tmp_path, elements):
    recording = read(tmp_path, BitsStored=12, **elements)
    np.testing.assert_array_equal(recording.frames, np.rint(DEEP / 4095 * 255))
    assert warned(recording) == {"element ignored"}


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": 128, "WindowWidth": 256},
        {"WindowCenter": 40000, "WindowWidth": 100},
        {"WindowCenter": -4000, "WindowWidth": 10},
        {"WindowCenter": 5, "WindowWidth": 1},
        {"WindowCenter": 128, "WindowWidth": 256, "VOILUTFunction": "SIGMOID"},
        {"VOILUTSequence": voi([4096, 0, 16], bytes(8192))},
        {"VOILUTSequence": voi([4096, 0, 16], b"\xff" * 8192)},
    ],
    ids=str,
)
def test_a_window_that_makes_the_picture_white_or_black(tmp_path, elements):
    recording = read(tmp_path, BitsStored=12, **elements)
    np.testing.assert_array_equal(recording.frames, np.rint(DEEP / 4095 * 255))
    assert warned(recording) == {"window ignored"}


@pytest.mark.parametrize(
    "elements",
    [
        {"RescaleSlope": 0, "RescaleIntercept": 0},
        {"RescaleSlope": "", "RescaleIntercept": ""},
        {"RescaleSlope": "nan", "RescaleIntercept": 0},
        {"RescaleSlope": [1, 2], "RescaleIntercept": 0},
        {"RescaleSlope": 1, "RescaleIntercept": "inf"},
        {"ModalityLUTSequence": voi(None, None)},
    ],
    ids=str,
)
def test_a_rescaling_that_is_impossible(tmp_path, elements):
    recording = read(tmp_path, BitsStored=12, WindowCenter=2048, WindowWidth=4096, **elements)
    np.testing.assert_array_equal(recording.frames, np.rint(DEEP / 4095 * 255))
    assert warned(recording) == {"element ignored"}


def test_numbers_that_are_none(tmp_path):
    path = write(tmp_path / "a.dcm", DEEP, BitsStored=12, WindowCenter="1234", WindowWidth="4321", PixelSpacing=[7, 7])
    content = path.read_bytes().replace(b"1234", b"wide").replace(b"4321", b"open").replace(b"7.0\\7.0", b"big\\big")
    path.write_bytes(content)
    recording = dicom.read(path, "case")
    np.testing.assert_array_equal(recording.frames, np.rint(DEEP / 4095 * 255))
    ignored = {one.text.split(" holds")[0] for one in recording.notes if one.code == "element ignored"}
    assert {"Window Center", "Window Width", "Pixel Spacing"} <= ignored


def test_the_first_possible_window_of_several(tmp_path):
    recording = read(tmp_path, BitsStored=12, WindowCenter=[0, 2048], WindowWidth=[0, 4096])
    np.testing.assert_array_equal(recording.frames, np.rint(DEEP / 4095 * 255))
    assert warned(recording) == set()


@pytest.mark.parametrize("names", ["all", "Green", "none"])
def test_a_palette_that_is_impossible(tmp_path, names):
    elements = {}
    for name in ("Red", "Green", "Blue") if names != "none" else ():
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        short = names in ("all", name)
        elements[f"{name}PaletteColorLookupTableData"] = bytes(2 if short else 512)
    recording = read(tmp_path, FRAMES, "PALETTE COLOR", **elements)
    np.testing.assert_array_equal(recording.frames, FRAMES)
    assert warned(recording) == {"element ignored"}


def test_a_palette_of_eight_bits_in_words_of_sixteen(tmp_path):
    elements = {}
    for name in ("Red", "Green", "Blue"):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        elements[f"{name}PaletteColorLookupTableData"] = np.arange(256, dtype="<u2").tobytes()
    np.testing.assert_array_equal(read(tmp_path, FRAMES, "PALETTE COLOR", **elements).frames, FRAMES)


@pytest.mark.parametrize(
    "elements",
    [
        {"PixelSpacing": ""},
        {"PixelSpacing": [0.5]},
        {"PixelSpacing": [0, 0]},
        {"PixelSpacing": [-1, -1]},
        {"PixelSpacing": ["nan", "nan"]},
        {"PixelSpacing": [0.5, 0.5, 0.5]},
        {"PixelSpacing": [500, 500]},
        {"SequenceOfUltrasoundRegions": [region(0, 0, 79, 63, delta_cm=(0, 0))]},
        {"SequenceOfUltrasoundRegions": [region(0, 0, 79, 63, delta_cm=(float("nan"), 0.05))]},
        {"SequenceOfUltrasoundRegions": [region(0, 0, 79, 63, delta_cm=(float("inf"), 0.05))]},
        {"SequenceOfUltrasoundRegions": [region(0, 0, 79, 63, delta_cm=(9, 9))]},
        {"SequenceOfUltrasoundRegions": [region(0, 0, 79, 63, units=(3, 4))]},
    ],
    ids=str,
)
def test_a_spacing_that_is_impossible(tmp_path, elements):
    recording = read(tmp_path, FRAMES, **elements)
    np.testing.assert_array_equal(recording.frames, FRAMES)
    assert recording.spacing_mm is None and warned(recording) == {"element ignored"}


@pytest.mark.parametrize(
    ("pixels", "elements", "expected", "warnings"),
    [
        (FRAMES.astype(np.uint16), {}, FRAMES, {"bits corrected"}),
        (FRAMES.astype(np.uint16), {"BitsStored": 12}, FRAMES, {"bits corrected"}),
        (FRAMES.astype(np.uint16), {"BitsStored": 8}, FRAMES, set()),
        (DEEP, {}, DEEP / 4095 * 255, {"bits corrected"}),
        (DEEP, {"BitsStored": 8}, DEEP / 4095 * 255, {"bits corrected"}),
        (DEEP * 16, {"BitsStored": 12, "HighBit": 15}, DEEP / 4095 * 255, set()),
        (DEEP * 16, {"BitsStored": 12, "HighBit": 11}, DEEP / 4095 * 255, {"bits corrected"}),
        (DEEP, {"BitsStored": 12, "HighBit": 15}, DEEP / 4095 * 255, {"bits corrected"}),
        (FRAMES.astype(np.uint16) * 257, {}, FRAMES, set()),
        (FRAMES.astype(np.uint32), {}, FRAMES, {"bits corrected"}),
        (DEEP.astype(np.uint32), {"BitsStored": 12}, DEEP / 4095 * 255, set()),
        (FRAMES.astype(np.int16), {}, FRAMES, {"bits corrected"}),
        (FRAMES, {"BitsStored": 0, "HighBit": 7}, FRAMES, set()),
        (FRAMES, {"BitsStored": 99}, FRAMES, {"element ignored"}),
        (FRAMES, {"HighBit": 15}, FRAMES, {"element ignored"}),
        (FRAMES, {"BitsStored": None, "HighBit": None}, FRAMES, set()),
        (FRAMES, {"WindowCenter": 10, "WindowWidth": 0}, FRAMES, set()),
        (FRAMES, {"PixelRepresentation": None}, FRAMES, set()),
    ],
)
def test_the_bits_that_the_samples_use(tmp_path, pixels, elements, expected, warnings):
    recording = read(tmp_path, pixels, **elements)
    assert np.abs(recording.frames.astype(float) - expected).max() <= 0.51 and warned(recording) == warnings


def floating(tmp_path, frames, kind="f4", **elements):
    path = write(tmp_path / "a.dcm", FRAMES, **elements)
    ds = pydicom.dcmread(path)
    del ds.PixelData
    name, vr = ("FloatPixelData", "OF") if kind == "f4" else ("DoubleFloatPixelData", "OD")
    ds.add_new(name, vr, frames.astype(kind).tobytes())
    ds.BitsAllocated = 32 if kind == "f4" else 64
    ds.save_as(path)
    return dicom.read(path, "case")


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_floating_pixels(tmp_path, kind):
    np.testing.assert_array_equal(floating(tmp_path, FRAMES / 255.0, kind).frames, FRAMES)
    np.testing.assert_array_equal(floating(tmp_path, FRAMES * 1.0, kind).frames, FRAMES)
    window = {"WindowCenter": 1275, "WindowWidth": 2550, "VOILUTFunction": "LINEAR_EXACT"}
    recording = floating(tmp_path, FRAMES * 10.0, kind, **window)
    np.testing.assert_array_equal(recording.frames, FRAMES)
    for wrong in (FRAMES * 10.0, np.where(FRAMES > 200, np.nan, FRAMES), FRAMES - 1e9):
        with pytest.raises(UnreadableRecord) as caught:
            floating(tmp_path, wrong, kind)
        assert caught.value.reason == "grey level out of range"


def test_pixels_of_one_bit(tmp_path):
    black = FRAMES[:, :63, :79] > 128  # frames that end within a byte
    packed = np.packbits(black.ravel(), bitorder="little").tobytes()
    packed += b"\0" * (len(packed) % 2)
    elements = {"payload": packed, "BitsAllocated": 1, "BitsStored": 1}
    recording = read(tmp_path, FRAMES[:, :63, :79], **elements)
    np.testing.assert_array_equal(recording.frames, black * np.uint8(255))
    assert "black and white" in recording.notes[0].text


def test_overlays_in_unused_bits_are_left_out(tmp_path):
    drawn = DEEP | np.uint16(1 << 15)
    path = write(tmp_path / "a.dcm", drawn, BitsStored=12)
    ds = pydicom.dcmread(path)
    ds.add_new(0x60000102, "US", 15)
    ds.save_as(path)
    recording = dicom.read(path, "case")
    np.testing.assert_array_equal(recording.frames, np.rint(DEEP / 4095 * 255))
    assert warned(recording) == set()
