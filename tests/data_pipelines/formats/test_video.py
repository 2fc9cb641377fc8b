"""Video files: frames equal to OpenCV's, times, shape, colours, names that look like URLs, faults by their cause."""

import io
import os
from fractions import Fraction

import cv2
import numpy as np
import pytest

from data_pipelines.formats import cine
from data_pipelines.formats.video import decode_video, open_video
from data_pipelines.records import UnreadableRecord
from tests.helpers.video_files import change_avi, moving, spoil_frames, write, write_packets, write_sound

KINDS = {
    "MJPEG": ("a.avi", {"codec": "mjpeg", "pixels": "yuvj420p"}),
    "MJPEG of odd size": ("a.avi", {"codec": "mjpeg", "pixels": "yuvj444p", "shape": (93, 111)}),
    "MPEG-4": ("a.mp4", {"options": {"bf": "2"}}),
    "MPEG-2": ("a.mpg", {"codec": "mpeg2video"}),
    "H.264 with B-frames": ("a.mkv", {"codec": "libx264", "options": {"bf": "3"}}),
    "FFV1, grey": ("a.mkv", {"codec": "ffv1", "pixels": "gray"}),
    "FFV1, 10 bits": ("a.mkv", {"codec": "ffv1", "pixels": "yuv422p10le"}),
    "uncompressed": ("a.avi", {"codec": "rawvideo", "pixels": "bgr24"}),
    "VP9": ("a.webm", {"codec": "libvpx-vp9"}),
}


def codes(video):
    return {one.code for one in video.notes}


def fault(source):
    with pytest.raises(UnreadableRecord) as caught:
        decode_video(source, "a")
    return caught.value


def read_with_opencv(path):
    capture, frames = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
    while (step := capture.read())[0]:
        frames.append(cv2.cvtColor(step[1], cv2.COLOR_BGR2GRAY))
    capture.release()
    return np.stack(frames)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_those_of_opencv_and_come_one_at_a_time_too(tmp_path, kind):
    name, how = KINDS[kind]
    how = dict(how)
    path = write(tmp_path / name, moving(12, how.pop("shape", (96, 128))), **how)
    video = decode_video(path, "a")
    np.testing.assert_array_equal(video.frames, read_with_opencv(path))
    assert video.fps == 25 and video.aspect == 1 and codes(video) == {"grey levels", "frame rate"}
    np.testing.assert_allclose(video.times_s, np.arange(12) / 25, atol=1e-6)
    with open_video(path, "a") as opened:
        assert (opened.count, opened.fps) == (12, 25)
        np.testing.assert_allclose(opened.times_s, video.times_s)
        for _ in range(2):
            np.testing.assert_array_equal(np.stack(list(opened)), video.frames)
        assert {one.code for one in opened.notes} == codes(video)


@pytest.mark.parametrize("open_source", [lambda path: path.read_bytes(), lambda path: io.BytesIO(path.read_bytes())])
def test_content_is_decoded_without_a_file(tmp_path, open_source):
    path = write(tmp_path / "a.mp4", moving())
    np.testing.assert_array_equal(decode_video(open_source(path), "a").frames, decode_video(path, "a").frames)


def test_interlaced_frames_are_read_whole(tmp_path):
    path = write(tmp_path / "a.mpg", moving(), codec="mpeg2video", options={"flags": "+ilme+ildct"})
    video = decode_video(path, "a")
    assert np.abs(video.frames.astype(int) - moving()).mean() < 6 and "interlaced" in codes(video)


# ---- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("2024-01-05T12:30:00.mp4", "file:a.mp4", "http:a.mp4", "concat:a.mp4", "pipe:0.mp4", "data:x.mp4"),
        *("frame_%03d.mp4", "-i.mp4", "a#b?c=d.mp4", "two\nlines.mp4", " a b .mp4", "a|b.mp4", "a.AVI", "a.Mp4"),
    ],
)
def test_a_name_is_no_url(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plain.mp4", moving()).rename(tmp_path / name)
    assert len(cine.load(type(tmp_path)(name), crop=False).clip) == 12


def test_a_name_that_is_no_utf_8(tmp_path):
    path = type(tmp_path)(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    path.write_bytes(write(tmp_path / "plain.mp4", moving()).read_bytes())
    assert len(decode_video(path, "a").frames) == 12


# ---- times ---------------------------------------------------------------------------------------------------------

EVEN = [*range(0, 400, 20)]


@pytest.mark.parametrize(
    ("times_ms", "fps", "code"),
    [
        ([*EVEN, *range(400, 4400, 200)], 50, "uneven frame times"),
        ([*EVEN, *range(1400, 1800, 20)], 50, "uneven frame times"),  # one pause
        ([int(33.4 * i) + 3 * (i % 2) for i in range(30)], 1000 / 33.4, "uneven frame times"),
        (EVEN, 50, "frame rate disputed"),  # the header states 25
        ([*range(20)], None, "frame rate impossible"),  # the clock of Matroska, 1000 a second
        ([*range(0, 20000, 1000)], None, "frame rate impossible"),
        ([2 * i for i in range(20)], 500, "frame rate implausible"),
        ([0, 40, 80, 80, 120, 160, 200], 25, "frame times doubtful"),
        ([5000 + 40 * i for i in range(20)], 25, "frame rate"),
        ([33, 67, 100, 133, 167, 200, 233], 30, "frame rate disputed"),  # rounded to milliseconds
    ],
)
def test_the_frame_rate_is_that_of_the_times(tmp_path, times_ms, fps, code):
    video = decode_video(write_packets(tmp_path / "a.mkv", [(96, 128)], times_ms), "a")
    assert video.fps == (fps and pytest.approx(fps, rel=0.005)) and code in codes(video)
    np.testing.assert_allclose(video.times_s, (np.array(times_ms) - times_ms[0]) / 1000, atol=1e-6)


@pytest.mark.parametrize("fps", [30000 / 1001, 30, 24, 240, 60])
def test_a_rate_that_the_times_bear_out_is_that_of_the_header(tmp_path, fps):
    for name in ("a.mkv", "a.mov"):
        assert decode_video(write(tmp_path / name, moving(), fps=fps), "a").fps == pytest.approx(fps, rel=2e-5)


@pytest.mark.parametrize(
    ("changes", "fps"),
    [
        ([(b"avih", 0, 20_000)], 25),  # the main header says 50
        ([(b"strh", 24, 10**9)], 25),  # the stream says 10^9
        ([(b"strh", 24, 0)], 25),
        ([(b"strh", 24, 0), (b"avih", 0, 0)], None),
    ],
)
def test_two_rates_of_one_avi(tmp_path, changes, fps):
    path = write(tmp_path / "a.avi", moving(), codec="mjpeg", pixels="yuvj420p")
    for change in changes:
        change_avi(path, *change)
    assert decode_video(path, "a").fps == fps


@pytest.mark.parametrize(("name", "how", "fps"), [("a.h264", {"codec": "libx264"}, None), ("a.m2v", {}, 50)])
def test_a_default_of_the_decoder_is_no_rate(tmp_path, name, how, fps):
    assert decode_video(write(tmp_path / name, moving(), fps=50, **{"codec": "mpeg2video", **how}), "a").fps == fps


def test_frames_outside_the_edit_list_are_left_out(tmp_path):
    video = decode_video(write(tmp_path / "a.mp4", moving(), times_ms=[40 * (i - 4) for i in range(12)]), "a")
    assert len(video.frames) == 8 and video.fps == 25 and "frames outside the edit list" in codes(video)


# ---- shape and levels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
@pytest.mark.parametrize(("pixel", "shape"), [((2, 1), (96, 256)), ((1, 2), (192, 128)), ((12, 11), (96, 140))])
def test_pixels_become_square(tmp_path, name, pixel, shape):
    path = write(tmp_path / name, moving(), codec="mpeg4", sample_aspect_ratio=Fraction(*pixel))
    video = decode_video(path, "a")
    assert video.frames.shape[1:] == shape and video.aspect == 1 and "pixels not square" in codes(video)
    stored = decode_video(path, "a", square_pixels=False)
    assert stored.frames.shape[1:] == (96, 128) and stored.aspect == pytest.approx(pixel[0] / pixel[1])
    back = cv2.resize(video.frames[3], (128, 96), interpolation=cv2.INTER_AREA)
    assert np.abs(back.astype(int) - stored.frames[3]).mean() < 6


@pytest.mark.parametrize(("degrees", "quarters"), [(90, 1), (180, 2), (270, 3), (-90, 3)])
def test_pictures_are_turned(tmp_path, degrees, quarters):
    plain = decode_video(write(tmp_path / "a.mp4", moving()), "a").frames
    path = write(tmp_path / "b.mp4", moving(), display_rotation=degrees)
    np.testing.assert_array_equal(decode_video(path, "a").frames, np.rot90(plain, quarters, axes=(1, 2)))
    np.testing.assert_array_equal(decode_video(path, "a").frames, read_with_opencv(path))


def test_a_turned_picture_of_narrow_pixels(tmp_path):
    how = {"display_rotation": 90, "sample_aspect_ratio": Fraction(2, 1)}
    assert decode_video(write(tmp_path / "a.mp4", moving(), **how), "a").frames.shape[1:] == (256, 96)


def test_luminance_decides_on_its_range(tmp_path):
    luminance = np.concatenate((moving(12, (96, 128)), np.full((12, 48, 128), 128, np.uint8)), axis=1)
    luminance[:, :20], luminance[:, 20:40] = 0, 255
    full = decode_video(write(tmp_path / "a.mkv", luminance, codec="ffv1", source="yuv420p"), "a")
    assert np.abs(full.frames.astype(int) - luminance[:, :96]).max() <= 1
    limited = luminance.copy()
    limited[:, :96] = np.rint(16 + luminance[:, :96] * (219 / 255))
    plain = decode_video(write(tmp_path / "b.mkv", limited, codec="ffv1", source="yuv420p"), "a")
    assert np.abs(plain.frames.astype(int) - luminance[:, :96]).max() <= 2 and "colour range disputed" not in codes(
        plain
    )


def test_colours_follow_the_matrix_of_the_stream(tmp_path):
    red = np.zeros((6, 96, 128, 3), np.uint8)
    red[..., 2] = 200
    for name, space in (("a.mp4", 1), ("b.mp4", 5)):
        path = write(tmp_path / name, red, codec="libx264", source="bgr24", colorspace=space)
        np.testing.assert_array_equal(decode_video(path, "a").frames, read_with_opencv(path))


def test_samples_of_12_bits_in_16_are_refused_and_16_bits_read(tmp_path):
    deep = {"codec": "ffv1", "pixels": "gray16le", "source": "gray16le"}
    path = write(tmp_path / "a.mkv", moving().astype(np.uint16) * 16, **deep)
    assert fault(path).reason == "grey level out of range"
    path = write(tmp_path / "b.mkv", moving().astype(np.uint16) * 257, **deep)
    np.testing.assert_allclose(decode_video(path, "a").frames, moving(), atol=1)


# ---- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xef\xbb\xbf\n<HTML><body>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"PK\x03\x04" + bytes(60), "ZIP"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "a PNG picture"),
        (bytes(128) + b"DICM" + bytes(60), "a DICOM file"),
        (b"#EXTM3U\n#EXTINF:10,\nplain.mp4\n#EXT-X-ENDLIST\n", "a play list"),
        (b"ffconcat version 1.0\nfile plain.mp4\n", "a list of files"),
        (bytes(5000), "all zeros"),
        (b"hello world " * 50, "no known kind"),
        (b"R", "no known kind"),
    ],
)
def test_what_is_no_video_is_named(tmp_path, content, words):
    write(tmp_path / "plain.mp4", moving())
    (tmp_path / "a.mp4").write_bytes(content)
    error = fault(tmp_path / "a.mp4")
    assert error.reason == "not a video" and words in error.detail


def test_sound_is_no_video(tmp_path):
    assert fault(write_sound(tmp_path / "a.mov")).reason == "no video stream"
    write_sound(tmp_path / "a.wav").rename(tmp_path / "a.avi")
    assert "sound" in fault(tmp_path / "a.avi").detail


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mov"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.97])
def test_a_file_that_is_cut_is_truncated(tmp_path, name, kept):
    path = write(tmp_path / name, moving(), **({"container": {"movflags": "faststart"}} if name == "a.mp4" else {}))
    content = path.read_bytes()
    cut = content[: int(kept * len(content))]
    error = fault(cut)
    assert error.reason == "truncated file" and f"has {len(cut)} bytes" in error.detail


def test_a_few_damaged_frames_are_a_note_and_many_a_refusal(tmp_path):
    def spoilt(which):
        path = write(tmp_path / "a.avi", moving(40), codec="mjpeg", pixels="yuvj420p")
        return spoil_frames(path, which)

    video = decode_video(spoilt(slice(7, 8)), "a")
    assert len(video.frames) == 39 and {"damaged frames", "frames missing"} <= codes(video)
    assert fault(spoilt(slice(0, 9))).reason == "damaged frames"
    assert fault(spoilt(slice(None))).reason == "damaged frames"


def test_a_count_that_the_pictures_do_not_bear_out(tmp_path):
    path = write(tmp_path / "a.avi", moving(), codec="mjpeg", pixels="yuvj420p")
    assert "frame count disputed" in codes(decode_video(change_avi(path, b"strh", 32, 6), "a"))
    assert len(decode_video(path, "a").frames) == 12


def test_one_of_two_videos_is_read_and_both_are_named(tmp_path):
    video = decode_video(write_packets(tmp_path / "a.mkv", [(96, 128), (64, 80)]), "a")
    (text,) = [one.text for one in video.notes if one.code == "several video streams"]
    assert video.frames.shape == (12, 96, 128) and "128 x 96" in text and "80 x 64" in text


def test_an_endless_file_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("data_pipelines.formats.video.source.MOST_SILENT_BYTES", 2**22)
    for name in ("a.avi", "a.mkv"):
        path = write(tmp_path / name, moving(), codec="mpeg2video")
        path.write_bytes(path.read_bytes()[:700])
        os.truncate(path, 2**36)
        assert fault(path).reason in ("zero frames", "truncated file", "damaged frames", "frames missing")


def test_a_pipe_or_a_device_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(UnreadableRecord, match="neither a file nor a folder"):
        cine.read(tmp_path / "a.mp4")
