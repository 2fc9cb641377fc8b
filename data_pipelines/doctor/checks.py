"""Examines one clip for what is missing, suspicious or worth a note."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from data_pipelines.doctor.findings import BLANK, EF_APART, EF_FAR_APART
from data_pipelines.notes import Note, note
from data_pipelines.records import ATRIUM, ENDOCARDIUM, Clip

SATURATED_LEVEL, SATURATED_SHARE = 250, 0.25  # grey level, and the share of pixels from which a frame is saturated
BLACK = 8  # grey levels: the screen around the sector, with a codec's noise
EF_LIMITS = (5.0, 90.0)  # per cent


@dataclasses.dataclass(frozen=True)
class ClipFacts:
    """What is kept of a clip that was examined.

    Attributes:
        record_id: patient and view, e.g. "patient0001_4CH".
        patient_id: e.g. "patient0001".
        view: "2CH", "4CH" or "" where it is not known.
        frames: how many frames it has.
        frames_with_mask: how many of them have a reference mask.
        size: (h, w) in pixels.
        spacing_mm: pixel spacing (row_mm, column_mm), or None.
        fps: frames per second, or None.
        quality: "Good", "Medium", "Poor" or None.
        ef_percent: stated ejection fraction, per cent, or None.
        labels: the labels in its masks, without the background.
        sector_offset: `sector_offset` of its frames, or None.
        lv_height_to_width: height over width of the LV at ED, by the spacing where it is known; None without a mask.
        ef_of_masks_percent: `one_plane_ef` of its masks, or None.
        frame_hashes: hashes of every frame that is not of one grey level.
        titles: titles of `CLIP_FINDINGS` that concern this clip.
        notes: what its reader said, and `pixel spacing unknown` where it is.
    """

    record_id: str
    patient_id: str
    view: str
    frames: int
    frames_with_mask: int
    size: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    fps: float | None
    quality: str | None
    ef_percent: float | None
    labels: frozenset[int]
    sector_offset: tuple[float, float] | None
    lv_height_to_width: float | None
    ef_of_masks_percent: float | None
    frame_hashes: frozenset[bytes]
    titles: frozenset[str]
    notes: tuple[Note, ...] = ()


@dataclasses.dataclass(frozen=True)
class _MaskFacts:
    """What the masks of ED and ES show.

    Attributes:
        titles: titles of findings.
        lv_height_to_width: as in `ClipFacts`.
        ef_percent: `one_plane_ef`, or None.
    """

    titles: set[str]
    lv_height_to_width: float | None = None
    ef_percent: float | None = None


def examine(clip: Clip, titles: Iterable[str] = ()) -> ClipFacts:
    """Examines one clip.

    Args:
        clip: the clip as it was read.
        titles: titles of findings on the files of the clip, which are kept.
    """
    hashes = [hashlib.blake2b(frame.tobytes(), digest_size=16).digest() for frame in clip.frames]
    masks = _examine_masks(clip)
    labels = np.flatnonzero(np.bincount(clip.label_map.ravel())).tolist()
    return ClipFacts(
        record_id=clip.record_id,
        patient_id=clip.patient_id,
        view=clip.view,
        frames=len(clip),
        frames_with_mask=int(clip.has_reference.sum()),
        size=(clip.frames.shape[1], clip.frames.shape[2]),
        spacing_mm=clip.spacing_mm,
        fps=clip.fps,
        quality=clip.quality,
        ef_percent=clip.ef_percent,
        labels=frozenset(labels) - {0},
        sector_offset=sector_offset(clip.frames),
        lv_height_to_width=masks.lv_height_to_width,
        ef_of_masks_percent=masks.ef_percent,
        frame_hashes=frozenset(h for h, frame in zip(hashes, clip.frames, strict=True) if frame.min() < frame.max()),
        titles=frozenset({*titles, *_frame_titles(clip, hashes), *masks.titles}) - {one.code for one in clip.notes},
        notes=_notes(clip),
    )


def one_plane_ef(
    ed: Bool[np.ndarray, "h w"], es: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float] | None
) -> float:
    """Estimates the ejection fraction by area and length in one plane: volume ~ area^2 / length.

    The length is that along the mask's principal axis. This is good enough to notice a stated EF that belongs to
    another patient; `echoforge_jax.evaluation` has the clinical methods.

    Args:
        ed: mask of the LV at end-diastole, not empty.
        es: mask of the LV at end-systole, not empty.
        spacing_mm: pixel spacing (row_mm, column_mm); None counts in pixels.

    Returns:
        The ejection fraction in per cent.
    """
    volumes = []
    for lv in (ed, es):
        points = np.argwhere(lv) * np.array(spacing_mm or (1.0, 1.0))
        points = points - points.mean(axis=0)
        axis = np.linalg.eigh(points.T @ points)[1][:, -1]
        volumes.append(len(points) ** 2 / max(float(np.ptp(points @ axis)), 1e-6))
    return float(100 * (1 - volumes[1] / volumes[0]))


def sector_offset(frames: UInt8[np.ndarray, "t h w"]) -> tuple[float, float] | None:
    """Measures how far the centroid of the sector lies from the middle of its box.

    A fan with its apex on top has more area below the middle: its offset is downwards, and about 0 to the right.

    Returns:
        (down, right) as fractions of the sides of the box; None where no black surrounds the picture.
    """
    picture = frames[:: max(1, len(frames) // 8)].max(axis=0)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    solid = cv2.morphologyEx((picture > BLACK).astype(np.uint8), cv2.MORPH_OPEN, disc)
    _, pieces, statistics, _ = cv2.connectedComponentsWithStats(solid)
    if len(statistics) < 2:
        return None
    largest = (pieces == 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
    hull = cv2.convexHull(np.argwhere(largest)[:, ::-1].astype(np.int32))
    moments = cv2.moments(hull)
    if not 0 < moments["m00"] < 0.97 * (picture.shape[0] - 1) * (picture.shape[1] - 1):  # the hull runs through centres
        return None
    left, top, width, height = cv2.boundingRect(hull)
    right = (moments["m10"] / moments["m00"] - (left + (width - 1) / 2)) / width
    down = (moments["m01"] / moments["m00"] - (top + (height - 1) / 2)) / height
    return down, right


def _notes(clip: Clip) -> tuple[Note, ...]:
    """The notes of the reader, and that the spacing is unknown where the reader did not say so."""
    unknown = note("pixel spacing unknown", "The reader found none.")
    is_said = unknown.code in {one.code for one in clip.notes}
    return clip.notes if clip.spacing_mm is not None or is_said else (*clip.notes, unknown)


def _frame_titles(clip: Clip, hashes: list[bytes]) -> set[str]:
    """Names the findings on grey levels, repeated frames and the shape of pixels."""
    titles = set()
    if len(clip) > 2 and any(a == b for a, b in itertools.pairwise(hashes)):
        titles.add("frames repeated within a clip")
    if any(np.percentile(frame, 99) < BLANK for frame in clip.frames):
        titles.add("blank or very dark frame")
    if any((frame >= SATURATED_LEVEL).mean() > SATURATED_SHARE for frame in clip.frames):
        titles.add("saturated frame")
    if clip.spacing_mm is not None and not np.isclose(*clip.spacing_mm, rtol=0.01):
        titles.add("anisotropic spacing")
    return titles


def _examine_masks(clip: Clip) -> _MaskFacts:
    """Examines the masks of ED and ES, where both frames are known."""
    ends = [index for index in (clip.ed_index, clip.es_index) if index is not None]
    if not all(clip.has_reference[end] for end in ends):
        return _MaskFacts({"ED or ES without mask"})
    if len(ends) < 2:
        return _MaskFacts(set())
    ed, es = (clip.label_map[end] == ENDOCARDIUM for end in ends)
    titles = _mask_titles(ed) | _mask_titles(es)
    if es.sum() > ed.sum():
        titles.add("ES area larger than ED area")
    if not (clip.label_map[ends] == ATRIUM).any():
        titles.add("anatomy not checkable: no atrium label")
    if not (ed.any() and es.any()):
        return _MaskFacts(titles)
    ef_percent = one_plane_ef(ed, es, clip.spacing_mm)
    is_plausible = EF_LIMITS[0] <= ef_percent <= EF_LIMITS[1]
    if es.sum() <= ed.sum() and not is_plausible:
        titles.add("EF of the masks not plausible")
    if clip.ef_percent is not None and (apart := abs(clip.ef_percent - ef_percent)) >= EF_APART:
        contradicts = apart >= EF_FAR_APART and is_plausible
        titles.add("EF contradicts the masks" if contradicts else "EF far from the mask areas")
    return _MaskFacts(titles, _height_to_width(ed, clip.spacing_mm), ef_percent)


def _mask_titles(lv: Bool[np.ndarray, "h w"]) -> set[str]:
    """Names the findings on one mask.

    Pieces are connected by 8 neighbours and holes by 4, so that a diagonal line of pixels neither splits nor encloses.
    """
    titles = set()
    if cv2.connectedComponents(lv.astype(np.uint8), connectivity=8)[0] > 2:
        titles.add("LV mask in several pieces")
    outside = np.pad(~lv, 1, constant_values=True).astype(np.uint8)
    if cv2.connectedComponents(outside, connectivity=4)[0] > 2:
        titles.add("LV mask with holes")
    if lv[[0, -1]].any() or lv[:, [0, -1]].any():
        titles.add("LV touches the border of the picture")
    return titles


def _height_to_width(lv: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float] | None) -> float:
    row_mm, column_mm = spacing_mm or (1.0, 1.0)
    height, width = (np.ptp(np.flatnonzero(lv.any(axis=axis))) + 1 for axis in (1, 0))
    return float(height * row_mm / (width * column_mm))
