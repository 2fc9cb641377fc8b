"""Records of CAMUS as `Clip`, read and written. A record is one apical view of one patient.

On disk an array is (x, y[, t]); in a `Clip` it is (t, row, column).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from data_pipelines.files import make_folder, write_atomically
from data_pipelines.formats.camus.images import LoadedImage, check_anatomy, check_masks, load_image, nifti_bytes
from data_pipelines.formats.camus.tree import SPLIT_FILES, Entry
from data_pipelines.records import ENDOCARDIUM, QUALITIES, VIEWS, Clip, UnreadableRecord

SEQUENCES = {"nifti": "half_sequence", "mhd": "sequence"}
NUMBERS = ("ed", "es", "nbframe", "ef", "lvef", "framerate", "lvedv", "lvesv")


@dataclasses.dataclass(frozen=True)
class _Frames:
    """The frames of a record as they lie on disk.

    Attributes:
        pixels: grey levels as stored, (t, h, w).
        spacing_mm: pixel spacing (row_mm, column_mm), or None where it is not known.
        ed: index of the end-diastolic frame.
        es: index of the end-systolic frame.
        is_sequence: False where these are the two images of ED and ES.
    """

    pixels: Shaped[np.ndarray, "t h w"]
    spacing_mm: tuple[float, float] | None
    ed: int
    es: int
    is_sequence: bool


# ---- writing -------------------------------------------------------------------------------------------------------


def write_clip(clip: Clip, root: Path) -> None:
    """Writes one clip as root/patientNNNN/patientNNNN_{view}_{ED,ES,half_sequence}{,_gt}.nii.gz and Info_{view}.cfg.

    The half sequence spans ED..ES inclusive in time order (so it runs ES -> ED where ES comes first); frames outside
    are not kept. A mask is written where the frame has a reference, half_sequence_gt only if every frame has one. The
    bytes depend on the clip alone. Each file appears whole or not at all.

    Args:
        clip: a clip of a CAMUS view with ED and ES known.
        root: the folder of the tree.

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
    for name, kept, has_mask in (
        ("ED", ed, clip.has_reference[ed]),
        ("ES", es, clip.has_reference[es]),
        ("half_sequence", span, clip.has_reference[span].all()),
    ):
        stem = folder / f"{clip.patient_id}_{clip.view}_{name}"
        write_atomically(Path(f"{stem}.nii.gz"), nifti_bytes(clip.frames[kept], clip.spacing_mm))
        mask_path = Path(f"{stem}_gt.nii.gz")
        if has_mask:
            write_atomically(mask_path, nifti_bytes(clip.label_map[kept], clip.spacing_mm))
        else:
            mask_path.unlink(missing_ok=True)  # an earlier clip of the same name may have left one
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
    """Writes root/database_split/subgroup_{training,validation,testing}.txt, one patient on each line.

    Args:
        root: the folder that holds the patients, or its parent where that folder is called database_nifti.
        subgroups: patient ids by "training" ("train"), "validation", "testing" ("test"); absent ones are written empty.

    Raises:
        ValueError: a subgroup has another name.
    """
    named = {SPLIT_FILES.get(name, name): ids for name, ids in subgroups.items()}
    if unknown := set(named) - set(SPLIT_FILES.values()):
        raise ValueError(f"subgroups {sorted(unknown)} are not of CAMUS: use {sorted(SPLIT_FILES.values())}")
    folder = make_folder(Path(root) / "database_split")
    for name in SPLIT_FILES.values():
        write_atomically(folder / f"subgroup_{name}.txt", "".join(f"{i}\n" for i in named.get(name, ())).encode())


# ---- reading -------------------------------------------------------------------------------------------------------


def read(entry: Entry, *, sequence: bool = True) -> Clip:
    """Reads the frames from ED to ES (ED first, whatever the order on disk), or ED and ES alone as a clip of two.

    The half sequence is read if it is there and `sequence` holds; else the two frames, whose `fps` is None since they
    are not neighbours in time. A frame without a mask file has no reference. The spacing is None unless the header
    gives it in mm.

    Args:
        entry: what `index` gave.
        sequence: False reads ED and ES alone.

    Raises:
        UnreadableRecord: with one of the reasons "truncated file", "zero frames", "frames of another size", "grey level
            out of range", "mask of another size", "label out of range", "empty mask", "ED or ES missing", "ED equals
            ES", "ED not in sequence", "cfg garbled", "axes transposed" (checked where the ED or the ES mask has an
            atrium: `check_anatomy`), "not a grey image" and "not readable".
        ImportError: the .mhd layout needs SimpleITK, which is not installed.
    """
    info = _read_info(entry)
    loaded = _load_frames(entry, info, sequence=sequence)
    ed, es, frames = loaded.ed, loaded.es, _as_grey_levels(entry, loaded.pixels)
    label_map, has_reference = _load_masks(entry, loaded, frames.shape)
    for index, name in ((ed, "ED"), (es, "ES")):
        if has_reference[index] and not (label_map[index] == ENDOCARDIUM).any():
            raise _fault(entry, "empty mask", f"the {name} mask has no label {ENDOCARDIUM}, the LV endocardium")
    are_equal = not loaded.is_sequence and (frames[0] == frames[1]).all() and (label_map[0] == label_map[1]).all()
    if ed == es or are_equal:
        raise _fault(entry, "ED equals ES", "they are the same frame: look at Info_*.cfg and at the two images")
    for index in (ed, es):
        check_anatomy(label_map[index], entry.record_id)
    order = np.arange(ed, es + 1) if ed < es else np.arange(ed, es - 1, -1)
    return Clip(
        frames=frames[order],
        label_map=label_map[order],
        has_reference=has_reference[order],
        ed_index=0,
        es_index=len(order) - 1,
        spacing_mm=loaded.spacing_mm,
        fps=info.get("framerate") if loaded.is_sequence else None,
        patient_id=entry.patient_id,
        view=entry.view,
        quality=info.get("imagequality"),
        ef_percent=info.get("ef", info.get("lvef")),
        volumes_ml=(info["lvedv"], info["lvesv"]) if {"lvedv", "lvesv"} <= info.keys() else None,
    )


def has_cfg(entry: Entry) -> bool:
    """Says whether Info_{view}.cfg is there."""
    return os.path.isfile(entry.path / f"Info_{entry.view}.cfg")  # Path.is_file raises in a folder of no permission


def es_first(entry: Entry) -> bool | None:
    """Says whether the sequence on disk runs from ES to ED, so that `read` reverses it; None without a sequence.

    Raises:
        UnreadableRecord: as `read`.
    """
    info, name = _read_info(entry), f"{entry.record_id}_{SEQUENCES['nifti']}.nii.gz"
    if "ed" in info and entry.layout == "nifti":
        return info["es"] < info["ed"] if os.path.isfile(entry.path / name) else None
    if (image := _load(entry, SEQUENCES[entry.layout])) is None:
        return None
    ed, es = _find_ends(entry, image.pixels, info)
    return es < ed


def _load_frames(entry: Entry, info: dict, *, sequence: bool) -> _Frames:
    """Reads the half sequence if it is wanted and there, else the images of ED and ES."""
    image = _load(entry, SEQUENCES[entry.layout]) if sequence else None
    if image is not None:
        ed, es = _find_ends(entry, image.pixels, info)
        return _Frames(image.pixels, image.spacing_mm, ed, es, is_sequence=True)
    ed_image, es_image = _load(entry, "ED"), _load(entry, "ES")
    if ed_image is None or es_image is None:
        raise _fault(entry, "ED or ES missing", f"{entry.path} needs {entry.record_id}_ED and _ES, or a sequence")
    shapes = ed_image.pixels.shape, es_image.pixels.shape
    if shapes[0] != shapes[1] or shapes[0][0] != 1:
        raise _fault(entry, "frames of another size", f"ED {shapes[0]}, ES {shapes[1]}, expected (1, h, w) twice")
    pixels = np.concatenate([ed_image.pixels, es_image.pixels])
    return _Frames(pixels, ed_image.spacing_mm, ed=0, es=1, is_sequence=False)


def _as_grey_levels(entry: Entry, pixels: Shaped[np.ndarray, "t h w"]) -> UInt8[np.ndarray, "t h w"]:
    if pixels.dtype == np.uint8:
        return pixels
    if not (pixels.min() >= 0 and pixels.max() <= 255):
        raise _fault(entry, "grey level out of range", f"{pixels.min()}..{pixels.max()}, expected 0..255: rescale")
    return np.rint(pixels).astype(np.uint8)


def _load_masks(
    entry: Entry, frames: _Frames, shape: tuple[int, ...]
) -> tuple[UInt8[np.ndarray, "t h w"], Bool[np.ndarray, " t"]]:
    """Reads the masks that exist: label maps of all frames, and which of them have one."""
    if frames.is_sequence and (masks := _load(entry, "half_sequence_gt")) is not None:
        return check_masks(masks.pixels, shape, entry.record_id), np.ones(shape[0], bool)
    label_map, has_reference = np.zeros(shape, np.uint8), np.zeros(shape[0], bool)
    for index, name in ((frames.ed, "ED_gt"), (frames.es, "ES_gt")):
        if (mask := _load(entry, name)) is not None:
            label_map[index] = check_masks(mask.pixels, (1, *shape[1:]), entry.record_id)[0]
            has_reference[index] = True
    return label_map, has_reference


def _fault(entry: Entry, reason: str, detail: str) -> UnreadableRecord:
    return UnreadableRecord(entry.record_id, reason, detail)


def _read_info(entry: Entry) -> dict:
    """Reads Info_{view}.cfg by lower-case key: those of `NUMBERS`, and imagequality. Empty without the file."""
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


def _find_ends(entry: Entry, frames: Shaped[np.ndarray, "t h w"], info: dict) -> tuple[int, int]:
    """Returns the indices of ED and ES: those of the cfg, else the two ends, told apart by the ED image."""
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
        if np.array_equal(frames[ed], ed_image.pixels[0]):
            return ed, es
    raise _fault(entry, "ED not in sequence", "without Info_*.cfg the ED image must be the first or last frame")


def _load(entry: Entry, kind: str) -> LoadedImage | None:
    """Reads one image of the record; None where it is not there."""
    path = entry.path / f"{entry.record_id}_{kind}{'.nii.gz' if entry.layout == 'nifti' else '.mhd'}"
    if not os.path.isfile(path):
        return None
    try:
        return load_image(path, entry.record_id)
    except FileNotFoundError as error:  # a header without its data: usual for the sequences of the .mhd release
        if kind == SEQUENCES["mhd"]:
            return None
        raise _fault(entry, "truncated file", f"{error}: fetch it again") from error
