"""Finds ED and ES in a sequence, by Info_*.cfg and by the images of ED and ES, which are checked against each other."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Shaped

from data_pipelines.formats.camus.cfg import Info
from data_pipelines.notes import Note, note
from data_pipelines.records import UnreadableRecord


@dataclasses.dataclass(frozen=True)
class Ends:
    """The ends of a half cycle.

    Attributes:
        ed: index of the end-diastolic frame.
        es: index of the end-systolic frame.
        notes: which statements disagreed.
    """

    ed: int
    es: int
    notes: tuple[Note, ...] = ()


def find_ends(
    frames: Shaped[np.ndarray, "t h w"],
    info: Info,
    ed_image: Shaped[np.ndarray, "h w"] | None,
    es_image: Shaped[np.ndarray, "h w"] | None,
    record_id: str,
) -> Ends:
    """Finds ED and ES.

    The cfg counts. The images of ED and ES must show its frames; where both show others, the images count, since the
    masks belong to them. Without numbers in the cfg the images alone tell, and where there is no ES image, ES is the
    other end of the sequence.

    Args:
        frames: the sequence as stored.
        info: what the cfg states.
        ed_image: the ED image, or None.
        es_image: the ES image, or None.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "cfg garbled", "ED or ES missing", "ED not in sequence" or "ED and ES contradicted".
    """
    count = len(frames)
    shown = [_find(frames, image) for image in (ed_image, es_image)]
    if info.ed is None or info.es is None:
        return _by_images(count, shown, info, ed_image is None, record_id)
    stated = [info.ed - 1, info.es - 1]
    numbers = f"Info_*.cfg states ED {info.ed}, ES {info.es} and NbFrame {info.frames}; the sequence has {count} frames"
    if not all(0 <= frame < count for frame in stated) or info.frames not in (None, count):
        raise UnreadableRecord(record_id, "cfg garbled", f"{numbers}{_says(shown)}: correct the cfg")
    if stated[0] == stated[1]:
        detail = f"{numbers}{_says(shown)}; they are the same frame: correct the cfg"
        raise UnreadableRecord(record_id, "ED equals ES", detail)
    return _compare(stated, shown, [ed_image is not None, es_image is not None], record_id)


def _compare(stated: list[int], shown: list[list[int]], there: list[bool], record_id: str) -> Ends:
    """Decides between the frames that the cfg states and those that the images show."""
    names, notes = ("ED", "ES"), []
    elsewhere = [end for end in (0, 1) if len(shown[end]) == 1 and stated[end] not in shown[end]]
    for end in (0, 1):
        if there[end] and not shown[end]:
            text = f"The {names[end]} image is no frame of the sequence; Info_*.cfg was taken: frame {stated[end] + 1}."
            notes.append(note("image not in sequence", text))
    if not elsewhere:
        return Ends(stated[0], stated[1], tuple(notes))
    taken = [shown[end][0] if end in elsewhere else stated[end] for end in (0, 1)]
    found = ", ".join(f"the {names[end]} image shows frame {taken[end] + 1}" for end in elsewhere)
    both = f"Info_*.cfg states ED {stated[0] + 1} and ES {stated[1] + 1}, {found}"
    if taken[0] == taken[1] or taken == stated[::-1]:
        raise UnreadableRecord(record_id, "ED and ES contradicted", f"{both}: correct the cfg or swap the images")
    notes.append(note("ED and ES contradicted by the images", f"{both}; the images were taken."))
    return Ends(taken[0], taken[1], tuple(notes))


def _by_images(count: int, shown: list[list[int]], info: Info, has_no_ed: bool, record_id: str) -> Ends:
    """Finds ED and ES by the images alone."""
    ed, es = shown
    if info.ends_fault:
        raise UnreadableRecord(record_id, "cfg garbled", f"{info.ends_fault}{_says(shown)}: correct the cfg")
    if has_no_ed:
        detail = "neither Info_*.cfg nor an ED image tells which frame is ED: add one"
        raise UnreadableRecord(record_id, "ED or ES missing", detail)
    if len(ed) == len(es) == 1 and ed != es:
        return Ends(ed[0], es[0])
    for first, last in ((0, count - 1), (count - 1, 0)):
        if first in ed:
            return Ends(first, last)
    detail = "without Info_*.cfg the ED image must be the first or last frame, or both images frames of the sequence"
    raise UnreadableRecord(record_id, "ED not in sequence", detail)


def _says(shown: list[list[int]]) -> str:
    """Says which frames the images of ED and ES show, where each shows one."""
    if any(len(frames) != 1 for frames in shown):
        return ""
    return f" (the images of ED and ES show frames {shown[0][0] + 1} and {shown[1][0] + 1})"


def _find(frames: Shaped[np.ndarray, "t h w"], image: Shaped[np.ndarray, "h w"] | None) -> list[int]:
    """Returns the indices of the frames that are equal to an image."""
    if image is None or image.shape != frames.shape[1:]:
        return []
    return [index for index, frame in enumerate(frames) if np.array_equal(frame, image)]
