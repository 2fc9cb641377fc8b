"""From the masks of a cine to its measurements: frames, beats, and the ejection fraction of every beat."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from echoforge_jax.evaluation.discs import MeasurementError
from echoforge_jax.evaluation.ejection_fraction import (
    BIPLANE_DISCS,
    BIPLANE_DISCS_UNSCALED,
    EjectionFraction,
    Failure,
    ViewDiscs,
    ef_percent,
)
from echoforge_jax.measurement.beats import EDGE_FLAG, Beat, Beats, find_beats
from echoforge_jax.measurement.frames import FrameMeasurement, measure_frames

DISCS, AREA_LENGTH = "single_plane_discs", "single_plane_area_length"
SINGLE_PLANE_METHODS = (DISCS, AREA_LENGTH)
NO_SYSTOLE = "no beat shows end-diastole and end-systole"
VOLUME_OF: Mapping[str, Callable[[FrameMeasurement], float]] = {
    DISCS: lambda frame: frame.volume_discs,
    AREA_LENGTH: lambda frame: frame.volume_area_length,
}


@dataclasses.dataclass(frozen=True)
class BeatEF:
    """The ejection fraction of one beat.

    Attributes:
        beat: the beat (of the four-chamber view, where two views are paired).
        result: the ejection fraction with its volumes, or why there is none.
    """

    beat: Beat
    result: EjectionFraction | Failure


@dataclasses.dataclass(frozen=True)
class EFOverBeats:
    """The ejection fraction of a cine by one method.

    A beat with an instant in the first or last frame may be cut off there, so it counts only where no other is
    measured.

    Attributes:
        method: name of the method.
        volume_unit: "ml", "px3_per_1000" or "share_of_edv".
        beats: every beat that shows end-diastole and end-systole.
    """

    method: str
    volume_unit: str
    beats: tuple[BeatEF, ...]

    @property
    def used(self) -> tuple[EjectionFraction, ...]:
        """The ejection fractions that median and range are taken of."""
        measured = [one for one in self.beats if isinstance(one.result, EjectionFraction)]
        inner = [one for one in measured if EDGE_FLAG not in one.beat.flags] or measured
        return tuple(one.result for one in inner if isinstance(one.result, EjectionFraction))

    @property
    def median_percent(self) -> float | None:
        """Median over the beats, per cent; None where none could be measured."""
        return float(np.median([ef.percent for ef in self.used])) if self.used else None

    @property
    def range_percent(self) -> tuple[float, float] | None:
        """Smallest and largest of the beats, per cent; None where none could be measured."""
        percents = [ef.percent for ef in self.used]
        return (min(percents), max(percents)) if percents else None

    @property
    def n_beats(self) -> int:
        """Number of beats in median and range."""
        return len(self.used)

    @property
    def undefined(self) -> dict[str, int]:
        """Number of beats that could not be measured, by reason."""
        reasons = Counter(one.result.reason for one in self.beats if isinstance(one.result, Failure))
        return dict(reasons) if self.beats else {NO_SYSTOLE: 1}


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What the masks of one cine measure.

    Attributes:
        view: "2CH", "4CH" or "" where it is not known.
        spacing_mm: (row, column) size of a pixel, or None where it is not known: then areas, lengths and volumes are in
            pixels and only their ratios mean something.
        frames: one record for each frame.
        beats: the beats in the area curve.
        ejection_fractions: the ejection fraction by each method.
    """

    view: str
    spacing_mm: tuple[float, float] | None
    frames: tuple[FrameMeasurement, ...]
    beats: Beats
    ejection_fractions: tuple[EFOverBeats, ...]

    def curve(self) -> list[dict[str, float | int | str | None]]:
        """Returns the table of frames, one dict for each row; units are in the names of its columns."""
        length, area, volume = ("mm", "mm2", "ml") if self.spacing_mm else ("px", "px2", "px3_per_1000")
        return [
            {
                "frame": frame.frame,
                "time_s": frame.time_s,
                f"area_{area}": frame.area,
                f"long_axis_{length}": frame.long_axis,
                f"volume_discs_{volume}": frame.volume_discs,
                f"volume_area_length_{volume}": frame.volume_area_length,
                "confidence": frame.confidence,
                "flags": "; ".join(frame.flags),
            }
            for frame in self.frames
        ]


def measure_cine(
    masks: Bool[np.ndarray, "t h w"],
    *,
    view: str = "",
    spacing_mm: tuple[float, float] | None = None,
    fps: float | None = None,
    times_s: Float[np.ndarray, " t"] | None = None,
    confidence: Float[np.ndarray, " t"] | None = None,
    methods: Sequence[str] = (DISCS,),
) -> Measurements:
    """Measures a cine of one view.

    Args:
        masks: the left ventricle in every frame, (t, h, w).
        view: "2CH", "4CH" or "".
        spacing_mm: (row, column) size of a pixel, or None where it is not known.
        fps: frames per second, or None where it is not known.
        times_s: time of every frame, where they are not even.
        confidence: how far each mask is to be trusted, 0..1; below one half a frame does not count for the beats.
        methods: names out of `SINGLE_PLANE_METHODS`.

    Raises:
        ValueError: a method is none of these, the masks are not boolean, or spacing or times are out of range.
    """
    unknown = [name for name in methods if name not in SINGLE_PLANE_METHODS]
    if unknown:
        raise ValueError(f"there is no method {unknown[0]!r}; expected one of {', '.join(SINGLE_PLANE_METHODS)}")
    frames = measure_frames(masks, spacing_mm=spacing_mm, fps=fps, confidence=confidence)
    if times_s is not None:
        frames = tuple(
            dataclasses.replace(frame, time_s=float(time))
            for frame, time in zip(frames, np.asarray(times_s) - times_s[0], strict=True)
        )
    area = np.array([frame.area for frame in frames])
    beats = find_beats(area, fps=fps, times_s=times_s, confidence=confidence)
    unit = "ml" if spacing_mm else "px3_per_1000"
    fractions = tuple(
        EFOverBeats(name, unit, tuple(_single_plane(beat, frames, VOLUME_OF[name]) for beat in _systoles(beats)))
        for name in methods
    )
    return Measurements(view, spacing_mm, frames, beats, fractions)


def biplane_over_beats(four_chamber: Measurements, two_chamber: Measurements) -> EFOverBeats:
    """Measures the biplane ejection fraction of two cines of one patient.

    The two were not recorded at once, so the n-th beat of one view is no beat of the other. Every measurable beat of
    the four-chamber view is paired with every one of the other, and each beat has the median over its pairs. With both
    spacings known the volumes are in ml (`biplane_discs`), else they are shares of the EDV (`biplane_discs_unscaled`).

    Args:
        four_chamber: measurements of the four-chamber view.
        two_chamber: measurements of the two-chamber view.
    """
    scaled = four_chamber.spacing_mm is not None and two_chamber.spacing_mm is not None
    method = BIPLANE_DISCS if scaled else BIPLANE_DISCS_UNSCALED
    others = [(beat, _discs(beat, two_chamber.frames)) for beat in _systoles(two_chamber.beats)]
    inner = [discs for beat, discs in others if EDGE_FLAG not in beat.flags and isinstance(discs, ViewDiscs)]
    partners = inner or [discs for _, discs in others] or [Failure(NO_SYSTOLE)]
    beats = []
    for beat in _systoles(four_chamber.beats):
        own = _discs(beat, four_chamber.frames)
        results = [method.measure({"4CH": own, "2CH": other}) for other in partners]
        beats.append(BeatEF(beat, _middle(results)))
    return EFOverBeats(method.name, "ml" if scaled else "share_of_edv", tuple(beats))


def _systoles(beats: Beats) -> list[Beat]:
    return [beat for beat in beats.beats if beat.has_systole]


def _single_plane(
    beat: Beat, frames: Sequence[FrameMeasurement], volume: Callable[[FrameMeasurement], float]
) -> BeatEF:
    discs = _discs(beat, frames)
    if isinstance(discs, Failure):
        return BeatEF(beat, discs)
    edv, esv = (volume(frames[instant]) for instant in (beat.ed_frame, beat.es_frame) if instant is not None)
    try:
        return BeatEF(beat, EjectionFraction(ef_percent(edv, esv), edv, esv))
    except MeasurementError as error:
        return BeatEF(beat, Failure(error.reason))


def _discs(beat: Beat, frames: Sequence[FrameMeasurement]) -> ViewDiscs | Failure:
    """Returns the discs of a beat at ED and ES, or why one of them has none."""
    discs = []
    for instant in (beat.ed_frame, beat.es_frame):
        if instant is None:
            return Failure(NO_SYSTOLE)
        frame = frames[instant]
        if frame.discs is None:
            return Failure(frame.flags[0])
        discs.append(frame.discs)
    return ViewDiscs(*discs)


def _middle(results: Sequence[EjectionFraction | Failure]) -> EjectionFraction | Failure:
    """Returns the medians of EF and volumes, or the first failure where nothing is measured."""
    measured = [result for result in results if isinstance(result, EjectionFraction)]
    if not measured:
        return results[0]
    return EjectionFraction(
        *(float(np.median([getattr(ef, name) for ef in measured])) for name in ("percent", "edv", "esv"))
    )
