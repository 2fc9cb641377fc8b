"""Cines without labels, from any readable file.

`clips` finds and reads them; `dicom`, `video`, `nifti` and `pictures` decode files to a `recording`; `sector` finds the
ultrasound in the picture and brings masks back onto it.
"""

from data_pipelines.formats.cine.clips import Cine, index, load, read, record_name

__all__ = ["Cine", "index", "load", "read", "record_name"]
