"""Tells from the names of pictures which of them are the frames of one cine: one pattern of names with one counter.

frame_1.png, frame_2.png, ... is the pattern frame_#.png. Masks, overlays and thumbnails that lie beside the frames have
other patterns and are left out by the words in their names; pictures whose pattern has no counter are left out too.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
SIDE_WORDS = frozenset(
    (
        *("mask", "masks", "gt", "seg", "segs", "segmentation", "label", "labels", "labelmap", "truth", "roi"),
        *("overlay", "overlays", "contour", "contours", "annotation", "annotations", "annotated", "pred", "prediction"),
        *("thumb", "thumbs", "thumbnail", "preview", "heatmap", "depth", "flow"),
    )
)
SIDE_ENDINGS = ("mask", "label", "overlay", "thumbnail", "contour")


@dataclasses.dataclass(frozen=True)
class PictureSequence:
    """Pictures whose names differ by one counter.

    Attributes:
        pattern: the name with # for the counter, e.g. "frame_#.png".
        names: the names in the order of the counter.
        numbers: their counters; two names may have one.
    """

    pattern: str
    names: tuple[str, ...]
    numbers: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class PictureFolder:
    """What the names of the pictures of a folder tell.

    Attributes:
        sequences: the cines, each with two pictures or more; where only masks are there, these.
        side: sequences that the words in their names tell to be masks, overlays or thumbnails beside the frames.
        others: pictures that belong to no sequence.
    """

    sequences: tuple[PictureSequence, ...]
    side: tuple[PictureSequence, ...]
    others: tuple[str, ...]

    @property
    def parts(self) -> dict[str, PictureSequence]:
        """The sequences by a short name; one sequence alone has the name ""."""
        if len(self.sequences) == 1:
            return {"": self.sequences[0]}
        stems = [PurePath(one.pattern).stem for one in self.sequences]
        full = [
            stem if stems.count(stem) == 1 else one.pattern for stem, one in zip(stems, self.sequences, strict=True)
        ]
        short = [name.replace("#", "").strip("_-. ") or name for name in full]
        return dict(zip(short if len(set(short)) == len(short) else full, self.sequences, strict=True))


def natural_order(names: Iterable[str]) -> list[str]:
    """Sorts names with the numbers in them as numbers: frame_2 before frame_10."""

    def key(name: str) -> tuple[list[tuple[bool, int, str]], str]:
        parts = re.findall(r"([0-9]+)|([^0-9]+)", name)
        return [(not digits, int(digits or 0), text) for digits, text in parts], name

    return sorted(names, key=key)


def is_picture(name: str) -> bool:
    """Says whether a file is a picture by its name; hidden files are none."""
    return not name.startswith(".") and PurePath(name).suffix.lower() in PICTURE_SUFFIXES


def has_side_word(name: str) -> bool:
    """Says whether a name holds a word for a mask, an overlay or a thumbnail."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", PurePath(name).stem).lower())
    return any(word in SIDE_WORDS or word.endswith(SIDE_ENDINGS) for word in words)


def find_sequences(names: Iterable[str]) -> PictureFolder:
    """Sorts the pictures of a folder into cines, what lies beside them, and the rest.

    Args:
        names: names of the files of a folder; what is no picture is passed over.
    """
    groups: dict[str, list[str]] = {}
    for name in natural_order(filter(is_picture, names)):
        groups.setdefault(re.sub(r"[0-9]+", "#", name).lower(), []).append(name)
    found = [sequence for group in groups.values() for sequence in _split(group)]
    longer = [sequence for sequence in found if len(sequence.names) > 1]
    frames = tuple(sequence for sequence in longer if not has_side_word(sequence.pattern))
    side = tuple(sequence for sequence in longer if has_side_word(sequence.pattern)) if frames else ()
    sequences = frames or tuple(longer)
    kept = {name for sequence in (*sequences, *side) for name in sequence.names}
    others = tuple(name for group in groups.values() for name in group if name not in kept)
    return PictureFolder(sequences, side, others)


def _split(names: Sequence[str]) -> list[PictureSequence]:
    """Finds the counter among the numbers of names of one pattern; numbers before it make sequences of their own.

    Where several numbers vary, the counter is the last that differs in every name (an index beside a time); where none
    does, the last one counts within each combination of the others (beat_1_frame_7).
    """
    numbers = [[int(digits) for digits in re.findall(r"[0-9]+", name)] for name in names]
    columns = list(zip(*numbers, strict=True))
    varying = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    if not varying:
        if len(names) < 2 or not columns:
            return [PictureSequence(name, (name,), (0,)) for name in names]
        varying = [len(columns) - 1]  # names that differ in zeros or case alone
    unique = [i for i in varying if len(set(columns[i])) == len(names)]
    counter = unique[-1] if unique else varying[-1]
    if unique and any(_order(columns[i]) != _order(columns[counter]) for i in unique):
        counter, unique = varying[-1], []
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, values in enumerate(numbers):
        key = () if unique else tuple(values[i] for i in varying if i != counter)
        groups.setdefault(key, []).append(row)
    sequences = []
    for rows in groups.values():
        rows = sorted(rows, key=lambda row: numbers[row][counter])
        pattern = _pattern(names[rows[0]], counter)
        sequences.append(
            PictureSequence(pattern, tuple(names[r] for r in rows), tuple(numbers[r][counter] for r in rows))
        )
    return sequences


def _order(column: Sequence[int]) -> list[int]:
    return sorted(range(len(column)), key=column.__getitem__)


def _pattern(name: str, counter: int) -> str:
    """Puts # for the number at a position."""
    parts = re.split(r"([0-9]+)", name)
    parts[2 * counter + 1] = "#"
    return "".join(parts)
