"""What a reader of files has to say beside the data: where a value comes from, and which statements disagreed.

One rule holds for every reader: a statement of a file is checked against every other statement that the file, or a file
that belongs to it, makes. Where two disagree and the truth can be told, the reader takes it and adds a `Note`; where it
cannot be told, the reader refuses the record (`UnreadableRecord`) and names both statements.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

Severity = Literal["info", "warning"]


@dataclasses.dataclass(frozen=True)
class NoteKind:
    """One kind of note.

    Attributes:
        severity: "info" says where a value comes from, or what was handled: nothing is to be done. "warning" says that
            statements disagree or that a value is doubtful: somebody should look.
        meaning: what it means.
        advice: what to do; "" where nothing is to be done.
    """

    severity: Severity
    meaning: str
    advice: str = ""


NOTE_KINDS: dict[str, NoteKind] = {
    # every format
    "grey levels": NoteKind("info", "How the stored samples became grey levels 0..255."),
    "grey levels doubtful": NoteKind(
        "warning",
        "The samples may have another range than the one that was taken.",
        "Look at the picture; export it with grey levels 0..255.",
    ),
    "frame rate": NoteKind("info", "Which statement of the file the frame rate comes from."),
    "frame rate unknown": NoteKind(
        "info", "No statement of the file gives a frame rate.", "Times are counted in frames; no heart rate is given."
    ),
    "frame rate is one of display": NoteKind(
        "warning",
        "The file states only the rate at which the cine is to be shown, which need not be that of the recording.",
        "Look up the rate of the recording before times or heart rates are used.",
    ),
    "uneven frame times": NoteKind(
        "warning",
        "The frames are not evenly spaced in time; the frame rate is that of their median or mean step.",
        "Do not read times off the frame number; export the cine with a constant frame rate where times matter.",
    ),
    "pixel spacing": NoteKind("info", "Which statement of the file the pixel spacing comes from."),
    "pixel spacing unknown": NoteKind(
        "info",
        "No statement of the file gives a pixel spacing.",
        "Lengths are in pixels; volumes in ml cannot be given.",
    ),
    "frames missing": NoteKind(
        "warning",
        "Fewer frames could be decoded than the file states, or they end before it says.",
        "Fetch the file again, or export it again.",
    ),
    # video and pictures
    "frame rate disputed": NoteKind(
        "warning",
        "Two statements of the file give different frame rates.",
        "Look up the rate of the recording before times or heart rates are used.",
    ),
    "frame rate impossible": NoteKind(
        "warning",
        "The stated frame rate is a default of a writer, or outside of what echocardiography has; it is not used.",
        "Times are counted in frames; look up the rate of the recording where times matter.",
    ),
    "frame rate implausible": NoteKind(
        "warning",
        "The frame rate is above 250 frames per second, which two-dimensional cines have in research alone.",
        "Look up the rate of the recording before times or heart rates are used.",
    ),
    "frame times doubtful": NoteKind(
        "warning",
        "The times of some frames are missing, impossible, or not after those of the frame before.",
        "Export the cine with a constant frame rate where times matter.",
    ),
    "frame count disputed": NoteKind(
        "warning", "Two statements of the file give different numbers of frames; all that decode are read."
    ),
    "frames outside the edit list": NoteKind(
        "info", "The file says that some of its frames are not to be shown; they are left out."
    ),
    "damaged frames": NoteKind(
        "warning", "A few frames are damaged or could not be decoded.", "Fetch the file again, or export it again."
    ),
    "file shorter than stated": NoteKind(
        "warning", "The file ends before its header says, but every frame that it states is there.", "Fetch it again."
    ),
    "picture size disputed": NoteKind(
        "warning", "Header and pictures differ in size; the pictures are read as they are."
    ),
    "picture turned": NoteKind("info", "The file says that its pictures are to be turned or mirrored, which was done."),
    "pixels not square": NoteKind(
        "warning",
        "The file says that its pixels are not square; the pictures were stretched to their true shape.",
        "Masks are of the stretched picture: bring them back to the size of the file where that is needed.",
    ),
    "pixel shape disputed": NoteKind(
        "warning",
        "Two statements give different shapes of the pixels, or one that cannot be.",
        "Look whether the sector has its true proportions.",
    ),
    "colour range disputed": NoteKind(
        "warning",
        "The luminance goes far beyond the limited range that the file states or leaves to be assumed: it is full.",
        "Look at black and white in the pictures.",
    ),
    "colour range doubtful": NoteKind(
        "warning", "The grey levels may be shifted or bent: black is not 0, or the file names an unusual curve."
    ),
    "transparency": NoteKind(
        "warning", "The pictures have a transparency, which is left out.", "Write them without an alpha channel."
    ),
    "interlaced": NoteKind(
        "warning",
        "A frame holds two fields of different times, so that moving edges may look like combs.",
        "Deinterlace the video where that is seen.",
    ),
    "pictures left out": NoteKind(
        "info", "Pictures beside the frames of a cine are no part of it: masks, thumbnails, copies, other names."
    ),
    "pictures in steps": NoteKind(
        "info", "The numbers of the pictures run in even steps: the frames between may have been left out."
    ),
    "numbers missing": NoteKind(
        "warning",
        "The numbers of the pictures have gaps: frames may be missing.",
        "Copy the missing pictures, or number them without gaps.",
    ),
    "several video streams": NoteKind(
        "warning", "The file holds several videos; one is read.", "Write each to a file of its own to read them all."
    ),
    # ---- DICOM
    "element ignored": NoteKind(
        "warning",
        "An element of the header is empty or holds something impossible, and was left out of account.",
        "Look at the value named; export the file again where it matters.",
    ),
    "file meta missing": NoteKind("info", "The file lacks the preamble or the transfer syntax; both were inferred."),
    "transfer syntax corrected": NoteKind(
        "warning", "The pixel data are not compressed as the header says; they were read as they are."
    ),
    "frame count corrected": NoteKind(
        "warning",
        "The pixel data hold more frames than Number of Frames says; all were read.",
        "Other programs may show fewer frames; correct Number of Frames.",
    ),
    "offset table ignored": NoteKind(
        "warning", "The table of offsets does not fit the frames that are there; the frames were found without it."
    ),
    "end of pixel data missing": NoteKind(
        "info", "The mark behind the pixel data is missing; all frames that are announced are there."
    ),
    "colour space corrected": NoteKind(
        "warning",
        "The header states another colour space or order of samples than the pixels have; theirs was taken.",
        "Look at the picture; other programs may show it green or torn.",
    ),
    "bits corrected": NoteKind(
        "warning",
        "The samples use another range of bits than the header states; theirs was taken.",
        "Compare the brightness of the picture with the scanner's.",
    ),
    "window ignored": NoteKind(
        "warning",
        "The window or table of the file would make the picture white or black; the range of the samples was taken.",
        "Compare the brightness of the picture with the scanner's.",
    ),
    "rate of display differs": NoteKind("info", "The file recommends to show the cine at another rate than recorded."),
    "trimmed for display": NoteKind("info", "The file marks some of its frames for display; all were read."),
    "pixel spacings disagree": NoteKind(
        "warning",
        "Two statements of the file give different pixel spacings or shapes of a pixel.",
        "Measure something of known length in the picture before volumes are used.",
    ),
    "region doubtful": NoteKind(
        "warning",
        "A region of ultrasound leaves the picture or is no box, so that its spacing may be of another size.",
        "Look at the picture; export it at the size of the scanner.",
    ),
    "pixels not square, not stretched": NoteKind(
        "warning",
        "The file says that its pixels are not square and gives no spacing; the pictures are read as they are.",
        "Areas and lengths in pixels are distorted; export the cine with square pixels.",
    ),
    "one of several pictures": NoteKind("info", "The file holds several ultrasound pictures; each is a record."),
    "view of several pictures": NoteKind("info", "The header states one view for several pictures; none was taken."),
    "one file a frame": NoteKind("info", "The cine was put together from files that hold one frame each."),
    "sector uncertain": NoteKind(
        "warning",
        "The ultrasound sector was not found with certainty, so that the picture may hold text or a second sector.",
        "Look at the picture: `python -m data_pipelines.doctor FILE --sheet sheet.png`.",
    ),
    # EchoNet
    "video under another name": NoteKind(
        "info", "The video that FileList.csv names has another suffix or case, or lies in a folder below Videos/."
    ),
    "several videos of one name": NoteKind(
        "warning",
        "Beside the .avi that the data set names there are videos of the same name with other suffixes.",
        "Remove those that are not the traced ones.",
    ),
    "row repeated": NoteKind(
        "warning",
        "FileList.csv has the row more than once, with the same content; it counts once.",
        "Remove the copies.",
    ),
    "tracing repeated": NoteKind(
        "warning", "The rows of a tracing are there more than once; they count once.", "Remove the copies."
    ),
    "field not read": NoteKind(
        "warning", "A field of FileList.csv that should be a number is none; its value is not known.", "Correct it."
    ),
    "value not possible": NoteKind(
        "warning", "FileList.csv states a number that cannot be; it is not used.", "Correct the row."
    ),
    "EF is a fraction": NoteKind(
        "warning", "FileList.csv gives EF as a fraction of 1; it was read as per cent.", "Give EF in per cent."
    ),
    "volumes in another unit": NoteKind(
        "warning", "The volumes of FileList.csv are not in ml; they were converted.", "Give EDV and ESV in ml."
    ),
    "EDV smaller than ESV": NoteKind(
        "warning", "EDV is smaller than ESV: the columns are swapped; the larger one was taken as EDV.", "Correct them."
    ),
    "EF contradicts the volumes": NoteKind(
        "warning",
        "EF is not 100 (EDV - ESV) / EDV, and nothing tells which of them is wrong; none of them is used.",
        "Correct the row of FileList.csv.",
    ),
    "frame rate contradicts the table": NoteKind(
        "warning",
        "FPS of FileList.csv is not the frame rate of the video; that of the video is used.",
        "Look whether frames were dropped, or the video was exported at another rate.",
    ),
    "frame count contradicts the table": NoteKind(
        "warning",
        "The video has one frame more or fewer than FileList.csv states; a traced frame may be its neighbour.",
        "Look at the traced frames: `--sheet`.",
    ),
    "tracings scaled": NoteKind(
        "warning",
        "The video is larger than the traced one by the same factor in both directions; its tracings were enlarged.",
        "Look at the masks (`--sheet`), then correct FrameHeight, FrameWidth and the tracings.",
    ),
    "tracings in one corner": NoteKind(
        "warning",
        "The tracings lie in the upper left quarter of the picture: they may be of a smaller version of the video.",
        "Look at the masks (`--sheet`), and scale the tracings if they are.",
    ),
    # NIfTI, MetaImage and CAMUS
    "orientation": NoteKind("info", "The picture was turned to the directions of CAMUS, as its header states."),
    "orientation contradicted": NoteKind(
        "warning",
        "Two statements on the orientation disagree: sform against qform, or the header against the anatomy.",
        "Look at the picture, and correct the header.",
    ),
    "files turned": NoteKind(
        "info", "Files of one record store their pixels in different directions; they were turned as they state."
    ),
    "geometry not stated": NoteKind(
        "info",
        "One of two files that belong together states no place in space; rows and columns were taken as stored.",
        "Copy the header of the picture to masks that you write.",
    ),
    "pixel spacing doubtful": NoteKind(
        "warning",
        "The pixel spacing is a default, or two statements of it disagree.",
        "Look up the spacing before lengths or volumes are used, and correct the header.",
    ),
    "frame rate doubtful": NoteKind(
        "warning",
        "The stated frame rate is not possible, or two statements of it disagree.",
        "Look up the rate before times or heart rates are used, and correct the header.",
    ),
    "bytes beyond the image": NoteKind(
        "warning", "More bytes follow the image than its header announces; they were not read.", "Export it again."
    ),
    "frame count contradicted": NoteKind(
        "warning", "The file holds more frames than its header states; all were read.", "Export it again."
    ),
    "stated value not used": NoteKind(
        "info", "A value that is not needed is garbled, impossible or not known; it was left out."
    ),
    "stated value corrected": NoteKind(
        "warning", "A value is stated in another unit than usual and was converted.", "Correct the value named."
    ),
    "ejection fraction contradicted": NoteKind(
        "warning",
        "The stated ejection fraction is not that of the stated volumes; both were kept.",
        "Look up which of them belongs to the patient.",
    ),
    "ED and ES contradicted by the images": NoteKind(
        "warning",
        "Info_*.cfg names other frames than the images of ED and ES show; the images were taken.",
        "Correct Info_*.cfg.",
    ),
    "image not in sequence": NoteKind(
        "warning",
        "The ED or the ES image is not a frame of the sequence; Info_*.cfg was taken.",
        "Look at whether sequence and image are of one recording.",
    ),
    "ES area larger than ED area": NoteKind(
        "warning", "The cavity is larger at ES than at ED.", "Look at whether ED and ES are swapped."
    ),
    "mask of 0 and 255": NoteKind("info", "The mask holds stretched labels: 255 for 1, or 85, 170 and 255 for 1 to 3."),
    "labels of another convention": NoteKind(
        "warning",
        "The labels do not lie as in CAMUS.",
        "Map the labels: 1 LV endocardium, 2 myocardium, 3 left atrium.",
    ),
    "mask interpolated": NoteKind(
        "warning", "A mask was interpolated between labels.", "Resample masks by the nearest neighbour."
    ),
    "several files of one image": NoteKind(
        "warning",
        "Two files have the name of one image; the one in the official spelling was read.",
        "Keep one of them.",
    ),
    "file not read": NoteKind("info", "The name of an image in a patient's folder is none of CAMUS."),
    "files of another patient": NoteKind(
        "warning", "A patient's folder also holds files of another patient; they were not read.", "Move them."
    ),
    "patient folder nested": NoteKind("info", "A patient's files lie in a folder inside the patient's folder."),
    "two folders of one number": NoteKind(
        "warning", "Two patients have one number; they were read as two.", "Keep one of them, or renumber it."
    ),
    "picture not shown": NoteKind("info", "The picture beside a mask cannot be shown in the report."),
}
"""Every note that a reader can give, by its code."""


@dataclasses.dataclass(frozen=True)
class Note:
    """Something that a reader of one record found. It holds no personal data.

    Attributes:
        code: one of `NOTE_KINDS`, the same for every record with the same note, so that notes can be counted.
        text: one sentence on this record: the values found, and which was taken.
        severity: "info" or "warning", as in `NoteKind`.
    """

    code: str
    text: str
    severity: Severity


def note(code: str, text: str) -> Note:
    """Makes a note with the severity of its code.

    Args:
        code: one of `NOTE_KINDS`.
        text: one sentence on this record: the values found, and which was taken.

    Raises:
        KeyError: the code is not one of `NOTE_KINDS`: add it there, with its meaning and advice.
    """
    return Note(code, text, NOTE_KINDS[code].severity)


def warnings_of(notes: Sequence[Note]) -> tuple[Note, ...]:
    """Returns the notes that somebody should look at."""
    return tuple(one for one in notes if one.severity == "warning")
