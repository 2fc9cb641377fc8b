"""Lays the files of one record onto each other by what they state of their place in space."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Shaped

from data_pipelines.formats.image_file import ImageFile
from data_pipelines.formats.placement import Fit, Placement, fit
from data_pipelines.notes import Note, note
from data_pipelines.records import UnreadableRecord

SAME_SPACING = 0.01


@dataclasses.dataclass(frozen=True)
class Laid:
    """The pixels of a file as they lie on another one.

    Attributes:
        pixels: in the rows and columns of the other file, (t, h, w).
        notes: what was done, where something was.
        is_exact: whether both files state where they lie, and the statements agree to a pixel.
        was_turned: whether the pixels were turned.
    """

    pixels: Shaped[np.ndarray, "t h w"]
    notes: tuple[Note, ...] = ()
    is_exact: bool = False
    was_turned: bool = False


def lay_onto(anchor: ImageFile, other: ImageFile, record_id: str, *, is_mask: bool) -> Laid:
    """Brings the pixels of `other` to the rows and columns of `anchor`.

    Where both state their place, the statements decide: pixels in another direction are turned, and a mask of a part
    of the picture is put where it belongs. Where one of the two states nothing, or what writers leave by default, the
    pixels are taken in the order of storage.

    Args:
        anchor: the file that stays as it is stored.
        other: the file that is laid onto it.
        record_id: the record, for the message of a fault.
        is_mask: whether `other` is a mask, which may cover a part of the picture: the rest is background.

    Raises:
        UnreadableRecord: "geometry disagrees": the two lie elsewhere, or have another spacing; both statements are
            named. A file of another size that is no part of the picture is returned as it is.
    """
    names = f"{other.path.name} on {anchor.path.name}"
    pairs = _pairs(anchor, other)
    if not pairs:
        _check_spacing(anchor, other, record_id)
        return Laid(other.pixels)
    fits = [fit(one, two, anchor.shape, other.shape) for one, two in pairs]
    if len({*fits}) > 1:
        raise _disagreement(record_id, names, pairs, "sform and qform tell two different places")
    found = fits[0]
    size = other.shape[::-1] if found and found.turn.swaps_axes else other.shape
    if found and not found.is_shifted and size == anchor.shape:
        if not found.turn:
            return Laid(other.pixels, is_exact=True)
        text = f"{names}: {found.turn}, as the headers state."
        return Laid(found.turn.apply(other.pixels), (note("files turned", text),), is_exact=True, was_turned=True)
    if size != anchor.shape:
        pasted = _paste(found, other, anchor.shape) if found and is_mask and found.is_shifted else None
        if found is None or pasted is None:
            return Laid(other.pixels)
        text = f"{names}: put at row {found.first_row:g} and column {found.first_column:g}, as the headers state."
        return Laid(pasted, (note("files turned", text),), is_exact=True, was_turned=bool(found.turn))
    is_shift = found is not None and not found.turn
    if not is_shift and any(placement.is_default for placement in pairs[0]):
        which = anchor if pairs[0][0].is_default else other
        text = f"{names}: the header of {which.path.name} states no place; rows and columns were taken as stored."
        return Laid(other.pixels, (note("geometry not stated", text),))
    raise _disagreement(record_id, names, pairs, "they do not lie on each other")


def _pairs(anchor: ImageFile, other: ImageFile) -> list[tuple[Placement, Placement]]:
    """Pairs the statements of two files: those of one name where both make the same ones, else each with each."""
    if [one.source for one in anchor.placements] == [two.source for two in other.placements]:
        return list(zip(anchor.placements, other.placements, strict=True))
    return [(one, two) for one in anchor.placements for two in other.placements]


def _paste(found: Fit, other: ImageFile, shape: tuple[int, int]) -> np.ndarray | None:
    """Puts a mask where it belongs on a background of zeros; None where a label would lie outside."""
    if not found.is_whole:
        return None
    turned = found.turn.apply(other.pixels)
    whole = np.zeros((len(turned), *shape), turned.dtype)
    (rows, columns), (top, left) = turned.shape[1:], (int(found.first_row), int(found.first_column))
    inside = np.s_[:, max(0, -top) : shape[0] - top, max(0, -left) : shape[1] - left]
    if top >= shape[0] or left >= shape[1] or top <= -rows or left <= -columns:
        return None
    if np.count_nonzero(turned[inside]) < np.count_nonzero(turned):
        return None
    whole[:, max(0, top) : top + rows, max(0, left) : left + columns] = turned[inside]
    return whole


def _check_spacing(anchor: ImageFile, other: ImageFile, record_id: str) -> None:
    """Refuses two stated spacings that differ, where nothing else is stated."""
    one, two = anchor.spacing_mm, other.spacing_mm
    if one and two and not np.allclose(one, two, rtol=SAME_SPACING) and not {one, two} & {(1.0, 1.0)}:
        detail = f"{anchor.path.name} has {one} mm, {other.path.name} {two} mm (row, column): correct one of them"
        raise UnreadableRecord(record_id, "geometry disagrees", detail)


def _disagreement(record_id: str, names: str, pairs: list[tuple[Placement, Placement]], why: str) -> UnreadableRecord:
    one, two = pairs[0]
    found = f"{names}: {why}. {one}; against {two}"
    if len(pairs) > 1:
        found += f"; and {pairs[1][0]}; against {pairs[1][1]}"
    return UnreadableRecord(record_id, "geometry disagrees", f"{found}: correct the header that is wrong")
