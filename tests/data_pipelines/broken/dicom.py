"""DICOM files."""

import pydicom
from pydicom.uid import UID

from tests.helpers.dicom_files import encoded, picture, region, write

FRAMES = picture()
JPIP = UID("1.2.840.10008.1.2.4.94")  # the pixels lie on a server


def without_preamble(folder):
    path = folder / "text.dcm"
    path.write_text("This is a text file and no DICOM file at all.")
    return path


def of_modality_ct(folder):
    return write(folder / "ct.dcm", FRAMES, Modality="CT")


def volume(folder):
    return write(folder / "volume.dcm", FRAMES, SOPClassUID="1.2.840.10008.5.1.4.1.1.6.2")


def without_pixels(folder):
    path = write(folder / "report.dcm", FRAMES)
    ds = pydicom.dcmread(path)
    del ds.PixelData
    ds.save_as(path)
    return path


def m_mode(folder):
    return write(folder / "m_mode.dcm", FRAMES, SequenceOfUltrasoundRegions=[region(0, 0, 79, 63, kind=(2, 1))])


def pixels_elsewhere(folder):
    payload = encoded(FRAMES, format="JPEG", quality=95)
    return write(folder / "jpip.dcm", FRAMES, syntax=JPIP, payload=payload)


BROKEN = {
    "not a DICOM file": without_preamble,
    "not ultrasound": of_modality_ct,
    "three-dimensional volume": volume,
    "no pixel data": without_pixels,
    "no two-dimensional tissue region": m_mode,
    "compression not supported": pixels_elsewhere,
}
NOTED = {
    "frame rate is one of display": lambda folder: write(folder / "shown.dcm", FRAMES, RecommendedDisplayFrameRate=30),
    "uneven frame times": lambda folder: write(folder / "uneven.dcm", FRAMES, FrameTimeVector=[0, 20, 20, 200]),
}
