"""Number of Frames against the pixel data, and odd ends of the pixel data."""

import struct
from itertools import pairwise

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate_extended
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from data_pipelines.formats.cine import dicom
from data_pipelines.records import UnreadableRecord
from tests.helpers.dicom_files import (
    ITEM,
    JPEG,
    KINDS,
    LOSSLESS,
    coloured,
    encoded,
    luminance,
    picture,
    write,
    ybr_422_file,
)

FRAMES = picture(6)
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"


def read(path):
    return dicom.read(path, "case")


def codes(recording):
    return {one.code for one in recording.notes}


def fault(path):
    with pytest.raises(UnreadableRecord) as caught:
        read(path)
    return caught.value


def set_count(path, value):
    """Writes Number of Frames as it is given, also where it is no number, or removes it."""
    ds = pydicom.dcmread(path)
    del ds.NumberOfFrames
    if value is not None:
        ds.add_new("NumberOfFrames", "LO", value)
    ds.save_as(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x28\x00\x08\x00LO", b"\x28\x00\x08\x00IS"))
    return path


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("stated", ["1", "2", "0", "-3", None, "", "6\0", "6 ", "many", "3.0"])
def test_every_frame_that_is_there_is_read(tmp_path, make, stated):
    path, expected, tolerance = make(tmp_path / "a.dcm", FRAMES)
    recording = read(set_count(path, stated))
    assert recording.frames.shape == expected.shape
    assert np.abs(recording.frames.astype(int) - expected).max() <= tolerance
    assert ("frame count corrected" in codes(recording)) == (stated not in ("6\0", "6 "))


@pytest.mark.parametrize("make", KINDS)
def test_fewer_frames_than_stated_are_read_and_told(tmp_path, make):
    path, expected, _ = make(tmp_path / "a.dcm", FRAMES)
    recording = read(set_count(path, "9"))
    assert len(recording.frames) == len(expected)
    assert "Number of Frames is 9, the pixel data are complete and hold 6" in str(recording.notes)


@pytest.mark.parametrize("kind", ["native", "jpeg"])
def test_a_single_frame_is_no_cine(tmp_path, kind):
    options = {} if kind == "native" else {"syntax": JPEGBaseline8Bit, "payload": encoded(FRAMES[:1], **JPEG)}
    for stated in ("1", None, "7"):
        assert fault(set_count(write(tmp_path / "a.dcm", FRAMES[:1], **options), stated)).reason == "one frame only"


def streams(frames=FRAMES, options=JPEG):
    return list(pydicom.encaps.generate_frames(encoded(frames, **options), number_of_frames=len(frames)))


def pieces(stream, count):
    edges = [2 * round(len(stream) / 2 * i / count) for i in range(count + 1)]
    return [stream[a:b] for a, b in pairwise(edges)]


def in_items(parts, table=b""):
    return b"".join(ITEM + struct.pack("<L", len(part)) + part for part in (table, *parts)) + DELIMITER


@pytest.mark.parametrize("stated", [6, 1, 2])
@pytest.mark.parametrize("options", [JPEG, LOSSLESS])
@pytest.mark.parametrize("table", [True, False])
def test_frames_in_several_fragments(tmp_path, stated, options, table):
    parts = [part for stream in streams(options=options) for part in pieces(stream, 3)]
    offsets = np.cumsum([0] + [8 + len(part) for part in parts])[:-1:3]
    payload = in_items(parts, offsets.astype("<u4").tobytes() if table else b"")
    syntax = JPEGBaseline8Bit if options is JPEG else JPEG2000Lossless
    recording = read(write(tmp_path / "a.dcm", FRAMES, syntax=syntax, payload=payload, NumberOfFrames=stated))
    assert np.abs(recording.frames.astype(int) - FRAMES).max() <= 4 and "offset table ignored" not in codes(recording)


def test_all_frames_in_one_fragment(tmp_path):
    payload = in_items([b"".join(streams())])
    recording = read(write(tmp_path / "a.dcm", FRAMES, syntax=JPEGBaseline8Bit, payload=payload))
    assert np.abs(recording.frames.astype(int) - FRAMES).max() <= 4


def test_tables_of_offsets_that_are_wrong(tmp_path):
    for table in (b"\0" * 24, np.arange(6, dtype="<u4").tobytes(), b"\xff" * 24, b"\0" * 4, b"\0" * 7):
        payload = in_items(streams(), table)
        recording = read(write(tmp_path / "a.dcm", FRAMES, syntax=JPEGBaseline8Bit, payload=payload))
        assert len(recording.frames) == 6 and "offset table ignored" in codes(recording)
    payload, offsets, lengths = encapsulate_extended(streams())
    elements = {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths[:-8]}
    recording = read(write(tmp_path / "b.dcm", FRAMES, syntax=JPEGBaseline8Bit, payload=payload, **elements))
    assert len(recording.frames) == 6


def test_empty_fragments_are_no_frames(tmp_path):
    payload = in_items([part for stream in streams() for part in (stream, b"")])
    assert len(read(write(tmp_path / "a.dcm", FRAMES, syntax=JPEGBaseline8Bit, payload=payload)).frames) == 6


@pytest.mark.parametrize("options", [JPEG, LOSSLESS, "RLE"])
@pytest.mark.parametrize("missing", [1, 4, 8])
def test_the_mark_of_the_end_may_be_missing(tmp_path, options, missing):
    if options == "RLE":
        ds = pydicom.dcmread(write(tmp_path / "a.dcm", FRAMES))
        ds.compress(RLELossless)
        ds.save_as(tmp_path / "a.dcm")
    else:
        syntax = JPEGBaseline8Bit if options is JPEG else JPEG2000Lossless
        write(tmp_path / "a.dcm", FRAMES, syntax=syntax, payload=encoded(FRAMES, **options))
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[:-missing])
    recording = read(tmp_path / "a.dcm")
    assert len(recording.frames) == 6 and "end of pixel data missing" in codes(recording)
    (tmp_path / "a.dcm").write_bytes(content[: -missing - 9])
    assert fault(tmp_path / "a.dcm").reason == "truncated file"


def test_something_else_behind_the_pixel_data(tmp_path):
    path = write(tmp_path / "a.dcm", FRAMES, syntax=JPEGBaseline8Bit, payload=encoded(FRAMES, **JPEG))
    content = path.read_bytes()
    for tail in (b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0abcd", b"\0" * 64, b"garbage!" * 9):
        path.write_bytes(content + tail)
        assert len(read(path).frames) == 6 and "end of pixel data missing" not in codes(read(path))
        path.write_bytes(content[:-8] + tail)
        assert len(read(path).frames) == 6 and "end of pixel data missing" in codes(read(path))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Rows": 63}, "pixel data of another size"),
        ({"Columns": 81}, "pixel data of another size"),
        ({"Rows": 6400}, "pixel data of another size"),
        ({"BitsAllocated": 12}, "pixel format not supported"),
        ({"SamplesPerPixel": 4}, "pixel format not supported"),
        ({"Rows": None}, "no pixel data"),
        ({"Columns": 0}, "header garbled"),
    ],
)
def test_the_size_of_the_header_against_the_bytes(tmp_path, change, reason):
    error = fault(write(tmp_path / "a.dcm", FRAMES, **change))
    assert error.reason == reason and "truncated" not in str(error)


def test_a_picture_of_another_size_names_both(tmp_path):
    path = write(tmp_path / "a.dcm", FRAMES, syntax=JPEGBaseline8Bit, payload=encoded(FRAMES[:, :60], **JPEG))
    assert fault(path).reason == "picture of another size"
    assert "60 x 80" in str(fault(path)) and "64 x 80" in str(fault(path))
    payload = in_items([*streams()[:3], *streams(FRAMES[:, :60])[3:]])
    error = fault(write(tmp_path / "b.dcm", FRAMES, syntax=JPEGBaseline8Bit, payload=payload))
    assert error.reason == "picture of another size" and "frame 4 of 6" in str(error)


def test_a_frame_that_is_damaged_and_one_that_is_cut(tmp_path):
    whole = streams()
    damaged = whole[2][:200] + b"\xff\xc4\x00\x02" * 40 + whole[2][360:]
    path = write(tmp_path / "a.dcm", FRAMES, syntax=JPEGBaseline8Bit, payload=in_items([*whole[:2], damaged]))
    assert fault(path).reason == "frame damaged"
    cut = in_items([*whole[:2], whole[2][: len(whole[2]) // 4 * 2], *whole[3:]])
    error = fault(write(tmp_path / "b.dcm", FRAMES, syntax=JPEGBaseline8Bit, payload=cut))
    assert error.reason == "truncated file" and "frame 3 of 6" in str(error)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless, JPEG2000Lossless, "1.2.840.10008.1.2.1", "1.2.3.4"])
def test_the_picture_says_how_it_is_compressed(tmp_path, syntax):
    path = write(tmp_path / "a.dcm", FRAMES, syntax=JPEGBaseline8Bit, payload=encoded(FRAMES, **JPEG))
    content = path.read_bytes()
    place = content.index(JPEGBaseline8Bit.encode())
    padded = len(JPEGBaseline8Bit) + len(JPEGBaseline8Bit) % 2
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    content = content[: place - 2] + struct.pack("<H", len(value)) + value + content[place + padded :]
    group = content.index(b"\x02\0\0\0UL\x04\0") + 8
    length = struct.unpack_from("<L", content, group)[0] + len(value) - padded
    path.write_bytes(content[:group] + struct.pack("<L", length) + content[group + 4 :])
    recording = read(path)
    assert np.abs(recording.frames.astype(int) - FRAMES).max() <= 4 and "transfer syntax corrected" in codes(recording)


def test_native_pixels_under_a_compressed_syntax(tmp_path):
    path = write(tmp_path / "a.dcm", FRAMES)
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"))
    recording = read(path)
    assert np.array_equal(recording.frames, FRAMES) and "transfer syntax corrected" in codes(recording)


def test_ybr_422_of_whole_pixels(tmp_path):
    """A frequent fault: all three samples of each pixel under a name that means two."""
    rgb = coloured(FRAMES)
    recording = read(write(tmp_path / "a.dcm", rgb, "YBR_FULL_422"))
    assert np.array_equal(recording.frames, luminance(rgb))
    path, expected, _ = ybr_422_file(tmp_path / "b.dcm", FRAMES)
    recording = read(set_count(path, "3"))
    assert len(recording.frames) == 6 and np.abs(recording.frames.astype(int) - expected).max() <= 1


def test_a_truncated_native_file(tmp_path):
    path = write(tmp_path / "a.dcm", FRAMES)
    content = path.read_bytes()
    for part in (len(content) - 64 * 80, len(content) - 64 * 80 * 3 - 7, content.index(b"\xe0\x7f\x10\0") + 12):
        path.write_bytes(content[:part])
        assert fault(path).reason == "truncated file"
    path.write_bytes(content[: content.index(b"\x28\0\x10\0")])
    assert fault(path).reason == "no pixel data"
