"""Colours in DICOM: header, compressed picture and pixels may each say something else."""

import io
import struct

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from data_pipelines.formats.cine import dicom
from data_pipelines.formats.cine.dicom import colour
from tests.helpers.dicom_files import coloured, luminance, picture, write, ybr

FRAMES = picture(4, (96, 128))
DARK = FRAMES.copy()
DARK[:, :, :40] = 0  # as beside a fan
RGB = coloured(DARK) * (DARK[..., None] > 0)
STATED = ("RGB", "YBR_FULL", "YBR_FULL_422", "MONOCHROME2", "")


def without_markers(stream):
    """Removes APP0 and APP14, as many scanners write it."""
    out, at = bytearray(stream[:2]), 2
    while stream[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", stream, at + 2)
        if stream[at + 1] not in (0xE0, 0xEE):
            out += stream[at : at + 2 + length]
        at += 2 + length
    return bytes(out) + stream[at:]


def with_ids(stream, ids):
    """Names the components of SOF and SOS."""
    content = bytearray(stream)
    for marker, first, step in ((b"\xff\xc0", 10, 3), (b"\xff\xda", 5, 2)):
        start = content.index(marker)
        for i, one in enumerate(ids):
            content[start + first + step * i] = one
    return bytes(content)


def jpegs(pictures, change=without_markers, **options):
    streams = []
    for one in pictures:
        buffer = io.BytesIO()
        image = one if isinstance(one, Image.Image) else Image.fromarray(one)
        image.save(buffer, "JPEG", quality=95, **options)
        stream = change(buffer.getvalue())
        streams.append(stream + b"\0" * (len(stream) % 2))
    return encapsulate(streams)


def as_stored(three):
    """Lets Pillow store three samples as they are, under the name of YCbCr."""
    return [Image.frombytes("YCbCr", (one.shape[1], one.shape[0]), one.tobytes()) for one in three]


def grey(path):
    recording = dicom.read(path, "case")
    return recording, "colour space corrected" in [one.code for one in recording.notes]


def assert_luminance(recording, rgb=RGB, tolerance=8):
    difference = np.abs(recording.frames.astype(int) - luminance(rgb))
    assert difference.max() <= tolerance + 25 and difference.mean() <= tolerance / 4  # chroma bleeds at the edge


@pytest.mark.parametrize("stated", STATED)
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("markers", [True, False])
def test_jpeg_of_ycbcr_whatever_the_header_says(tmp_path, stated, sampling, markers):
    payload = jpegs(RGB, (lambda stream: stream) if markers else without_markers, subsampling=sampling)
    recording, corrected = grey(write(tmp_path / "a.dcm", RGB, stated, JPEGBaseline8Bit, payload))
    assert_luminance(recording)
    assert corrected == (not stated.startswith("YBR"))


@pytest.mark.parametrize("stated", STATED)
@pytest.mark.parametrize("ids", [b"RGB", bytes([1, 2, 3]), bytes([0, 1, 2])])
def test_jpeg_of_rgb_whatever_the_header_says(tmp_path, stated, ids):
    payload = jpegs(as_stored(RGB), lambda stream: with_ids(without_markers(stream), ids), subsampling="4:4:4")
    recording, corrected = grey(write(tmp_path / "a.dcm", RGB, stated, JPEGBaseline8Bit, payload))
    assert_luminance(recording)
    assert corrected == (stated != "RGB")


def test_jpeg_of_rgb_under_a_jfif_marker(tmp_path):
    payload = jpegs(as_stored(RGB), lambda stream: stream, subsampling="4:4:4")
    recording, _ = grey(write(tmp_path / "a.dcm", RGB, "RGB", JPEGBaseline8Bit, payload))
    assert_luminance(recording)


def test_one_component_under_three_samples_and_three_under_one(tmp_path):
    payload = jpegs(DARK)
    recording, corrected = grey(write(tmp_path / "a.dcm", RGB, "YBR_FULL_422", JPEGBaseline8Bit, payload))
    assert corrected and np.abs(recording.frames.astype(int) - DARK).mean() < 2
    payload = jpegs(RGB, subsampling="4:2:2")
    recording, corrected = grey(write(tmp_path / "b.dcm", DARK, "MONOCHROME2", JPEGBaseline8Bit, payload))
    assert corrected
    assert_luminance(recording)


@pytest.mark.parametrize("stated", ["RGB", "YBR_RCT", "YBR_ICT", "YBR_FULL", "MONOCHROME2"])
@pytest.mark.parametrize("transform", [0, 1])
@pytest.mark.parametrize("stored", ["RGB", "YBR"])
def test_jpeg_2000_with_and_without_component_transform(tmp_path, stated, transform, stored):
    three, streams = RGB if stored == "RGB" else ybr(RGB), []
    for one in three:
        buffer = io.BytesIO()
        Image.fromarray(one).save(buffer, "JPEG2000", irreversible=False, no_jp2=True, mct=transform)
        streams.append(buffer.getvalue() + b"\0" * (len(buffer.getvalue()) % 2))
    path = write(tmp_path / "a.dcm", RGB, stated, JPEG2000Lossless, encapsulate(streams))
    recording, _ = grey(path)
    assert np.abs(recording.frames.astype(int) - luminance(RGB)).max() <= 1


def test_a_jp2_file_in_the_place_of_a_codestream(tmp_path):
    streams = []
    for one in RGB:
        buffer = io.BytesIO()
        Image.fromarray(one).save(buffer, "JPEG2000", irreversible=False)
        streams.append(buffer.getvalue() + b"\0" * (len(buffer.getvalue()) % 2))
    recording, corrected = grey(write(tmp_path / "a.dcm", RGB, "YBR_RCT", JPEG2000, encapsulate(streams)))
    assert not corrected and np.array_equal(recording.frames, luminance(RGB))


@pytest.mark.parametrize("stated", STATED)
@pytest.mark.parametrize("stored", ["RGB", "YBR"])
def test_native_samples_whatever_the_header_says(tmp_path, stated, stored):
    three = RGB if stored == "RGB" else ybr(RGB)
    recording, corrected = grey(write(tmp_path / "a.dcm", three, stated))
    assert np.abs(recording.frames.astype(int) - luminance(RGB)).max() <= 1
    assert corrected == (colour.stated_colours(stated, None) != stored)


@pytest.mark.parametrize("stated", [0, 1])
@pytest.mark.parametrize("stored", [0, 1])
def test_planar_configuration_of_the_pixels(tmp_path, stated, stored):
    three = np.ascontiguousarray(np.moveaxis(RGB, -1, 1)) if stored else RGB
    path = write(tmp_path / "a.dcm", RGB, "RGB", payload=three.tobytes(), PlanarConfiguration=stated)
    recording, corrected = grey(path)
    assert np.array_equal(recording.frames, luminance(RGB)) and corrected == (stated != stored)


def test_planes_of_rle_and_of_sixteen_bits(tmp_path):
    ds = pydicom.dcmread(write(tmp_path / "a.dcm", RGB, "YBR_FULL"))
    ds.compress(RLELossless)
    ds.save_as(tmp_path / "a.dcm")
    recording, corrected = grey(tmp_path / "a.dcm")
    assert corrected and np.array_equal(recording.frames, luminance(RGB))
    deep = RGB.astype(np.uint16) * 256
    assert np.array_equal(grey(write(tmp_path / "b.dcm", deep, "RGB"))[0].frames, luminance(RGB))
    deep = RGB.astype(np.uint16) * 16
    for stored in (12, 16, 8):
        recording, _ = grey(write(tmp_path / "c.dcm", deep, "RGB", BitsStored=stored))
        assert np.array_equal(recording.frames, luminance(RGB))
        assert ("bits corrected" in {one.code for one in recording.notes}) == (stored != 12)


def test_one_sample_under_the_name_of_three(tmp_path):
    recording, corrected = grey(write(tmp_path / "a.dcm", DARK, "RGB", SamplesPerPixel=3, PlanarConfiguration=0))
    assert corrected and np.array_equal(recording.frames, DARK)
    recording, corrected = grey(write(tmp_path / "b.dcm", RGB, "RGB", SamplesPerPixel=1))
    assert corrected and np.array_equal(recording.frames, luminance(RGB))


def test_a_picture_that_does_not_tell_leaves_it_to_the_statements():
    flat = np.full((32, 32, 3), (60, 128, 120), np.uint8)
    assert colour.look(flat) == ""
    assert colour.judge(flat, "RGB", None).colours == "RGB" and colour.judge(flat, "YBR_FULL", None).colours == "YBR"
