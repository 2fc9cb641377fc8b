"""Records of EchoNet-Dynamic as `Clip`, read and written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from data_pipelines.files import make_folder, write_atomically
from data_pipelines.formats.echonet_dynamic.tracings import ROWS_PER_FRAME, chords, polygon_mask
from data_pipelines.formats.echonet_dynamic.tree import LIST_COLUMNS, SPLIT_VALUES, TRACING_COLUMNS, Entry
from data_pipelines.formats.echonet_dynamic.video import read_video, write_video
from data_pipelines.records import ENDOCARDIUM, Clip, UnreadableRecord

SLACK = 0.05  # a tracing may leave the frame by this fraction of its side; the rasterisation cuts it off there


def read(entry: Entry) -> Clip:
    """Reads the frames of a video from ED to ES; both of these have a mask of the LV (label 1).

    ED is the traced frame with the larger area (of more than two traced frames, ED and ES are the largest and the
    smallest); a video in which ED comes after ES is reversed in time. The spacing is None: the data set has none.

    Raises:
        UnreadableRecord: with one of the reasons "fewer than two traced frames", "row count", "video shorter than the
            traced frame", "coordinates out of range or not finite", "empty mask" and "not readable", or those of
            `data_pipelines.formats.video.decode_video`.
    """
    if len(entry.tracings) < 2:
        raise _fault(entry, "fewer than two traced frames", f"VolumeTracings.csv has frames {sorted(entry.tracings)}")
    for frame, rows in entry.tracings.items():
        if len(rows) != ROWS_PER_FRAME:
            raise _fault(entry, "row count", f"frame {frame} has {len(rows)} rows in VolumeTracings.csv, expected 21")
    video = read_video(entry.path, entry.record_id)
    frames = video.frames
    height, width = frames.shape[1:]
    if (last := max(entry.tracings)) >= len(frames):
        raise _fault(entry, "video shorter than the traced frame", f"frame {last} of {len(frames)}, counted from 0")
    limit = np.array([width, height, width, height])
    for frame, rows in entry.tracings.items():
        if frame < 0 or not ((rows >= -SLACK * limit) & (rows <= (1 + SLACK) * limit)).all():
            detail = f"traced frame {frame}: x, y {rows.min()}..{rows.max()}, the video is {width} x {height}"
            raise _fault(entry, "coordinates out of range or not finite", detail)
    masks = {frame: polygon_mask(rows, height, width) for frame, rows in sorted(entry.tracings.items())}
    areas = {frame: int(mask.sum()) for frame, mask in masks.items()}
    ed = max(areas, key=areas.__getitem__)
    es = min((frame for frame in areas if frame != ed), key=areas.__getitem__)
    if areas[es] == 0:
        raise _fault(entry, "empty mask", f"the tracing of frame {es} encloses no pixel")
    order = np.arange(ed, es + 1) if ed < es else np.arange(ed, es - 1, -1)
    labels = np.zeros((len(order), height, width), np.uint8)
    labels[0], labels[-1] = masks[ed] * ENDOCARDIUM, masks[es] * ENDOCARDIUM
    return Clip(
        frames=frames[order],
        label_map=labels,
        has_reference=np.isin(order, (ed, es)),
        ed_index=0,
        es_index=len(order) - 1,
        spacing_mm=None,
        fps=entry.fps,
        patient_id=entry.patient_id,
        view="4CH",
        ef_percent=entry.ef_percent,
        volumes_ml=entry.volumes_ml,
        notes=video.notes,
    )


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
