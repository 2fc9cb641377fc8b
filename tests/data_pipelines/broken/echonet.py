"""EchoNet-Dynamic trees."""

import shutil

import cv2
import numpy as np

from data_pipelines.formats import echonet_dynamic
from data_pipelines.formats.echonet_dynamic.video import write_video
from tests.helpers.trees import edit_csv, make_video_clip

NAMES = ("0X10", "0X11")


def tree(folder):
    clips = [make_video_clip(n=3, patient_id=name) for name in NAMES]
    echonet_dynamic.write_tree(clips, folder, dict.fromkeys(NAMES, "TRAIN"))
    return folder


def without_video(folder):
    (tree(folder) / "Videos" / "0X11.avi").unlink()
    return folder


def folder_as_video(folder):
    without_video(folder)
    (folder / "Videos" / "0X11.avi").mkdir()
    return folder


def listed(folder, change):
    edit_csv(tree(folder) / "FileList.csv", change)
    return folder


def traced(folder, change):
    edit_csv(tree(folder) / "VolumeTracings.csv", change)
    return folder


def with_field(rows, column, value):
    rows[-1][rows[0].index(column)] = value
    return rows


def with_last_frame(rows, value):
    last = rows[-1][:1] + rows[-1][-1:]
    return [[*row[:-1], value] if row[:1] + row[-1:] == last else row for row in rows]


def with_video(folder, frames, name="0X11.avi", fps=50.0):
    """The video of the last patient becomes another one."""
    without_video(folder)
    write_video(frames, fps, folder / "Videos" / "0X11.avi")
    (folder / "Videos" / "0X11.avi").rename(folder / "Videos" / name)
    return folder


def enlarged(size):
    return np.stack([cv2.resize(frame, (size, size)) for frame in make_video_clip(n=3).frames])


def fields(folder, *pairs, everywhere=False):
    def change(rows):
        for row in rows[1:] if everywhere else rows[-1:]:
            for column, value in pairs:
                row[rows[0].index(column)] = value
        return rows

    return listed(folder, change)


def copied(folder, name):
    shutil.copy(tree(folder) / "Videos" / "0X11.avi", folder / "Videos" / name)
    return folder


def renamed(folder, name):
    (tree(folder) / "Videos" / "0X11.avi").rename(folder / "Videos" / name)
    return folder


def with_two_suffixes(folder):
    copied(folder, "0X11.mkv")
    (folder / "Videos" / "0X11.avi").rename(folder / "Videos" / "0X11.mp4")
    return folder


def in_one_corner(folder):
    """Videos and their stated size are enlarged, the tracings are not."""
    fields(folder, ("FrameHeight", "256"), ("FrameWidth", "256"), everywhere=True)
    for name in NAMES:
        write_video(enlarged(256), 50.0, folder / "Videos" / f"{name}.avi")
    return folder


BROKEN = {
    "video missing": without_video,
    "not readable": folder_as_video,
    "several videos of one name": with_two_suffixes,
    "duplicate id": lambda folder: listed(folder, lambda rows: [*rows, [rows[-1][0], "20", *rows[-1][2:]]]),
    "file list garbled": lambda folder: listed(folder, lambda rows: [*rows[:-1], [*rows[-1][:1], "1", *rows[-1][1:]]]),
    "fewer than two traced frames": lambda folder: traced(folder, lambda rows: rows[:-21]),
    "row count": lambda folder: traced(folder, lambda rows: rows[:-1]),
    "video shorter than the traced frame": lambda folder: traced(folder, lambda rows: with_last_frame(rows, "40")),
    "video of another size than its tracings": lambda folder: with_video(folder, make_video_clip(n=3).frames[:, 8:]),
    "video of another length than its tracings": lambda folder: fields(folder, ("NumberOfFrames", "30")),
    "coordinates out of range or not finite": lambda folder: traced(folder, lambda rows: with_field(rows, "X1", "nan")),
}
NOTED = {
    "video under another name": lambda folder: renamed(folder, "0x11.AVI"),
    "several videos of one name": lambda folder: copied(folder, "0X11.mp4"),
    "row repeated": lambda folder: listed(folder, lambda rows: [*rows, rows[-1]]),
    "tracing repeated": lambda folder: traced(folder, lambda rows: [*rows, *rows[-21:]]),
    "field not read": lambda folder: fields(folder, ("EF", "high")),
    "value not possible": lambda folder: fields(folder, ("EF", "0.3")),
    "EF is a fraction": lambda folder: fields(folder, ("EF", "0.55"), everywhere=True),
    "volumes in another unit": lambda folder: fields(folder, ("EDV", "0.1015"), ("ESV", "0.0455"), everywhere=True),
    "EDV smaller than ESV": lambda folder: fields(folder, ("EDV", "45.5"), ("ESV", "101.5")),
    "EF contradicts the volumes": lambda folder: fields(folder, ("EF", "30")),
    "frame rate contradicts the table": lambda folder: fields(folder, ("FPS", "25")),
    "frame count contradicts the table": lambda folder: fields(folder, ("NumberOfFrames", "4")),
    "tracings scaled": lambda folder: with_video(folder, enlarged(256)),
    "tracings in one corner": in_one_corner,
}
