"""What the doctor can find: kinds and titles of findings, and what each of them means."""

from __future__ import annotations

import dataclasses

MISSING, UNREADABLE, SUSPICIOUS, NOTE = "missing", "unreadable", "suspicious", "notes"
KINDS = (UNREADABLE, MISSING, SUSPICIOUS, NOTE)  # the most serious first
BLANK = 20  # grey levels: a frame whose brightest hundredth is darker shows nothing
EF_FAR_APART = 40.0  # per cent: four times what is usual
EF_APART = 25.0  # per cent; between the stated EF and that of one plane by area and length: about 10 is usual

# Findings on single clips by title: kind, and what it means or what to do. Notes of the readers (`NOTE_KINDS`) stand
# beside them under their own codes, so that nothing has two names.
CLIP_FINDINGS = {
    "Info_*.cfg missing": (MISSING, "no image quality, EF and frame rate"),
    "sequence missing": (MISSING, "ED and ES alone: train with data.frames=2"),
    "ED or ES without mask": (MISSING, "the record can be used as unlabelled only"),
    "ES area larger than ED area": (SUSPICIOUS, "ED and ES may be swapped; pixels of the LV masks"),
    "tracing crosses itself": (SUSPICIOUS, "the mask is not the area inside the tracing"),
    "LV mask in several pieces": (SUSPICIOUS, "look at the contact sheet (--sheet)"),
    "LV mask with holes": (SUSPICIOUS, "look at the contact sheet (--sheet)"),
    "LV touches the border of the picture": (SUSPICIOUS, "the ventricle is cut off: areas and EF are too small"),
    "EF of the masks not plausible": (SUSPICIOUS, "below 5 or above 90 %: ED and ES alike, or of two acquisitions"),
    "EF contradicts the masks": (
        SUSPICIOUS,
        f"stated EF and one-plane EF of the masks differ by {EF_FAR_APART:.0f} or more: of two patients?",
    ),
    "blank or very dark frame": (SUSPICIOUS, f"99 of 100 pixels are darker than {BLANK} of 255"),
    "saturated frame": (SUSPICIOUS, "a quarter of the pixels is at 250 of 255 or more"),
    "half sequence runs from ES to ED": (NOTE, "handled: read in reverse, ED first"),
    "ES is traced before ED": (NOTE, "handled: the video is read in reverse, ED first"),
    "more than two traced frames": (NOTE, "the largest and the smallest area are taken as ED and ES"),
    "frames repeated within a clip": (NOTE, "neighbouring frames are identical: frames were doubled or frozen"),
    "EF far from the mask areas": (NOTE, f"stated EF and one-plane EF of the masks differ by {EF_APART:.0f} or more"),
    "anisotropic spacing": (NOTE, "handled: row and column spacing are kept apart"),
    "anatomy not checkable: no atrium label": (NOTE, "nothing refuses an image that is transposed or upside down"),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that a reader of the report should know.

    Attributes:
        kind: "missing", "unreadable", "suspicious" or "notes" (handled, or usual for the format: nothing to do).
        title: a fixed phrase, so that findings can be counted.
        records: the records, patients or splits that it concerns; empty where it concerns the whole data set.
        detail: what it means, or what to do.
    """

    kind: str
    title: str
    records: tuple[str, ...]
    detail: str
