"""The rows of every table, declared once: what each row changes in a base configuration, and the paper's number for it.

The tables of the paper keep its numbers ("table3"); "defaults", "parts", "few_labels", "exposure" and "labels" are this
project's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from echoforge_jax.evaluation.ejection_fraction import BIPLANE_DISCS, SINGLE_PLANE_DISCS

CAMUS, ECHONET = "camus", "echonet"
Changes = Mapping[str, Any]  # dotted field name ("model.anchors") -> value


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        label: what the table calls the row; the paper's words where it has the row.
        changes: the fields that the row sets in the base configuration.
        paper: mean Dice in per cent that the paper reports; None where it reports none.
        data: the data set, CAMUS or ECHONET.
    """

    label: str
    changes: Changes
    paper: float | None = None
    data: str = CAMUS


FULL = {"model.temporal_fusion": True, "model.anchor_recalibration": True, "pseudo_labels.strategy": "reforging"}
WITHOUT_CPR = {**FULL, "pseudo_labels.strategy": None}
TSF_ALONE = {**WITHOUT_CPR, "model.anchor_recalibration": False}
BASELINE = {**TSF_ALONE, "model.temporal_fusion": False}
AVERAGED = {"optimizer.ema_decay": 0.99}
MEAN_TEACHER = {**FULL, "pseudo_labels.strategy": "mean_teacher", **AVERAGED}
THRESHOLD = {**FULL, "pseudo_labels.strategy": "threshold"}
WITHOUT_FLAMERISE = {**FULL, "flamerise.enabled": False}
COLD_ARC = {**WITHOUT_CPR, "model.temperature": 0.1}
STEADIER_CPR = {  # what the first cells with few labels suggested (docs/results/few_labels.md)
    **FULL,
    **AVERAGED,
    "pseudo_labels.teacher": "average",
    "pseudo_labels.strong_student": True,
    "pseudo_labels.own_weight": 0.5,
    "flamerise.lambda_max": 0.5,
    "flamerise.burn_in": 0.3,
    "data.labelled_clips_per_batch": 5,
}
METHODS = {  # the ways to train with few labels that are compared
    "supervised only": WITHOUT_CPR,
    "confidence threshold": THRESHOLD,
    "CPR + FlameRise": FULL,
    "CPR": WITHOUT_FLAMERISE,
    "mean teacher": MEAN_TEACHER,
    "supervised only (average)": {**WITHOUT_CPR, **AVERAGED},
    "steadier CPR + FlameRise (average)": STEADIER_CPR,
}
FEW = (0.05, 0.1, 0.25)  # shares of the training patients with labels, on real frames
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
# A batch of 16 clips, 8 of them labelled: as many labelled clips a step as supervised training on 8 clips has.
TWICE_THE_BATCH = {"data.batch_clips": 16, "data.labelled_clips_per_batch": 8}


def _with_labels(changes: Changes, share: float) -> Changes:
    return {**changes, "data.labelled_fraction": share}


TABLES: dict[str, tuple[Row, ...]] = {
    "table1": (Row("EchoForge", FULL, 94.89), Row("EchoForge", FULL, 93.63, ECHONET)),
    "table3": (
        Row("baseline", BASELINE, 88.52),
        Row("+ TSF", TSF_ALONE, 92.36),
        Row("+ TSF + ARC", WITHOUT_CPR, 93.43),
        Row("+ TSF + ARC + CPR", FULL, 94.89),
    ),
    "table4": (
        Row("1 anchor", {**FULL, "model.anchors": 1}, 94.52),
        Row("2 anchors", {**FULL, "model.anchors": 2}, 94.89),
        Row("3 anchors", {**FULL, "model.anchors": 3}, 94.96),
        Row("4 anchors", {**FULL, "model.anchors": 4}, 94.91),
    ),
    "table5": (
        Row("without CPR", WITHOUT_CPR, 93.43),
        Row("+ channel attention", WITHOUT_FLAMERISE, 94.54),
        Row("+ FlameRise", FULL, 94.89),
    ),
    "table6": (
        Row("none", WITHOUT_CPR, 93.43),
        Row("deformation (CLAS-style)", {**FULL, "pseudo_labels.strategy": "deformation"}, 93.86),
        Row("registration (TCS-style)", {**FULL, "pseudo_labels.strategy": "registration"}, 94.03),
        Row("mean teacher", MEAN_TEACHER),
        Row("confidence threshold", THRESHOLD),
        Row("CPR", FULL, 94.89),
    ),
    "fig7": tuple(Row(f"K = {count}", {**FULL, "model.neighbours": count}) for count in (1, 4, 8, 16, 32, 64)),
    "defaults": (  # constants that the paper leaves open (docs/explanation/method.md)
        Row("+ TSF + ARC", WITHOUT_CPR),
        Row("+ TSF + ARC, ARC's temperature 0.1", COLD_ARC),
        Row("+ TSF + ARC, no BCE on ARC's mask", {**WITHOUT_CPR, "loss.seed_weight": 0.0}),
        Row("all", FULL),
        Row("all, largest pseudo-label weight 0.3", {**FULL, "flamerise.lambda_max": 0.3}),
    ),
    "parts": (  # on real frames, two to a clip
        Row("plain pyramid", BASELINE),
        Row("+ TSF", TSF_ALONE),
        Row("+ TSF + ARC", WITHOUT_CPR),
        Row("+ TSF + ARC, ARC's temperature 0.1", COLD_ARC),
    ),
    **{
        f"few_labels{100 * share:g}": tuple(
            Row(name, _with_labels(changes, share)) for name, changes in METHODS.items()
        )
        for share in FEW
    },
    "few_labels": tuple(
        Row(f"{name}, {100 * share:g} %", _with_labels(changes, share))
        for name, changes in METHODS.items()
        for share in (*FEW, 1.0)
        if share < 1 or changes is WITHOUT_CPR  # with all labels there is nothing to pseudo-label
    ),
    "exposure": (  # how often a label is seen: 10 % of the patients, equal steps
        Row("supervised only, 8 rows", _with_labels(WITHOUT_CPR, 0.1)),
        Row("supervised only, 4 rows", _with_labels({**WITHOUT_CPR, "data.batch_clips": 4}, 0.1)),
        Row("CPR + FlameRise, 4 of 8 rows labelled", _with_labels(FULL, 0.1)),
        Row("CPR + FlameRise, 8 of 16 rows labelled", _with_labels({**FULL, **TWICE_THE_BATCH}, 0.1)),
        Row(
            "steadier CPR + FlameRise (average), 8 of 16 rows labelled",
            _with_labels({**STEADIER_CPR, **TWICE_THE_BATCH}, 0.1),
        ),
    ),
    "labels": tuple(
        Row(f"{name}, {100 * share:g} %", _with_labels(changes, share))
        for name, changes in (("without CPR", WITHOUT_CPR), ("CPR", FULL))
        for share in SHARES
    ),
}
EF_METHOD = {CAMUS: BIPLANE_DISCS, ECHONET: SINGLE_PLANE_DISCS}  # how Table 1 measures the ejection fraction
PAPER_CAMUS_FULL = 94.36  # mean Dice in per cent on every annotated frame of CAMUS, Table 1
