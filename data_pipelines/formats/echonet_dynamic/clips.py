"""Records of EchoNet-Dynamic as `Clip`, read and written."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from data_pipelines.files import make_folder, write_atomically
from data_pipelines.formats.echonet_dynamic.tracings import (
    ROWS_PER_FRAME,
    chords,
    is_complete,
    polygon_mask,
    scaled,
    without_copies,
)
from data_pipelines.formats.echonet_dynamic.tree import LIST_COLUMNS, SPLIT_VALUES, TRACING_COLUMNS, Entry
from data_pipelines.formats.echonet_dynamic.video import read_video, write_video
from data_pipelines.formats.video import DecodedVideo
from data_pipelines.notes import Note, note
from data_pipelines.records import ENDOCARDIUM, Clip, UnreadableRecord

SLACK = 0.05  # a tracing may leave the frame by this fraction of its side; the rasterisation cuts it off there
CODEC_NOISE = 12  # grey levels: a darker pixel is black after coding
RATE_TOLERANCE = (1.0, 0.02)  # frames per second, and the fraction of the rate: an encoder may cut off decimals


@dataclasses.dataclass(frozen=True)
class TracedVideo:
    """A video with the masks of its traced frames.

    Attributes:
        frames: all of its frames, grey levels 0..255.
        masks: masks of the LV by frame.
        fps: frames per second, or None.
        notes: what was found.
    """

    frames: UInt8[np.ndarray, "t h w"]
    masks: Mapping[int, Bool[np.ndarray, "h w"]]
    fps: float | None
    notes: tuple[Note, ...]

    @property
    def ends(self) -> tuple[int, int]:
        """ED and ES: the traced frames of the largest and of the smallest area."""
        areas = {frame: int(mask.sum()) for frame, mask in self.masks.items()}
        ed = max(areas, key=areas.__getitem__)
        return ed, min((frame for frame in areas if frame != ed), key=areas.__getitem__)


def read(entry: Entry) -> Clip:
    """Reads the frames of a video from ED to ES; both of these have a mask of the LV (label 1).

    ED is the traced frame with the larger area (of more than two traced frames, ED and ES are the largest and the
    smallest); a video in which ED comes after ES is reversed in time. The spacing is None: the data set has none.

    Raises:
        UnreadableRecord: as `read_traced` and `half_cycle`.
    """
    return half_cycle(entry, read_traced(entry))


def half_cycle(entry: Entry, traced: TracedVideo) -> Clip:
    """Takes the frames from ED to ES out of a video.

    Args:
        entry: the record.
        traced: its video.

    Raises:
        UnreadableRecord: with the reason "empty mask".
    """
    ed, es = traced.ends
    if not traced.masks[es].any():
        raise _fault(entry, "empty mask", f"the tracing of frame {es} encloses no pixel")
    order = np.arange(ed, es + 1) if ed < es else np.arange(ed, es - 1, -1)
    labels = np.zeros((len(order), *traced.frames.shape[1:]), np.uint8)
    labels[0], labels[-1] = traced.masks[ed] * ENDOCARDIUM, traced.masks[es] * ENDOCARDIUM
    return Clip(
        frames=traced.frames[order],
        label_map=labels,
        has_reference=np.isin(order, (ed, es)),
        ed_index=0,
        es_index=len(order) - 1,
        spacing_mm=None,
        fps=traced.fps,
        patient_id=entry.patient_id,
        view="4CH",
        ef_percent=entry.stated.ef_percent,
        volumes_ml=entry.stated.volumes_ml,
        notes=traced.notes,
    )


def read_traced(entry: Entry) -> TracedVideo:
    """Reads a video and draws its tracings, after comparing what FileList.csv states with the video.

    Raises:
        UnreadableRecord: with one of the reasons "fewer than two traced frames", "row count", "video shorter than the
            traced frame", "video of another length than its tracings", "video of another size than its tracings",
            "coordinates out of range or not finite" and "not readable", or those of
            `data_pipelines.formats.video.decode_video`.
    """
    notes = list(entry.notes)
    if len(entry.tracings) < 2:
        raise _fault(entry, "fewer than two traced frames", f"VolumeTracings.csv has frames {sorted(entry.tracings)}")
    tracings = {frame: _complete(entry, frame, rows, notes) for frame, rows in sorted(entry.tracings.items())}
    video = read_video(entry.path, entry.record_id)
    frames = video.frames
    height, width = frames.shape[1:]
    if (last := max(tracings)) >= len(frames):
        raise _fault(entry, "video shorter than the traced frame", f"frame {last} of {len(frames)}, counted from 0")
    _compare_length(entry, len(frames), notes)
    factor = _fit(entry, frames, notes)
    tracings = {frame: scaled(rows, factor) if factor != 1 else rows for frame, rows in tracings.items()}
    for frame, rows in tracings.items():
        limit = np.resize([width, height], rows.shape[1])
        if frame < 0 or not ((rows >= -SLACK * limit) & (rows <= (1 + SLACK) * limit)).all():
            detail = f"traced frame {frame}: x, y {rows.min()}..{rows.max()}, the video is {width} x {height}"
            raise _fault(entry, "coordinates out of range or not finite", detail)
    right, bottom = np.concatenate([rows.reshape(-1, 2) for rows in tracings.values()]).max(axis=0)
    if max(right, bottom) <= 1:
        detail = f"the tracings lie in 0..1, the video is {width} x {height}: multiply x and y by its width and height"
        raise _fault(entry, "coordinates out of range or not finite", detail)
    if right < width / 2 and bottom < height / 2:
        text = f"No tracing goes beyond x {right:.0f}, y {bottom:.0f}; the video is {width} x {height}."
        notes.append(note("tracings in one corner", text))
    masks = {frame: polygon_mask(rows, height, width) for frame, rows in tracings.items()}
    fps = _choose_rate(entry, video, notes)
    return TracedVideo(frames, masks, fps, tuple(notes))


def _complete(
    entry: Entry, frame: int, rows: Float[np.ndarray, "rows columns"], notes: list[Note]
) -> Float[np.ndarray, "kept columns"]:
    """Returns the rows of a tracing once each, or refuses it."""
    once = rows if is_complete(rows) and rows.shape[1] == 4 else without_copies(rows)
    if not is_complete(once):
        expected = f"{ROWS_PER_FRAME}" if rows.shape[1] == 4 else "3 points or more"
        raise _fault(
            entry, "row count", f"frame {frame} has {len(rows)} rows in VolumeTracings.csv, expected {expected}"
        )
    if len(once) < len(rows):
        notes.append(note("tracing repeated", f"Frame {frame} has {len(rows)} rows, {len(once)} of them different."))
    return once


def _compare_length(entry: Entry, count: int, notes: list[Note]) -> None:
    """Compares the number of frames with NumberOfFrames."""
    stated = entry.stated.frames
    if stated is None or stated == count:
        return
    if abs(stated - count) > 1:
        detail = (
            f"{entry.path} has {count} frames, FileList.csv states {stated}: which frames are traced "
            f"({sorted(entry.tracings)}) cannot be told"
        )
        raise _fault(entry, "video of another length than its tracings", detail)
    text = f"The video has {count} frames, FileList.csv states {stated}."
    notes.append(note("frame count contradicts the table", text))


def _fit(entry: Entry, frames: UInt8[np.ndarray, "t h w"], notes: list[Note]) -> float:
    """Returns the factor that brings the tracings onto the video.

    The tracings are of a picture of the size that FileList.csv states. A video that is larger by one factor in both
    directions was enlarged, unless it was padded: then its picture fits into the stated size, and the rest is black.
    """
    height, width = frames.shape[1:]
    stated_height, stated_width = entry.stated.size
    if stated_height in (None, height) and stated_width in (None, width):
        return 1.0
    words = f"{height} x {width} (height, width), FileList.csv states {stated_height} x {stated_width}"
    why = "its shape is another"
    if stated_height is not None and stated_width is not None and height * stated_width == width * stated_height:
        seen = frames.max(axis=0) > CODEC_NOISE
        down, across = (np.ptp(np.flatnonzero(seen.any(axis=axis))) + 1 if seen.any() else 0 for axis in (1, 0))
        if height > stated_height and (down > stated_height or across > stated_width):
            factor = height / stated_height
            notes.append(note("tracings scaled", f"The video is {words}: tracings enlarged by {factor:.4g}."))
            return factor
        why = "it may be cut or padded"
    detail = f"{entry.path} is {words}; {why}: where the tracings lie cannot be told"
    raise _fault(entry, "video of another size than its tracings", detail)


def _choose_rate(entry: Entry, video: DecodedVideo, notes: list[Note]) -> float | None:
    """Compares FPS of FileList.csv with the times of the frames, which win where they disagree; adds the notes."""
    stated, seen = entry.stated.fps, video.fps
    notes += [one for one in video.notes if one.code != "frame rate"]
    if stated is None:
        plays = "" if seen is None else f"; the video plays at {seen:.4g} frames/s"
        notes.append(note("frame rate unknown", f"FileList.csv states none{plays}."))
        return None
    absolute, relative = RATE_TOLERANCE
    if seen is None or abs(stated - seen) < max(absolute, relative * stated):
        notes.append(note("frame rate", "From FileList.csv."))
        return stated
    text = f"FileList.csv states {stated:g} frames/s, the times of the frames give {seen:.4g}."
    notes.append(note("frame rate contradicts the table", text))
    return seen


def _fault(entry: Entry, reason: str, detail: str) -> UnreadableRecord:
    return UnreadableRecord(entry.record_id, reason, detail)


def write_tree(clips: Iterable[Clip], root: Path, splits: Mapping[str, str]) -> None:
    """Writes clips as a tree: Videos/*.avi (MJPG), then FileList.csv and VolumeTracings.csv.

    Each file appears whole or not at all. What the format has no room for is lost: spacing, the labels other than the
    LV, the masks between ED and ES.

    Args:
        clips: four-chamber clips with ED and ES known and labelled; unknown fps, EF and volumes become empty fields.
        root: the folder to write.
        splits: "TRAIN", "VAL" or "TEST" by patient id.

    Raises:
        ValueError: ED and ES are unknown, equal, without a mask or without an LV; a patient comes twice or without a
            split.
        OSError: the folder cannot be written (PermissionError where it is read-only).
    """
    videos = make_folder(Path(root) / "Videos")
    file_list: list[tuple] = [LIST_COLUMNS]
    tracings: list[tuple] = [TRACING_COLUMNS]
    written: set[str] = set()
    for clip in clips:
        name, split = clip.patient_id, splits.get(clip.patient_id)
        if split not in SPLIT_VALUES.values() or name in written or clip.view not in ("4CH", ""):
            raise ValueError(
                f"{clip.record_id}: split {split!r} must be one of {[*SPLIT_VALUES.values()]}, the view 4CH, "
                f"the patient new (written before: {name in written})"
            )
        for frame in (clip.ed_index, clip.es_index):
            if frame is None or clip.ed_index == clip.es_index or not clip.has_reference[frame]:
                raise ValueError(f"{clip.record_id}: ED {clip.ed_index}, ES {clip.es_index} must be two, labelled")
            rows = chords(clip.label_map[frame] == ENDOCARDIUM)
            tracings += [(f"{name}.avi", *row, frame) for row in rows.round(4).tolist()]
        write_video(clip.frames, clip.fps, videos / f"{name}.avi")
        edv_ml, esv_ml = clip.volumes_ml or ("", "")
        ef_percent, fps = ("" if value is None else value for value in (clip.ef_percent, clip.fps))
        file_list.append((name, ef_percent, esv_ml, edv_ml, *clip.frames.shape[1:], fps, len(clip), split))
        written.add(name)
    for file_name, rows in (("VolumeTracings.csv", tracings), ("FileList.csv", file_list)):
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_atomically(Path(root) / file_name, text.getvalue().encode())
