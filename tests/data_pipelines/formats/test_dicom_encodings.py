"""Every way to store DICOM: codecs of the extra, films, byte orders, deflation, files without preamble."""

import contextlib
import io

import av
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from data_pipelines.formats import cine
from data_pipelines.formats.cine import dicom
from data_pipelines.formats.cine.dicom import codecs
from data_pipelines.records import UnreadableRecord
from tests.helpers.dicom_files import JPEG, coloured, encoded, luminance, picture, write

FRAMES = picture(4)
DEEP = FRAMES.astype(np.uint16) * 16 + 15
H264 = "1.2.840.10008.1.2.4.102"


def read(path):
    return dicom.read(path, "case")


def compressed(path, kind, syntax, encode, **elements):
    """Writes a file of compressed pictures, and returns it with the grey levels that it holds."""
    pixels, interpretation, more, expected = options(kind)
    streams = [bytes(encode(one)) for one in pixels]
    payload = encapsulate([one + b"\0" * (len(one) % 2) for one in streams])
    return write(path, pixels, interpretation, syntax, payload, **more, **elements), expected


def options(kind):
    if kind == "deep":
        return DEEP, "MONOCHROME2", {"BitsStored": 12}, np.rint(DEEP / 4095 * 255)
    if kind == "deep colour":
        return coloured(FRAMES).astype(np.uint16) * 16, "RGB", {"BitsStored": 12}, luminance(coloured(FRAMES))
    if kind == "colour":
        return coloured(FRAMES), "RGB", {}, luminance(coloured(FRAMES))
    return FRAMES, "MONOCHROME2", {}, FRAMES


def options_of_lossless(one):
    return {"lossless": True, "bitspersample": 12 if one.itemsize == 2 else 8}


LOSSLESS = {
    "JPEG-LS": (JPEGLSLossless, lambda codecs, one: codecs.jpegls_encode(one)),
    "JPEG Lossless": (JPEGLosslessSV1, lambda codecs, one: codecs.jpeg8_encode(one, **options_of_lossless(one))),
    "JPEG 2000": (JPEG2000Lossless, lambda codecs, one: codecs.jpeg2k_encode(one, level=0, codecformat="J2K")),
    "HTJ2K": (HTJ2KLossless, lambda codecs, one: codecs.htj2k_encode(one)),
}


@pytest.mark.parametrize("kind", ["grey", "deep", "colour", "deep colour"])
@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_codecs_come_back_bit_by_bit(tmp_path, kind, name):
    imagecodecs = pytest.importorskip("imagecodecs")
    syntax, encode = LOSSLESS[name]
    path, expected = compressed(tmp_path / "a.dcm", kind, syntax, lambda one: encode(imagecodecs, one))
    recording = read(path)
    np.testing.assert_array_equal(recording.frames, expected)
    assert [one.code for one in recording.notes if one.severity == "warning"] == []


def test_jpeg_of_twelve_bits(tmp_path):
    imagecodecs = pytest.importorskip("imagecodecs")
    path, expected = compressed(
        tmp_path / "a.dcm",
        "deep",
        JPEGExtended12Bit,
        lambda one: imagecodecs.jpeg8_encode(one, level=98, bitspersample=12),
    )
    assert np.abs(read(path).frames.astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    ("syntax", "head"),
    [
        (JPEGLSLossless, b"\xff\xf7\0\x0b\x08"),
        (JPEGExtended12Bit, b"\xff\xc1\0\x0b\x0c"),
        (JPEGLosslessSV1, b"\xff\xc3\0\x0b\x0c"),
    ],
)
def test_without_a_decoder_the_message_names_the_command(tmp_path, monkeypatch, syntax, head):
    monkeypatch.setattr(codecs.importlib.util, "find_spec", lambda name: None)
    stream = b"\xff\xd8" + head + bytes([0, 64, 0, 80, 1, 1, 17, 0]) + b"\xff\xd9\0"
    path = write(tmp_path / "a.dcm", FRAMES, syntax=syntax, payload=encapsulate([stream] * 4))
    with pytest.raises(UnreadableRecord) as caught:
        read(path)
    assert caught.value.reason == "compression not supported"
    assert "pip install 'echoforge_jax[dicom]' (or: pip install imagecodecs)" in str(caught.value)


@pytest.mark.parametrize("name", LOSSLESS)
def test_damaged_pictures_end_in_a_message(tmp_path, name):
    imagecodecs = pytest.importorskip("imagecodecs")
    syntax, encode = LOSSLESS[name]
    path, _ = compressed(tmp_path / "a.dcm", "deep", syntax, lambda one: encode(imagecodecs, one))
    content = path.read_bytes()
    first, random = content.index(b"\xfe\xff\0\xe0") + 24, np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(content)
        for place in random.integers(first, len(content), 4):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(UnreadableRecord):
            assert read(path).frames.shape == FRAMES.shape


def film(frames, codec, container, **settings):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:], "yuv420p"
        stream.options = settings
        for one in frames:
            grey = np.concatenate([one.ravel(), np.full(one.size // 2, 128, np.uint8)]).reshape(-1, one.shape[1])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="yuv420p")))
        out.mux(stream.encode())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("syntax", "codec", "container"),
    [
        (H264, "libx264", "mp4"),
        (H264, "libx264", "h264"),
        ("1.2.840.10008.1.2.4.103", "libx264", "mpegts"),
        ("1.2.840.10008.1.2.4.107", "libx265", "hevc"),
        ("1.2.840.10008.1.2.4.100", "mpeg2video", "mpeg2video"),
        ("1.2.840.10008.1.2.4.100.1", "mpeg2video", "mpegts"),
    ],
)
def test_films(tmp_path, syntax, codec, container):
    frames = picture(12, (96, 128)) // 2 + 40
    data = film(frames, codec, container, bf="0")
    halves = [data[: len(data) // 4 * 2], data[len(data) // 4 * 2 :]]
    halves[1] += b"\0" * (len(halves[1]) % 2)
    for payload in (encapsulate([data + b"\0" * (len(data) % 2)]), encapsulate(halves, has_bot=False)):
        path = write(tmp_path / "a.dcm", coloured(frames), "YBR_PARTIAL_420", syntax, payload, FrameTime=40)
        recording = read(path)
        assert recording.frames.shape == frames.shape and recording.fps == 25
        expected = (frames - 16.0) * 255 / 219
        assert np.abs(recording.frames - expected).mean() < 4


def test_a_film_that_disagrees_with_its_header(tmp_path):
    frames = picture(12, (96, 128))
    data = film(frames, "libx264", "mp4")
    payload = encapsulate([data + b"\0" * (len(data) % 2)])
    path = write(tmp_path / "a.dcm", coloured(frames), "YBR_FULL_422", H264, payload, NumberOfFrames=7, FrameTime=20)
    codes = {one.code for one in read(path).notes}
    assert len(read(path).frames) == 12 and {"frame count corrected", "frame rate disputed"} <= codes
    path = write(tmp_path / "b.dcm", coloured(frames), "YBR_FULL_422", H264, payload, Rows=95)
    with pytest.raises(UnreadableRecord) as caught:
        read(path)
    assert caught.value.reason == "picture of another size" and "96 x 128" in str(caught.value)
    path = write(tmp_path / "c.dcm", coloured(frames), "YBR_FULL_422", H264, encapsulate([b"no film " * 40]))
    with pytest.raises(UnreadableRecord) as caught:
        read(path)
    assert caught.value.reason == "not a video"


def stored_as(path, syntax, pixels=FRAMES, **elements):
    """Writes a file in one of the native syntaxes."""
    written = pydicom.dcmread(write(path, pixels, **elements))
    ds = pydicom.Dataset(written)  # forgets how it was read
    ds.file_meta = written.file_meta
    ds.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian and pixels.itemsize == 2:
        ds.PixelData = pixels.byteswap().tobytes()
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return path


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("kind", ["grey", "deep", "colour"])
def test_native_syntaxes(tmp_path, syntax, kind):
    pixels, interpretation, elements, expected = options(kind)
    path = stored_as(tmp_path / "a.dcm", syntax, pixels, interpretation=interpretation, **elements)
    recording = read(path)
    np.testing.assert_array_equal(recording.frames, expected)
    assert [one.code for one in recording.notes if one.severity == "warning"] == []


@pytest.mark.parametrize("words", [False, True])
def test_bytes_in_words_of_big_endian(tmp_path, words):
    path = stored_as(tmp_path / "a.dcm", ExplicitVRBigEndian)
    if words:
        content, place = path.read_bytes(), path.read_bytes().index(b"\x7f\xe0\0\x10OB")
        start = place + 12
        swapped = np.frombuffer(content[start:], "<u2").byteswap().tobytes()
        path.write_bytes(content[:place] + b"\x7f\xe0\0\x10OW" + content[place + 6 : start] + swapped)
    np.testing.assert_array_equal(read(path).frames, FRAMES)


@pytest.mark.parametrize("name", ["IM0001", "a.dcm", "b.DICOM", "IM_1.2.3"])
@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian, JPEGBaseline8Bit])
@pytest.mark.parametrize("lacks", ["preamble", "preamble and meta"])
def test_files_without_preamble_or_meta(tmp_path, name, syntax, lacks):
    path = tmp_path / name
    if syntax is JPEGBaseline8Bit:
        write(path, FRAMES, syntax=syntax, payload=encoded(FRAMES, **JPEG))
    elif syntax is None:
        write(path, FRAMES)
    else:
        stored_as(path, syntax)
    content = path.read_bytes()[132:]
    if lacks == "preamble and meta":
        content = content[12 + int.from_bytes(content[8:12], "little") :]
    path.write_bytes(content)
    (entry,) = cine.index(tmp_path).entries
    recording = cine.load(entry, crop=False)
    assert np.abs(recording.clip.frames.astype(int) - FRAMES).max() <= 4
    assert "file meta missing" in {one.code for one in recording.clip.notes}


@pytest.mark.parametrize(
    "content",
    [b"", b"DICM", b"\x08\0", b"\x08\0\x05\0CS\x0a\0ISO_IR 100", b"\x02\0\x02\0" * 40, b"\0" * 200, b"text " * 99],
)
def test_other_files_are_not_dicom(tmp_path, content):
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(UnreadableRecord) as caught:
        read(tmp_path / "a.dcm")
    assert caught.value.reason in ("not a DICOM file", "header garbled", "not ultrasound", "no pixel data")
