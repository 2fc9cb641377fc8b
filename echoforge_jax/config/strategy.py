"""The pseudo-label strategies of Table 6: what each of them needs and does. Nothing else compares their names."""

from __future__ import annotations

import dataclasses
from typing import Literal

PseudoLabelName = Literal["reforging", "threshold", "mean_teacher", "registration", "deformation"]


@dataclasses.dataclass(frozen=True)
class Strategy:
    """One way to label the frames that have no label of their own.

    Attributes:
        name: Its name in the configuration; None is supervised training.
        title: Its name in reports.
        makes_pseudo_labels: Whether unlabelled frames are used at all.
        trains_reforging: Whether CPR's Wq, Wk and Wv are trained.
        changes_student_view: Whether the network sees a strongly changed view of the clips that lack labels.
        needs_average: Whether it needs the moving average of the parameters.
        carries_labels: Whether optical flow carries the labels through the clips before the training, which then holds
            all clips in memory.
    """

    name: PseudoLabelName | None
    title: str
    makes_pseudo_labels: bool = True
    trains_reforging: bool = False
    changes_student_view: bool = False
    needs_average: bool = False
    carries_labels: bool = False


SUPERVISED = Strategy(None, "none", makes_pseudo_labels=False)
REFORGING = Strategy("reforging", "CPR", trains_reforging=True)
THRESHOLD = Strategy("threshold", "confidence threshold", changes_student_view=True)
MEAN_TEACHER = Strategy("mean_teacher", "mean teacher", changes_student_view=True, needs_average=True)
REGISTRATION = Strategy("registration", "registration (after TCS)", carries_labels=True)
DEFORMATION = Strategy("deformation", "deformation (after CLAS)", carries_labels=True)

STRATEGIES: dict[str | None, Strategy] = {
    strategy.name: strategy for strategy in (SUPERVISED, REFORGING, THRESHOLD, MEAN_TEACHER, REGISTRATION, DEFORMATION)
}
