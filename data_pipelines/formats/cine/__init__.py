"""Cines without labels: any readable file (`clips`), DICOM, moving pictures, and the sector in the picture."""

from data_pipelines.formats.cine.clips import Cine, index, load, read, record_name

__all__ = ["Cine", "index", "load", "read", "record_name"]
