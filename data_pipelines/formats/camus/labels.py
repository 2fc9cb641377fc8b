"""Labels of masks: recognises how they are coded, and checks that they lie where they must."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from data_pipelines.notes import Note, note
from data_pipelines.records import ATRIUM, BACKGROUND, ENDOCARDIUM, LABEL_NAMES, MYOCARDIUM, UnreadableRecord

STEP = 85  # 0, 85, 170, 255: labels that were stretched to be seen
WHITE = 255
INSIDE = 0.5  # share of a label within the hull of the myocardium from which it is taken for the cavity
RIM = 0.9  # share of the atrium's surroundings with another label from which the mask was interpolated


def to_labels(masks: Sequence[np.ndarray], record_id: str, *, names: str) -> tuple[int, Note | None]:
    """Recognises how the masks of one record are coded.

    Args:
        masks: all masks of the record, each (t, h, w); they are coded alike.
        record_id: the record, for the message of a fault.
        names: the files, for the message of a fault.

    Returns:
        The number by which the masks are divided to give labels 0..3, and a note where it is not 1. 0 and 255 alone
        are the background and the left ventricle (255); 0, 85, 170 and 255 are labels 0..3 (85).

    Raises:
        UnreadableRecord: "label out of range": other values, or values between labels.
    """
    values = np.unique(np.concatenate([_values_of(mask) for mask in masks]))
    found = f"{names}: values {_listed(values)}, expected labels {_meanings()}"

    def fault(advice: str) -> UnreadableRecord:
        return UnreadableRecord(record_id, "label out of range", f"{found}: {advice}")

    if not np.isfinite(values).all():
        raise fault("some are not finite")
    if not np.array_equal(np.rint(values), values):
        top = values.max()
        if values.min() >= 0 and top <= 1:
            raise fault("these are probabilities, or a mask that was interpolated: give probability >= 0.5 as label 1")
        raise fault("the mask was interpolated between labels: resample masks by the nearest neighbour")
    known = set(values.tolist())
    if BACKGROUND not in known and len(known) > 1:
        raise fault("there is no background 0: are the labels counted from 1?")
    if known <= set(range(len(LABEL_NAMES))):
        return 1, None
    if known <= {0, WHITE}:
        return WHITE, note("mask of 0 and 255", f"{names}: 255 was taken as label 1, the LV endocardium.")
    if known <= {0, STEP, 2 * STEP, WHITE}:
        return STEP, note("mask of 0 and 255", f"{names}: 85, 170 and 255 were taken as labels 1, 2 and 3.")
    if len(known) <= len(LABEL_NAMES):
        raise fault("these are other labels or grey levels of labels: give each structure its label")
    if values.min() >= 0 and values.max() <= WHITE and len(known) > 16:
        raise fault("so many values are a picture, probabilities, or a mask that was interpolated or packed with loss")
    raise fault("map them to labels 0..3; a data set of other structures has other numbers")


def divide(mask: Shaped[np.ndarray, "t h w"], step: int) -> UInt8[np.ndarray, "t h w"]:
    """Returns labels 0..3.

    Args:
        mask: values as stored.
        step: what `to_labels` returned.
    """
    return (mask // step).astype(np.uint8) if step != 1 else mask.astype(np.uint8)


def label_notes(label_map: UInt8[np.ndarray, "h w"], name: str) -> list[Note]:
    """Says where the labels of one frame do not lie as in an apical view.

    The myocardium is an arch around the cavity, so that its convex hull holds label 1 and none of the others. Around
    the atrium lies background; a rim of another label all around it is left by an interpolation between 0 and 3.

    Args:
        label_map: labels 0..3.
        name: the frame or file, for the text.
    """
    notes = []
    counts = np.bincount(label_map.ravel(), minlength=len(LABEL_NAMES))
    if counts[MYOCARDIUM]:
        hull = _hull(label_map == MYOCARDIUM)
        inside = {label: hull[label_map == label].mean() for label in (ENDOCARDIUM, ATRIUM) if counts[label]}
        if inside.get(ENDOCARDIUM, 1) < INSIDE < inside.get(ATRIUM, 0):
            text = f"{name}: label 3 lies within the arch of label 2 and label 1 does not."
            notes.append(note("labels of another convention", f"{text} Expected {_meanings()}."))
    if counts[ENDOCARDIUM] and counts[MYOCARDIUM]:
        hull = _hull(label_map == ENDOCARDIUM)
        if hull[label_map == MYOCARDIUM].mean() > RIM:
            text = f"{name}: label 2 lies within label 1."
            notes.append(note("labels of another convention", f"{text} Expected {_meanings()}."))
    if counts[ATRIUM]:
        atrium = (label_map == ATRIUM).astype(np.uint8)
        around = label_map[(cv2.dilate(atrium, np.ones((3, 3), np.uint8)) > 0) & (atrium == 0)]
        if len(around) and np.isin(around, (ENDOCARDIUM, MYOCARDIUM)).mean() > RIM:
            text = f"{name}: other labels lie all around label 3, as interpolation between 0 and 3 leaves them."
            notes.append(note("mask interpolated", text))
    return notes


def check_anatomy(mask: UInt8[np.ndarray, "h w"], record_id: str) -> None:
    """Checks that the atrium lies below the ventricle, as in every apical view; without both labels checks nothing.

    `data_pipelines.doctor` counts the records without an atrium and looks at the shape of the sector instead.

    Args:
        mask: labels of one frame.
        record_id: the record, for the message of a fault.

    Raises:
        UnreadableRecord: "axes transposed": the atrium's centroid is not further below the LV's than to its side.
    """
    if not ((mask == ATRIUM).any() and (mask == ENDOCARDIUM).any()):
        return
    ventricle, atrium = (np.argwhere(mask == label).mean(axis=0) for label in (ENDOCARDIUM, ATRIUM))
    down, across = atrium - ventricle
    if down <= abs(across):
        cause = "upside down" if -down > abs(across) else "transposed (NIfTI axes are x, y, not row, column)"
        detail = f"the atrium's centroid lies {down:.0f} rows below and {across:.0f} columns beside the LV's"
        raise UnreadableRecord(record_id, "axes transposed", f"{detail}, expected below: the image looks {cause}")


def _values_of(mask: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.bincount(mask.ravel())) if mask.dtype == np.uint8 else np.unique(mask)


def _hull(area: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    points = cv2.convexHull(np.argwhere(area)[:, ::-1].astype(np.int32))
    return cv2.fillConvexPoly(np.zeros(area.shape, np.uint8), points, 1) > 0


def _listed(values: np.ndarray) -> str:
    shown = [f"{value:.4g}" for value in values[:5].tolist()]
    return ", ".join(shown) if len(values) <= 5 else f"{', '.join(shown)}, ... ({len(values)} in all)"


def _meanings() -> str:
    return ", ".join(f"{label} {name}" for label, name in enumerate(LABEL_NAMES))
