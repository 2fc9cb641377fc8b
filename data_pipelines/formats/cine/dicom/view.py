"""Reads the apical view of a cine, where the header says it."""

from __future__ import annotations

import re

from data_pipelines.formats.cine.dicom.elements import Elements

NAMES = ("ViewName", "ViewCodeSequence")
VIEW_CODES = {"399214001": "4CH", "G-A19C": "4CH", "399232001": "2CH", "G-A19B": "2CH"}  # SNOMED CT and RT
VIEW_NAME = re.compile(r"\b(?:apical[\s_-]*|ap?)(2|two|4|four)[\s_-]*c(?:h|hamber)?s?\b", re.IGNORECASE)


def read_view(header: Elements) -> str:
    """Reads "2CH" or "4CH" where View Code Sequence or View Name says so and they agree, else ""."""
    codes = {VIEW_CODES.get(item.text("CodeValue")) for item in header.items("ViewCodeSequence")}
    names = {f"{'2' if n.lower() in ('2', 'two') else '4'}CH" for n in VIEW_NAME.findall(header.text("ViewName"))}
    views = (codes | names) - {None}
    return str(views.pop()) if len(views) == 1 else ""
