"""Measures how far the found end-diastoles and end-systoles lie from the true ones: `python scripts/beat_errors.py`.

Hearts of the simulator beat in rhythms of known instants. The area is that of the cavity's outline, without pictures;
errors like those of a network are added to it. Prints the table of docs/results/beats.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools

import numpy as np
from jaxtyping import Float

from data_pipelines.simulator.heart import Heart
from data_pipelines.simulator.patient import Patient
from data_pipelines.simulator.rhythm import sample_rhythm
from data_pipelines.simulator.section import contracted_section
from echoforge_jax.measurement.beats import find_beats

STATES = np.linspace(0, 1, 41)  # contractions at which the area is computed; between them it is interpolated
RHYTHM_BEATS = 12  # after so many beats a rhythm repeats
NEAR_EDGE = 0.1  # of a beat: an instant that lies so little outside of the cine may be found at its edge


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: what it tries.
        rhythm: kind of rhythm.
        beats: length of the cines, in usual beats.
        fps: frames per second.
        noise: SD of independent errors of the area, as a share of the stroke.
        outliers: share of frames that are off by 30 to 120 % of the stroke.
        drift: size of a slow drift, as a share of the stroke.
        capped: share of the stroke by which the masks of early filling are too small (leaflets taken for the wall).
        missing: share of frames without an area.
        repeated: whether every frame is shown twice.
        rate_known: whether the search is told the frame rate.
    """

    name: str
    rhythm: str = "regular"
    beats: float = 4
    fps: float = 50.0
    noise: float = 0.03
    outliers: float = 0.0
    drift: float = 0.0
    capped: float = 0.0
    missing: float = 0.0
    repeated: bool = False
    rate_known: bool = True


ROWS = (
    *(Row(f"{fps} frames/s, no noise", fps=float(fps), noise=0.0) for fps in (8, 15, 20, 30, 40, 50, 60, 100, 200)),
    *(
        Row(f"{fps} frames/s, noise {noise:.0%}", fps=float(fps), noise=noise)
        for noise in (0.02, 0.05, 0.1, 0.2)
        for fps in (30, 60)
    ),
    *(Row(f"{beats} beats", beats=beats) for beats in (0.3, 0.5, 0.8, 1, 1.5, 2, 8, 40)),
    *(
        Row(f"{rhythm} rhythm, {fps} frames/s", rhythm, beats=8, fps=float(fps))
        for rhythm in ("varying", "ectopic", "irregular")
        for fps in (30, 60)
    ),
    *(
        Row(f"{rhythm} rhythm, {beats} beats, rate not known", rhythm, beats=beats, rate_known=False)
        for rhythm, beats in (("regular", 1), ("regular", 4), ("irregular", 8))
    ),
    Row("3 % of frames are outliers", outliers=0.03),
    Row("drift of half a stroke", beats=6, drift=0.5),
    Row("drift of a whole stroke", beats=6, drift=1.0),
    Row("early filling too small by 15 %", capped=0.15),
    Row("early filling too small by 30 %", capped=0.3),
    Row("10 % of frames missing", missing=0.1),
    Row("every frame twice", fps=25.0, repeated=True),
)


@dataclasses.dataclass(frozen=True)
class HeartArea:
    """The area of one heart's cavity as a function of its contraction.

    Attributes:
        heart: the heart.
        area_mm2: area at every contraction of `STATES`.
    """

    heart: Heart
    area_mm2: Float[np.ndarray, " n"]


@functools.cache
def heart_area(number: int) -> HeartArea:
    """Computes the area of the four-chamber view of one patient from its outline.

    Args:
        number: number of the patient.
    """
    heart = Patient(0, number).heart()
    areas = []
    for contraction in STATES:
        section = contracted_section(heart, "4CH", float(contraction))
        u_mm = np.linspace(0, section.length_mm, 400)[1:]
        half_mm = section.radius_mm * np.sqrt(np.maximum(1 - ((u_mm - section.widest_mm) / section.widest_mm) ** 2, 0))
        sides = sum(half_mm * section.stretch_at(u_mm, np.full_like(u_mm, side)) for side in (-1.0, 1.0))
        areas.append(np.trapezoid(sides, u_mm))
    return HeartArea(heart, np.array(areas))


@dataclasses.dataclass
class Errors:
    """What one row found.

    Attributes:
        frames: error of every matched instant, found minus the nearest true frame, by "ED" and "ES".
        true: number of true instants.
        missed: number of true instants for which none was found.
        extra: number of found instants that stand for none.
    """

    frames: dict[str, list[float]]
    true: int = 0
    missed: int = 0
    extra: int = 0


def try_row(row: Row, hearts: int) -> Errors:
    """Searches the beats of one cine of every heart.

    Args:
        row: what is tried.
        hearts: number of hearts.
    """
    errors = Errors({"ED": [], "ES": []})
    for number in range(1, hearts + 1):
        known = heart_area(number)
        rng = np.random.default_rng([number, int(10 * row.fps), int(10 * row.beats)])
        rhythm = sample_rhythm(rng, known.heart, row.rhythm, beats=RHYTHM_BEATS)
        frames = max(2, round(row.beats * known.heart.beat_s * row.fps))
        contraction = np.array([rhythm.contraction_at(frame / row.fps) for frame in range(frames)])
        beats = rhythm.true_beats(known.heart, frames=frames, fps=row.fps)
        area = np.interp(contraction, STATES, known.area_mm2)
        stroke = float(np.ptp(known.area_mm2))
        for beat in beats:
            filling = (np.arange(frames) - beat.es_frame) / (beat.next_ed_frame - beat.es_frame)
            area = area - row.capped * stroke * ((filling > 0.15) & (filling < 0.45))
        area = area + rng.normal(0, row.noise * stroke, frames)
        off = rng.random(frames) < row.outliers
        area[off] += (rng.choice([-1, 1], frames) * rng.uniform(0.3, 1.2, frames) * stroke)[off]
        swing = 2 * np.pi * (rng.uniform(0.5, 1.5) * np.arange(frames) / frames + rng.random())
        area = area + row.drift * stroke * np.sin(swing)
        area[rng.random(frames) < row.missing] = np.nan
        times = 2 if row.repeated else 1
        found = find_beats(np.repeat(area, times), fps=times * row.fps if row.rate_known else None)
        near = NEAR_EDGE * known.heart.beat_s * row.fps
        for name, true, seen in (
            (
                "ED",
                {t for b in beats for t in (b.ed_frame, b.next_ed_frame)},
                {f for b in found.beats for f in (b.ed_frame, b.next_ed_frame) if f is not None},
            ),
            ("ES", {b.es_frame for b in beats}, {b.es_frame for b in found.beats if b.es_frame is not None}),
        ):
            _match(errors, name, sorted(true), [f / times for f in sorted(seen)], (frames, near))
    return errors


def _match(errors: Errors, name: str, true: list[float], found: list[float], clip: tuple[int, float]) -> None:
    """Pairs every true instant of the cine with the nearest found one; `clip` holds its frames and what is near."""
    frames, near = clip
    distinct = [t for i, t in enumerate(true) if i == 0 or t - true[i - 1] > 1e-6]
    left = list(found)
    for instant in (t for t in distinct if 0 <= t <= frames - 1):
        errors.true += 1
        best = min(left, key=lambda frame: abs(frame - instant), default=None)
        if best is None or abs(best - instant) > 3 * near:
            errors.missed += 1
            continue
        left.remove(best)
        errors.frames[name].append(best - round(instant))
    outside = [t for t in distinct if -near <= t < 0 or frames - 1 < t <= frames - 1 + near]
    errors.extra += sum(all(abs(frame - t) > near for t in outside) for frame in left)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hearts", type=int, default=60, help="The number of hearts a row. Default: 60.")
    hearts = parser.parse_args().hearts
    columns = ["cines", "instants", "missed", "extra"]
    columns += [f"{name} {what}" for name in ("ED", "ES") for what in ("within 1 frame", "bias, SD (ms)")]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in ROWS:
        errors = try_row(row, hearts)
        cells = []
        for name in ("ED", "ES"):
            off = np.array(errors.frames[name])
            ms = 1000 * off / row.fps
            cells.append(f"{100 * np.mean(np.abs(off) <= 1):.1f} % | {ms.mean():+.0f}, {ms.std():.0f}")
        print(f"| {row.name} | {errors.true} | {errors.missed} | {errors.extra} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
