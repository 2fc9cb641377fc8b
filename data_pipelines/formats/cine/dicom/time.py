"""Reads the frame rate from the times of the frames, and compares every other statement of time with it.

Frame Increment Pointer says which element holds the times (PS3.3 C.7.6.6.1.1). Without it the times of single frames
come before one time for all, and measured times before the rates of a display.
"""

from __future__ import annotations

import dataclasses
import datetime
import math

import numpy as np
from jaxtyping import Float

from data_pipelines.formats.cine.dicom.elements import Elements
from data_pipelines.formats.frame_rate import frame_rate
from data_pipelines.notes import Note, note

NAMES = (
    "FrameIncrementPointer",
    "FrameTime",
    "FrameTimeVector",
    "ActualFrameDuration",
    "EffectiveDuration",
    "CineRate",
    "RecommendedDisplayFrameRate",
    "StartTrim",
    "StopTrim",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
POINTED = {0x00181063: "FrameTime", 0x00181065: "FrameTimeVector"}
TITLES = {
    "FrameTime": "Frame Time",
    "FrameTimeVector": "Frame Time Vector",
    "ActualFrameDuration": "Actual Frame Duration",
    "EffectiveDuration": "Effective Duration",
    "CineRate": "Cine Rate",
    "RecommendedDisplayFrameRate": "Recommended Display Frame Rate",
    "groups": "the functional groups of the frames",
}
DISPLAY = ("CineRate", "RecommendedDisplayFrameRate")
AGREE = 0.05  # relative: rates that differ by less are one, as are whole rates that differ by one
UNEVEN, ROUNDING_MS = 0.1, 1.01  # steps may differ by this share of the median, or by a rounding to milliseconds
CUMULATIVE = 2.5  # steps that only rise, to this multiple of the first, are times since the first frame


@dataclasses.dataclass(frozen=True)
class Timing:
    """The rate of a cine.

    Attributes:
        fps: frames per second, or None where nothing states it.
        notes: where it comes from, and what disagrees.
    """

    fps: float | None
    notes: tuple[Note, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class _Statement:
    """What one element says.

    Attributes:
        name: keyword of the element.
        fps: the rate that it means, whether possible or not.
        steps_ms: steps between frames, where it gives them one by one.
        complete: whether it has a step for every frame.
        slack: by how much the rate may be off for the rounding of the element, relative.
    """

    name: str
    fps: float
    steps_ms: Float[np.ndarray, " n"] | None = None
    complete: bool = True
    slack: float = 0.0


def read_timing(header: Elements, count: int) -> Timing:
    """Reads the frame rate of a cine.

    Args:
        header: the header.
        count: number of frames in the pixel data.
    """
    notes: list[Note] = []
    stated = [one for one in (_vector(header, count, notes), *_constant(header, count)) if one is not None]
    possible = [one for one in stated if frame_rate(one.fps)]
    notes += [_impossible(one) for one in stated if one not in possible]
    pointed = _pointed(header, notes)
    chosen = _choose(possible, pointed)
    _trim(header, count, notes)
    if chosen is None:
        if scaled := _in_other_units(stated, possible):
            return Timing(scaled.fps, (_source(scaled), *notes))
        return Timing(None, (note("frame rate unknown", "The header states none."), *notes))
    if (scaled := _in_other_units(stated, possible)) and chosen.name in DISPLAY:
        chosen = scaled
    others = [one for one in possible if one is not chosen and one.name != chosen.name]
    if away := [one for one in others if not _agree(one, chosen)]:
        said = ", ".join(f"{TITLES[one.name]} {one.fps:.5g}" for one in away)
        text = f"{TITLES[chosen.name]} gives {chosen.fps:.5g} frames/s, {said}; the first was taken."
        shown = all(one.name == "RecommendedDisplayFrameRate" for one in away)
        notes.append(note("rate of display differs" if shown else "frame rate disputed", text))
    notes += _uneven(
        chosen if chosen.steps_ms is not None else next((o for o in possible if o.steps_ms is not None), chosen)
    )
    return Timing(frame_rate(chosen.fps), (_source(chosen), *notes))


def _source(one: _Statement) -> Note:
    if one.name in DISPLAY:
        return note("frame rate is one of display", f"From {TITLES[one.name]}, {one.fps:g} frames/s.")
    return note("frame rate", f"From {TITLES[one.name]}{' (median)' if one.steps_ms is not None else ''}.")


def _impossible(one: _Statement) -> Note:
    return note("element ignored", f"{TITLES[one.name]} means {one.fps:.5g} frames/s; it was left out of account.")


def _vector(header: Elements, count: int, notes: list[Note]) -> _Statement | None:
    """Reads the steps of Frame Time Vector; the first value belongs to no step."""
    values = np.array(header.numbers("FrameTimeVector"))
    if len(values) == 0:
        return None
    steps = values if len(values) in (1, count - 1) else values[1:]
    complete = len(steps) == count - 1
    if len(values) != count:
        text = f"Frame Time Vector has {len(values)} values for {count} frames; {len(steps)} were taken as steps."
        notes.append(note("frame times doubtful", text))
    if _is_cumulative(values):
        notes.append(
            note("frame times doubtful", "Frame Time Vector only rises: taken as times since the first frame.")
        )
        steps = np.diff(values)
    good = np.isfinite(steps) & (steps > 0)
    if not good.all():
        text = f"{np.count_nonzero(~good)} of {len(steps)} steps of Frame Time Vector are zero, negative or no numbers."
        notes.append(note("frame times doubtful", text))
    if not good.any():
        return None
    return _Statement("FrameTimeVector", 1000 / float(np.median(steps[good])), steps[good], complete)


def _is_cumulative(values: Float[np.ndarray, " n"]) -> bool:
    """Tells whether values are times since the first frame: they rise all along, and far."""
    if len(values) < 4 or not np.isfinite(values).all():
        return False
    return bool((np.diff(values) > 0).all() and values[1] > 0 and values[-1] >= CUMULATIVE * values[1])


def _constant(header: Elements, count: int) -> list[_Statement]:
    """Reads the elements that give one time, or one rate, for all frames."""
    found = []
    for name in ("FrameTime", "ActualFrameDuration", "EffectiveDuration", *DISPLAY):
        value = header.number(name)
        if name == "FrameTime" and value is None:
            value = _shared_frame_time(header)
        if value is None or (value == 0 and name != "FrameTime"):
            continue  # 0 stands for unknown in all but Frame Time
        if not math.isfinite(value) or value <= 0:
            header.ignore(name, f"is {value:g}")
            continue
        if name in DISPLAY:
            found.append(_Statement(name, value))
        elif name == "EffectiveDuration":
            found.append(_Statement(name, count / value, slack=1 / count))  # of count steps, or of one less
        else:
            slack = 0.5 / value if name == "ActualFrameDuration" else 0.0  # whole milliseconds
            found.append(_Statement(name, 1000 / value, slack=slack))
        if name == "FrameTime" and (groups := _group_times(header)) is not None:
            found.append(groups)
    if not any(one.name == "FrameTime" for one in found) and (groups := _group_times(header)) is not None:
        found.insert(0, groups)
    return found


def _shared_frame_time(header: Elements) -> float | None:
    """Looks for Frame Time in the functional groups that all frames share, one level down."""
    for group in header.items("SharedFunctionalGroupsSequence")[:1]:
        if (value := group.number("FrameTime")) is not None:
            return value
        for name in group.sequences():
            for item in group.items(name)[:1]:
                if (value := item.number("FrameTime")) is not None:
                    return value
    return None


def _group_times(header: Elements) -> _Statement | None:
    """Reads the times of the frames from their functional groups: offset, trigger delay or time of acquisition."""
    frames = header.items("PerFrameFunctionalGroupsSequence")
    for sequence, name, per_second in (
        ("TemporalPositionSequence", "TemporalPositionTimeOffset", 1.0),
        ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", 1000.0),
        ("FrameContentSequence", "FrameReferenceDateTime", 0.0),
        ("FrameContentSequence", "FrameAcquisitionDateTime", 0.0),
    ):
        items = [item for frame in frames for item in frame.items(sequence)[:1]]
        found = [(_clock(item.text(name)) if not per_second else item.number(name)) for item in items]
        times_s = [value / (per_second or 1.0) for value in found if value is not None]
        if len(frames) > 1 and len(times_s) == len(frames):
            steps_ms = 1000 * np.diff(times_s)
            good = np.isfinite(steps_ms) & (steps_ms > 0)
            if good.any():
                return _Statement("groups", 1000 / float(np.median(steps_ms[good])), steps_ms[good])
    return None


def _clock(text: str) -> float | None:
    """Reads seconds from a DICOM date and time; None where the text is none."""
    for pattern in ("%Y%m%d%H%M%S.%f", "%Y%m%d%H%M%S"):
        try:
            return datetime.datetime.strptime(text.split("+")[0].split("-")[0], pattern).timestamp()
        except ValueError:
            continue
    return None


def _pointed(header: Elements, notes: list[Note]) -> str:
    """Returns the element that Frame Increment Pointer names, if it is one of time and there, else ""."""
    tags = header.tags("FrameIncrementPointer")
    names = [POINTED[tag] for tag in tags if tag in POINTED]
    for name in names:
        if header.numbers(name):
            return name
    if tags:
        what = " and ".join(f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in tags[:3])
        why = "which holds nothing" if names else "which is no time"
        notes.append(note("frame times doubtful", f"Frame Increment Pointer names {what}, {why}."))
    return ""


def _choose(possible: list[_Statement], pointed: str) -> _Statement | None:
    """Takes the element that is pointed to, else the first; a vector that others contradict comes after Frame Time."""
    by_name = {one.name: one for one in possible}
    if pointed in by_name:
        return by_name[pointed]
    vector, single = by_name.get("FrameTimeVector"), by_name.get("FrameTime")
    if vector is not None and single is not None:
        if _agree(vector, single):
            return single
        rest = [one for one in possible if one not in (vector, single)]
        support = [sum(_agree(one, other) for other in rest) for one in (vector, single)]
        return single if support[1] > support[0] or not vector.complete else vector
    return possible[0] if possible else None


def _in_other_units(stated: list[_Statement], possible: list[_Statement]) -> _Statement | None:
    """Returns an impossible time that another statement confirms once it is taken in seconds or microseconds."""
    for one in stated:
        for factor in (1e-3, 1e3):
            scaled = _Statement(one.name, one.fps * factor, slack=one.slack)
            if one not in possible and frame_rate(scaled.fps) and any(_agree(scaled, other) for other in possible):
                return scaled
    return None


def _agree(one: _Statement, other: _Statement) -> bool:
    larger = max(one.fps, other.fps)
    return abs(one.fps - other.fps) <= max((AGREE + one.slack + other.slack) * larger, 1.0 if larger > 10 else 0.0)


def _uneven(one: _Statement) -> list[Note]:
    """Says where steps differ by more than a rounding."""
    steps = one.steps_ms
    if steps is None or np.ptp(steps) <= max(UNEVEN * float(np.median(steps)), ROUNDING_MS):
        return []
    text = f"Steps of {steps.min():.1f} to {steps.max():.1f} ms in {TITLES[one.name]}."
    return [note("uneven frame times", text)]


def _trim(header: Elements, count: int, notes: list[Note]) -> None:
    """Says which frames the file marks for display; all are read."""
    first, last = header.integer("StartTrim"), header.integer("StopTrim")
    if first is None and last is None:
        return
    first, last = 1 if first is None else first, count if last is None else last
    if not 1 <= first <= last <= count:
        notes.append(note("frames missing", f"Frames {first} to {last} are marked for display, {count} are there."))
    elif (first, last) != (1, count):
        notes.append(note("trimmed for display", f"Frames {first} to {last} of {count} are marked; all were read."))
