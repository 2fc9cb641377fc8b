"""DICOM files."""

import numpy as np
import pydicom
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, UID, JPEGBaseline8Bit

from tests.helpers.dicom_files import ITEM, JPEG, coloured, encoded, picture, region, write

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
    return write(folder / "jpip.dcm", FRAMES, syntax=JPIP, payload=encapsulate([b"http://example.org/"]))


def file_of(name, frames=FRAMES, interpretation="MONOCHROME2", **elements):
    """Returns the function that writes a file with these elements."""
    return lambda folder: write(folder / f"{name}.dcm", frames, interpretation, **elements)


def edited(name, change, **elements):
    """Returns the function that writes a file and changes its bytes."""

    def make(folder):
        path = write(folder / f"{name}.dcm", FRAMES, **elements)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def one_file_a_frame(folder):
    for number, frame in enumerate(FRAMES):
        write(folder / f"IM{number:04}.dcm", frame[None], InstanceNumber=number + 1, SeriesInstanceUID="1.2.3")
    return folder


def behind_first_fragment(content):
    """Writes something that is no item where the second fragment begins."""
    first = content.index(ITEM, content.index(ITEM) + 1)
    second = content.index(ITEM, first + 1)
    return content[:second] + b"\xff\xff\xff\xff" + content[second + 4 :]


DEEP = FRAMES.astype(np.uint16) * 16
TWO = [region(0, 0, 39, 63), region(40, 0, 79, 63, delta_cm=(0.05, 0.05))]
SMALLER = encoded(FRAMES[:, :60], **JPEG)
COMPRESSED = {"syntax": JPEGBaseline8Bit, "payload": encoded(FRAMES, **JPEG)}
WITHOUT_TABLE = {"syntax": JPEGBaseline8Bit, "payload": encoded(FRAMES, has_bot=False, **JPEG)}
WRONG_TABLE = (
    COMPRESSED["payload"][:8] + bytes([9, 0, 0, 0]) * len(FRAMES) + COMPRESSED["payload"][8 + 4 * len(FRAMES) :]
)

BROKEN = {
    "not a DICOM file": without_preamble,
    "not ultrasound": of_modality_ct,
    "three-dimensional volume": volume,
    "no pixel data": without_pixels,
    "no two-dimensional tissue region": m_mode,
    "compression not supported": pixels_elsewhere,
    "header garbled": file_of("flat", Rows=0),
    "pixel data of another size": file_of("rows", Rows=63),
    "pixel data garbled": edited("torn", behind_first_fragment, **WITHOUT_TABLE),
    "picture of another size": file_of("small", syntax=JPEGBaseline8Bit, payload=SMALLER),
    "frame damaged": file_of("noise", syntax=JPEGBaseline8Bit, payload=encapsulate([b"noise" * 40] * 4)),
}
NOTED = {
    "frame rate is one of display": file_of("shown", RecommendedDisplayFrameRate=30),
    "uneven frame times": file_of("uneven", FrameTimeVector=[0, 20, 20, 200]),
    "element ignored": file_of("spacing", PixelSpacing=[0, 0]),
    "file meta missing": edited("bare", lambda content: content[132:]),
    "transfer syntax corrected": file_of("native", syntax=JPEG2000, payload=COMPRESSED["payload"]),
    "frame count corrected": file_of("count", NumberOfFrames=2),
    "offset table ignored": file_of("table", syntax=JPEGBaseline8Bit, payload=WRONG_TABLE),
    "end of pixel data missing": edited("end", lambda content: content[:-8], **COMPRESSED),
    "colour space corrected": file_of("colours", coloured(FRAMES), "YBR_FULL"),
    "bits corrected": file_of("bits", FRAMES.astype(np.uint16)),
    "window ignored": file_of("window", DEEP, BitsStored=12, WindowCenter=128, WindowWidth=256),
    "rate of display differs": file_of("display", FrameTime=20, RecommendedDisplayFrameRate=30),
    "trimmed for display": file_of("trim", StartTrim=2, StopTrim=3),
    "pixel spacings disagree": file_of("spacings", PixelSpacing=[0.5, 0.5], ImagerPixelSpacing=[0.2, 0.2]),
    "region doubtful": file_of("region", SequenceOfUltrasoundRegions=[region(0, 0, 799, 599)]),
    "pixels not square, not stretched": file_of("shape", PixelAspectRatio=[2, 1]),
    "one of several pictures": file_of("two", SequenceOfUltrasoundRegions=TWO),
    "view of several pictures": file_of("view", SequenceOfUltrasoundRegions=TWO, ViewName="A4C"),
    "one file a frame": one_file_a_frame,
}
