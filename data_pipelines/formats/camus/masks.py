"""Predicted masks next to reference masks, both as trees with CAMUS file names, without any model.

File names are `patientNNNN_{2CH,4CH}_{ED,ES,half_sequence}[_gt].{nii.gz,nii,mhd}` in any case, in any folders below the
root. Where there is a file with `_gt` and one without, the one with `_gt` is the mask. Predictions are laid onto the
references by what their headers state; a header that states nothing is taken in the order of storage, with a note.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data_pipelines.formats.agreement import lay_onto
from data_pipelines.formats.camus.images import load_image
from data_pipelines.formats.camus.labels import divide, label_notes, to_labels
from data_pipelines.formats.camus.names import parse
from data_pipelines.formats.image_file import ImageFile
from data_pipelines.grey_levels import to_grey_levels
from data_pipelines.notes import Note, note
from data_pipelines.records import ENDOCARDIUM, Clip, Skipped, UnreadableRecord

Key = tuple[str, str, str]


@dataclasses.dataclass(frozen=True)
class MaskFiles:
    """The mask files of a tree, by (patient_id, view, "ED" | "ES" | "half_sequence").

    Attributes:
        root: the folder of the tree.
        masks: the masks.
        pictures: the grey images next to them.
        twice: masks of which there are several files.
    """

    root: Path
    masks: Mapping[Key, Path]
    pictures: Mapping[Key, Path]
    twice: Mapping[Key, tuple[Path, ...]]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A reference and a prediction of the same frames.

    Attributes:
        clip: the reference, ED first; its notes are on the reference and the prediction.
        prediction: predicted LV mask, 0 or 1, (t, h, w) as in the clip.
    """

    clip: Clip
    prediction: UInt8[np.ndarray, "t h w"]


@dataclasses.dataclass(frozen=True)
class MaskPairs:
    """All pairs of two trees.

    Attributes:
        pairs: one for each patient and view.
        skipped: what is missing in one of the trees, or does not fit.
        notes: what was found beside the masks, by record; records without a note are absent.
    """

    pairs: list[Pair]
    skipped: list[Skipped]
    notes: Mapping[str, tuple[Note, ...]] = dataclasses.field(default_factory=dict)


def index(root: Path) -> MaskFiles:
    """Finds the mask files below a folder, and the grey images next to them.

    Raises:
        FileNotFoundError: the folder is missing, or holds no file with a CAMUS name.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; expected a tree of CAMUS masks")
    found: dict[bool, dict[Key, list[Path]]] = {True: {}, False: {}}
    for path in sorted(root.rglob("*")):
        if (name := parse(path.name)) and not path.is_dir():
            key = (name.patient, name.view, name.kind.removesuffix("_gt"))
            found[name.kind.endswith("_gt")].setdefault(key, []).append(path)
    masks = {**found[False], **found[True]}
    if not masks:
        raise FileNotFoundError(
            f"{root} holds no file named like patient0001_4CH_ED_gt.nii.gz or patient0001_4CH_ED.nii.gz"
        )
    return MaskFiles(
        root,
        {key: paths[0] for key, paths in masks.items()},
        {key: paths[0] for key, paths in found[False].items() if key in found[True]},
        {key: tuple(paths) for key, paths in masks.items() if len(paths) > 1},
    )


def read_pairs(predictions: Path, references: Path, *, sequences: bool) -> MaskPairs:
    """Reads a reference and a prediction for each patient and view.

    The spacing comes from the reference's header. A half cycle that runs from ES to ED is reversed: the end with the
    larger reference area is ED. What is missing in one of the trees or does not fit is skipped by name.

    Args:
        predictions: the tree of predicted masks.
        references: the tree of reference masks.
        sequences: True pairs every frame of the half cycle, False pairs ED and ES.

    Raises:
        FileNotFoundError: as `index`.
    """
    reference, prediction = index(references), index(predictions)
    kinds = ("half_sequence",) if sequences else ("ED", "ES")
    pairs, skipped = [], []
    names = sorted({key[:2] for files in (reference, prediction) for key in files.masks if key[2] in kinds})
    for patient_id, view in names:
        try:
            pairs.append(_read_pair(reference, prediction, [(patient_id, view, kind) for kind in kinds]))
        except UnreadableRecord as error:
            skipped.append(Skipped(error.record_id, error.reason, error.detail))
    notes = {pair.clip.record_id: pair.clip.notes for pair in pairs if pair.clip.notes}
    return MaskPairs(pairs, skipped, notes)


def _read_pair(reference: MaskFiles, prediction: MaskFiles, keys: Sequence[Key]) -> Pair:
    """Reads one pair, from one file of the half cycle or from the two files of ED and ES."""
    patient_id, view, _ = keys[0]
    record_id = f"{patient_id}_{view}"
    for files, reason in ((reference, "no reference"), (prediction, "no prediction")):
        if missing := [key[2] for key in keys if key not in files.masks]:
            raise UnreadableRecord(record_id, reason, f"{files.root} has no mask of {' and '.join(missing)}")
        if twice := next((files.twice[key] for key in keys if key in files.twice), None):
            detail = f"{' and '.join(str(path) for path in twice[:3])} have one name: keep one of them"
            raise UnreadableRecord(record_id, "several masks of one frame", detail)
    notes: list[Note] = []
    images = [load_image(reference.masks[key], record_id) for key in keys]
    masks = _labels(images[0], images, record_id, notes)
    predicted = _labels(images[0], [load_image(prediction.masks[key], record_id) for key in keys], record_id, notes)
    if [m.shape for m in masks] != [m.shape for m in predicted] or len({m.shape[1:] for m in masks}) > 1:
        sizes = f"{[m.shape for m in predicted]} against {[m.shape for m in masks]} (frames, rows, columns)"
        raise UnreadableRecord(record_id, "another size", f"{sizes}: give predictions the references' size")
    shown = [
        _load_picture(images[0], reference.pictures.get(key), mask, record_id, notes)
        for key, mask in zip(keys, masks, strict=True)
    ]
    count = sum(map(len, masks))
    clip = Clip(
        frames=np.concatenate(shown),
        label_map=np.concatenate(masks),
        has_reference=np.ones(count, bool),
        ed_index=0,
        es_index=count - 1,
        spacing_mm=images[0].spacing_mm,
        fps=None,
        patient_id=patient_id,
        view=view,
        notes=tuple(dict.fromkeys(notes)),
    )
    return _put_ed_first(clip, np.concatenate(predicted), may_reverse=len(keys) == 1)


def _labels(
    anchor: ImageFile, images: Sequence[ImageFile], record_id: str, notes: list[Note]
) -> list[UInt8[np.ndarray, "t h w"]]:
    """Returns labels 0..3 of masks that belong together, laid onto the first reference; adds what was found."""
    laid = [lay_onto(anchor, image, record_id, is_mask=True) for image in images]
    names = ", ".join(str(image.path) for image in images)
    if colours := [image.path for image in images if image.has_colours]:
        detail = f"{colours[0]} holds colours, expected labels: give each structure its label"
        raise UnreadableRecord(record_id, "label out of range", detail)
    step, said = to_labels([one.pixels for one in laid], record_id, names=names)
    masks = [divide(one.pixels, step) for one in laid]
    notes += [said] if said else []
    for image, one, mask in zip(images, laid, masks, strict=True):
        notes += [said for said in image.notes if not said.code.startswith(("frame rate", "pixel spacing"))]
        notes += one.notes
        notes += label_notes(mask[0], image.path.name)
    return masks


def _load_picture(
    anchor: ImageFile, path: Path | None, mask: UInt8[np.ndarray, "t h w"], record_id: str, notes: list[Note]
) -> UInt8[np.ndarray, "t h w"]:
    """Reads the grey frames next to a reference mask, for the report; black, with a note, where they do not fit."""
    if path is None:
        return np.zeros_like(mask)
    try:
        image = load_image(path, record_id)
        pixels = lay_onto(anchor, image, record_id, is_mask=False).pixels
        if pixels.shape != mask.shape:
            raise UnreadableRecord(record_id, "another size", f"{path} has {pixels.shape}, the mask {mask.shape}")
        return to_grey_levels(pixels, record_id, source=str(path), stated=image.stated).frames
    except UnreadableRecord as fault:
        notes.append(note("picture not shown", f"{path.name}: {fault.reason}: {fault.detail}."))
        return np.zeros_like(mask)


def _put_ed_first(clip: Clip, prediction: UInt8[np.ndarray, "t h w"], *, may_reverse: bool) -> Pair:
    """Pairs a clip with its prediction; reverses both where the last frame has the larger cavity."""
    first, last = (np.count_nonzero(clip.label_map[t] == ENDOCARDIUM) for t in (0, -1))
    order = slice(None, None, -1 if may_reverse and last > first else 1)
    ordered = dataclasses.replace(clip, frames=clip.frames[order], label_map=clip.label_map[order])
    return Pair(ordered, (prediction[order] == ENDOCARDIUM).astype(np.uint8))
