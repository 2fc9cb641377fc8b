"""Reads the records of CAMUS as `Clip`. A record is one apical view of one patient.

Every statement of the record is compared with the others: the place of mask and picture in space, the frames that the
cfg names with the images of ED and ES, the stated volumes with the stated ejection fraction. `Clip.notes` says what was
found.
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from data_pipelines.formats.agreement import Laid, lay_onto
from data_pipelines.formats.camus.cfg import Info, check_rate, read_info
from data_pipelines.formats.camus.ends import find_ends
from data_pipelines.formats.camus.images import load_image
from data_pipelines.formats.camus.labels import check_anatomy, divide, label_notes, to_labels
from data_pipelines.formats.camus.tree import Entry
from data_pipelines.formats.image_file import ImageFile
from data_pipelines.formats.placement import Turn, standard_turn
from data_pipelines.grey_levels import StatedRange, to_grey_levels
from data_pipelines.notes import Note, note
from data_pipelines.records import ENDOCARDIUM, Clip, UnreadableRecord

SEQUENCES = {"nifti": "half_sequence", "mhd": "sequence"}
NOT_SHOWN = ("frame rate unknown", "frame rate")  # usual for CAMUS, whose cfg states the rate


@dataclasses.dataclass(frozen=True)
class _Record:
    """The files of a record, as they lie on the first of them.

    Attributes:
        anchor: the sequence, or the ED image.
        samples: the frames as stored, (t, h, w).
        stated: the range of samples that the files state, or None.
        ed: index of the end-diastolic frame.
        es: index of the end-systolic frame.
        is_sequence: False where these are the two images of ED and ES.
        masks: masks as stored, by the index of their frame; -1 for those of the whole sequence.
        notes: what was found.
    """

    anchor: ImageFile
    samples: Shaped[np.ndarray, "t h w"]
    stated: StatedRange | None
    ed: int
    es: int
    is_sequence: bool
    masks: dict[int, Laid]
    notes: list[Note]


def read(entry: Entry, *, sequence: bool = True) -> Clip:
    """Reads the frames from ED to ES (ED first, whatever the order on disk), or ED and ES alone as a clip of two.

    The half sequence is read if it is there and `sequence` holds; else the two frames, whose `fps` is None since they
    are not neighbours in time. A frame without a mask file has no reference. The spacing is None unless the header
    gives it in mm. Files that store their pixels in another direction are turned as their headers state, onto the
    sequence or the ED image, and that one to the directions of CAMUS.

    Args:
        entry: what `index` gave.
        sequence: False reads ED and ES alone.

    Raises:
        UnreadableRecord: with one of the reasons of `load_image`, or "frames of another size", "grey level out of
            range", "mask of another size", "geometry disagrees", "label out of range", "labels of another convention",
            "empty mask", "ED or ES missing", "ED equals ES", "ED not in sequence", "ED and ES
            contradicted", "cfg garbled", "axes transposed" (checked where the ED or the ES mask has an atrium).
        ImportError: the .mhd layout needs SimpleITK, which is not installed.
    """
    info = _info(entry)
    record = _read_sequence(entry, info) if sequence else None
    record = record or _read_pair(entry, info)
    names = f"{entry.path}, {entry.record_id}"
    levels = to_grey_levels(record.samples, entry.record_id, source=names, stated=record.stated)
    frames = levels.frames
    label_map, has_reference = _label_map(entry, record)
    ed, es = record.ed, record.es
    for index, name in ((ed, "ED"), (es, "ES")):
        if has_reference[index] and not (label_map[index] == ENDOCARDIUM).any():
            raise _fault(entry, "empty mask", f"the {name} mask has no label {ENDOCARDIUM}, the LV endocardium")
    are_equal = not record.is_sequence and (frames[0] == frames[1]).all() and (label_map[0] == label_map[1]).all()
    if ed == es or are_equal:
        raise _fault(entry, "ED equals ES", "they are the same frame: look at Info_*.cfg and at the two images")
    for index, name in ((ed, "ED"), (es, "ES")):
        record.notes.extend(label_notes(label_map[index], name))
    if strange := next((one for one in record.notes if one.code == "labels of another convention"), None):
        raise _fault(entry, "labels of another convention", strange.text)
    turn = _choose_turn(entry, record, label_map[[ed, es]])
    frames, label_map = turn.apply(frames), turn.apply(label_map)
    order = np.arange(ed, es + 1) if ed < es else np.arange(ed, es - 1, -1)
    record.notes.extend(one for one in levels.notes if one.text != "As stored.")
    areas = [int((label_map[index] == ENDOCARDIUM).sum()) for index in (ed, es)]
    if has_reference[[ed, es]].all() and areas[1] > areas[0]:
        text = f"The cavity has {areas[0]} pixels at ED and {areas[1]} at ES."
        record.notes.append(note("ES area larger than ED area", text))
    if record.is_sequence:
        record.notes.extend(check_rate(info, len(order), record.anchor.fps))
    return Clip(
        frames=frames[order],
        label_map=label_map[order],
        has_reference=has_reference[order],
        ed_index=0,
        es_index=len(order) - 1,
        spacing_mm=turn.spacing(record.anchor.spacing_mm),
        fps=info.fps if record.is_sequence else None,
        patient_id=entry.patient_id,
        view=entry.view,
        quality=info.quality,
        ef_percent=info.ef_percent,
        volumes_ml=info.volumes_ml,
        notes=(*info.notes, *dict.fromkeys(record.notes)),
    )


def has_cfg(entry: Entry) -> bool:
    """Says whether Info_{view}.cfg is there."""
    return "cfg" in entry.files


def es_first(entry: Entry) -> bool | None:
    """Says whether the sequence on disk runs from ES to ED, so that `read` reverses it; None without a sequence.

    Raises:
        UnreadableRecord: as `read`.
    """
    info = _info(entry)
    if info.ed is not None and info.es is not None and entry.layout == "nifti":
        return info.es < info.ed if SEQUENCES["nifti"] in entry.files else None
    record = _read_sequence(entry, info)
    return record.es < record.ed if record else None


def _info(entry: Entry) -> Info:
    return read_info(entry.files["cfg"], entry.record_id) if has_cfg(entry) else Info()


def _read_sequence(entry: Entry, info: Info) -> _Record | None:
    """Reads the half sequence and its masks; None where there is none."""
    if (anchor := _load(entry, SEQUENCES[entry.layout])) is None:
        return None
    notes = _notes_of(anchor)
    images = []
    for kind in ("ED", "ES"):
        try:
            image = _load(entry, kind)
            laid = lay_onto(anchor, image, entry.record_id, is_mask=False) if image else Laid(anchor.pixels[:0])
        except UnreadableRecord as fault:
            if info.ed is None:
                raise
            text = f"The {kind} image cannot be compared with the sequence: {fault.reason}: {fault.detail}."
            laid = Laid(anchor.pixels[:0], (note("image not in sequence", text),))
        notes += laid.notes
        images.append(laid.pixels[0] if len(laid.pixels) == 1 else None)
    ends = find_ends(anchor.pixels, info, images[0], images[1], entry.record_id)
    notes += ends.notes
    masks = _load_masks(entry, anchor, {-1: "half_sequence_gt"})
    if not masks:
        masks = _load_masks(entry, anchor, {ends.ed: "ED_gt", ends.es: "ES_gt"})
    return _Record(anchor, anchor.pixels, anchor.stated, ends.ed, ends.es, True, masks, notes)


def _read_pair(entry: Entry, info: Info) -> _Record:
    """Reads the images of ED and ES and their masks."""
    ed_image, es_image = _load(entry, "ED"), _load(entry, "ES")
    if ed_image is None or es_image is None:
        raise _fault(entry, "ED or ES missing", f"{entry.path} needs {entry.record_id}_ED and _ES, or a sequence")
    laid = lay_onto(ed_image, es_image, entry.record_id, is_mask=False)
    shapes = ed_image.pixels.shape, laid.pixels.shape
    if shapes[0] != shapes[1] or shapes[0][0] != 1:
        raise _fault(entry, "frames of another size", f"ED {shapes[0]}, ES {shapes[1]}, expected (1, h, w) twice")
    notes = [*_notes_of(ed_image), *_notes_of(es_image), *laid.notes]
    if info.ends_fault:
        notes.append(note("stated value not used", f"{info.ends_fault}; ED and ES are read from their own images."))
    masks = _load_masks(entry, ed_image, {0: "ED_gt", 1: "ES_gt"})
    samples = np.concatenate([ed_image.pixels, laid.pixels])
    stated = ed_image.stated if ed_image.stated == es_image.stated else None
    return _Record(ed_image, samples, stated, 0, 1, False, masks, notes)


def _load_masks(entry: Entry, anchor: ImageFile, kinds: dict[int, str]) -> dict[int, Laid]:
    """Reads the masks that exist, laid onto the pictures."""
    masks = {}
    for index, kind in kinds.items():
        if (mask := _load(entry, kind)) is None:
            continue
        if mask.has_colours:
            detail = f"{mask.path} holds colours, expected labels: give each structure its label"
            raise _fault(entry, "label out of range", detail)
        laid = lay_onto(anchor, mask, entry.record_id, is_mask=True)
        count = len(anchor.pixels) if index < 0 else 1
        if laid.pixels.shape != (count, *anchor.shape):
            detail = f"mask {laid.pixels.shape}, image {(count, *anchor.shape)} (t, h, w)"
            if laid.pixels.shape[1:] == anchor.shape and set(np.unique(laid.pixels).tolist()) <= {0, 1, 255}:
                detail += f": {len(laid.pixels)} masks in one file, one for each label? Give one mask of labels 0..3"
            raise _fault(entry, "mask of another size", f"{mask.path}: {detail}")
        own = [one for one in _notes_of(mask) if one.code != "pixel spacing doubtful"]  # that of the picture counts
        masks[index] = dataclasses.replace(laid, notes=(*own, *laid.notes))
    return masks


def _label_map(entry: Entry, record: _Record) -> tuple[UInt8[np.ndarray, "t h w"], Bool[np.ndarray, " t"]]:
    """Returns label maps of all frames, and which of them have one."""
    label_map = np.zeros(record.samples.shape, np.uint8)
    has_reference = np.zeros(len(label_map), bool)
    if record.masks:
        stored = [mask.pixels for mask in record.masks.values()]
        step, said = to_labels(stored, entry.record_id, names=f"masks of {entry.record_id}")
        record.notes.extend([said] if said else [])
    for index, mask in record.masks.items():
        frames = slice(None) if index < 0 else slice(index, index + 1)
        label_map[frames] = divide(mask.pixels, step)
        has_reference[frames] = True
        record.notes.extend(mask.notes)
    return label_map, has_reference


def _choose_turn(entry: Entry, record: _Record, ends: UInt8[np.ndarray, "2 h w"]) -> Turn:
    """Returns how the record is turned to the directions of CAMUS, checked by the anatomy."""
    turn = standard_turn(record.anchor.placements)
    try:
        _check_ends(turn.apply(ends), entry)
    except UnreadableRecord as fault:
        if not turn:
            raise
        _check_ends(ends, entry)  # neither way is right
        text = f"The header says that the picture is stored with {turn}, but the atrium then lies wrong"
        record.notes.append(note("orientation contradicted", f"{text} ({fault.detail}); it was left as stored."))
        return Turn()
    if turn:
        text = f"The picture is stored with {turn}, as its header states, and was turned to the directions of CAMUS."
        record.notes.append(note("orientation", text))
    return turn


def _check_ends(ends: UInt8[np.ndarray, "2 h w"], entry: Entry) -> None:
    for label_map in ends:
        check_anatomy(label_map, entry.record_id)


def _notes_of(image: ImageFile) -> list[Note]:
    return [one for one in image.notes if one.code not in NOT_SHOWN]


def _fault(entry: Entry, reason: str, detail: str) -> UnreadableRecord:
    return UnreadableRecord(entry.record_id, reason, detail)


def _load(entry: Entry, kind: str) -> ImageFile | None:
    """Reads one image of the record; None where it is not there."""
    path = entry.files.get(kind)
    if path is None or not os.path.isfile(path):  # a folder may have the name of a file
        return None
    try:
        return load_image(path, entry.record_id)
    except UnreadableRecord as fault:
        if fault.reason == "data file missing" and kind == SEQUENCES["mhd"]:
            return None  # a header without its data: usual for the sequences of the .mhd release
        raise
    except FileNotFoundError as error:
        raise _fault(entry, "file missing", f"{path}: {error.strerror}: look at the tree") from error
