"""Video files whose statements disagree, or that are none."""

from fractions import Fraction

import numpy as np

from tests.helpers import video_files
from tests.helpers.video_files import (
    change_avi,
    change_bytes,
    moving,
    write,
    write_one_picture,
    write_packets,
    write_sound,
)

AVIH_PERIOD, AVIH_COUNT, AVIH_WIDTH = 0, 16, 32
STRH_COUNT = 32
STRF_WIDTH = 4


def mjpeg(folder, count=12, fps=25):
    return write(folder / "a.avi", moving(count), codec="mjpeg", pixels="yuvj420p", fps=fps)


def stating(count, folder, frames=12):
    """An AVI whose two headers state another number of frames than it has."""
    return change_avi(change_avi(mjpeg(folder, frames), b"strh", STRH_COUNT, count), b"avih", AVIH_COUNT, count)


def empty(folder):
    (folder / "empty.mp4").write_bytes(b"")
    return folder / "empty.mp4"


def web_page(folder):
    (folder / "page.mp4").write_text("<!DOCTYPE html><html><body>404</body></html>")
    return folder / "page.mp4"


def unknown_codec(folder):
    return change_bytes(mjpeg(folder), b"MJPG", b"ZZZZ")


def enormous_picture(folder):
    return write(folder / "large.mov", np.zeros((2, 6000, 6000), np.uint8), codec="png", pixels="gray")


def bomb(folder):
    return write_one_picture(folder / "bomb.mov", np.zeros((4096, 4096), np.uint8), times=24)


def longer_in_its_last_box(folder):
    path = write(folder / "a.mp4", moving())
    path.write_bytes(path.read_bytes() + (1000).to_bytes(4, "big") + b"free")
    return path


def squeezed(folder, pixel=Fraction(2, 1)):
    return write(folder / "squeezed.mp4", moving(), sample_aspect_ratio=pixel)


def full_range_unsaid(folder):
    luminance = np.concatenate((moving(12, (96, 128)), np.full((12, 48, 128), 128, np.uint8)), axis=1)
    luminance[:, :20], luminance[:, 20:40] = 0, 255
    return write(folder / "full.mkv", luminance, codec="ffv1", source="yuv420p")


def raised_black(folder):
    luminance = np.concatenate((np.full((12, 96, 128), 16, np.uint8), np.full((12, 48, 128), 128, np.uint8)), axis=1)
    luminance[:, :40, :60] = moving(12, (40, 60)).clip(16, 235)
    return write(folder / "raised.avi", luminance, codec="mjpeg", pixels="yuvj420p", source="yuvj420p")


def transparent(folder):
    return write(folder / "alpha.mov", np.stack([moving()] * 4, axis=-1), codec="png", pixels="rgba", source="rgba")


def interlaced(folder):
    return write(folder / "fields.mpg", moving(), codec="mpeg2video", options={"flags": "+ilme+ildct"})


BROKEN = {
    "empty file": empty,
    "not a video": web_page,
    "no video stream": lambda folder: write_sound(folder / "sound.mkv"),
    "codec not supported": unknown_codec,
    "frames missing": lambda folder: stating(100, folder),
    "damaged frames": lambda folder: video_files.spoil_frames(mjpeg(folder), slice(3, 9)),
    "picture too large": enormous_picture,
    "video too large": bomb,
}
NOTED = {
    "frame rate disputed": lambda folder: change_avi(mjpeg(folder), b"avih", AVIH_PERIOD, 20_000),
    "frame rate impossible": lambda folder: write_packets(folder / "a.mkv", [(96, 128)], [*range(12)]),
    "frame rate implausible": lambda folder: mjpeg(folder, fps=400),
    "frame times doubtful": lambda folder: write_packets(
        folder / "a.mkv", [(96, 128)], [0, 40, 80, 80, 120, 160, 200, 240]
    ),
    "uneven frame times": lambda folder: write_packets(
        folder / "a.mkv", [(96, 128)], [*range(0, 400, 20), *range(400, 4400, 200)]
    ),
    "frame count disputed": lambda folder: change_avi(mjpeg(folder), b"avih", AVIH_COUNT, 20),
    "frames missing": lambda folder: stating(41, folder, 40),
    "damaged frames": lambda folder: video_files.spoil_frames(mjpeg(folder, 40), slice(7, 8)),
    "frames outside the edit list": lambda folder: write(
        folder / "cut.mp4", moving(), times_ms=[40 * (i - 4) for i in range(12)]
    ),
    "file shorter than stated": longer_in_its_last_box,
    "picture size disputed": lambda folder: change_avi(mjpeg(folder), b"avih", AVIH_WIDTH, 200),
    "picture turned": lambda folder: write(folder / "turned.mp4", moving(), display_rotation=90),
    "pixels not square": squeezed,
    "pixel shape disputed": lambda folder: change_bytes(squeezed(folder), b"\0\0\0\2\0\0\0\1", b"\0\0\0\3\0\0\0\1"),
    "colour range disputed": full_range_unsaid,
    "colour range doubtful": raised_black,
    "transparency": transparent,
    "interlaced": interlaced,
    "several video streams": lambda folder: write_packets(folder / "two.mkv", [(96, 128), (64, 96)]),
}
