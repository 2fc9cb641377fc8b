"""Videos, NIfTI cines and folders of pictures."""

import numpy as np
from PIL import Image

from tests.data_pipelines.formats.test_cine import write_nifti, write_pngs, write_video
from tests.helpers.dicom_files import picture

FRAMES = picture(6, (96, 128))


def cut_video(folder):
    path = write_video(folder / "cut.avi", FRAMES)
    path.write_bytes(path.read_bytes()[:-2000])
    return path


def nifti_of_range(folder):
    return write_nifti(folder / "deep.nii.gz", FRAMES.astype(np.int16) * 10)


def nifti_still(folder):
    return write_nifti(folder / "still.nii.gz", FRAMES, on_disk=FRAMES[0].T.copy())


def nifti_empty(folder):
    return write_nifti(folder / "empty.nii.gz", FRAMES, on_disk=np.zeros((20, 30, 0), np.uint8))


def nifti_complex(folder):
    return write_nifti(folder / "complex.nii.gz", FRAMES.astype(np.complex64))


def text_file(folder):
    path = folder / "notes.txt"
    path.write_text("no cine")
    return path


def camus_mask(folder):
    write_video(folder / "good.avi", FRAMES)
    write_nifti(folder / "patient0001_4CH_ED_gt.nii.gz", FRAMES)
    return folder


def pictures_of_two_sizes(folder):
    return write_pngs(folder / "pictures", [*FRAMES[:3], FRAMES[3][:-5]])


def broken_link(folder):
    (folder / "gone.avi").symlink_to(folder / "nowhere.avi")
    return folder


def pictures_without_a_counter(folder):
    return write_pngs(folder / "pictures", FRAMES[:3], ["ed.png", "es.png", "other.png"])


def two_of_one_number(folder):
    return write_pngs(folder / "pictures", FRAMES[:4], ["f_1.png", "f_2.png", "f_3.png", "f_03.png"])


def masks_beside_frames(folder):
    names = [f"frame_{i}.png" for i in range(6)]
    write_pngs(folder / "pictures", FRAMES, names)
    for name, frame in zip(names, FRAMES, strict=True):
        Image.fromarray((frame > 128).astype(np.uint8)).save(folder / "pictures" / name.replace(".", "_mask."))
    return folder / "pictures"


BROKEN = {
    "file missing": broken_link,
    "truncated file": cut_video,
    "grey level out of range": nifti_of_range,
    "one frame only": nifti_still,
    "zero frames": nifti_empty,
    "pixel format not supported": nifti_complex,
    "unsupported suffix": text_file,
    "a mask, not a picture": camus_mask,
    "frames of another size": pictures_of_two_sizes,
    "no numbered pictures": pictures_without_a_counter,
    "two pictures of one number": two_of_one_number,
}
NOTED = {
    "pictures left out": masks_beside_frames,
    "pictures in steps": lambda folder: write_pngs(folder / "pictures", FRAMES, [f"f{5 * i}.png" for i in range(6)]),
    "numbers missing": lambda folder: write_pngs(
        folder / "pictures", FRAMES, [f"f{i + 3 * (i > 2)}.png" for i in range(6)]
    ),
    "grey levels doubtful": lambda folder: write_nifti(folder / "dim.nii.gz", FRAMES // 3),
    "grey levels": lambda folder: write_nifti(folder / "plain.nii.gz", FRAMES),
    "frame rate": lambda folder: write_nifti(folder / "rate.nii.gz", FRAMES),
    "pixel spacing": lambda folder: write_nifti(folder / "spacing.nii.gz", FRAMES),
    "frame rate unknown": lambda folder: write_pngs(folder / "pictures", FRAMES),
    "pixel spacing unknown": lambda folder: write_pngs(folder / "pictures", FRAMES),
    "sector uncertain": lambda folder: write_pngs(folder / "still", FRAMES[[0, 0, 0]]),
}
