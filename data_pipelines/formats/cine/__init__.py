"""Cines without labels, from any readable file.

`clips` finds and reads them, `entries` names records and patients; `dicom`, `video`, `nifti` and `pictures` decode
files to a `recording`; `sector` finds the ultrasound in the picture and brings masks back onto it.
"""

from data_pipelines.formats.cine.clips import Cine, index, load, read, record_name
from data_pipelines.formats.cine.entries import CineEntry

__all__ = ["Cine", "CineEntry", "index", "load", "read", "record_name"]
