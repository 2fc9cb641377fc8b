"""Simulates one clip: a pure function of its arguments. The two views of a patient share the heart and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np

from data_pipelines.records import QUALITIES, VIEWS, Clip
from data_pipelines.simulator.drift import sample_drift
from data_pipelines.simulator.patient import Patient
from data_pipelines.simulator.pixels import compress, pixel_grid, scan_convert
from data_pipelines.simulator.placement import sample_placement
from data_pipelines.simulator.population import POPULATIONS
from data_pipelines.simulator.rhythm import Rhythm
from data_pipelines.simulator.scan import prepare_scan, scan_frame
from data_pipelines.simulator.section import contracted_section, label_map_at, section_at
from data_pipelines.simulator.timing import CYCLES, beats_timing, half_cycle_timing, rhythm_timing

QUALITY_SHARES = (0.46, 0.35, 0.19)  # Good, Medium, Poor
SMALLEST_SIZE = 32


@dataclasses.dataclass(frozen=True)
class ClipSettings:
    """What is recorded of a patient.

    Attributes:
        frames: number of frames, at least 2.
        size: height and width in pixels, at least 32. The sector fills the picture, so rows and columns are spaced
            differently.
        quality: "Good", "Medium" or "Poor"; None draws one with the shares of CAMUS.
        cycle: "ejection": from end-diastole to end-systole. "filling": from end-systole to the next end-diastole.
            "beats": from any instant, for as many beats as the frames cover.
        fps: frames per second of "beats"; the other two divide their time into `frames`.
        rhythm: the beats of a clip of "beats" and the instant of its first frame; None repeats one regular beat from a
            drawn instant. `Rhythm.true_beats` says in which frames every beat begins and ends.

    Raises:
        ValueError: a value is out of its range.
    """

    frames: int = 16
    size: int = 256
    quality: str | None = None
    cycle: str = "ejection"
    fps: float = 50.0
    rhythm: Rhythm | None = None

    def __post_init__(self) -> None:
        if self.cycle not in CYCLES:
            raise ValueError(f"cycle is {self.cycle!r}; expected one of {', '.join(CYCLES)}: choose one of these")
        if self.rhythm is not None and self.cycle != "beats":
            raise ValueError(f"a rhythm is given and cycle is {self.cycle!r}; expected 'beats': choose that")
        if self.quality is not None and self.quality not in QUALITIES:
            raise ValueError(
                f"quality is {self.quality!r}; expected one of {', '.join(QUALITIES)}, or None for a random draw"
            )
        if self.frames < 2 or self.size < SMALLEST_SIZE:
            raise ValueError(
                f"frames is {self.frames}, size is {self.size}; expected at least 2 and {SMALLEST_SIZE}: raise them"
            )


def simulate_clip(patient: Patient, view: str, settings: ClipSettings | None = None) -> Clip:
    """Simulates a clip with a label map on every frame. Equal arguments give equal bytes.

    Args:
        patient: whose heart is shown.
        view: "2CH" or "4CH".
        settings: what is recorded; None records 16 frames of 256 x 256 from end-diastole to end-systole.

    Returns:
        the clip with its pixel spacing, frame rate, and the exact volumes and ejection fraction of the heart.
        End-diastole and end-systole of "beats" are those of its first whole systole. With a rhythm they are None where
        there is none, and a beat has the volumes that `Rhythm.true_beats` states.

    Raises:
        ValueError: `view` is neither of the two, or the frames of "beats" without a rhythm hold no whole systole.
    """
    if view not in VIEWS:
        raise ValueError(f"view is {view!r}; expected one of {', '.join(VIEWS)}: choose one of these")
    settings = settings or ClipSettings()
    heart, rng = patient.heart(), patient.clip_random(view)
    drawn_quality = QUALITIES[rng.choice(len(QUALITIES), p=QUALITY_SHARES)]
    quality = settings.quality or drawn_quality
    gain_db, first_phase = float(rng.normal(0, 3)), float(rng.uniform(0, heart.beat))
    drift = sample_drift(rng)
    placement = sample_placement(rng, heart, view, POPULATIONS[patient.population])
    if settings.rhythm is not None:
        timing = rhythm_timing(settings.rhythm, heart, frames=settings.frames, fps=settings.fps)
    elif settings.cycle == "beats":
        timing = beats_timing(heart, frames=settings.frames, fps=settings.fps, first_phase=first_phase)
    else:
        timing = half_cycle_timing(heart, settings.cycle, frames=settings.frames)
    scan = prepare_scan(rng, placement, section_at(heart, view, 0.0), quality=quality, size=settings.size)
    pixels = pixel_grid(placement, settings.size)

    frames = np.empty((settings.frames, settings.size, settings.size), np.uint8)
    label_map = np.empty_like(frames)
    for frame, contraction in enumerate(timing.contractions):
        section = contracted_section(heart, view, float(contraction))
        points = drift.undone(pixels.points, time_s=frame / timing.fps, depth_mm=placement.depth_mm)
        grey = compress(scan_frame(scan, section, frame=frame, rng=rng), gain_db)
        frames[frame] = scan_convert(grey, scan.grid, points=points, inside=pixels.inside)
        label_map[frame] = label_map_at(section, section.straightened(placement.to_heart(points))) * pixels.inside
    return Clip(
        frames=frames,
        label_map=label_map,
        has_reference=np.ones(settings.frames, bool),
        ed_index=timing.ed_index,
        es_index=timing.es_index,
        spacing_mm=pixels.spacing_mm,
        fps=timing.fps,
        patient_id=patient.name,
        view=view,
        quality=quality,
        ef_percent=heart.ef_percent,
        volumes_ml=(heart.edv_ml, heart.esv_ml),
    )
