"""One simulated clip: a pure function of its arguments. The two views of a patient share the heart and nothing else."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Float32

from data_pipelines.records import QUALITIES, VIEWS, Clip
from data_pipelines.simulator.heart import Heart, sample_heart
from data_pipelines.simulator.section import View, labels_at, sample_view, section_at
from data_pipelines.simulator.ultrasound import compress, pixel_grid, prepare_scan, scan_convert, scan_frame

CYCLES = ("ejection", "filling", "beats")
POPULATIONS = ("camus", "echonet")
QUALITY_SHARES = (0.46, 0.35, 0.19)  # Good, Medium, Poor
SMALLEST_SIZE = 32
BREATH_S = 4.0


def heart_of(seed: int, patient: int, population: str = "camus") -> Heart:
    """The heart that every view of this patient shows."""
    return sample_heart(np.random.default_rng(np.random.SeedSequence([seed, patient, 0])), population)


def patient_name(patient: int) -> str:
    return f"patient{patient:04d}"


def simulate_clip(
    seed: int,
    patient: int,
    view: str,
    *,
    frames: int = 16,
    size: int = 256,
    quality: str | None = None,
    cycle: str = "ejection",
    fps: float = 50.0,
    population: str = "camus",
) -> Clip:
    """A clip with a mask on every frame; same arguments, same bytes.

    Args:
        seed: of the cohort.
        patient: number, which also names the patient.
        view: "2CH" or "4CH".
        frames: at least 2.
        size: height and width in pixels, at least 32; the sector fills the picture, so rows and columns are spaced
            differently.
        quality: "Good", "Medium", "Poor", or None for a draw from the population.
        cycle: "ejection", end-diastole to end-systole; "filling", end-systole to the next end-diastole; "beats", from
            any instant on at `fps`, whatever the number of beats.
        fps: of "beats"; the other two divide their time into `frames`.
        population: "camus" or "echonet".

    Returns:
        a Clip with spacing_mm, fps, and the exact volumes and ejection fraction of the heart. ED and ES of "beats" are
        those of its first whole systole.

    Raises:
        ValueError: an argument out of its range, or too few frames for a whole systole.
    """
    _check(view, quality, frames, size, cycle, population)
    heart = heart_of(seed, patient, population)
    rng = np.random.default_rng(np.random.SeedSequence([seed, patient, 1 + VIEWS.index(view)]))
    drawn_quality = QUALITIES[rng.choice(len(QUALITIES), p=QUALITY_SHARES)]
    quality = quality or drawn_quality
    gain_db, first_phase = float(rng.normal(0, 3)), float(rng.uniform(0, heart.beat))
    drift = Drift.draw(rng)
    placement = sample_view(rng, heart, view, population)
    phases, ed, es, fps = _timing(heart, cycle, frames, fps, first_phase)
    scan = prepare_scan(rng, placement, section_at(heart, view, 0.0), quality, size)
    pixels = pixel_grid(placement, size, scan.grid)

    pictures = np.empty((frames, size, size), np.uint8)
    masks = np.empty((frames, size, size), np.uint8)
    for frame, phase in enumerate(phases):
        section = section_at(heart, view, float(phase))
        x_mm, z_mm = drift.undone(pixels.x_mm, pixels.z_mm, frame / fps, placement)
        row, column = scan.grid.places(x_mm, z_mm)
        grey = compress(scan_frame(scan, section, frame, rng), gain_db)
        pictures[frame] = scan_convert(grey, dataclasses.replace(pixels, row=row, column=column))
        u_mm, v_mm = placement.to_heart(x_mm, z_mm)
        masks[frame] = labels_at(section, u_mm, v_mm - section.bend_at(u_mm)) * pixels.inside
    return Clip(
        frames=pictures,
        label_map=masks,
        has_reference=np.ones(frames, bool),
        ed_index=ed,
        es_index=es,
        spacing_mm=pixels.spacing_mm,
        fps=fps,
        patient_id=patient_name(patient),
        view=view,
        quality=quality,
        ef_percent=heart.ef_percent,
        volumes_ml=(heart.edv_ml, heart.esv_ml),
    )


def _check(view: str, quality: str | None, frames: int, size: int, cycle: str, population: str) -> None:
    for name, found, allowed in (
        ("view", view, VIEWS),
        ("cycle", cycle, CYCLES),
        ("population", population, POPULATIONS),
    ):
        if found not in allowed:
            raise ValueError(f"{name} is {found!r}; expected one of {', '.join(allowed)}: choose one of these")
    if quality is not None and quality not in QUALITIES:
        raise ValueError(f"quality is {quality!r}; expected one of {', '.join(QUALITIES)}, or None for a random draw")
    if frames < 2 or size < SMALLEST_SIZE:
        raise ValueError(f"frames is {frames}, size is {size}; expected at least 2 and {SMALLEST_SIZE}: raise them")


def _timing(
    heart: Heart, cycle: str, frames: int, fps: float, first_phase: float
) -> tuple[Float[np.ndarray, " t"], int, int, float]:
    """The phase of every frame, the frames of ED and ES, and the frame rate."""
    if cycle == "ejection":
        return np.linspace(0, 1, frames), 0, frames - 1, (frames - 1) / heart.systole_s
    if cycle == "filling":
        filling_s = heart.beat_s - heart.systole_s
        return np.linspace(1, heart.beat, frames), frames - 1, 0, (frames - 1) / filling_s
    phases = first_phase + np.arange(frames) / (fps * heart.systole_s)
    ed = math.ceil((heart.beat - first_phase) * heart.systole_s * fps)
    es = ed + round(heart.systole_s * fps)
    if es >= frames:
        raise ValueError(f"{frames} frames at {fps} fps hold no whole systole; expected more than {es}: raise frames")
    return phases, ed, es, fps


@dataclasses.dataclass(frozen=True)
class Drift:
    """The probe's slow movement against the heart: sideways and in depth (mm) and rotation, with the breath.

    What moves is the heart in the picture; the sector stays.
    """

    sideways_mm: float
    depth_mm: float
    rotation_rad: float
    start: float  # in the breath, rad

    @staticmethod
    def draw(rng: np.random.Generator) -> Drift:
        sideways_mm, depth_mm, rotation = rng.normal(0, 1, 3) * (1.2, 1.2, math.radians(1.0))
        return Drift(float(sideways_mm), float(depth_mm), float(rotation), float(rng.uniform(0, 2 * math.pi)))

    def undone(
        self, x_mm: Float32[np.ndarray, "h w"], z_mm: Float32[np.ndarray, "h w"], time_s: float, view: View
    ) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
        """Where points of the picture at `time_s` were before the probe moved, in probe coordinates (mm)."""
        share = math.sin(2 * math.pi * time_s / BREATH_S + self.start) - math.sin(self.start)
        angle, middle = share * self.rotation_rad, np.float32(view.depth_mm / 2)
        cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        dx = x_mm - np.float32(share * self.sideways_mm)
        dz = z_mm - np.float32(share * self.depth_mm) - middle
        return cosine * dx - sine * dz, sine * dx + cosine * dz + middle
