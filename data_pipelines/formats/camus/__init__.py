"""CAMUS: the official NIfTI release, read and written, and the older .mhd/.raw release, read.

Source of the format: S. Leclerc et al., "Deep Learning for Segmentation using an Open Large-Scale Dataset in 2D
Echocardiography", IEEE TMI 38(9), 2019, and the release notes of the data set. `tree` finds the records, `clips` reads
and writes one, `images` one image file, `masks` predicted and reference masks without a model.
"""

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
