"""Writes clips and splits as a tree of the CAMUS release in NIfTI."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from einops import rearrange
from jaxtyping import UInt8

from data_pipelines.files import make_folder, write_atomically
from data_pipelines.formats.camus.tree import SPLIT_FILES
from data_pipelines.records import VIEWS, Clip


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


def nifti_bytes(pixels: UInt8[np.ndarray, "*t h w"], spacing_mm: tuple[float, float] | None) -> bytes:
    """Encodes pixels as a gzipped NIfTI-1 file.

    Args:
        pixels: grey levels or labels of a frame or of a sequence; stored as (x, y) or (x, y, t).
        spacing_mm: pixel spacing (row_mm, column_mm); None writes zooms of 1 in an unknown unit.

    Returns:
        The file. Its bytes depend on the arguments alone: the gzip header has no time and no name.
    """
    row_mm, column_mm = spacing_mm or (1.0, 1.0)
    on_disk = rearrange(pixels, "h w -> w h" if pixels.ndim == 2 else "t h w -> w h t")
    affine = np.diag([-column_mm, -row_mm, 1.0, 1.0])  # x to the left, y to the back: the identity for ITK
    image = nib.Nifti1Image(np.ascontiguousarray(on_disk, dtype=np.uint8), affine)
    image.header.set_xyzt_units("mm" if spacing_mm else "unknown", "unknown")
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=buffer, mtime=0) as file:
        file.write(image.to_bytes())
    return buffer.getvalue()
