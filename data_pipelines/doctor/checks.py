"""What the doctor looks at: one clip, and all clips of a data set together.

A finding has a fixed title, so that it can be counted. It is "missing", "suspicious" or a "note" (handled, or usual
for the format: nothing to do).
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from data_pipelines.records import ATRIUM, ENDOCARDIUM, Clip

MISSING, UNREADABLE, SUSPICIOUS, NOTE = "missing", "unreadable", "suspicious", "notes"
BLANK = 20  # grey levels: a frame whose brightest hundredth is darker shows nothing
SATURATED = 0.25  # of the pixels at 250 and more
BLACK = 8  # grey levels: the screen around the sector, with a codec's noise
EF_LIMITS = (5.0, 90.0)  # per cent
EF_APART = 25.0  # per cent; one plane by area and length against the stated EF: about 10 is usual
LEAN = 0.01  # of the sector's box: how far its centroid must lie off the middle to tell where the apex is

# Title -> kind, what it means or what to do.
FINDINGS = {
    "Info_*.cfg missing": (MISSING, "no image quality, EF and frame rate"),
    "sequence missing": (MISSING, "ED and ES alone: train with data.frames=2"),
    "ED or ES without mask": (MISSING, "the record can be used as unlabelled only"),
    "ES area larger than ED area": (SUSPICIOUS, "ED and ES may be swapped; pixels of the LV masks"),
    "tracing crosses itself": (SUSPICIOUS, "the mask is not the area inside the tracing"),
    "LV mask in several pieces": (SUSPICIOUS, "look at the contact sheet (--sheet)"),
    "LV mask with holes": (SUSPICIOUS, "look at the contact sheet (--sheet)"),
    "LV touches the border of the picture": (SUSPICIOUS, "the ventricle is cut off: areas and EF are too small"),
    "EF of the masks not plausible": (SUSPICIOUS, "below 5 or above 90 %: ED and ES alike, or of two acquisitions"),
    "blank or very dark frame": (SUSPICIOUS, f"99 of 100 pixels are darker than {BLANK} of 255"),
    "saturated frame": (SUSPICIOUS, "a quarter of the pixels is at 250 of 255 or more"),
    "ultrasound sector uncertain": (SUSPICIOUS, "the whole picture is kept, or one of two: look at it with --sheet"),
    "half sequence runs from ES to ED": (NOTE, "handled: read in reverse, ED first"),
    "ES is traced before ED": (NOTE, "handled: the video is read in reverse, ED first"),
    "more than two traced frames": (NOTE, "the largest and the smallest area are taken as ED and ES"),
    "frames repeated within a clip": (NOTE, "neighbouring frames are identical: frames were doubled or frozen"),
    "EF far from the mask areas": (NOTE, f"stated EF and one-plane EF of the masks differ by {EF_APART:.0f} or more"),
    "anisotropic spacing": (NOTE, "handled: row and column spacing are kept apart"),
    "spacing unknown": (NOTE, "distances in pixels, not mm"),
    "anatomy not checkable: no atrium label": (NOTE, "nothing refuses an image that is transposed or upside down"),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that was found, and in which records. `records` is empty where it concerns the whole data set."""

    kind: str
    title: str
    records: tuple[str, ...]
    detail: str


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is kept of a clip that was read.

    Attributes:
        lean: (down, right), where the sector's centroid lies off the middle of its box, or None (`sector_lean`).
        lv_tall: height over width of the LV at ED, by the spacing where it is known, or None.
        ef_of_masks_percent: `one_plane_ef`, or None.
        hashes: of every frame that is not of one grey level.
        titles: of `FINDINGS`, those that concern this clip.
    """

    record_id: str
    patient_id: str
    view: str
    frames: int
    labelled: int
    size: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    fps: float | None
    quality: str | None
    ef_percent: float | None
    labels: frozenset[int]
    lean: tuple[float, float] | None
    lv_tall: float | None
    ef_of_masks_percent: float | None
    hashes: frozenset[bytes]
    titles: frozenset[str]


def examine(clip: Clip, titles: Iterable[str] = ()) -> Facts:
    """Looks at one clip; `titles` are the findings that its files have given before."""
    titles = set(titles)
    hashes = [hashlib.blake2b(frame.tobytes(), digest_size=16).digest() for frame in clip.frames]
    if len(clip) > 2 and any(a == b for a, b in itertools.pairwise(hashes)):
        titles.add("frames repeated within a clip")
    if any(np.percentile(frame, 99) < BLANK for frame in clip.frames):
        titles.add("blank or very dark frame")
    if any((frame >= 250).mean() > SATURATED for frame in clip.frames):
        titles.add("saturated frame")
    if clip.spacing_mm is None:
        titles.add("spacing unknown")
    elif not np.isclose(*clip.spacing_mm, rtol=0.01):
        titles.add("anisotropic spacing")
    ends = [i for i in (clip.ed_index, clip.es_index) if i is not None]
    ef_of_masks = lv_tall = None
    if not all(clip.has_reference[end] for end in ends):
        titles.add("ED or ES without mask")
    elif len(ends) == 2:
        ed, es = (clip.label_map[end] == ENDOCARDIUM for end in ends)
        titles |= _mask_titles(ed) | _mask_titles(es)
        if es.sum() > ed.sum():
            titles.add("ES area larger than ED area")
        if not (clip.label_map[ends] == ATRIUM).any():
            titles.add("anatomy not checkable: no atrium label")
        if ed.any() and es.any():
            lv_tall = _height_over_width(ed, clip.spacing_mm)
            ef_of_masks = one_plane_ef(ed, es, clip.spacing_mm)
        if ef_of_masks is not None and es.sum() <= ed.sum() and not EF_LIMITS[0] <= ef_of_masks <= EF_LIMITS[1]:
            titles.add("EF of the masks not plausible")
        if ef_of_masks is not None and clip.ef_percent is not None and abs(clip.ef_percent - ef_of_masks) >= EF_APART:
            titles.add("EF far from the mask areas")
    return Facts(
        record_id=clip.record_id,
        patient_id=clip.patient_id,
        view=clip.view,
        frames=len(clip),
        labelled=int(clip.has_reference.sum()),
        size=(clip.frames.shape[1], clip.frames.shape[2]),
        spacing_mm=clip.spacing_mm,
        fps=clip.fps,
        quality=clip.quality,
        ef_percent=clip.ef_percent,
        labels=frozenset(np.flatnonzero(np.bincount(clip.label_map.ravel())).tolist()) - {0},
        lean=sector_lean(clip.frames),
        lv_tall=lv_tall,
        ef_of_masks_percent=ef_of_masks,
        hashes=frozenset(h for h, frame in zip(hashes, clip.frames, strict=True) if frame.min() < frame.max()),
        titles=frozenset(titles),
    )


def _mask_titles(lv: Bool[np.ndarray, "h w"]) -> set[str]:
    """Pieces by 8 neighbours, holes by 4, so that a diagonal line of pixels neither splits nor encloses."""
    titles = set()
    if cv2.connectedComponents(lv.astype(np.uint8), connectivity=8)[0] > 2:
        titles.add("LV mask in several pieces")
    outside = np.pad(~lv, 1, constant_values=True).astype(np.uint8)
    if cv2.connectedComponents(outside, connectivity=4)[0] > 2:
        titles.add("LV mask with holes")
    if lv[[0, -1]].any() or lv[:, [0, -1]].any():
        titles.add("LV touches the border of the picture")
    return titles


def _height_over_width(lv: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float] | None) -> float:
    row_mm, column_mm = spacing_mm or (1.0, 1.0)
    height, width = (np.ptp(np.flatnonzero(lv.any(axis=axis))) + 1 for axis in (1, 0))
    return float(height * row_mm / (width * column_mm))


def one_plane_ef(
    ed: Bool[np.ndarray, "h w"], es: Bool[np.ndarray, "h w"], spacing_mm: tuple[float, float] | None
) -> float:
    """EF in per cent by area and length in one plane, volume ~ area^2 / length along the mask's principal axis.

    Good enough to see a stated EF that belongs to another patient; `echoforge_jax.evaluation` has the clinical methods.
    """
    volumes = []
    for lv in (ed, es):
        points = np.argwhere(lv) * np.array(spacing_mm or (1.0, 1.0))
        points = points - points.mean(axis=0)
        axis = np.linalg.eigh(points.T @ points)[1][:, -1]
        volumes.append(len(points) ** 2 / max(float(np.ptp(points @ axis)), 1e-6))
    return float(100 * (1 - volumes[1] / volumes[0]))


def sector_lean(frames: UInt8[np.ndarray, "t h w"]) -> tuple[float, float] | None:
    """Where the centroid of the sector lies off the middle of its box, (down, right) in parts of the box.

    A fan with its apex on top has more area below the middle: down > 0, and right about 0. None where no black
    surrounds the picture.
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


# ---- all clips together --------------------------------------------------------------------------------------------


def findings_of(facts: Sequence[Facts], splits: Mapping[str, Sequence[str]]) -> list[Finding]:
    """The findings of every clip by title, then those that show between clips.

    Args:
        facts: of the clips that were read.
        splits: patients by split; empty where they are not known.
    """
    found = []
    for title, (kind, detail) in FINDINGS.items():
        if records := tuple(f.record_id for f in facts if title in f.titles):
            found.append(Finding(kind, title, records, detail))
    return [*found, *_orientation(facts), *_two_splits(splits), *_duplicates(facts, splits)]


def _orientation(facts: Sequence[Facts]) -> list[Finding]:
    """Hints on the axes from the records that the atrium does not guard. Never more than a suspicion."""
    unguarded = [f for f in facts if ATRIUM not in f.labels]
    doubts, fine = [], []
    if leans := [f.lean for f in unguarded if f.lean and max(map(abs, f.lean)) > LEAN]:
        down, right = np.median(np.array(leans), axis=0)
        if down > abs(right):
            fine.append(f"the sector's apex is on top in the median of {len(leans)}")
        else:
            side = "at the bottom" if -down > abs(right) else "at the left" if right > 0 else "at the right"
            doubts.append(f"the sector's apex is {side} in the median of {len(leans)} records, expected on top")
    if talls := [f.lv_tall for f in unguarded if f.lv_tall]:
        if (tall := float(np.median(talls))) > 1:
            fine.append(f"the LV is {tall:.2f} times as tall as wide in the median of {len(talls)}")
        else:
            doubts.append(f"the LV is {tall:.2f} times as tall as wide in the median of {len(talls)}, expected taller")
    if doubts:
        return [Finding(SUSPICIOUS, "axes may be transposed or upside down", (), "; ".join(doubts))]
    if fine:
        return [Finding(NOTE, "axes look right where no atrium tells", (), "; ".join(fine))]
    return []


def _two_splits(splits: Mapping[str, Sequence[str]]) -> list[Finding]:
    where = defaultdict(set)
    for split, patients in splits.items():
        for patient in patients:
            where[patient].add(split)
    twice = tuple(sorted(patient for patient, of in where.items() if len(of) > 1))
    detail = "scores on the later split are not of unseen patients"
    return [Finding(SUSPICIOUS, "patient in two splits", twice, detail)] if twice else []


def _duplicates(facts: Sequence[Facts], splits: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Identical frames of different patients, those in different splits apart."""
    split_of = {patient: split for split, patients in splits.items() for patient in patients}
    owners: dict[bytes, list[Facts]] = defaultdict(list)
    for f in facts:
        for frame in f.hashes:
            owners[frame].append(f)
    across, within = set(), set()
    for group in owners.values():
        if len({f.patient_id for f in group}) > 1:
            of = {split_of.get(f.patient_id, "") for f in group} - {""}
            (across if len(of) > 1 else within).update(f.record_id for f in group)
    found = []
    if across:
        detail = "the splits share pictures: scores are not of unseen patients"
        found.append(Finding(SUSPICIOUS, "identical frames in two splits", tuple(sorted(across)), detail))
    if within:
        detail = "one patient under two names, or a file copied by mistake"
        found.append(Finding(SUSPICIOUS, "identical frames of two patients", tuple(sorted(within)), detail))
    return found


def counts_of(facts: Sequence[Facts]) -> dict:
    """Numbers for the report, each readable as JSON."""

    def spread(values: Iterable[float | int | None], digits: int = 3) -> dict | None:
        known = [value for value in values if value is not None]
        if not known:
            return None
        low, middle, high = (round(float(v), digits) for v in (min(known), np.median(known), max(known)))
        return {"known": len(known), "min": low, "median": middle, "max": high}

    def tally(values: Iterable[str]) -> dict[str, int]:
        counted: dict[str, int] = defaultdict(int)
        for value in values:
            counted[value] += 1
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))

    return {
        "patients": len({f.patient_id for f in facts}),
        "records": len(facts),
        "views": tally(f.view or "unknown" for f in facts),
        "frames": sum(f.frames for f in facts),
        "frames_per_clip": spread(f.frames for f in facts),
        "frames_with_mask": sum(f.labelled for f in facts),
        "label_sets": tally(",".join(map(str, sorted(f.labels))) or "none" for f in facts),
        "sizes": tally(f"{f.size[0]}x{f.size[1]}" for f in facts),
        "row_mm": spread(f.spacing_mm and f.spacing_mm[0] for f in facts),
        "column_mm": spread(f.spacing_mm and f.spacing_mm[1] for f in facts),
        "fps": spread((f.fps for f in facts), 1),
        "quality": tally(f.quality or "unknown" for f in facts),
        "ef_percent": spread((f.ef_percent for f in facts), 1),
        "ef_of_masks_percent": spread((f.ef_of_masks_percent for f in facts), 1),
    }
