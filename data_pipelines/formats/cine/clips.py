"""Reads any apical cine as a `Clip`: DICOM, video, NIfTI, GIF and its like, or a folder of numbered pictures.

`index` finds the cines below a folder, and `entries` names them. `read` gives one as a clip cropped to the ultrasound
sector, without masks, ED or ES. `load` also gives what brings masks back onto the original picture
(`sector.place_back`).
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path, PurePath

import numpy as np

from data_pipelines.formats.cine import dicom, sector
from data_pipelines.formats.cine.entries import CineEntry, FoundCine, name_cines
from data_pipelines.formats.cine.nifti import read_nifti
from data_pipelines.formats.cine.pictures import is_moving, read_moving_picture, read_pictures
from data_pipelines.formats.cine.recording import Recording
from data_pipelines.formats.cine.sequences import find_sequences, has_side_word, is_picture, natural_order
from data_pipelines.formats.cine.video import read_video
from data_pipelines.notes import note
from data_pipelines.records import Clip, Index, Skipped, UnreadableRecord

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mpe", ".m2v", ".vob"),
    *(".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv", ".ogv", ".mxf", ".dv", ".ivf", ".y4m"),
)
NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr")  # .hdr has its pixels in .img
DICOM_SUFFIXES = (".dcm", ".dicom")
MOVING_SUFFIXES = (".gif", ".apng")  # pictures that are mostly of several frames
SUFFIXES = (*VIDEO_SUFFIXES, *MOVING_SUFFIXES, *NIFTI_SUFFIXES, *DICOM_SUFFIXES)
IGNORED = ("DICOMDIR", "THUMBS.DB", "DESKTOP.INI")
MASK_ENDINGS = tuple(f"_gt{suffix}" for suffix in NIFTI_SUFFIXES)  # CAMUS' name of a mask


@dataclasses.dataclass(frozen=True)
class Cine:
    """A clip and where its pixels lie in the original picture.

    Attributes:
        clip: the frames cropped to the sector, with the notes of the reader; without masks, ED and ES are None.
        sector: box and mask of the sector in the original picture, with a warning where it could not be found.
        shape: (h, w) of the original picture.
    """

    clip: Clip
    sector: sector.Sector
    shape: tuple[int, int]


def record_name(path: Path) -> str:
    """Returns the name of a file or folder without the suffix of a cine."""
    name = path.name if path.name not in ("", "..") else path.resolve().name
    return name[: -len(suffix)] if (suffix := _suffix(path)) else name


def index(root: Path) -> Index[CineEntry]:
    """Lists the cines below a folder, in natural order, and the files that are none. Nothing is decoded.

    `entries` says how records and patients are named.

    A cine is a file with one of `SUFFIXES`, a file of another name that begins like DICOM (exports name them IM0001),
    a picture of several frames, or the numbered pictures of a folder (`sequences`). Left out by name are "unsupported
    suffix" and "a mask, not a picture" (_gt of CAMUS); hidden files, DICOMDIR and Thumbs.db are ignored. A single file
    is an index of one, whatever it is.

    Raises:
        FileNotFoundError: there is no `root`.
        ValueError: the folder holds no file at all.
    """
    root = Path(root)
    if root.is_file():
        found = _find_cines([root])
        return Index([_single(root)] if len(found) == 1 else name_cines(root.parent, found), [])
    if not root.is_dir():
        raise FileNotFoundError(f"{root} does not exist: give a cine or a folder with cines")
    found = []
    skipped: list[Skipped] = []
    for folder, folders, names in os.walk(root):
        folders[:] = natural_order([name for name in folders if not name.startswith(".")])
        found += (pictures := _find_pictures(Path(folder), names))
        visible = [name for name in names if not name.startswith(".") and name.upper() not in IGNORED]
        here: list[Path] = []
        for name in natural_order(visible):
            path = Path(folder) / name
            if name.lower().endswith(MASK_ENDINGS):
                skipped.append(Skipped(record_name(path), "a mask, not a picture", f"{path} ends like a CAMUS mask"))
            elif _suffix(path) or dicom.begins_like_dicom(path):
                here.append(path)
            elif is_picture(name):
                if not pictures:
                    skipped.append(Skipped(name, "one frame only", f"{path} is one picture, expected a cine"))
            elif not _is_half_of_pair(path):
                detail = f"{path}: expected a video, DICOM, NIfTI, GIF or numbered pictures"
                skipped.append(Skipped(name, "unsupported suffix", detail))
        found += _find_cines(here)
    if not found and not skipped:
        raise ValueError(
            f"{root} holds no file: give a cine ({', '.join(SUFFIXES)}), or a folder with cines or numbered pictures"
        )
    return Index(name_cines(root, found), skipped)


def _is_half_of_pair(path: Path) -> bool:
    """Says whether these are the pixels of a NIfTI header beside them."""
    return path.suffix.lower() == ".img" and path.with_suffix(".hdr").is_file()


def _find_pictures(folder: Path, names: list[str]) -> list[FoundCine]:
    """Lists the cines in the pictures of one folder: its sequences, and pictures of several frames."""
    pictures = find_sequences(names)
    found = []
    for part, one in pictures.parts.items():
        if is_moving(folder / one.names[0]):
            found += [FoundCine((folder / name,), PurePath(name).stem) for name in one.names]
        else:
            found.append(FoundCine((folder,), record_name(folder), part))
    moving = [name for name in pictures.others if not has_side_word(name) and is_moving(folder / name)]
    found += [FoundCine((folder / name,), PurePath(name).stem) for name in moving]
    numbered = any(map(str.isdigit, "".join(pictures.others)))
    if not found and (len(pictures.others) > 1 or numbered):  # reading it says why it is no cine
        found.append(FoundCine((folder,), record_name(folder)))
    return found


def _find_cines(paths: list[Path]) -> list[FoundCine]:
    """Lists the cines in files of one folder: a DICOM file may hold several, or be one frame of many."""
    of_dicom = {path: [] for path in paths if _is_dicom(path)}
    for one in dicom.list_cines(list(of_dicom)):
        of_dicom[one.paths[0]].append(FoundCine(one.paths, record_name(one.paths[0]), one.part))
    found = []
    for path in paths:
        found += of_dicom.get(path, [FoundCine((path,), record_name(path))])
    return found


def read(source: CineEntry | Path) -> Clip:
    """Reads one cine, cropped to its ultrasound sector and black around it; of a path, its patient is its name.

    Raises:
        UnreadableRecord: with one of the reasons "file missing", "unsupported suffix" and "one frame only", or of those
            of `dicom.read`, `read_video`, `read_nifti`, `read_pictures` and `read_moving_picture`.
    """
    return load(source).clip


def load(source: CineEntry | Path, *, crop: bool = True) -> Cine:
    """Reads one cine with its sector, its original size and notes on where its values come from.

    The spacing of the clip is that of the original pixels, which cropping does not change. Record and patient are named
    by the path, never from a header.

    Args:
        source: an entry of `index`; or a file, or a folder of pictures.
        crop: False keeps the whole picture.

    Raises:
        UnreadableRecord: as `read`.
    """
    entry = source if isinstance(source, CineEntry) else _single(Path(source))
    path, name = entry.path, entry.record_id
    try:
        recording = _open(entry)
    except OSError as error:
        raise UnreadableRecord(
            name, "file missing", f"{path}: {error}: look at the path and its permissions"
        ) from error
    if (count := len(recording.frames)) < 2:
        raise UnreadableRecord(name, "one frame only", f"{path} holds {count} frame, expected a cine")
    height, width = recording.frames.shape[1:]
    area = sector.find(recording.frames, recording.limit) if crop else sector.whole(height, width)
    frames = sector.crop(recording.frames, area)
    notes = recording.notes
    if area.warning:
        notes = (*notes, note("sector uncertain", f"{area.warning[0].upper()}{area.warning[1:]}."))
    clip = Clip(
        frames=frames,
        label_map=np.zeros_like(frames),
        has_reference=np.zeros(count, bool),
        ed_index=None,
        es_index=None,
        spacing_mm=recording.spacing_mm,
        fps=recording.fps,
        patient_id=entry.patient_id,
        view=recording.view,
        notes=notes,
        record_name=name,
    )
    return Cine(clip, area, (height, width))


def _single(path: Path) -> CineEntry:
    """Names a cine that is read alone."""
    return CineEntry((path,), record_name(path), record_name(path))


def _open(entry: CineEntry) -> Recording:
    path, name = entry.path, entry.record_id
    if path.is_dir():
        has_pictures = any(map(is_picture, os.listdir(path)))
        if not has_pictures and len(series := _series_in(path)) == 1:
            return dicom.read_series(series[0].paths, name)
        return read_pictures(path, name, entry.part)
    if not path.is_file():
        found = "is neither a file nor a folder" if path.exists() else "does not exist"
        raise UnreadableRecord(name, "file missing", f"{path} {found}: look at the path")
    suffix = _suffix(path)
    if suffix in VIDEO_SUFFIXES:
        return read_video(path, name)
    if suffix in MOVING_SUFFIXES or is_picture(path.name):
        return read_moving_picture(path, name)
    if suffix in NIFTI_SUFFIXES:
        return read_nifti(path, name)
    if len(entry.paths) > 1:
        return dicom.read_series(entry.paths, name, entry.part)
    if _is_dicom(path):
        return dicom.read(path, name, entry.part)
    detail = f"{path}: expected {', '.join(SUFFIXES)}, a DICOM file of any name, or a folder of pictures"
    raise UnreadableRecord(name, "unsupported suffix", detail)


def _series_in(folder: Path) -> list[dicom.ListedCine]:
    """Lists the cines of a folder that are stored as one DICOM file a frame."""
    files = [folder / name for name in natural_order(os.listdir(folder)) if not name.startswith(".")]
    listed = dicom.list_cines([file for file in files if file.is_file() and _is_dicom(file)])
    return [one for one in listed if len(one.paths) > 1]


def _suffix(path: Path) -> str:
    """Returns the suffix of a cine in lower case, or ""."""
    lower = path.name.lower()
    return next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), "")


def _is_dicom(path: Path) -> bool:
    suffix = _suffix(path)
    return suffix in DICOM_SUFFIXES or (not suffix and dicom.begins_like_dicom(path))
