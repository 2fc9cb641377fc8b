"""Predicted masks next to reference masks, both as trees with CAMUS file names, without any model.

File names are `patientNNNN_{2CH,4CH}_{ED,ES,half_sequence}[_gt].{nii.gz,mhd}`, in any folders below the root. Where
there is a file with `_gt` and one without, the one with `_gt` is the mask.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data_pipelines.formats.camus.images import LoadedImage, load_image
from data_pipelines.notes import Note
from data_pipelines.records import ENDOCARDIUM, Clip, Skipped, UnreadableRecord

NAME = re.compile(r"(?P<patient>patient\d+)_(?P<view>2CH|4CH)_(?P<kind>ED|ES|half_sequence)(?P<gt>_gt)?\.(nii\.gz|mhd)")
Key = tuple[str, str, str]


@dataclasses.dataclass(frozen=True)
class MaskFiles:
    """The mask files of a tree, by (patient_id, view, "ED" | "ES" | "half_sequence").

    Attributes:
        root: the folder of the tree.
        masks: the masks.
        pictures: the grey images next to them.
    """

    root: Path
    masks: Mapping[Key, Path]
    pictures: Mapping[Key, Path]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A reference and a prediction of the same frames.

    Attributes:
        clip: the reference, ED first.
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
        notes: what is known of records beside their clips' own notes, by record.
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
    with_gt: dict[Key, Path] = {}
    without: dict[Key, Path] = {}
    for path in sorted(root.rglob("patient*")):
        if match := NAME.fullmatch(path.name):
            (with_gt if match["gt"] else without)[match["patient"], match["view"], match["kind"]] = path
    masks = {**without, **with_gt}
    if not masks:
        raise FileNotFoundError(
            f"{root} holds no file named like patient0001_4CH_ED_gt.nii.gz or patient0001_4CH_ED.nii.gz"
        )
    return MaskFiles(root, masks, {key: path for key, path in without.items() if key in with_gt})


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
    return MaskPairs(pairs, skipped)


def _read_pair(reference: MaskFiles, prediction: MaskFiles, keys: Sequence[Key]) -> Pair:
    """Reads one pair, from one file of the half cycle or from the two files of ED and ES."""
    patient_id, view, _ = keys[0]
    record_id = f"{patient_id}_{view}"
    for files, reason in ((reference, "no reference"), (prediction, "no prediction")):
        if missing := [key[2] for key in keys if key not in files.masks]:
            raise UnreadableRecord(record_id, reason, f"{files.root} has no mask of {' and '.join(missing)}")
    images = [_load_labels(reference.masks[key], record_id) for key in keys]
    masks = [image.pixels for image in images]
    predicted = [_load_labels(prediction.masks[key], record_id).pixels for key in keys]
    shown = [_load_picture(reference.pictures.get(key), mask, record_id) for key, mask in zip(keys, masks, strict=True)]
    if [m.shape for m in masks] != [m.shape for m in predicted] or len({m.shape[1:] for m in masks}) > 1:
        sizes = f"{[m.shape for m in predicted]} against {[m.shape for m in masks]} (frames, rows, columns)"
        raise UnreadableRecord(record_id, "another size", f"{sizes}: give predictions the references' size")
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
    )
    return _put_ed_first(clip, np.concatenate(predicted), may_reverse=len(keys) == 1)


def _load_labels(path: Path, record_id: str) -> LoadedImage:
    """Reads labels 0..3 as uint8."""
    image = load_image(path, record_id)
    if unknown := sorted(set(np.unique(image.pixels).tolist()) - {0, 1, 2, 3}):
        detail = f"{path} holds {unknown[:3]}, expected labels 0..3 with 1 for the LV endocardium"
        raise UnreadableRecord(record_id, "not a label mask", detail)
    return LoadedImage(image.pixels.astype(np.uint8), image.spacing_mm)


def _load_picture(path: Path | None, mask: UInt8[np.ndarray, "t h w"], record_id: str) -> UInt8[np.ndarray, "t h w"]:
    """Reads the grey frames next to a reference mask, for the report; black where there are none of its size."""
    if path is None:
        return np.zeros_like(mask)
    pixels = load_image(path, record_id).pixels
    return pixels.clip(0, 255).astype(np.uint8) if pixels.shape == mask.shape else np.zeros_like(mask)


def _put_ed_first(clip: Clip, prediction: UInt8[np.ndarray, "t h w"], *, may_reverse: bool) -> Pair:
    """Pairs a clip with its prediction; reverses both where the last frame has the larger cavity."""
    first, last = (np.count_nonzero(clip.label_map[t] == ENDOCARDIUM) for t in (0, -1))
    order = slice(None, None, -1 if may_reverse and last > first else 1)
    ordered = dataclasses.replace(clip, frames=clip.frames[order], label_map=clip.label_map[order])
    return Pair(ordered, (prediction[order] == ENDOCARDIUM).astype(np.uint8))
