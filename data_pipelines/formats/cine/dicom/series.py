"""Finds and reads cines that are stored as one file a frame.

Files of one folder that hold one frame each, at one size, are a cine if they belong to one series and were recorded in
quick succession. Stills of one examination share their series too: files that lie more than a second apart, or whose
series also holds a cine, are left as they are. The UID of the series serves to group files and is not kept.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from data_pipelines.formats.cine.dicom import geometry, pixels, reader
from data_pipelines.formats.cine.dicom.elements import Elements, quiet
from data_pipelines.formats.cine.dicom.file import Opened, Reopened, open_file
from data_pipelines.formats.cine.recording import Recording
from data_pipelines.formats.frame_rate import frame_rate
from data_pipelines.notes import Note, note
from data_pipelines.records import UnreadableRecord

FEWEST = 3  # files of one cine: a pair of stills is no cine
LONGEST_STEP_S = 1.0  # between frames of one cine
ORDER = ("InstanceNumber", "TriggerTime", "AcquisitionDateTime", "AcquisitionTime", "ContentTime")
NAMES = (*reader.NAMES, "SeriesInstanceUID", *ORDER)


@dataclasses.dataclass(frozen=True)
class ListedCine:
    """One cine among the DICOM files of a folder.

    Attributes:
        paths: its file; or its files, in the order of the frames.
        part: as in `reader.read`.
    """

    paths: tuple[Path, ...]
    part: str = ""


@dataclasses.dataclass(frozen=True)
class _Surveyed:
    """What the header of one file says of cines.

    Attributes:
        path: the file.
        parts: names of its pictures.
        series: stands for the series; None where the file is no single frame that can be read.
        has_cine: whether it holds more than one frame.
        shape: (rows, columns).
        order: values of `ORDER`, None where one is absent.
    """

    path: Path
    parts: tuple[str, ...]
    series: int | None
    has_cine: bool
    shape: tuple[int, int] = (0, 0)
    order: tuple[float | None, ...] = ()


def list_cines(paths: Sequence[Path]) -> list[ListedCine]:
    """Lists the cines among the DICOM files of one folder: several of a file with several pictures, one of a series.

    Args:
        paths: the files, in natural order.
    """
    surveyed = [_survey(path) for path in paths]
    with_cine = {one.series for one in surveyed if one.has_cine}
    groups: dict[tuple, list[_Surveyed]] = {}
    for one in surveyed:
        if one.series is not None and not one.has_cine and one.series not in with_cine:
            pattern = re.sub(r"\d+", "#", one.path.name) if one.series == 0 else ""
            groups.setdefault((one.series, one.shape, pattern), []).append(one)
    member = {}
    for group in groups.values():
        if len(group) >= FEWEST and not _are_stills(group):
            ordered, _ = _in_order(group)
            whole = ListedCine(tuple(one.path for one in ordered))
            member.update({one.path: whole for one in group})
    listed: list[ListedCine] = []
    for one in surveyed:
        if (whole := member.get(one.path)) is None:
            listed += [ListedCine((one.path,), part) for part in one.parts]
        elif whole not in listed:
            listed.append(whole)
    return listed


def read_series(paths: Sequence[Path], record_id: str, part: str = "") -> Recording:
    """Reads files that hold one frame each as a cine.

    Args:
        paths: the files, in the order of the frames.
        record_id: the record, for the message of a fault.
        part: as in `reader.read`.

    Raises:
        UnreadableRecord: as `reader.read`, and "frames of another size".
    """
    with ExitStack() as stack, quiet():
        opened = [_open(path, record_id, stack) for path in paths]
        first = opened[0]
        for one, path in zip(opened, paths, strict=True):
            reader.check_kind(one.header, path, record_id)
            if (size := _shape(one.header)) != _shape(first.header):
                detail = f"{path.name} has {size}, {paths[0].name} has {_shape(first.header)} (h, w): one size a cine"
                raise UnreadableRecord(record_id, "frames of another size", detail)
    described = [_description(one) for one in opened]
    if len(set(described)) > 1:
        odd = next(i for i, one in enumerate(described) if one != described[0])
        detail = f"{paths[odd].name} stores its samples in another way than {paths[0].name}: export them alike"
        raise UnreadableRecord(record_id, "pixel format not supported", detail)
    with quiet():
        pictures = geometry.read_pictures(first.header, _shape(first.header), record_id)
    found = pixels.read_pixels(first, paths[0], record_id, opened[1:])
    if len(found.frames) != len(paths):
        detail = f"{len(paths)} files hold {len(found.frames)} frames, expected one each"
        raise UnreadableRecord(record_id, "pixel data garbled", detail)
    with quiet():
        order = [_order(one.header) for one in opened]
        told = _how_ordered(paths, order)
        recording = reader.assemble(first.header, found, pictures, part, paths[0], record_id)
    fps, times = _rate(order)
    notes = (*recording.notes, *told)
    if fps is not None:
        notes = tuple(one for one in notes if one.code not in ("frame rate unknown", "frame rate is one of display"))
        if recording.fps is not None and abs(fps - recording.fps) > reader.time.AGREE * fps:
            text = f"The times of the files give {fps:.5g} frames/s, their headers {recording.fps:.5g}"
            notes = (*notes, note("frame rate disputed", f"{text}; the first was taken."))
        notes = (*(one for one in notes if one.code != "frame rate"), *times)
    return dataclasses.replace(recording, fps=recording.fps if fps is None else fps, notes=notes)


def _open(path: Path, record_id: str, stack: ExitStack) -> Opened:
    opened = open_file(stack.enter_context(path.open("rb")), path, record_id, NAMES)
    if opened.pixels is None:
        raise UnreadableRecord(record_id, "no pixel data", f"{path} has a header but no Pixel Data: fetch it again")
    return dataclasses.replace(opened, pixels=opened.pixels.reopened(Reopened(path)))


def _survey(path: Path) -> _Surveyed:
    try:
        with path.open("rb") as file, quiet():
            opened = open_file(file, path, path.name, NAMES)
            header = opened.header
            reader.check_kind(header, path, path.name)
            parts = reader.picture_names(len(geometry.read_pictures(header, _shape(header), path.name)))
            count = pixels.count_frames(opened, path, path.name)
            uid = header.text("SeriesInstanceUID")
            return _Surveyed(path, parts, hash(uid) if uid else 0, count > 1, _shape(header), _order(header))
    except (UnreadableRecord, OSError):
        return _Surveyed(path, ("",), None, False)


def _shape(header: Elements) -> tuple[int, int]:
    return header.integer("Rows") or 0, header.integer("Columns") or 0


def _description(opened: Opened) -> tuple:
    names = ("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation")
    return opened.syntax, *(opened.header.text(name) for name in names)


def _order(header: Elements) -> tuple[float | None, ...]:
    return (*(header.number(name) for name in ORDER[:2]), *(_seconds(header.text(name)) for name in ORDER[2:]))


def _seconds(text: str) -> float | None:
    """Reads seconds from a DICOM time, or date and time; None where the text is none."""
    body = re.split(r"[+-]", text)[0]
    for pattern in ("%Y%m%d%H%M%S.%f", "%Y%m%d%H%M%S", "%H%M%S.%f", "%H%M%S"):
        try:
            return (datetime.datetime.strptime(body, pattern) - datetime.datetime(1900, 1, 1)).total_seconds()
        except ValueError:
            continue
    return None


def _are_stills(group: Sequence[_Surveyed]) -> bool:
    """Tells whether the files lie so far apart in time that they cannot be frames of one cine."""
    for column in range(2, len(ORDER)):
        times_s = [one.order[column] for one in group]
        if known := sorted(time for time in times_s if time is not None):
            steps_s = np.diff(known)
            if len(known) == len(group) and (steps_s > 0).any():
                return float(np.median(steps_s)) > LONGEST_STEP_S
    return False


def _in_order(group: Sequence[_Surveyed]) -> tuple[list[_Surveyed], str]:
    """Sorts files by the first element that tells them apart, else by name, and says which that is."""
    for column, name in enumerate(ORDER):
        values = [one.order[column] for one in group]
        if None not in values and len(set(values)) == len(values):
            return sorted(group, key=lambda one: one.order[column] or 0.0), name
    return list(group), "name of the file"


def _how_ordered(paths: Sequence[Path], order: Sequence[tuple[float | None, ...]]) -> list[Note]:
    """Says how the files were put in order, and whether numbers are missing or another element disagrees."""
    rising = [
        name
        for column, name in enumerate(ORDER)
        if None not in (values := [one[column] for one in order]) and np.all(np.diff(np.array(values, float)) > 0)
    ]
    by = rising[0] if rising else "name of the file"
    notes = [note("one file a frame", f"{len(paths)} files, in the order of {by}.")]
    numbers = [one[0] for one in order]
    if by == ORDER[0] and None not in numbers:
        steps = np.diff(np.array(numbers, float))
        if (steps > steps.min()).any():
            text = f"Instance Number goes from {numbers[0]:g} to {numbers[-1]:g}, in steps of up to {steps.max():g}"
            notes.append(note("frames missing", f"{text}, {len(paths)} files are there."))
    for column, name in enumerate(ORDER[1:], start=1):
        values = [one[column] for one in order]
        if by != name and None not in values and (np.diff(np.array(values, float)) < 0).any():
            notes.append(note("frame times doubtful", f"{name} does not rise in the order of {by}."))
    return notes


def _rate(order: Sequence[tuple[float | None, ...]]) -> tuple[float | None, list[Note]]:
    """Reads the frame rate from the times of the files, and says where it comes from."""
    for column, name in enumerate(ORDER[1:], start=1):
        values = [one[column] for one in order]
        if None in values:
            continue
        steps_s = np.diff(np.array(values, float)) / (1000 if name == "TriggerTime" else 1)
        good = steps_s[steps_s > 0]
        if len(good) and (fps := frame_rate(1 / float(np.median(good)))):
            notes = [note("frame rate", f"From {name} of the files (median).")]
            if np.ptp(steps_s) > max(reader.time.UNEVEN * float(np.median(good)), reader.time.ROUNDING_MS / 1000):
                text = f"Steps of {1000 * steps_s.min():.1f} to {1000 * steps_s.max():.1f} ms in {name}."
                notes.append(note("uneven frame times", text))
            return fps, notes
    return None, []
