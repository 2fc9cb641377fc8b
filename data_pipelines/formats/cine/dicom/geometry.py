"""Reads the pictures of a file (its two-dimensional tissue regions, PS3.3 C.8.5.5) and their pixel spacing.

Spacing comes from the region or from Pixel Spacing; nothing else is a calibration, and nothing is guessed. Every other
statement of spacing is compared with it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from data_pipelines.formats.cine.dicom.elements import Elements
from data_pipelines.notes import Note, note
from data_pipelines.records import UnreadableRecord

NAMES = (
    "SequenceOfUltrasoundRegions",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "PixelAspectRatio",
    "SharedFunctionalGroupsSequence",
)
TWO_DIMENSIONAL, TISSUE, CENTIMETRES = 1, 1, 3  # Region Spatial Format, Region Data Type, Physical Units
SMALLEST_BOX = 16  # pixels: a smaller box is an error of the coordinates
POSSIBLE_MM = (0.002, 5.0)  # of a pixel; outside of it a number is no spacing of an ultrasound picture
SAME = 0.02  # relative difference up to which two spacings are one
OVERLAP, WITHIN = 0.5, 0.9  # of two boxes over their union; of one box over itself
MOST_REGIONS = 100
BEYOND = 1  # pixels that a region may leave the picture, by counting to the size instead of to the last pixel

Spacing = tuple[float, float]
Box = tuple[slice, slice]


@dataclasses.dataclass(frozen=True)
class Picture:
    """One ultrasound picture of a file.

    Attributes:
        limit: (rows, columns) of its region; None where the file states no region that can be used.
        spacing_mm: (row_mm, column_mm), or None where it is not known.
        notes: where the spacing comes from, and what disagrees.
    """

    limit: Box | None
    spacing_mm: Spacing | None
    notes: tuple[Note, ...]


@dataclasses.dataclass(frozen=True)
class _Region:
    """A tissue region.

    Attributes:
        box: (rows, columns) within the picture.
        spacing_mm: its own spacing, or None.
        number: its position in the sequence, counted from 1.
    """

    box: Box
    spacing_mm: Spacing | None
    number: int


def read_pictures(header: Elements, shape: tuple[int, int], record_id: str) -> list[Picture]:
    """Reads the pictures of a file, from left to right and from top to bottom; one where there is no region.

    A region that repeats another one, or that lies within it with the same spacing, is no picture of its own.

    Args:
        header: the header.
        shape: (h, w) of the frames.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "no two-dimensional tissue region".
    """
    tissue = _tissue(header, record_id)
    notes: list[Note] = []
    regions = [_Region(_box(item, shape), _deltas(item), number) for number, item in tissue]
    for (number, item), region in zip(tissue, regions, strict=True):
        if _leaves(item, shape):
            text = f"Region {number} leaves the picture of {shape[0]} x {shape[1]} pixels (h, w)"
            notes.append(note("region doubtful", f"{text}; its coordinates or its spacing may be of another size."))
        elif min(_size(region.box)) < SMALLEST_BOX:
            notes.append(note("region doubtful", f"Region {number} has {_size(region.box)} pixels (h, w): no box."))
    usable = [one for one in regions if min(_size(one.box)) >= SMALLEST_BOX]
    if not usable:
        own = regions[0].spacing_mm if len({one.spacing_mm for one in regions}) == 1 else None
        return [_picture(header, None, own, notes)]
    groups = _pictures(usable)
    found = []
    for group in groups:
        own, more = _common_spacing(group)
        found.append(_picture(header, group[0].box, own, [*notes, *more]))
    return sorted(found, key=lambda one: (one.limit[1].start, one.limit[0].start) if one.limit else (0, 0))


def _tissue(header: Elements, record_id: str) -> list[tuple[int, Elements]]:
    """Lists (number, item) of the two-dimensional tissue regions."""
    items = header.items("SequenceOfUltrasoundRegions")
    if len(items) > MOST_REGIONS:
        header.ignore("SequenceOfUltrasoundRegions", f"holds {len(items)} regions")
        return []
    kinds = [(item.integer("RegionSpatialFormat"), item.integer("RegionDataType")) for item in items]
    stated = [kind for kind in kinds if None not in kind]
    found = [
        (number, item)
        for number, (item, kind) in enumerate(zip(items, kinds, strict=True), start=1)
        if kind == (TWO_DIMENSIONAL, TISSUE)
    ]
    if stated and not found:
        detail = f"regions (spatial format, data type) {stated}, expected (1, 1): M-mode, spectrum or colour alone"
        raise UnreadableRecord(record_id, "no two-dimensional tissue region", f"{detail}: leave it out")
    return found


def _corners(item: Elements) -> tuple[int, int, int, int]:
    """Reads (top, left, bottom, right), pixels counted from 0."""
    names = ("MinY0", "MinX0", "MaxY1", "MaxX1")
    top, left, bottom, right = (item.integer(f"RegionLocation{name}") or 0 for name in names)
    return top, left, bottom, right


def _box(item: Elements, shape: tuple[int, int]) -> Box:
    """Reads (rows, columns) of a region within the picture."""
    top, left, bottom, right = _corners(item)
    first_row, first_column = min(max(top, 0), shape[0]), min(max(left, 0), shape[1])
    return (
        slice(first_row, max(first_row, min(bottom + 1, shape[0]))),
        slice(first_column, max(first_column, min(right + 1, shape[1]))),
    )


def _leaves(item: Elements, shape: tuple[int, int]) -> bool:
    top, left, bottom, right = _corners(item)
    return min(top, left) < 0 or bottom > shape[0] - 1 + BEYOND or right > shape[1] - 1 + BEYOND


def _size(box: Box) -> tuple[int, int]:
    return box[0].stop - box[0].start, box[1].stop - box[1].start


def _deltas(item: Elements) -> Spacing | None:
    """Reads (row_mm, column_mm) of a region measured in centimetres; None where it gives none."""
    units = [item.integer(f"PhysicalUnits{axis}Direction") for axis in "XY"]
    deltas = [item.number(f"PhysicalDelta{axis}") for axis in "YX"]
    for axis, delta in zip("YX", deltas, strict=True):
        if delta is not None and (not math.isfinite(delta) or delta == 0):
            item.ignore(f"PhysicalDelta{axis}", f"is {delta:g}")
    if units != [CENTIMETRES, CENTIMETRES]:
        if units != [None, None]:
            item.ignore("PhysicalUnitsXDirection", f"and that of Y are {units}, expected centimetres (3)")
        return None
    return _spacing(item, "PhysicalDeltaY", [10 * abs(delta or math.nan) for delta in deltas])


def _spacing(item: Elements, name: str, values_mm: Sequence[float]) -> Spacing | None:
    """Returns two possible lengths, else None, with a note where there are numbers."""
    if len(values_mm) != 2 or any(math.isnan(value) or value <= 0 for value in values_mm):
        return None
    if not all(POSSIBLE_MM[0] <= value <= POSSIBLE_MM[1] for value in values_mm):
        item.ignore(name, f"means {values_mm[0]:g} x {values_mm[1]:g} mm, which no pixel of such a picture has")
        return None
    return values_mm[0], values_mm[1]


def _area(box: Box) -> int:
    height, width = _size(box)
    return height * width


def _shared(one: Box, other: Box) -> int:
    sides = [max(0, min(a.stop, b.stop) - max(a.start, b.start)) for a, b in zip(one, other, strict=True)]
    return sides[0] * sides[1]


def _pictures(regions: Sequence[_Region]) -> list[list[_Region]]:
    """Groups regions that are one picture, the largest of each group first."""
    groups: list[list[_Region]] = []
    for region in sorted(regions, key=lambda one: (-_area(one.box), one.number)):
        for group in groups:
            shared = _shared(region.box, group[0].box)
            same = shared >= OVERLAP * (_area(region.box) + _area(group[0].box) - shared)
            part = shared >= WITHIN * _area(region.box) and (
                region.spacing_mm is None
                or group[0].spacing_mm is None
                or _agree(region.spacing_mm, group[0].spacing_mm)
            )
            if same or part:
                group.append(region)
                break
        else:
            groups.append([region])
    return groups


def _agree(one: Spacing, other: Spacing) -> bool:
    return all(abs(a - b) <= SAME * max(a, b) for a, b in zip(one, other, strict=True))


def _common_spacing(group: Sequence[_Region]) -> tuple[Spacing | None, list[Note]]:
    """Returns the spacing of regions that are one picture, None where they disagree."""
    known = [one for one in group if one.spacing_mm is not None]
    if not known or known[0].spacing_mm is None:
        return None, []
    away = [one for one in known if one.spacing_mm is not None and not _agree(one.spacing_mm, known[0].spacing_mm)]
    if not away:
        return known[0].spacing_mm, []
    said = ", ".join(f"region {one.number} {_write(one.spacing_mm)}" for one in (known[0], *away))
    return None, [note("pixel spacings disagree", f"Of one picture {said}; none was taken from the regions.")]


def _write(spacing_mm: Spacing | None) -> str:
    return "no spacing" if spacing_mm is None else f"{spacing_mm[0]:.4g} x {spacing_mm[1]:.4g} mm"


def _picture(header: Elements, limit: Box | None, own: Spacing | None, notes: list[Note]) -> Picture:
    """Chooses the spacing of a picture, and compares the other statements with it."""
    pixel = _pair(header, "PixelSpacing") or _shared_spacing(header)
    chosen = own or pixel
    if chosen is None:
        found = [note("pixel spacing unknown", "The header states none.")]
        if (aspect := header.numbers("PixelAspectRatio")) and len(aspect) == 2 and aspect[0] != aspect[1]:
            text = f"Pixel Aspect Ratio is {aspect[0]:g} to {aspect[1]:g}, and no spacing is known."
            found.append(note("pixels not square, not stretched", text))
        return Picture(limit, None, (*found, *notes))
    found = [note("pixel spacing", "From the region of ultrasound." if own else "From Pixel Spacing.")]
    others = {"Pixel Spacing": pixel if own else None}
    others |= {
        "Imager Pixel Spacing": _pair(header, "ImagerPixelSpacing"),
        "Nominal Scanned Pixel Spacing": _pair(header, "NominalScannedPixelSpacing"),
    }
    away = [f"{name} {_write(value)}" for name, value in others.items() if value and not _agree(value, chosen)]
    if away:
        text = f"{'The region' if own else 'Pixel Spacing'} gives {_write(chosen)}, {', '.join(away)}"
        found.append(note("pixel spacings disagree", f"{text}; the first was taken."))
    aspect = header.numbers("PixelAspectRatio")
    if len(aspect) == 2 and min(aspect) > 0 and not _agree((aspect[0] / aspect[1], 1.0), (chosen[0] / chosen[1], 1.0)):
        text = (
            f"Pixel Aspect Ratio is {aspect[0]:g} to {aspect[1]:g}, the spacing {_write(chosen)} (vertical, horizontal)"
        )
        found.append(note("pixel spacings disagree", f"{text}; the spacing was taken."))
    return Picture(limit, chosen, (*found, *notes))


def _pair(header: Elements, name: str) -> Spacing | None:
    values = header.numbers(name)
    if name in header and (len(values) != 2 or not all(math.isfinite(v) and v > 0 for v in values)):
        header.ignore(name, "is empty" if not values else "gives no two lengths")
    return _spacing(header, name, values)


def _shared_spacing(header: Elements) -> Spacing | None:
    """Reads the Pixel Measures that all frames share."""
    for group in header.items("SharedFunctionalGroupsSequence")[:1]:
        for item in group.items("PixelMeasuresSequence")[:1]:
            return _pair(item, "PixelSpacing")
    return None
