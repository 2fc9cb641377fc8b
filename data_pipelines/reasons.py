"""Why a record can be refused: every reason, what it means and what to do.

`docs/reference/reasons.md` is written from this table.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why a record is refused.

    Attributes:
        meaning: what is wrong.
        advice: what to do.
    """

    meaning: str
    advice: str


REASONS: dict[str, Reason] = {
    # ---- files of any kind -------------------------------------------------------------------------------------------
    "file missing": Reason("The path does not exist, or is no file.", "Look at the path."),
    "not readable": Reason("The system refuses to open the file or folder.", "Change its permissions."),
    "unsupported suffix": Reason("The file is none of the formats that are read.", "Convert it, or leave it out."),
    "truncated file": Reason("The file ends before the data that it announces.", "Fetch it again."),
    "empty file": Reason("The file has no content.", "Fetch it again."),
    "damaged file": Reason("The packed data fail their own check.", "Fetch it again."),
    "not an image": Reason(
        "The content is no image of the format that the name says: a text, a web page, an archive.",
        "Unpack it, fetch it again, or rename it.",
    ),
    "data file missing": Reason("A header names a file of pixels that is not there.", "Add the file."),
    "header garbled": Reason("An element of the header does not hold what it promises.", "Export the file again."),
    "zero frames": Reason("The file holds no frame.", "Export it again."),
    "one frame only": Reason("The file is a still picture, not a cine.", "Leave it out."),
    "frames of another size": Reason("The frames of one record differ in size.", "Export them at one size."),
    "pixel format not supported": Reason(
        "The samples are not one grey level or one colour for each pixel.", "Convert the file to grey levels or RGB."
    ),
    "grey level out of range": Reason(
        "The values cannot be grey levels 0..255, and the file does not say which range they have.",
        "Rescale them to 0..255.",
    ),
    "the reader failed": Reason("The reader itself has a fault on this file.", "Report it with the message."),
    # ---- DICOM -------------------------------------------------------------------------------------------------------
    "not a DICOM file": Reason("The file does not begin like DICOM.", "Export it again as DICOM Part 10."),
    "not ultrasound": Reason("The file is of another modality.", "Leave it out."),
    "three-dimensional volume": Reason("The frames are slices of a volume.", "Export a two-dimensional cine of it."),
    "no pixel data": Reason("The file has a header and no picture: a report, or cut off.", "Leave it out."),
    "no two-dimensional tissue region": Reason(
        "The file states its regions, and none is a two-dimensional tissue picture.", "Leave it out."
    ),
    "compression not supported": Reason(
        "No decoder for this transfer syntax is installed.", "Install the extra that the message names, or convert it."
    ),
    "several pictures": Reason(
        "The file or folder holds several cines, and one is asked for.",
        "Read the entries of `cine.index(path)`, one for each picture.",
    ),
    "pixel data of another size": Reason(
        "The pixel data are no whole number of frames of the size that the header states.", "Export the file again."
    ),
    "pixel data garbled": Reason(
        "The pixel data are not divided into frames as DICOM divides them.", "Export the file again."
    ),
    "picture of another size": Reason(
        "The compressed pictures have another size than the header states.", "Export the file again."
    ),
    "frame damaged": Reason("A frame is there as a whole and cannot be decoded.", "Export the file again."),
    # ---- video -------------------------------------------------------------------------------------------------------
    "not a video": Reason("The content is no video, whatever the name says.", "Fetch it again, or rename it."),
    "no video stream": Reason("The file holds sound or text, and no pictures.", "Leave it out."),
    "codec not supported": Reason("No decoder for its pictures is there.", "Convert it to H.264, MJPEG or FFV1."),
    "frames missing": Reason("Far fewer frames could be decoded than the file states.", "Export it again."),
    "damaged frames": Reason("Too many frames are damaged or cannot be decoded.", "Fetch it or export it again."),
    "picture too large": Reason("A picture has more than 33 million pixels.", "Reduce it, or look at the header."),
    "video too large": Reason(
        "The frames would fill far more memory than the file has bytes, as in a decompression bomb.",
        "Cut it into shorter clips.",
    ),
    # ---- folders of pictures -----------------------------------------------------------------------------------------
    "no numbered pictures": Reason(
        "The names of the pictures have no counter in common.", "Name the frames frame_1, frame_2 and so on."
    ),
    "two pictures of one number": Reason("Two different pictures have the same number.", "Remove one of them."),
    "empty folder": Reason("The folder holds no picture.", "Give a folder of numbered frames."),
    # ---- CAMUS and masks ---------------------------------------------------------------------------------------------
    "a mask, not a picture": Reason("The name says that the file is a mask.", "Nothing: masks are no cines."),
    "patient folder not read": Reason(
        "A folder looks like that of a patient and is not read.", "Name it patientNNNN, or remove it."
    ),
    "file outside a patient's folder": Reason(
        "An image of a patient lies beside the patients' folders.", "Move it into the patient's folder."
    ),
    "files of another patient": Reason(
        "The files in a patient's folder are named after another patient.", "Move them, or rename the folder."
    ),
    "geometry disagrees": Reason(
        "Two files that belong together do not lie on each other by their headers.", "Correct the header that is wrong."
    ),
    "axes permuted": Reason(
        "The axes are not columns, rows, time.", "Store the array as (x, y, t), e.g. by array.transpose(2, 1, 0)."
    ),
    "several masks of one frame": Reason("A tree holds two masks of one frame.", "Keep one of them."),
    "mask of another size": Reason("Mask and picture differ in size.", "Give the mask that belongs to the picture."),
    "label out of range": Reason("The mask holds values other than labels 0..3.", "Do what the message says."),
    "labels of another convention": Reason(
        "The labels do not lie as in CAMUS.", "Map the labels: 1 LV endocardium, 2 myocardium, 3 left atrium."
    ),
    "empty mask": Reason("The mask of ED or ES has no left ventricle.", "Draw it, or leave the record out."),
    "ED or ES missing": Reason("ED or ES cannot be found.", "Add the two images, or Info_*.cfg."),
    "ED equals ES": Reason("ED and ES are the same frame.", "Look at Info_*.cfg and at the two images."),
    "ED not in sequence": Reason(
        "The images of ED and ES do not tell where they are in the sequence.", "Add Info_*.cfg."
    ),
    "ED and ES contradicted": Reason(
        "Info_*.cfg and the images of ED and ES name each other's frames.", "Correct Info_*.cfg or swap the images."
    ),
    "cfg garbled": Reason("Info_*.cfg does not hold the numbers that are needed.", "Correct the line named."),
    "axes transposed": Reason("The atrium does not lie below the ventricle.", "Turn the image, or swap its axes."),
    "view missing": Reason("The patient's folder lacks this view.", "Add it, or ask for other views."),
    "patient missing": Reason("A split names a patient that is not there.", "Add it, or correct the split."),
    "no reference": Reason("There is a prediction without a reference.", "Add the reference."),
    "no prediction": Reason("There is a reference without a prediction.", "Add the prediction."),
    "another size": Reason("Prediction and reference differ in size.", "Give predictions the references' size."),
    # ---- EchoNet-Dynamic ---------------------------------------------------------------------------------------------
    "video missing": Reason("FileList.csv names a video that is not there.", "Add the video."),
    "several videos of one name": Reason("Videos of one name differ in suffix, and none is .avi.", "Keep one of them."),
    "duplicate id": Reason("FileList.csv names a video twice, with different content.", "Remove the wrong row."),
    "file list garbled": Reason("A row of FileList.csv has no name, or a stray comma.", "Correct the row."),
    "fewer than two traced frames": Reason("ED and ES are not both traced.", "Add the tracing."),
    "row count": Reason("A tracing does not have 21 chords, or fewer than 3 points.", "Correct VolumeTracings.csv."),
    "video shorter than the traced frame": Reason("A traced frame is not in the video.", "Fetch the video again."),
    "video of another size than its tracings": Reason(
        "The video has not the height and width that FileList.csv states, and the tracings cannot be fitted to it.",
        "Give the videos that were traced; or scale the tracings and correct FrameHeight and FrameWidth.",
    ),
    "video of another length than its tracings": Reason(
        "The video has not the number of frames that FileList.csv states: the traced frames cannot be told.",
        "Give the videos that were traced; or correct Frame and NumberOfFrames.",
    ),
    "coordinates out of range or not finite": Reason("A tracing leaves the picture.", "Correct VolumeTracings.csv."),
    # ---- use of a record ---------------------------------------------------------------------------------------------
    "too few frames": Reason("The record has fewer frames than the network takes.", "Set data.frames lower."),
    "no labelled frame": Reason("Neither ED nor ES has a mask.", "Use it as an unlabelled cine."),
    "black picture": Reason("The picture holds nothing.", "Leave it out."),
    "damaged store": Reason("A file of the prepared store is not what was written.", "Prepare it with --overwrite."),
}
"""Every reason, by the phrase that is counted and shown."""
