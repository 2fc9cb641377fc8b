"""Predicted masks beside reference masks, both as trees with CAMUS file names and without any model.

`patientNNNN_{2CH,4CH}_{ED,ES,half_sequence}[_gt].{nii.gz,mhd}`, in any folders below the root. Where a
file with and one without `_gt` lie beside each other, the one with `_gt` is the mask.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data_pipelines.formats.camus.images import load_image
from data_pipelines.records import ENDOCARDIUM, Clip, Skipped, UnreadableRecord

NAME = re.compile(r"(?P<patient>patient\d+)_(?P<view>2CH|4CH)_(?P<kind>ED|ES|half_sequence)(?P<gt>_gt)?\.(nii\.gz|mhd)")
Key = tuple[str, str, str]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A reference clip, ED first, and the predicted LV mask 0/1 at its size."""

    clip: Clip
    prediction: UInt8[np.ndarray, "t h w"]


def index(root: Path) -> tuple[dict[Key, Path], dict[Key, Path]]:
    """The mask files below `root`, and the pictures beside them, by (patient_id, view, "ED" | "ES" | "half_sequence").

    Raises:
        FileNotFoundError: the folder is missing, or holds no file with a CAMUS name.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; expected a tree of CAMUS masks")
    with_gt: dict[Key, Path] = {}
    without: dict[Key, Path] = {}
    for path in sorted(root.rglob("patient*")):
        if found := NAME.fullmatch(path.name):
            (with_gt if found["gt"] else without)[found["patient"], found["view"], found["kind"]] = path
    masks = {**without, **with_gt}
    if not masks:
        raise FileNotFoundError(
            f"{root} holds no file named like patient0001_4CH_ED_gt.nii.gz or patient0001_4CH_ED.nii.gz"
        )
    return masks, {key: path for key, path in without.items() if key in with_gt}


def read_pairs(predictions: Path, references: Path, *, sequences: bool) -> tuple[list[Pair], list[Skipped]]:
    """One pair for each patient and view: ED and ES, or with `sequences` every frame of the half cycle.

    Spacing comes from the reference's header. A half cycle that runs from ES to ED is flipped: the end with the larger
    reference area is ED. What is missing or does not fit is skipped by name; a prediction without a reference too.

    Raises:
        FileNotFoundError: as `index`.
    """
    (reference_files, pictures), (prediction_files, _) = index(references), index(predictions)
    kinds = ("half_sequence",) if sequences else ("ED", "ES")
    pairs, skipped = [], []
    names = sorted({key[:2] for files in (reference_files, prediction_files) for key in files if key[2] in kinds})
    for patient_id, view in names:
        record_id, keys = f"{patient_id}_{view}", [(patient_id, view, kind) for kind in kinds]
        try:
            for files, what, root in (
                (reference_files, "no reference", references),
                (prediction_files, "no prediction", predictions),
            ):
                if missing := [kind for key, kind in zip(keys, kinds, strict=True) if key not in files]:
                    raise UnreadableRecord(record_id, what, f"{root} has no mask of {' and '.join(missing)}")
            masks, spacings = zip(*(_labels(reference_files[key], record_id) for key in keys), strict=True)
            predicted = [_labels(prediction_files[key], record_id)[0] for key in keys]
            shown = [_picture(pictures.get(key), mask, record_id) for key, mask in zip(keys, masks, strict=True)]
            if [m.shape for m in masks] != [m.shape for m in predicted] or len({m.shape[1:] for m in masks}) > 1:
                sizes = f"{[m.shape for m in predicted]} against {[m.shape for m in masks]} (frames, rows, columns)"
                raise UnreadableRecord(record_id, "another size", f"{sizes}: give predictions the references' size")
            clip = Clip(
                frames=np.concatenate(shown),
                label_map=np.concatenate(masks),
                has_reference=np.ones(sum(map(len, masks)), bool),
                ed_index=0,
                es_index=sum(map(len, masks)) - 1,
                spacing_mm=spacings[0],
                fps=None,
                patient_id=patient_id,
                view=view,
            )
            pairs.append(_ed_first(clip, np.concatenate(predicted), flip=sequences))
        except UnreadableRecord as error:
            skipped.append(Skipped(error.record_id, error.reason, error.detail))
    return pairs, skipped


def _labels(path: Path, record_id: str) -> tuple[UInt8[np.ndarray, "t h w"], tuple[float, float] | None]:
    pixels, spacing_mm = load_image(path, record_id)
    if found := sorted(set(np.unique(pixels).tolist()) - {0, 1, 2, 3}):
        detail = f"{path} holds {found[:3]}, expected labels 0..3 with 1 for the LV endocardium"
        raise UnreadableRecord(record_id, "not a label mask", detail)
    return pixels.astype(np.uint8), spacing_mm


def _picture(path: Path | None, mask: np.ndarray, record_id: str) -> UInt8[np.ndarray, "t h w"]:
    """The grey frames beside a reference mask, for the report; black where there are none of its size."""
    pixels = load_image(path, record_id)[0] if path else np.zeros(0)
    return pixels.clip(0, 255).astype(np.uint8) if pixels.shape == mask.shape else np.zeros_like(mask)


def _ed_first(clip: Clip, prediction: np.ndarray, *, flip: bool) -> Pair:
    first, last = (np.count_nonzero(clip.label_map[t] == ENDOCARDIUM) for t in (0, -1))
    order = slice(None, None, -1 if flip and last > first else 1)
    turned = dataclasses.replace(clip, frames=clip.frames[order], label_map=clip.label_map[order])
    return Pair(turned, (prediction[order] == ENDOCARDIUM).astype(np.uint8))
