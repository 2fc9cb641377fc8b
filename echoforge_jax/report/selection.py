"""Which frames, clips and patients a report shows, with remarks on what is wrong with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from data_pipelines.records import ENDOCARDIUM
from echoforge_jax.evaluation.ejection_fraction import SINGLE_PLANE_DISCS
from echoforge_jax.evaluation.failures import failure_reasons
from echoforge_jax.evaluation.rows import FrameScore, PatientEF
from echoforge_jax.evaluation.scores import PIXELS, Case, VolumeCurve, volume_curve
from echoforge_jax.evaluation.summary import ProtocolScores
from echoforge_jax.report.overlays import Overlay

ANIMATED = 3  # clips
CURVES_EACH = 2  # volume curves in each of the groups largest, middle and smallest error
LONGEST_ANIMATION = 40  # frames; of longer clips evenly spaced frames are shown


@dataclasses.dataclass(frozen=True)
class Animation:
    """The frames of one clip with their masks.

    Attributes:
        frames: the frames in order; one without a reference shows the prediction alone.
        caption: one line of plain text.
        remarks: what is wrong with the worst scored frame.
    """

    frames: list[Overlay]
    caption: str
    remarks: tuple[str, ...]


@dataclasses.dataclass
class Pictures:
    """What a report shows next to its numbers.

    Attributes:
        overlays: frames of the first protocol.
        animations: clips of the last protocol.
        curves: caption -> volume curve, of patients of the last protocol.
    """

    overlays: list[Overlay] = dataclasses.field(default_factory=list)
    animations: list[Animation] = dataclasses.field(default_factory=list)
    curves: dict[str, VolumeCurve] = dataclasses.field(default_factory=dict)

    def add(self, cases: Sequence[Case], scores: ProtocolScores) -> None:
        """Picks pictures from one more protocol.

        Args:
            cases: clips and their predicted masks.
            scores: what the protocol scored in them.
        """
        self.overlays = self.overlays or pick_overlays(cases, scores.frames)
        self.animations = pick_animations(cases, scores.frames)
        self.curves = pick_curves(cases, scores.patients)


def overlay(case: Case, frame: int, caption: str = "", *, explain: bool = False) -> Overlay:
    """Makes a picture of one frame of a case.

    Args:
        case: a clip and its predicted masks.
        frame: index of the frame.
        caption: one line of plain text.
        explain: adds remarks on what is wrong with the mask.
    """
    clip = case.clip
    image, prediction = clip.frames[frame], case.prediction[frame] == ENDOCARDIUM
    reference = clip.label_map[frame] == ENDOCARDIUM
    remarks = failure_reasons(image, prediction, reference, clip.spacing_mm) if explain else []
    return Overlay(image, prediction, reference, clip.spacing_mm or PIXELS, caption, tuple(remarks))


def pick_overlays(cases: Sequence[Case], rows: Sequence[FrameScore], count: int = 4) -> list[Overlay]:
    """Picks the frames with the lowest, the middle and the highest Dice; the lowest get remarks.

    Args:
        cases: clips and their predicted masks.
        rows: scores of their frames.
        count: number of frames in each of the three groups.
    """
    case_of = _by_patient_and_view(cases)
    ranked = sorted(rows, key=lambda row: row.dice)
    middle = max(len(ranked) // 2 - count // 2, 0)
    groups = {"worst": ranked[:count], "median": ranked[middle : middle + count], "best": ranked[::-1][:count]}
    return [
        overlay(
            case_of[row.patient_id, row.view],
            row.frame,
            f"{name}: {row.patient_id} {row.view} {row.phase}",
            explain=name == "worst",
        )
        for name, group in groups.items()
        for row in group
    ]


def pick_animations(cases: Sequence[Case], rows: Sequence[FrameScore]) -> list[Animation]:
    """Picks the clips of more than two frames with the lowest mean Dice, the lowest first.

    Args:
        cases: clips and their predicted masks.
        rows: scores of their frames.
    """
    case_of = _by_patient_and_view(cases)
    rows_of: dict[tuple[str, str], list[FrameScore]] = {}
    for row in rows:
        rows_of.setdefault((row.patient_id, row.view), []).append(row)
    mean = {key: float(np.mean([row.dice for row in group])) for key, group in rows_of.items()}
    chosen = [key for key in sorted(mean, key=mean.__getitem__) if len(case_of[key].clip) > 2][:ANIMATED]
    animations = []
    for key in chosen:
        case = case_of[key]
        n_frames = len(case.clip)
        worst = min(rows_of[key], key=lambda row: row.dice)
        shown = np.unique(np.linspace(0, n_frames - 1, min(n_frames, LONGEST_ANIMATION)).round().astype(int))
        caption = (
            f"{' '.join(filter(None, key))}, {n_frames} frames, mean Dice {100 * mean[key]:.1f} % of "
            f"{len(rows_of[key])} scored, worst {100 * worst.dice:.1f} % ({worst.phase}, frame {worst.frame})"
        )
        remarks = overlay(case, worst.frame, explain=True).remarks
        animations.append(Animation([overlay(case, int(frame)) for frame in shown], caption, remarks))
    return animations


def pick_curves(cases: Sequence[Case], patients: Sequence[PatientEF]) -> dict[str, VolumeCurve]:
    """Picks volume curves (4CH, single plane) of the patients with the largest, middle and smallest error of EF.

    Args:
        cases: clips and their predicted masks.
        patients: ejection fractions of their patients.

    Returns:
        Caption -> curve, the largest error first. A clip of two frames has no curve.
    """
    case_of = _by_patient_and_view(cases)
    percent = {
        row.patient_id: (result.prediction_percent, result.reference_percent)
        for row in patients
        for result in [row.methods[SINGLE_PLANE_DISCS]]
    }
    measured = {key: (ours, true) for key, (ours, true) in percent.items() if ours is not None and true is not None}
    ranked = sorted(measured, key=lambda patient_id: -abs(measured[patient_id][0] - measured[patient_id][1]))
    middle = max(len(ranked) // 2 - CURVES_EACH // 2, 0)
    groups = ranked[:CURVES_EACH], ranked[middle : middle + CURVES_EACH], ranked[-CURVES_EACH:]
    curves = {}
    for patient_id in dict.fromkeys(patient_id for group in groups for patient_id in group):
        case = next(case_of[key] for key in ((patient_id, "4CH"), (patient_id, "")) if key in case_of)
        if len(case.clip) > 2:
            prediction, reference = measured[patient_id]
            curves[f"{patient_id}: EF {prediction:.0f} %, reference {reference:.0f} %"] = volume_curve(case)
    return curves


def _by_patient_and_view(cases: Sequence[Case]) -> dict[tuple[str, str], Case]:
    return {(case.clip.patient_id, case.clip.view): case for case in cases}
