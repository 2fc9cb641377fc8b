"""Small CAMUS and EchoNet-Dynamic trees, healthy and broken, for the tests of the readers and of the doctor."""

import contextlib
import csv
import dataclasses
import gzip
import os

import cv2
import nibabel as nib
import numpy as np

from data_pipelines.records import ATRIUM, ENDOCARDIUM, MYOCARDIUM, Clip


def ellipse(shape, centre, radii):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 <= 1


def make_clip(n=6, view="4CH", patient_id="patient0001", **changes):
    """An LV that shrinks with time, in a wall, above an atrium; 72 x 60."""
    shape, masks = (72, 60), np.zeros((n, 72, 60), np.uint8)
    for t in range(n):
        masks[t][ellipse(shape, (26, 30), (20, 15))] = MYOCARDIUM
        masks[t][ellipse(shape, (26, 30), (16 - t, 11 - t))] = ENDOCARDIUM
        masks[t][ellipse(shape, (56, 31), (9, 8))] = ATRIUM
    noise = np.random.default_rng(0).integers(0, 60, masks.shape)
    frames = (noise + np.array([60, 20, 150, 30])[masks]).astype(np.uint8)
    clip = Clip(
        frames, masks, np.ones(n, bool), 0, n - 1, (0.308, 0.154), 51.3, patient_id, view, "Good", 55.25, (101.5, 45.4)
    )
    return dataclasses.replace(clip, **changes)


def assert_same(left, right):
    for field in dataclasses.fields(Clip):
        a, b = getattr(left, field.name), getattr(right, field.name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, field.name


def path_of(root, kind):
    return root / "patient0001" / f"patient0001_4CH_{kind}.nii.gz"


def save(path, array):
    image = nib.Nifti1Image(array, np.diag([-0.154, -0.308, 1, 1]))
    image.header.set_xyzt_units("mm")
    path.write_bytes(gzip.compress(image.to_bytes()))


def edit(path, change):
    save(path, change(np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes())).dataobj).copy()))


def remove(root, *kinds):
    for kind in kinds:
        path_of(root, kind).unlink()


def write_mhd(path, pixels, data=True):
    """(t, row, column) uint8."""
    size = " ".join(map(str, pixels.shape[::-1]))
    path.write_text(
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nElementSpacing = 0.308 0.154 1.54\n"
        f"DimSize = {size}\nElementType = MET_UCHAR\nElementDataFile = {path.stem}.raw\n"
    )
    if data:
        path.with_suffix(".raw").write_bytes(pixels.tobytes())


def write_mhd_tree(root, clip):
    """ED and ES with their masks, the header of the sequence without its data, and the cfg; the patient's folder."""
    folder = root / clip.patient_id
    folder.mkdir(parents=True)
    stem = f"{clip.patient_id}_{clip.view}"
    for name, index in (("ED", clip.ed_index), ("ES", clip.es_index)):
        write_mhd(folder / f"{stem}_{name}.mhd", clip.frames[[index]])
        write_mhd(folder / f"{stem}_{name}_gt.mhd", clip.label_map[[index]])
    write_mhd(folder / f"{stem}_sequence.mhd", clip.frames, data=False)
    (folder / f"Info_{clip.view}.cfg").write_text(
        "ED: 1\nES: 6\nNbFrame: 6\nImageQuality: Good\nLVedv: 94.0\nLVesv: 34.6\nLVef: 63.2\n"
    )
    return folder


def make_video_clip(n=8, patient_id="0X10", shape=(112, 112), **changes):
    """A tilted LV that shrinks with time, in a wall, under a smooth texture: what a codec can keep."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    down, across = rows - 48, columns - 56
    along, aside = np.cos(0.2) * down + np.sin(0.2) * across, np.cos(0.2) * across - np.sin(0.2) * down
    masks = np.zeros((n, *shape), np.uint8)
    for t in range(n):
        masks[t][(along / 38) ** 2 + (aside / 27) ** 2 <= 1] = MYOCARDIUM
        masks[t][(along / (32 - t)) ** 2 + (aside / (21 - t)) ** 2 <= 1] = ENDOCARDIUM
    noise = np.random.default_rng(0).normal(0, 40, (n, *shape))
    grey = np.array([70.0, 40.0, 150.0])[masks] + np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in noise])
    clip = Clip(
        grey.clip(0, 255).astype(np.uint8),
        masks,
        np.ones(n, bool),
        0,
        n - 1,
        None,
        50.5,
        patient_id,
        "4CH",
        ef_percent=55.25,
        volumes_ml=(101.5, 45.5),
    )
    return dataclasses.replace(clip, **changes)


def edit_csv(path, change):
    """Passes the rows of a CSV file, header and all, through `change`."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = change(list(csv.reader(file)))
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


@contextlib.contextmanager
def read_only(folder, hidden=()):
    """The folder and all below it cannot be written, nor `hidden` be read; root, who could, becomes nobody so long."""
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode & 0o777 for path in paths}
    for path in paths:
        path.chmod(0 if path in hidden else 0o555 if path.is_dir() else 0o444)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)
