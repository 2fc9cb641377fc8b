"""CAMUS on disk: the official NIfTI release (read and written) and the older .mhd/.raw release (read).

Source of the format: S. Leclerc et al., "Deep Learning for Segmentation using an Open Large-Scale Dataset in 2D
Echocardiography", IEEE TMI 38(9), 2019, and the release notes of the data set. On disk an array is (x, y[, t]); in a
`Clip` it is (t, row, column). A record is one apical view of one patient.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from data_pipelines.files import make_folder, write_atomically
from data_pipelines.formats.camus.images import check_anatomy, check_masks, load_image, nifti_bytes
from data_pipelines.formats.camus.tree import SPLIT_FILES, Entry, index, patient_splits
from data_pipelines.records import ENDOCARDIUM, QUALITIES, VIEWS, Clip, UnreadableRecord

__all__ = ["Entry", "es_first", "has_cfg", "index", "patient_splits", "read", "write_clip", "write_split"]

SEQUENCES = {"nifti": "half_sequence", "mhd": "sequence"}
NUMBERS = ("ed", "es", "nbframe", "ef", "lvef", "framerate", "lvedv", "lvesv")


# ---- writing -------------------------------------------------------------------------------------------------------


def write_clip(clip: Clip, root: Path) -> None:
    """Writes one clip as root/patientNNNN/patientNNNN_{view}_{ED,ES,half_sequence}{,_gt}.nii.gz and Info_{view}.cfg.

    The half sequence spans ED..ES inclusive in time order (so it runs ES -> ED where ES comes first); frames outside
    are not kept. A mask is written where the frame is labelled, half_sequence_gt only if every frame of it is. The
    bytes depend on the clip alone. Each file appears whole or not at all.

    Raises:
        ValueError: the view is not one of CAMUS, or ED and ES are unknown, equal or outside the clip.
        OSError: the folder cannot be written (PermissionError where it is read-only).
    """
    ed, es = clip.ed_index, clip.es_index
    if clip.view not in VIEWS:
        raise ValueError(f"{clip.record_id}: view is {clip.view!r}, CAMUS has {VIEWS}: set Clip.view")
    if ed is None or es is None or ed == es or not (0 <= ed < len(clip) and 0 <= es < len(clip)):
        raise ValueError(f"{clip.record_id}: ED {ed} and ES {es} must be two different frames of {len(clip)}")
    span = slice(min(ed, es), max(ed, es) + 1)
    folder = make_folder(Path(root) / clip.patient_id)
    for name, kept, labelled in (
        ("ED", ed, clip.has_reference[ed]),
        ("ES", es, clip.has_reference[es]),
        ("half_sequence", span, clip.has_reference[span].all()),
    ):
        stem = folder / f"{clip.patient_id}_{clip.view}_{name}"
        write_atomically(Path(f"{stem}.nii.gz"), nifti_bytes(clip.frames[kept], clip.spacing_mm))
        mask_path = Path(f"{stem}_gt.nii.gz")
        if labelled:
            write_atomically(mask_path, nifti_bytes(clip.label_map[kept], clip.spacing_mm))
        else:
            mask_path.unlink(missing_ok=True)  # of an earlier clip of the same name
    fields = {"ED": int(ed - span.start + 1), "ES": int(es - span.start + 1), "NbFrame": int(span.stop - span.start)}
    fields |= {"ImageQuality": clip.quality, "EF": clip.ef_percent, "FrameRate": clip.fps}
    fields |= dict(zip(("LVedv", "LVesv"), clip.volumes_ml or (None, None), strict=True))
    lines = [
        f"{key}: {value if isinstance(value, str | int) else float(value)}\n"
        for key, value in fields.items()
        if value is not None
    ]
    write_atomically(folder / f"Info_{clip.view}.cfg", "".join(lines).encode())


def write_split(root: Path, subgroups: Mapping[str, Sequence[str]]) -> None:
    """Writes root/database_split/subgroup_{training,validation,testing}.txt, one patient a line.

    Args:
        root: the folder that holds the patients, or its parent where that folder is called database_nifti.
        subgroups: patient ids by "training" ("train"), "validation", "testing" ("test"); absent ones are written empty.

    Raises:
        ValueError: another name of a subgroup.
    """
    named = {SPLIT_FILES.get(name, name): ids for name, ids in subgroups.items()}
    if unknown := set(named) - set(SPLIT_FILES.values()):
        raise ValueError(f"subgroups {sorted(unknown)} are not of CAMUS: use {sorted(SPLIT_FILES.values())}")
    folder = make_folder(Path(root) / "database_split")
    for name in SPLIT_FILES.values():
        write_atomically(folder / f"subgroup_{name}.txt", "".join(f"{i}\n" for i in named.get(name, ())).encode())


# ---- reading -------------------------------------------------------------------------------------------------------


def read(entry: Entry, *, sequence: bool = True) -> Clip:
    """The frames from ED to ES (ED first, whatever the order on disk), or ED and ES alone as a clip of two frames.

    The half sequence is used if it is there and `sequence` holds; else the two frames, whose `fps` is None since they
    are not neighbours in time. A frame without a mask file is not labelled. Spacing is None unless the header gives mm.

    Raises:
        UnreadableRecord: "truncated file", "zero frames", "frames of another size", "grey level out of range", "mask of
            another size", "label out of range", "empty mask", "ED or ES missing", "ED equals ES", "ED not in sequence",
            "cfg garbled", "axes transposed" (checked where the ED or the ES mask has an atrium: `check_anatomy`), "not
            a grey image", "not readable".
        ImportError: the .mhd layout without SimpleITK.
    """
    info = _read_info(entry)
    found = _load(entry, SEQUENCES[entry.layout]) if sequence else None
    if found is not None:
        (frames, spacing_mm), sequence_masks = found, _load(entry, "half_sequence_gt")
        ed, es = _ends(entry, frames, info)
    else:
        pair = [_load(entry, name) for name in ("ED", "ES")]
        if pair[0] is None or pair[1] is None:
            raise _fault(entry, "ED or ES missing", f"{entry.path} needs {entry.record_id}_ED and _ES, or a sequence")
        images, (spacing_mm, _) = zip(*pair, strict=True)
        if images[0].shape != images[1].shape or len(images[0]) != 1:
            detail = f"ED {images[0].shape}, ES {images[1].shape}, expected (1, h, w) twice"
            raise _fault(entry, "frames of another size", detail)
        frames, sequence_masks, (ed, es) = np.concatenate(images), None, (0, 1)
    if frames.dtype != np.uint8:
        if not (frames.min() >= 0 and frames.max() <= 255):
            raise _fault(entry, "grey level out of range", f"{frames.min()}..{frames.max()}, expected 0..255: rescale")
        frames = np.rint(frames).astype(np.uint8)
    masks, labelled = np.zeros(frames.shape, np.uint8), np.zeros(len(frames), bool)
    if sequence_masks is not None:
        masks, labelled = check_masks(sequence_masks[0], frames.shape, entry.record_id), ~labelled
    else:
        for place, name in ((ed, "ED_gt"), (es, "ES_gt")):
            if (mask := _load(entry, name)) is not None:
                masks[place] = check_masks(mask[0], (1, *frames.shape[1:]), entry.record_id)[0]
                labelled[place] = True
    for place, name in ((ed, "ED"), (es, "ES")):
        if labelled[place] and not (masks[place] == ENDOCARDIUM).any():
            raise _fault(entry, "empty mask", f"the {name} mask has no label {ENDOCARDIUM}, the LV endocardium")
    if ed == es or (found is None and (frames[0] == frames[1]).all() and (masks[0] == masks[1]).all()):
        raise _fault(entry, "ED equals ES", "they are the same frame: look at Info_*.cfg and at the two images")
    for place in (ed, es):
        check_anatomy(masks[place], entry.record_id)
    order = np.arange(ed, es + 1) if ed < es else np.arange(ed, es - 1, -1)
    return Clip(
        frames=frames[order],
        label_map=masks[order],
        has_reference=labelled[order],
        ed_index=0,
        es_index=len(order) - 1,
        spacing_mm=spacing_mm,
        fps=info.get("framerate") if found else None,
        patient_id=entry.patient_id,
        view=entry.view,
        quality=info.get("imagequality"),
        ef_percent=info.get("ef", info.get("lvef")),
        volumes_ml=(info["lvedv"], info["lvesv"]) if {"lvedv", "lvesv"} <= info.keys() else None,
    )


def has_cfg(entry: Entry) -> bool:
    """Whether Info_{view}.cfg is there."""
    return os.path.isfile(entry.path / f"Info_{entry.view}.cfg")  # Path.is_file raises in a folder of no permission


def es_first(entry: Entry) -> bool | None:
    """Whether the sequence on disk runs from ES to ED, which `read` turns round; None where there is no sequence.

    Raises:
        UnreadableRecord: as `read`.
    """
    info, name = _read_info(entry), f"{entry.record_id}_{SEQUENCES['nifti']}.nii.gz"
    if "ed" in info and entry.layout == "nifti":
        return info["es"] < info["ed"] if os.path.isfile(entry.path / name) else None
    if (found := _load(entry, SEQUENCES[entry.layout])) is None:
        return None
    ed, es = _ends(entry, found[0], info)
    return es < ed


def _fault(entry: Entry, reason: str, detail: str) -> UnreadableRecord:
    return UnreadableRecord(entry.record_id, reason, detail)


def _read_info(entry: Entry) -> dict:
    """Info_{view}.cfg by lower-case key: those of `NUMBERS`, and imagequality. Empty without the file."""
    path = entry.path / f"Info_{entry.view}.cfg"
    if not has_cfg(entry):
        return {}
    try:
        content = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise _fault(entry, "not readable", f"{path}: {error.strerror}: make it readable") from error
    lines = [line for line in content.splitlines() if line.strip()]
    text = {line.partition(":")[0].strip().lower(): line.partition(":")[2].strip() for line in lines}
    try:
        if bad := [line for line in lines if ":" not in line]:
            raise ValueError(f"line {bad[0][:40]!r} is not 'Key: value'")
        info: dict = {key: float(text[key]) for key in NUMBERS if text.get(key)}
        if not np.isfinite(list(info.values())).all() or any(info.get(key, 1) % 1 for key in NUMBERS[:3]):
            raise ValueError(f"numbers must be finite, frame numbers whole: {info}")
        if ("ed" in info) != ("es" in info):
            raise ValueError("only one of ED and ES is given")
        if quality := text.get("imagequality", "").capitalize():
            info["imagequality"] = QUALITIES[QUALITIES.index(quality)]
    except ValueError as error:
        raise _fault(entry, "cfg garbled", f"{path}: {error}") from error
    return info


def _ends(entry: Entry, frames: Shaped[np.ndarray, "t h w"], info: dict) -> tuple[int, int]:
    """The indices of ED and ES: those of the cfg, else the two ends of the sequence, told apart by the ED image."""
    n = len(frames)
    if "ed" in info:
        ed, es = int(info["ed"]) - 1, int(info["es"]) - 1
        if not (0 <= ed < n and 0 <= es < n and info.get("nbframe", n) == n):
            detail = f"ED {ed + 1}, ES {es + 1}, NbFrame {info.get('nbframe')}, but the sequence has frames 1..{n}"
            raise _fault(entry, "cfg garbled", detail)
        return ed, es
    if (ed_image := _load(entry, "ED")) is None:
        raise _fault(entry, "ED or ES missing", "neither Info_*.cfg nor an ED image tells which frame is ED: add one")
    for ed, es in ((0, n - 1), (n - 1, 0)):
        if np.array_equal(frames[ed], ed_image[0][0]):
            return ed, es
    raise _fault(entry, "ED not in sequence", "without Info_*.cfg the ED image must be the first or last frame")


def _load(entry: Entry, kind: str) -> tuple[Shaped[np.ndarray, "t h w"], tuple[float, float] | None] | None:
    """One image as (t, row, column) with (row_mm, column_mm), or None if it is not there."""
    path = entry.path / f"{entry.record_id}_{kind}{'.nii.gz' if entry.layout == 'nifti' else '.mhd'}"
    if not os.path.isfile(path):
        return None
    try:
        return load_image(path, entry.record_id)
    except FileNotFoundError as error:  # a header without its data: usual for the sequences of the .mhd release
        if kind == SEQUENCES["mhd"]:
            return None
        raise _fault(entry, "truncated file", f"{error}: fetch it again") from error
