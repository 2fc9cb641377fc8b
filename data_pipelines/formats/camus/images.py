"""One image file of CAMUS: NIfTI, or MetaImage (.mhd)."""

from __future__ import annotations

from pathlib import Path

from data_pipelines.formats.image_file import ImageFile
from data_pipelines.formats.mhd_file import read_mhd_file
from data_pipelines.formats.nifti_file import read_nifti_file


def load_image(path: Path, record_id: str) -> ImageFile:
    """Reads one image file by its suffix.

    Args:
        path: a NIfTI or .mhd file.
        record_id: the record that it belongs to, for the message of a fault.

    Raises:
        FileNotFoundError: the file is missing.
        UnreadableRecord: as `read_nifti_file` and `read_mhd_file`.
        ImportError: an .mhd file needs SimpleITK, which is not installed.
    """
    return read_mhd_file(path, record_id) if path.suffix.lower() == ".mhd" else read_nifti_file(path, record_id)
