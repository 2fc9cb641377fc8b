"""EchoNet-Dynamic trees."""

from data_pipelines.formats import echonet_dynamic
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


BROKEN = {
    "video missing": without_video,
    "not readable": folder_as_video,
    "duplicate id": lambda folder: listed(folder, lambda rows: [*rows, rows[-1]]),
    "file list garbled": lambda folder: listed(folder, lambda rows: with_field(rows, "EF", "high")),
    "fewer than two traced frames": lambda folder: traced(folder, lambda rows: rows[:-21]),
    "row count": lambda folder: traced(folder, lambda rows: rows[:-1]),
    "video shorter than the traced frame": lambda folder: traced(folder, lambda rows: with_last_frame(rows, "40")),
    "coordinates out of range or not finite": lambda folder: traced(folder, lambda rows: with_field(rows, "X1", "nan")),
}
NOTED = {}
