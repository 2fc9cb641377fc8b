"""Reads folders of numbered pictures, and pictures of several frames (GIF, APNG, WebP, TIFF), as a `Recording`."""

from __future__ import annotations

import dataclasses
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Shaped
from PIL import Image, ImageOps, UnidentifiedImageError

from data_pipelines.formats.cine.recording import NO_RATE, NO_SPACING, Recording
from data_pipelines.formats.cine.sequences import PictureFolder, PictureSequence, find_sequences, has_side_word
from data_pipelines.formats.video.decoder import MOST_BYTES, MOST_TIMES
from data_pipelines.formats.video.grey import find_pixel_shape, to_square
from data_pipelines.formats.video.source import MOST_PIXELS, describe
from data_pipelines.formats.video.timing import StatedRate, find_timing
from data_pipelines.grey_levels import DARK_PART, StatedRange, to_grey_levels
from data_pipelines.notes import Note, note
from data_pipelines.records import UnreadableRecord

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
LABELS = 8  # a picture of a heart has more grey levels than this
REDUCED_PAGE, ORIENTATION, DESCRIPTION = 254, 274, 270  # TIFF tags; the second is that of Exif too
SIDEWAYS = (5, 6, 7, 8)  # Exif orientations that swap rows and columns
GIF_TICK_S = 0.01
SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")


@dataclasses.dataclass(frozen=True)
class _Picture:
    """One decoded picture.

    Attributes:
        samples: one sample for each pixel, (h, w), turned and with square pixels.
        notes: what was found.
    """

    samples: Shaped[np.ndarray, "h w"]
    notes: tuple[Note, ...]


def read_pictures(folder: Path, record_id: str, part: str = "") -> Recording:
    """Reads the numbered pictures of a folder as frames, in the order of their numbers.

    Args:
        folder: the folder.
        record_id: the record, for the message of a fault.
        part: which of several sequences (`PictureFolder.parts`); "" where there is one.

    Raises:
        UnreadableRecord: with one of the reasons "empty folder", "one frame only", "no numbered pictures", "several
            pictures", "two pictures of one number", "a mask, not a picture", "empty file", "not an image", "truncated
            file", "damaged frames", "picture too large", "video too large", "frames of another size", "pixel format not
            supported" and "grey level out of range".
        OSError: a file cannot be opened.
    """
    found = find_sequences(os.listdir(folder))
    sequence = _choose(found, folder, record_id, part)
    names, notes = _check_numbers(sequence, folder, record_id)
    if left := [*(name for one in found.side for name in one.names), *found.others]:
        text = f"{len(left)} pictures beside the frames {sequence.pattern}, e.g. {', '.join(left[:3])}."
        notes.append(note("pictures left out", text))
    paths = [folder / name for name in names]
    pictures = (_read_file(path, record_id) for path in paths)
    samples, found_notes = _stack(pictures, names, record_id, sum(path.stat().st_size for path in paths))
    if has_side_word(sequence.pattern) or has_side_word(folder.name):
        levels = len(np.unique(samples[:: max(1, len(samples) // 8)]))
        if levels <= LABELS:
            detail = f"{folder}: {sequence.pattern} holds {levels} levels, and its name says that these are masks"
            raise UnreadableRecord(record_id, "a mask, not a picture", detail)
    return _recording(samples, record_id, str(folder), (*notes, *found_notes))


def read_moving_picture(path: Path, record_id: str) -> Recording:
    """Reads a picture of several frames: GIF, APNG and WebP with their times, the pages of a TIFF.

    Args:
        path: the file.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: as `read_pictures`; "one frame only" for a still picture; "frames missing" for a TIFF that
            states more frames than it has.
    """
    with _opened(path, record_id) as picture:
        count = getattr(picture, "n_frames", 1)
        pages = [page for page in range(count) if not _is_reduced(picture, page)]
        if len(pages) < 2:
            raise UnreadableRecord(record_id, "one frame only", f"{path} is a still picture, expected a cine")
        _check_imagej(picture, path, record_id, len(pages))
        size = picture.width * picture.height * len(pages)
        byte_count = path.stat().st_size
        if size > max(MOST_BYTES, MOST_TIMES * byte_count):
            detail = f"{path}: {len(pages)} frames of {picture.width} x {picture.height} from {byte_count} bytes"
            raise UnreadableRecord(record_id, "video too large", detail)
        durations_ms: list[float] = []

        def decode() -> Iterator[_Picture]:
            for page in pages:
                try:
                    picture.seek(page)
                    yield _decode(picture, path, record_id)
                except UnreadableRecord:
                    raise
                except (OSError, SyntaxError, ValueError, EOFError) as error:
                    raise _damage(error, path, record_id, f"frame {page}: ") from error
                durations_ms.append(float(picture.info.get("duration", 0)))

        samples, notes = _stack(decode(), [f"frame {page}" for page in pages], record_id, byte_count)
    fps, rate_notes = None, (NO_RATE,)
    if all(duration > 0 for duration in durations_ms):
        times = np.concatenate(([0.0], np.cumsum(durations_ms)[:-1] / 1000)).tolist()
        timing = find_timing(times, StatedRate(None, GIF_TICK_S if picture.format == "GIF" else 0.001))
        fps, rate_notes = timing.fps, timing.notes
    recording = _recording(samples, record_id, str(path), notes)
    kept = tuple(one for one in recording.notes if one != NO_RATE)
    return dataclasses.replace(recording, fps=fps, notes=(*kept, *rate_notes))


def is_moving(path: Path) -> bool:
    """Says whether a picture has several frames; only its header is read. False where it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as picture:
                return getattr(picture, "n_frames", 1) > 1
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def _choose(found: PictureFolder, folder: Path, record_id: str, part: str) -> PictureSequence:
    """Returns the sequence that is meant."""
    if part in found.parts:
        return found.parts[part]
    if found.sequences:
        named = ", ".join(f"{one.pattern} ({len(one.names)} pictures)" for one in found.sequences)
        detail = f"{folder} holds {named}: give each a folder of its own, or read the folder above"
        raise UnreadableRecord(record_id, "several pictures", detail)
    if not found.others:
        detail = f"{folder} holds no picture: give a folder of numbered frames"
        raise UnreadableRecord(record_id, "empty folder", detail)
    if len(found.others) == 1:
        raise UnreadableRecord(record_id, "one frame only", f"{folder} holds {found.others[0]} alone, expected a cine")
    detail = f"{folder}: {', '.join(found.others[:4])}, ... have no counter in common: name them frame_1, frame_2, ..."
    raise UnreadableRecord(record_id, "no numbered pictures", detail)


def _check_numbers(sequence: PictureSequence, folder: Path, record_id: str) -> tuple[list[str], list[Note]]:
    """Returns the names without copies, and notes on the counter."""
    by_number: dict[int, str] = {}
    notes, copies = [], []
    for number, name in zip(sequence.numbers, sequence.names, strict=True):
        first = by_number.setdefault(number, name)
        if first == name:
            continue
        if (folder / first).read_bytes() != (folder / name).read_bytes():
            detail = f"{folder}: {first} and {name} are both number {number} and differ: remove one"
            raise UnreadableRecord(record_id, "two pictures of one number", detail)
        copies.append(name)
    if copies:
        notes.append(note("pictures left out", f"Copies of a picture of the same number: {', '.join(copies[:3])}."))
    numbers = np.array(list(by_number))
    steps = np.diff(numbers)
    if len(steps) and steps.min() == steps.max() > 1:
        notes.append(note("pictures in steps", f"Every number from {numbers[0]} on in steps of {steps[0]}."))
    elif len(steps) and steps.max() > steps.min():
        step = int(np.bincount(steps).argmax())
        gap = int(np.argmax(steps != step))
        text = (
            f"{int((steps != step).sum())} gaps in {sequence.pattern}: after {numbers[gap]} comes {numbers[gap + 1]}."
        )
        notes.append(note("numbers missing", text))
    return list(by_number.values()), notes


def _stack(
    pictures: Iterator[_Picture], names: Sequence[str], record_id: str, byte_count: int
) -> tuple[Shaped[np.ndarray, "t h w"], tuple[Note, ...]]:
    """Collects pictures of one size and type."""
    frames: Shaped[np.ndarray, "t h w"] | None = None
    notes: dict[str, Note] = {}
    for index, picture in enumerate(pictures):
        one = picture.samples
        if frames is None:
            if one.nbytes * len(names) > max(MOST_BYTES, MOST_TIMES * byte_count):
                detail = f"{len(names)} frames of {one.shape} (h, w) from {byte_count} bytes: cut it into shorter clips"
                raise UnreadableRecord(record_id, "video too large", detail)
            frames = np.empty((len(names), *one.shape), one.dtype)
        if one.shape != frames.shape[1:]:
            sizes = f"{names[index]} has {one.shape}, {names[0]} has {frames.shape[1:]} (h, w)"
            raise UnreadableRecord(record_id, "frames of another size", f"{sizes}: one size a cine")
        if one.dtype != frames.dtype:
            detail = f"{names[index]} has samples {one.dtype}, {names[0]} {frames.dtype}: write all with 8 bits"
            raise UnreadableRecord(record_id, "pixel format not supported", detail)
        frames[index] = one
        notes.update({one.code: one for one in picture.notes if one.code not in notes})
    assert frames is not None  # there are two names or more
    return frames, tuple(notes.values())


def _recording(samples: Shaped[np.ndarray, "t h w"], record_id: str, source: str, notes: tuple[Note, ...]) -> Recording:
    stated = StatedRange(0, 65535, "16 bits a sample") if samples.dtype.kind in "ui" and samples.itemsize > 1 else None
    levels = to_grey_levels(samples, record_id, source=source, stated=stated)
    return Recording(levels.frames, notes=(*levels.notes, *notes, NO_RATE, NO_SPACING))


def _opened(path: Path, record_id: str) -> Image.Image:
    """Opens a picture, of which only the header is read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of many pixels, which are checked below
            picture = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError as error:
        with path.open("rb") as file:
            head = file.read(512)
        if not head:
            raise UnreadableRecord(record_id, "empty file", f"{path} has 0 bytes: fetch it again") from error
        if head.startswith(SIGNATURES):
            raise _damage(error, path, record_id) from error
        raise UnreadableRecord(record_id, "not an image", f"{path} is {describe(head)}") from error
    except Image.DecompressionBombError as error:
        raise UnreadableRecord(record_id, "picture too large", f"{path}: {error}") from error
    except (PermissionError, FileNotFoundError):
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise _damage(error, path, record_id) from error
    if picture.width * picture.height > MOST_PIXELS:
        size = f"{picture.width} x {picture.height} pixels"
        picture.close()
        raise UnreadableRecord(record_id, "picture too large", f"{path} states {size}")
    return picture


def _read_file(path: Path, record_id: str) -> _Picture:
    with _opened(path, record_id) as picture:
        try:
            return _decode(picture, path, record_id)
        except UnreadableRecord:
            raise
        except (OSError, SyntaxError, ValueError) as error:
            raise _damage(error, path, record_id) from error


def _damage(error: Exception, path: Path, record_id: str, where: str = "") -> UnreadableRecord:
    """Finds the words for a picture that does not decode: cut off, or damaged within."""
    with path.open("rb") as file:
        head = file.read(8)
        file.seek(max(0, path.stat().st_size - 64))
        tail = file.read()
    ends = {b"\x89PNG": b"IEND", b"\xff\xd8\xff": b"\xff\xd9"}
    has_end = any(head.startswith(begin) and end in tail for begin, end in ends.items())
    reason = "truncated file" if not has_end and re.search("truncat|end of file|eof", str(error).lower()) else None
    lacks_end = any(head.startswith(begin) and end not in tail for begin, end in ends.items())
    reason = "truncated file" if reason or lacks_end else "damaged frames"
    return UnreadableRecord(record_id, reason, f"{path}: {where}{error}: fetch it again")


def _decode(picture: Image.Image, path: Path, record_id: str) -> _Picture:
    """Decodes the current frame of a picture: luminance of colours, samples of more than 8 bits as they are."""
    notes: list[Note] = []
    shape = find_pixel_shape(_aspect(picture), None)
    mode = picture.mode
    if mode in ("RGB", "RGBA", "LA") and "16" in str(getattr(picture, "tile", "")):
        _check_deep_colours(path, record_id)
    orientation = picture.getexif().get(ORIENTATION, 1)
    turned = ImageOps.exif_transpose(picture)
    if orientation != 1:
        notes.append(note("picture turned", "Turned or mirrored as the Exif orientation of the pictures says."))
    if _has_transparency(turned):
        notes.append(note("transparency", "The pictures have a transparency, which is left out."))
    if mode.startswith("I") or mode == "F":
        samples = np.asarray(turned)
        samples = samples.astype(samples.dtype.newbyteorder("="))
    elif mode in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"):
        samples = np.asarray(turned.convert("RGB").convert("L") if mode == "CMYK" else turned.convert("L"))
    else:
        detail = f"{path} has the mode {mode}: write it as grey levels or RGB"
        raise UnreadableRecord(record_id, "pixel format not supported", detail)
    aspect = 1 / shape.aspect if orientation in SIDEWAYS else shape.aspect
    return _Picture(to_square(samples, aspect), (*notes, *shape.notes))


def _aspect(picture: Image.Image) -> Fraction | None:
    """Reads width over height of a pixel from the densities that the file states, or None."""
    density = picture.info.get("aspect") or picture.info.get("dpi") or picture.info.get("jfif_density")
    if not density or len(density) != 2:
        return None
    across, down = (Fraction(float(value)).limit_denominator(10_000) for value in density)
    return down / across if across > 0 and down > 0 else None


def _has_transparency(picture: Image.Image) -> bool:
    if "A" in picture.getbands() and np.asarray(picture.getchannel("A")).min() < 255:
        return True
    return picture.mode == "P" and "transparency" in picture.info


def _check_deep_colours(path: Path, record_id: str) -> None:
    """Refuses colours of 16 bits that use the lowest bits alone, of which Pillow keeps only the upper 8."""
    samples = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is not None and samples.dtype == np.uint16 and 0 < samples[..., :3].max() < DARK_PART * 65535:
        detail = f"{path}: no sample is above {samples[..., :3].max()} of 65535: write it with 8 bits, or scale it"
        raise UnreadableRecord(record_id, "grey level out of range", detail)


def _is_reduced(picture: Image.Image, page: int) -> bool:
    """Says whether a page of a TIFF is a reduced copy of another."""
    if picture.format != "TIFF":
        return False
    picture.seek(page)
    return bool(getattr(picture, "tag_v2", {}).get(REDUCED_PAGE, 0) & 1)


def _check_imagej(picture: Image.Image, path: Path, record_id: str, found: int) -> None:
    """Compares the number of pages with what ImageJ states: above 4 GB it writes one page for all."""
    if picture.format != "TIFF":
        return
    picture.seek(0)
    stated = re.search(r"^images=(\d+)", str(getattr(picture, "tag_v2", {}).get(DESCRIPTION, "")), re.MULTILINE)
    if stated and int(stated[1]) != found:
        detail = f"{path}: ImageJ states {stated[1]} images, the file holds {found} pages: save it in parts"
        raise UnreadableRecord(record_id, "frames missing", detail)
