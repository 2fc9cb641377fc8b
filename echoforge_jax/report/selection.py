"""Which frames, clips and patients a report shows, with remarks on what went wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines.records import ENDOCARDIUM, Clip
from echoforge_jax.evaluation.failures import failure_reasons
from echoforge_jax.evaluation.patients import volume_curve
from echoforge_jax.report.overlays import Overlay

Case = tuple[Clip, np.ndarray]
ANIMATED, CURVES_EACH = 3, 2  # the worst clips; volume curves of the largest, middle and smallest error
MOST_FRAMES = 40  # of an animation: longer clips are thinned


@dataclasses.dataclass(frozen=True)
class Animation:
    """Every frame of one clip with its masks; frames without a reference show the prediction alone."""

    frames: list[Overlay]
    caption: str
    remarks: tuple[str, ...]


@dataclasses.dataclass
class Pictures:
    """What a report shows besides numbers: frames of its first protocol, clips and volume curves of its last."""

    overlays: list[Overlay] = dataclasses.field(default_factory=list)
    animations: list[Animation] = dataclasses.field(default_factory=list)
    curves: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def add(self, cases: Sequence[Case], frame_rows: Sequence[dict], ef_rows: Sequence[dict]) -> None:
        """Picks from the cases of one more protocol, by its rows."""
        self.overlays = self.overlays or pick_overlays(cases, frame_rows)
        self.animations = pick_animations(cases, frame_rows)
        self.curves = pick_curves(cases, ef_rows)


def overlay(case: Case, frame: int, caption: str = "", *, explain: bool = False) -> Overlay:
    """One frame of a case as a picture; `explain` adds `failure_reasons`."""
    clip, mask = case
    prediction, reference = mask[frame] == ENDOCARDIUM, clip.label_map[frame] == ENDOCARDIUM
    image = clip.frames[frame]
    remarks = failure_reasons(image, prediction, reference, clip.spacing_mm) if explain else []
    return Overlay(image, prediction, reference, clip.spacing_mm or (1.0, 1.0), caption, tuple(remarks))


def pick_overlays(cases: Sequence[Case], rows: Sequence[dict], count: int = 4) -> list[Overlay]:
    """The worst, the middle and the best frames by Dice, `count` of each; the worst with reasons."""
    of = _by_id(cases)
    ranked = sorted(rows, key=lambda row: row["dice"])
    middle = max(len(ranked) // 2 - count // 2, 0)
    groups = {"worst": ranked[:count], "median": ranked[middle : middle + count], "best": ranked[::-1][:count]}
    return [
        overlay(
            of[row["patient_id"], row["view"]],
            row["frame"],
            explain=name == "worst",
            caption=f"{name}: {row['patient_id']} {row['view']} {row['phase']}",
        )
        for name, chosen in groups.items()
        for row in chosen
    ]


def pick_animations(cases: Sequence[Case], rows: Sequence[dict]) -> list[Animation]:
    """The clips of lowest mean Dice that have more than two frames, worst first."""
    of = _by_id(cases)
    dice: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        dice.setdefault((row["patient_id"], row["view"]), []).append(row)
    mean = {key: float(np.mean([row["dice"] for row in found])) for key, found in dice.items()}
    chosen = [key for key in sorted(mean, key=mean.__getitem__) if len(of[key][0]) > 2][:ANIMATED]
    animations = []
    for key in chosen:
        clip, _ = of[key]
        worst = min(dice[key], key=lambda row: row["dice"])
        shown = np.unique(np.linspace(0, len(clip) - 1, min(len(clip), MOST_FRAMES)).round().astype(int))
        text = (
            f"{' '.join(filter(None, key))}, {len(clip)} frames, mean Dice {100 * mean[key]:.1f} % of {len(dice[key])} "
            f"scored, worst {100 * worst['dice']:.1f} % ({worst['phase']}, frame {worst['frame']})"
        )
        remarks = overlay(of[key], worst["frame"], explain=True).remarks
        animations.append(Animation([overlay(of[key], int(t)) for t in shown], text, remarks))
    return animations


def pick_curves(cases: Sequence[Case], patients: Sequence[dict]) -> list[dict[str, Any]]:
    """Volume curves (4CH, single plane) of the patients with the largest, the middle and the smallest error of EF."""
    of = _by_id(cases)
    reference, prediction = (f"single_plane_discs_{side}_ef_percent" for side in ("reference", "prediction"))
    measured = [p for p in patients if p[reference] is not None and p[prediction] is not None]
    ranked = sorted(measured, key=lambda p: -abs(p[prediction] - p[reference]))
    middle = max(len(ranked) // 2 - CURVES_EACH // 2, 0)
    picked = {
        p["patient_id"]: p
        for group in (ranked[:CURVES_EACH], ranked[middle : middle + CURVES_EACH], ranked[-CURVES_EACH:])
        for p in group
    }
    curves = []
    for patient_id, p in picked.items():
        case = next(of[key] for key in ((patient_id, "4CH"), (patient_id, "")) if key in of)
        if len(case[0]) > 2:
            caption = f"{patient_id}: EF {p[prediction]:.0f} %, reference {p[reference]:.0f} %"
            curves.append(volume_curve(*case) | {"caption": caption})
    return curves


def _by_id(cases: Sequence[Case]) -> dict[tuple[str, str], Case]:
    return {(clip.patient_id, clip.view): (clip, mask) for clip, mask in cases}
