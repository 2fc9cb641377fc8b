"""Seconds to score masks: `python scripts/benchmark_scoring.py --frames=10000 --size=256 --processes=2`.

The masks are those of simulated hearts, jittered for the prediction. One process and several score the same frames, and
the rows must be equal; cropped to the masks, and not, the distances must be equal too.
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import numpy as np
from scipy import ndimage

from data_pipelines.records import Clip
from echoforge_jax.evaluation import surface
from echoforge_jax.evaluation.evaluator import score_clips

FRAMES_PER_CLIP = 20


def make_cases(frames: int, size: int) -> list[tuple[Clip, np.ndarray]]:
    """Clips of a beating truncated ellipse, and a prediction with a rough border."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size] / size
    cases = []
    for i in range(-(-frames // FRAMES_PER_CLIP)):
        masks, predictions = [], []
        radius, length, top = rng.uniform((0.10, 0.25, 0.3), (0.16, 0.38, 0.4))
        for t in range(FRAMES_PER_CLIP):
            shrink = 1 - 0.2 * t / FRAMES_PER_CLIP
            field = ((columns - 0.5) / (radius * shrink)) ** 2 + ((rows - top - 0.1) / length) ** 2
            rough = ndimage.gaussian_filter(rng.normal(size=(size, size)), size / 40) * size / 12
            for kept, noise in ((masks, 0.0), (predictions, rough)):
                kept.append(((field + noise <= 1) & (rows <= top + 0.1 + 0.6 * length)).astype(np.uint8))
        clip = Clip(
            frames=np.zeros((FRAMES_PER_CLIP, size, size), np.uint8),
            label_map=np.stack(masks),
            has_reference=np.ones(FRAMES_PER_CLIP, bool),
            ed_index=0,
            es_index=FRAMES_PER_CLIP - 1,
            spacing_mm=(0.3, 0.4),
            fps=None,
            patient_id=f"patient{i:05d}",
            view="4CH",
        )
        cases.append((clip, np.stack(predictions)))
    return cases


def uncropped(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, float]) -> surface.SurfaceDistances:
    """`surface_distances` over the whole picture."""
    box, surface._bounding_box = surface._bounding_box, lambda mask: (slice(None), slice(None))
    try:
        return surface.surface_distances(prediction, reference, spacing)
    finally:
        surface._bounding_box = box


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    cases = make_cases(arguments.frames, arguments.size)
    wanted = [range(FRAMES_PER_CLIP)] * len(cases)
    found = {}
    for processes in (1, arguments.processes):
        start = time.perf_counter()
        found[processes] = score_clips(cases, wanted, processes)
        seconds = time.perf_counter() - start
        print(f"{len(found[processes])} frames, {arguments.size} px, {processes} processes: {seconds:.1f} s")
    print("rows equal:", found[1] == found[arguments.processes])
    checked = [(clip, mask, t) for clip, mask in cases[:10] for t in (0, 19)]
    equal = all(
        dataclasses.astuple(surface.surface_distances(*(masks := (m[t] > 0, c.label_map[t] > 0)), (0.3, 0.4)))
        == dataclasses.astuple(uncropped(*masks, (0.3, 0.4)))
        for c, m, t in checked
    )
    print(f"cropped equals uncropped on {len(checked)} frames: {equal}")


if __name__ == "__main__":
    main()
