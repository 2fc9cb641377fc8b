"""CAMUS: the official NIfTI release, read and written, and the older .mhd/.raw release, read.

Source of the format: S. Leclerc et al., "Deep Learning for Segmentation using an Open Large-Scale Dataset in 2D
Echocardiography", IEEE TMI 38(9), 2019, and the release notes of the data set. `tree` finds the records by their
`names`; `clips` reads one, with `images`, `cfg`, `ends` and `labels`; `writing` writes one; `masks` pairs predicted and
reference masks without a model.
"""

from data_pipelines.formats.camus.clips import es_first, has_cfg, read
from data_pipelines.formats.camus.names import is_tree
from data_pipelines.formats.camus.tree import SPLIT_FILES, Entry, index, patient_splits
from data_pipelines.formats.camus.writing import write_clip, write_split

__all__ = [
    "SPLIT_FILES",
    "Entry",
    "es_first",
    "has_cfg",
    "index",
    "is_tree",
    "patient_splits",
    "read",
    "write_clip",
    "write_split",
]
