"""CAMUS trees."""

import gzip
import shutil

import cv2
import numpy as np
import pytest

from data_pipelines.formats import camus
from data_pipelines.records import ENDOCARDIUM
from tests.helpers.nifti import read, shorter_header, write
from tests.helpers.trees import edit, make_clip, path_of, remove, write_mhd_tree

KINDS = ("ED", "ES", "half_sequence", "ED_gt", "ES_gt", "half_sequence_gt")


def tree(folder):
    camus.write_clip(make_clip(), folder)
    return folder


def edited(folder, kind, change):
    edit(path_of(tree(folder), kind), change)
    return folder


def with_cfg(folder, text):
    (tree(folder) / "patient0001" / "Info_4CH.cfg").write_text(text)
    return folder


def erase(masks):
    return np.where(masks == ENDOCARDIUM, 0, masks).astype(masks.dtype)


def without_ends(folder):
    remove(tree(folder), "half_sequence", "half_sequence_gt", "ES")
    return folder


def ed_elsewhere(folder):
    edit(path_of(tree(folder), "ED"), lambda a: 255 - a)
    (folder / "patient0001" / "Info_4CH.cfg").unlink()
    return folder


def lying(folder):
    tree(folder)
    for kind in KINDS:
        edit(path_of(folder, kind), lambda a: np.swapaxes(a, 0, 1))
    return folder


def with_bytes(folder, kind, change):
    path = path_of(tree(folder), kind)
    path.write_bytes(change(path.read_bytes()))
    return folder


def with_affine(folder, *kinds, affine, codes=(0, 2), change=None):
    tree(folder)
    for kind in kinds:
        pixels = read(path_of(folder, kind))
        write(path_of(folder, kind), change(pixels) if change else pixels, affine=affine, codes=codes)
    return folder


def ends_crossed(folder):
    tree(folder)
    for suffix in ("", "_gt"):
        first, second = path_of(folder, f"ED{suffix}"), path_of(folder, f"ES{suffix}")
        content = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(content)
    return folder


def without_raw(folder):
    pytest.importorskip("SimpleITK", reason="the .mhd release needs SimpleITK")
    (write_mhd_tree(folder, make_clip()) / "patient0001_4CH_ED.raw").unlink()
    return folder


def renamed(folder, name):
    tree(folder)
    camus.write_clip(make_clip(patient_id="patient0002"), folder)
    (folder / "patient0002").rename(folder / name)
    return folder


def loose_file(folder):
    tree(folder)
    shutil.copy(path_of(folder, "ED"), folder / "patient0007_4CH_ED.nii.gz")
    return folder


def in_view(folder, name):
    tree(folder)
    shutil.copy(path_of(folder, "ED"), folder / "patient0001" / name)
    return folder


def nested(folder):
    tree(folder / "patient0001")
    return folder


def without_atrium_below(folder):
    """A header that says upside down of pictures that are not."""
    return with_affine(
        folder, *KINDS, affine=[[-0.154, 0, 0, 0], [0, 0.308, 0, -71 * 0.308], [0, 0, 1, 0], [0, 0, 0, 1]]
    )


def with_bad_rate(folder):
    path = folder / "rate.nii.gz"
    write(
        path,
        make_clip().frames.transpose(2, 1, 0)[:, :, None],
        affine=PLAIN,
        zooms=(0.154, 0.308, 1, 0.02),
        units=("mm", "msec"),
    )
    return path


def ventricle_as_three(masks):
    return np.array([0, 3, 2, 1], np.uint8)[masks]


def grown_rim(masks):
    """What rounding leaves of a linear interpolation between 0 and 3."""
    atrium = (masks == 3).astype(np.uint8)
    rim = np.stack([cv2.dilate(a, np.ones((3, 3), np.uint8)) for a in atrium.transpose(2, 0, 1)]).transpose(1, 2, 0)
    return np.where((rim > 0) & (masks != 3), 1, masks).astype(np.uint8)


def both_views(folder):
    folder.mkdir(exist_ok=True)
    camus.write_clip(make_clip(patient_id="patient0001"), folder)
    camus.write_clip(make_clip(patient_id="patient01"), folder)
    return folder


HALF = np.diag([-0.077, -0.154, 1, 1])
PLAIN = np.diag([-0.154, -0.308, 1, 1])
MIRROR = np.array([[0.154, 0, 0, -59 * 0.154], [0, -0.308, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
GOOD = "ED: 1\nES: 6\n"

BROKEN = {
    "empty file": lambda folder: with_bytes(folder, "half_sequence", lambda content: b""),
    "damaged file": lambda folder: with_bytes(
        folder, "half_sequence", lambda content: content[:-6] + b"\0" + content[-5:]
    ),
    "not an image": lambda folder: with_bytes(folder, "half_sequence", lambda content: b"<html>log in</html>"),
    "header garbled": lambda folder: with_bytes(
        folder,
        "half_sequence",
        lambda c: gzip.compress(gzip.decompress(c)[:70] + b"\xee\x7e" + gzip.decompress(c)[72:]),
    ),
    "data file missing": without_raw,
    "patient folder not read": lambda folder: renamed(folder, "patient0002 (1)"),
    "file outside a patient's folder": loose_file,
    "files of another patient": lambda folder: renamed(folder, "patient0003"),
    "geometry disagrees": lambda folder: with_affine(folder, "half_sequence_gt", affine=HALF),
    "ED and ES contradicted": ends_crossed,
    "axes permuted": lambda folder: write(folder / "thw.nii.gz", np.zeros((24, 100, 90), np.uint8) + 60, affine=PLAIN),
    "mask of another size": lambda folder: edited(folder, "half_sequence_gt", lambda a: a[:-1]),
    "label out of range": lambda folder: edited(folder, "half_sequence_gt", lambda a: a + 1),
    "labels of another convention": lambda folder: edited(folder, "half_sequence_gt", ventricle_as_three),
    "empty mask": lambda folder: edited(folder, "half_sequence_gt", erase),
    "ED or ES missing": without_ends,
    "ED equals ES": lambda folder: with_cfg(folder, "ED: 3\nES: 3\n"),
    "ED not in sequence": ed_elsewhere,
    "cfg garbled": lambda folder: with_cfg(folder, "what is this"),
    "axes transposed": lying,
    "view missing": tree,
}
NOTED = {
    "orientation": lambda folder: with_affine(folder, *KINDS, affine=MIRROR),
    "orientation contradicted": without_atrium_below,
    "files turned": lambda folder: with_affine(folder, "half_sequence_gt", affine=MIRROR, change=lambda a: a[::-1]),
    "geometry not stated": lambda folder: with_affine(folder, "half_sequence_gt", affine=np.eye(4)),
    "pixel spacing doubtful": lambda folder: with_affine(folder, *KINDS, affine=np.eye(4)),
    "frame rate doubtful": with_bad_rate,
    "bytes beyond the image": lambda folder: with_bytes(
        folder, "half_sequence", lambda content: gzip.compress(gzip.decompress(content) + b"more")
    ),
    "frame count contradicted": lambda folder: with_bytes(folder, "half_sequence", shorter_header),
    "stated value not used": lambda folder: with_cfg(folder, f"{GOOD}ImageQuality: none of them\n"),
    "stated value corrected": lambda folder: with_cfg(folder, f"{GOOD}EF: 0.55\n"),
    "ejection fraction contradicted": lambda folder: with_cfg(folder, f"{GOOD}EF: 30\nLVedv: 100\nLVesv: 40\n"),
    "ED and ES contradicted by the images": lambda folder: with_cfg(folder, "ED: 2\nES: 6\n"),
    "image not in sequence": lambda folder: edited(folder, "ED", lambda a: 255 - a),
    "ES area larger than ED area": lambda folder: edited(folder, "half_sequence_gt", lambda a: a[:, :, ::-1]),
    "mask of 0 and 255": lambda folder: edited(folder, "half_sequence_gt", lambda a: a * np.uint8(85)),
    "mask interpolated": lambda folder: edited(folder, "half_sequence_gt", grown_rim),
    "several files of one image": lambda folder: in_view(folder, "PATIENT0001_4CH_ED.nii"),
    "file not read": lambda folder: in_view(folder, "patient0001_4CH_ED (1).nii.gz"),
    "files of another patient": lambda folder: in_view(folder, "patient0002_4CH_ED.nii.gz"),
    "patient folder nested": nested,
    "two folders of one number": both_views,
}
