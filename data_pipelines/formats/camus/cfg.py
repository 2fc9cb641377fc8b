"""Reads Info_{2CH,4CH}.cfg: the frames of ED and ES, image quality, ejection fraction, volumes and frame rate.

ED and ES are needed where a sequence is read. Nothing else is, so that a field that is absent, empty or impossible is
left out with a note and the record stays.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from data_pipelines.formats.frame_rate import FPS_LIMITS
from data_pipelines.notes import Note, note
from data_pipelines.records import QUALITIES, UnreadableRecord

UNKNOWN = {"", "na", "n/a", "nan", "none", "null", "unknown", "missing", "-", "--", "?", "not available", "undefined"}
NUMBER = re.compile(
    r"([+-]?[0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*(%|percent|ml|cc|hz|fps|1/s|/s)?", re.IGNORECASE
)
EF_AND_VOLUMES_APART = 2.0  # percentage points: what rounding of the three numbers explains
VOLUME_UNITS = {"litres": 1000.0, "mm3": 0.001}
VOLUME_LIMITS = (10.0, 1000.0)  # ml, end-diastolic
HALF_CYCLE_S = (0.06, 2.0)  # ED to ES lasts about 0.3 s
FRAMES_TO_JUDGE = 8  # shorter sequences say nothing on the frame rate


@dataclasses.dataclass(frozen=True)
class Info:
    """What Info_{view}.cfg states.

    Attributes:
        exists: whether the file is there.
        ed: number of the end-diastolic frame, from 1, or None.
        es: number of the end-systolic frame, from 1, or None.
        ends_fault: why ED and ES cannot be read, "" where they can or are not stated.
        frames: number of frames of the sequence, or None.
        quality: one of `QUALITIES`, or None.
        ef_percent: ejection fraction in per cent, or None.
        fps: frames per second, or None.
        volumes_ml: (EDV, ESV), or None.
        notes: what was not used or corrected.
    """

    exists: bool = False
    ed: int | None = None
    es: int | None = None
    ends_fault: str = ""
    frames: int | None = None
    quality: str | None = None
    ef_percent: float | None = None
    fps: float | None = None
    volumes_ml: tuple[float, float] | None = None
    notes: tuple[Note, ...] = ()


def read_info(path: Path, record_id: str) -> Info:
    """Reads the file; an `Info` that states nothing where there is none.

    Args:
        path: the file.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "not readable".
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Info()
    except OSError as error:
        raise UnreadableRecord(record_id, "not readable", f"{path}: {error.strerror}: make it readable") from error
    fields = _Fields.of(_decoded(content), path.name)
    ed, es, fault = _ends(fields)
    volumes = _volumes(fields)
    return Info(
        exists=True,
        ed=ed,
        es=es,
        ends_fault=f"{path}: {fault}" if fault else "",
        frames=fields.whole("nbframe"),
        quality=_quality(fields),
        ef_percent=_ef(fields, volumes),
        fps=fields.number("framerate", FPS_LIMITS),
        volumes_ml=volumes,
        notes=tuple(fields.notes),
    )


def check_rate(info: Info, count: int, fps_of_header: float | None) -> tuple[Note, ...]:
    """Compares the stated frame rate with the length of a half cycle and with the header of the sequence.

    Args:
        info: what the cfg states.
        count: frames from ED to ES.
        fps_of_header: frames per second that the header of the sequence states, or None.
    """
    notes = []
    if info.fps and fps_of_header and abs(fps_of_header / info.fps - 1) > 0.02:
        text = f"FrameRate is {info.fps:g} in the cfg and {fps_of_header:g} in the header of the sequence"
        notes.append(note("frame rate doubtful", f"{text}; the cfg was taken."))
    if info.fps and count >= FRAMES_TO_JUDGE and not HALF_CYCLE_S[0] <= (count - 1) / info.fps <= HALF_CYCLE_S[1]:
        text = f"FrameRate {info.fps:g} makes {count} frames from ED to ES last {(count - 1) / info.fps:.3g} s"
        notes.append(note("frame rate doubtful", f"{text}; half a heart cycle lasts about 0.3 s."))
    return tuple(notes)


@dataclasses.dataclass(frozen=True)
class _Fields:
    """The lines of a cfg by lower-case key, and what was said of them.

    Attributes:
        texts: the text of each field; every one that was given, where a key is given several times.
        strange: the lines that are no field.
        name: name of the file.
        notes: what was said so far.
    """

    texts: dict[str, set[str]]
    strange: list[str]
    name: str
    notes: list[Note]

    @classmethod
    def of(cls, content: str, name: str) -> _Fields:
        texts: dict[str, set[str]] = {}
        strange = []
        for line in content.splitlines():
            bare = re.split(r"#|//|;", line, maxsplit=1)[0].strip()
            if match := re.fullmatch(r"([A-Za-z_ ]+?)\s*[:=\t]\s*(.*)", bare):
                key = re.sub(r"[ _]", "", match[1]).lower()
                texts.setdefault(key, set()).add(match[2])
            elif bare:
                strange.append(bare[:40])
        return cls(texts, strange, name, [])

    def text(self, key: str) -> str | None:
        """The text of a field; None where it is absent or says that it is not known."""
        given = {text for text in self.texts.get(key, set()) if text.lower() not in UNKNOWN}
        if len(given) > 1:
            self.ignore(key, f"is given as {' and as '.join(sorted(given))}")
            return None
        return given.pop() if given else None

    def number(self, key: str, limits: tuple[float, float] = (float("-inf"), float("inf"))) -> float | None:
        """The number of a field, with a comma or a unit if need be; None with a note where it is none."""
        if (text := self.text(key)) is None:
            return None
        value = _number(text)
        if value is None or not limits[0] <= value <= limits[1]:
            self.ignore(key, f"is {text[:40]!r}")
            return None
        return value

    def whole(self, key: str) -> int | None:
        """A frame number; None with a note where it is none."""
        value = self.number(key)
        if value is not None and value % 1:
            self.ignore(key, f"is {value:g}")
            return None
        return None if value is None else int(value)

    def ignore(self, key: str, what: str) -> None:
        """Says that a field was not used."""
        self.notes.append(note("stated value not used", f"{self.name}: {key} {what}; it was not used."))


def _decoded(content: bytes) -> str:
    for start, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(start):
            return content.decode(encoding, errors="replace")
    return content.decode("utf-8-sig", errors="replace")


def _number(text: str) -> float | None:
    match = NUMBER.fullmatch(text)
    return float(match[1].replace(",", ".")) if match else None


def _ends(fields: _Fields) -> tuple[int | None, int | None, str]:
    """Returns ED, ES and why they cannot be read."""
    if not {"ed", "es"} & fields.texts.keys():
        return None, None, f"line {fields.strange[0]!r} is not 'Key: value'" if fields.strange else ""
    found: list[int] = []
    for key in ("ed", "es"):
        texts = fields.texts.get(key, set())
        values = {_number(text) for text in texts}
        value = values.pop() if len(values) == 1 else None
        if value is None or value % 1:
            given = (
                f"{key.upper()} is {' and '.join(map(repr, sorted(texts)))}" if texts else f"{key.upper()} is absent"
            )
            return None, None, f"{given}, expected a whole number"
        found.append(int(value))
    return found[0], found[1], ""


def _quality(fields: _Fields) -> str | None:
    if (text := fields.text("imagequality")) is None:
        return None
    if text.capitalize() not in QUALITIES:
        fields.ignore("imagequality", f"is {text[:40]!r}, none of {', '.join(QUALITIES)}")
        return None
    return text.capitalize()


def _volumes(fields: _Fields) -> tuple[float, float] | None:
    """Returns EDV and ESV in ml, of another unit where the numbers tell which."""
    edv, esv = fields.number("lvedv"), fields.number("lvesv")
    if edv is None or esv is None:
        return None
    if not 0 < esv < edv:
        fields.ignore("lvedv, lvesv", f"are {edv:g} and {esv:g} ml")
        return None
    if VOLUME_LIMITS[0] <= edv <= VOLUME_LIMITS[1]:
        return edv, esv
    for unit, factor in VOLUME_UNITS.items():
        if VOLUME_LIMITS[0] <= edv * factor <= VOLUME_LIMITS[1]:
            text = f"{fields.name}: lvedv and lvesv are {edv:g} and {esv:g}; they were taken as {unit}."
            fields.notes.append(note("stated value corrected", text))
            return edv * factor, esv * factor
    fields.ignore("lvedv, lvesv", f"are {edv:g} and {esv:g} ml")
    return None


def _ef(fields: _Fields, volumes: tuple[float, float] | None) -> float | None:
    """Returns the ejection fraction in per cent, compared with that of the volumes."""
    ef = fields.number("ef") if "ef" in fields.texts else None
    ef = fields.number("lvef") if ef is None else ef
    if ef is None:
        return None
    if 0 < ef <= 1 and "%" not in str(fields.text("ef") or fields.text("lvef")):
        text = f"{fields.name}: the ejection fraction is {ef:g}; it was taken as a fraction, {100 * ef:g} %."
        fields.notes.append(note("stated value corrected", text))
        ef = 100 * ef
    if not 0 <= ef <= 100:
        fields.ignore("ef", f"is {ef:g} %")
        return None
    if volumes and abs((of_volumes := 100 * (1 - volumes[1] / volumes[0])) - ef) > EF_AND_VOLUMES_APART:
        text = (
            f"{fields.name}: the stated ejection fraction is {ef:g} %, that of the stated volumes {of_volumes:.1f} %."
        )
        fields.notes.append(note("ejection fraction contradicted", text))
    return ef
