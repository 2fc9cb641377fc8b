"""Reads DICOM ultrasound cines (PS3.3 C.8.5): grey frames, frame rate, spacing, view and region.

Only the elements named in the modules here are read from a file: no name, id or date of a patient enters the memory.

`file` opens a file, `elements` reads its header, `layout` and `pixels` its samples (`frames` where they lie, `streams`
and `codecs` compressed pictures, `native` others, `colour`, `palette` and `grey` what they mean), `time`
the frame rate, `geometry` pictures and spacing, `view` the view. `series` joins files that hold one frame each.
"""

from data_pipelines.formats.cine.dicom.file import begins_like_dicom
from data_pipelines.formats.cine.dicom.reader import read
from data_pipelines.formats.cine.dicom.series import ListedCine, list_cines, read_series

__all__ = ["ListedCine", "begins_like_dicom", "list_cines", "read", "read_series"]
