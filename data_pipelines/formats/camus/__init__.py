"""CAMUS: the tree of patients (`tree`), one image file (`images`), one record (`clips`), masks alone (`masks`)."""

from data_pipelines.formats.camus.clips import es_first, has_cfg, read, write_clip, write_split
from data_pipelines.formats.camus.tree import SPLIT_FILES, Entry, index, patient_splits

__all__ = [
    "SPLIT_FILES",
    "Entry",
    "es_first",
    "has_cfg",
    "index",
    "patient_splits",
    "read",
    "write_clip",
    "write_split",
]
