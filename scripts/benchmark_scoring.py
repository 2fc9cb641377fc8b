"""Measures how long masks take to score: `python scripts/benchmark_scoring.py --frames=10000 --size=256 --processes=2`.

The masks are those of drawn hearts, with a rough border for the prediction. One process and several score the same
frames, and their scores must be equal. The distances must also be the same with and without cropping to the masks.
"""

from __future__ import annotations

import argparse
import time
from unittest import mock

import numpy as np
from scipy import ndimage

from data_pipelines.records import Clip
from echoforge_jax.evaluation import surface
from echoforge_jax.evaluation.scores import Case, score_clips

FRAMES_PER_CLIP = 20
CHECKED_CLIPS = 10  # whose first and last frames are scored with and without cropping


def make_cases(frames: int, size: int) -> list[Case]:
    """Makes clips of a contracting truncated ellipse, and predictions with a rough border.

    Args:
        frames: number of frames, rounded up to whole clips.
        size: height and width in pixels.
    """
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size] / size
    cases = []
    for i in range(-(-frames // FRAMES_PER_CLIP)):
        references, predictions = [], []
        radius, length, top = rng.uniform((0.10, 0.25, 0.3), (0.16, 0.38, 0.4))
        for t in range(FRAMES_PER_CLIP):
            shrink = 1 - 0.2 * t / FRAMES_PER_CLIP
            field = ((columns - 0.5) / (radius * shrink)) ** 2 + ((rows - top - 0.1) / length) ** 2
            rough = ndimage.gaussian_filter(rng.normal(size=(size, size)), size / 40) * size / 12
            for masks, noise in ((references, 0.0), (predictions, rough)):
                masks.append(((field + noise <= 1) & (rows <= top + 0.1 + 0.6 * length)).astype(np.uint8))
        clip = Clip(
            frames=np.zeros((FRAMES_PER_CLIP, size, size), np.uint8),
            label_map=np.stack(references),
            has_reference=np.ones(FRAMES_PER_CLIP, bool),
            ed_index=0,
            es_index=FRAMES_PER_CLIP - 1,
            spacing_mm=(0.3, 0.4),
            fps=None,
            patient_id=f"patient{i:05d}",
            view="4CH",
        )
        cases.append(Case(clip, np.stack(predictions)))
    return cases


def cropping_changes_nothing(case: Case, frame: int) -> bool:
    """Tells whether the distances of a frame are the same on the masks' bounding box and on the whole picture.

    Args:
        case: a clip and its predicted masks.
        frame: index of the frame.
    """
    spacing = case.clip.spacing_mm or (1.0, 1.0)
    masks = case.prediction[frame] > 0, case.clip.label_map[frame] > 0
    cropped = surface.surface_distances(*masks, spacing)
    with mock.patch.object(surface, "_bounding_box", return_value=(slice(None), slice(None))):
        return cropped == surface.surface_distances(*masks, spacing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000, help="Sets how many frames are scored (default: 10000).")
    parser.add_argument("--size", type=int, default=256, help="Sets the side of a frame in pixels (default: 256).")
    parser.add_argument(
        "--processes", type=int, default=2, help="Sets how many processes are compared with a single one (default: 2)."
    )
    arguments = parser.parse_args()
    cases = make_cases(arguments.frames, arguments.size)
    frames = [range(FRAMES_PER_CLIP)] * len(cases)
    scores = {}
    for processes in (1, arguments.processes):
        start = time.perf_counter()
        scores[processes] = score_clips(cases, frames, processes=processes)
        seconds = time.perf_counter() - start
        print(f"{len(scores[processes])} frames, {arguments.size} px, {processes} processes: {seconds:.1f} s")
    print("scores equal:", scores[1] == scores[arguments.processes])
    checked = [(case, frame) for case in cases[:CHECKED_CLIPS] for frame in (0, FRAMES_PER_CLIP - 1)]
    equal = all(cropping_changes_nothing(case, frame) for case, frame in checked)
    print(f"cropped equals uncropped on {len(checked)} frames: {equal}")


if __name__ == "__main__":
    main()
