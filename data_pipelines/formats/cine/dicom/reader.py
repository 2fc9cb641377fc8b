"""Reads one DICOM file as a `Recording`."""

from __future__ import annotations

from pathlib import Path

from data_pipelines.formats.cine.dicom import geometry, pixels, time, view
from data_pipelines.formats.cine.dicom.elements import Elements, quiet
from data_pipelines.formats.cine.dicom.file import open_file
from data_pipelines.formats.cine.recording import Recording
from data_pipelines.formats.frame_rate import frame_rate
from data_pipelines.notes import note
from data_pipelines.records import UnreadableRecord

IDENTITY = ("SOPClassUID", "Modality")
NAMES = tuple(dict.fromkeys((*IDENTITY, *pixels.NAMES, *time.NAMES, *geometry.NAMES, *view.NAMES)))
VOLUME_CLASS = "1.2.840.10008.5.1.4.1.1.6.2"  # Enhanced US Volume Storage: its frames are slices
ULTRASOUND_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.3",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.6",
    "1.2.840.10008.5.1.4.1.1.6.1",
)
REGION = "region"  # of the name of a picture, before its number


def read(path: Path, record_id: str, part: str = "") -> Recording:
    """Reads the frames of a DICOM ultrasound cine as grey levels, by luminance where they are coloured.

    Args:
        path: the file.
        record_id: the record, for the message of a fault.
        part: "region1" is the first of several pictures, from left to right; "" the only one.

    Raises:
        UnreadableRecord: with one of the reasons "not ultrasound", "three-dimensional volume", "one frame only",
            "several pictures", "no two-dimensional tissue region", or of those of `file.open_file` and
            `pixels.read_pixels`.
    """
    with path.open("rb") as file:
        with quiet():
            opened = open_file(file, path, record_id, NAMES)
            header = opened.header
            check_kind(header, path, record_id)
            shape = header.integer("Rows") or 0, header.integer("Columns") or 0
            pictures = geometry.read_pictures(header, shape, record_id)
        choose_picture(pictures, part, path, record_id)
        found = pixels.read_pixels(opened, path, record_id)
    with quiet():
        return assemble(header, found, pictures, part, path, record_id)


def assemble(
    header: Elements, found: pixels.Pixels, pictures: list[geometry.Picture], part: str, path: Path, record_id: str
) -> Recording:
    """Puts frames, frame rate, spacing and view together.

    Args:
        header: the header.
        found: the frames.
        pictures: the pictures in them.
        part: as in `read`.
        path: of the file, for messages.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "one frame only" or "several pictures".
    """
    if (count := len(found.frames)) == 1:
        raise UnreadableRecord(record_id, "one frame only", f"{path} holds one frame, expected a cine: leave it out")
    chosen = choose_picture(pictures, part, path, record_id)
    timing, stated_view = time.read_timing(header, count), view.read_view(header)
    if found.film_fps:
        timing = _with_film(timing, found.film_fps)
    sources = (found.notes[0], timing.notes[0], chosen.notes[0])
    notes = [*sources, *found.notes[1:], *timing.notes[1:], *chosen.notes[1:]]
    if len(pictures) > 1 and stated_view:
        text = f"The header states the view {stated_view} for {len(pictures)} pictures; none has it for certain."
        notes.append(note("view of several pictures", text))
        stated_view = ""
    return Recording(found.frames, timing.fps, chosen.spacing_mm, stated_view, chosen.limit, (*notes, *header.notes))


def picture_names(count: int) -> tuple[str, ...]:
    """Names the pictures of a file: ("",) where there is one."""
    return tuple(f"{REGION}{number}" for number in range(1, count + 1)) if count > 1 else ("",)


def choose_picture(pictures: list[geometry.Picture], part: str, path: Path, record_id: str) -> geometry.Picture:
    """Returns the picture that is asked for.

    Args:
        pictures: the pictures of the file.
        part: as in `read`.
        path: of the file, for messages.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "several pictures": none is named, or one that is not there.
    """
    names = picture_names(len(pictures))
    if part in names:
        chosen = pictures[names.index(part)]
        if part:
            text = f"The file holds {len(pictures)} pictures, a record each; this is number {names.index(part) + 1}."
            return geometry.Picture(
                chosen.limit, chosen.spacing_mm, (*chosen.notes, note("one of several pictures", text))
            )
        return chosen
    boxes = "; ".join(
        f"{name}: rows {one.limit[0].start} to {one.limit[0].stop - 1}, columns {one.limit[1].start} to "
        f"{one.limit[1].stop - 1}"
        for name, one in zip(names, pictures, strict=True)
        if one.limit is not None
    )
    how = "read the entries of cine.index(path), one for each"
    raise UnreadableRecord(record_id, "several pictures", f"{path} holds {len(pictures)} pictures ({boxes}): {how}")


def check_kind(header: Elements, path: Path, record_id: str) -> None:
    """Checks that a file is a two-dimensional ultrasound picture.

    Args:
        header: the header.
        path: of the file, for messages.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "not ultrasound" or "three-dimensional volume".
    """
    modality, sop_class = header.text("Modality"), header.text("SOPClassUID")
    if modality != "US" and not (modality in ("", "OT") and sop_class in ULTRASOUND_CLASSES):
        detail = f"{path} has Modality {modality or 'absent'}, expected US: leave it out"
        raise UnreadableRecord(record_id, "not ultrasound", detail)
    if sop_class == VOLUME_CLASS:
        detail = f"{path} is an Enhanced US Volume: export a two-dimensional cine of it"
        raise UnreadableRecord(record_id, "three-dimensional volume", detail)


def _with_film(timing: time.Timing, film_fps: float) -> time.Timing:
    """Compares the rate of a film with that of the header, which is taken where both are there."""
    if timing.fps is None and frame_rate(film_fps):
        source = note("frame rate", f"From the film in the pixel data, {film_fps:g} frames/s.")
        return time.Timing(film_fps, (source, *timing.notes[1:]))
    if timing.fps is None or abs(film_fps - timing.fps) <= time.AGREE * max(film_fps, timing.fps):
        return timing
    text = f"The header gives {timing.fps:.5g} frames/s, the film {film_fps:.5g}; the header was taken."
    return time.Timing(timing.fps, (*timing.notes, note("frame rate disputed", text)))
