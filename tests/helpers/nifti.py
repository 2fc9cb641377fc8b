"""NIfTI files with any header, made with nibabel."""

import gzip

import nibabel as nib
import numpy as np


def write(path, array, *, affine, codes=(0, 2), units=("mm", "unknown"), zooms=None, kind=nib.Nifti1Image, **fields):
    """Writes an array as it is, (x, y[, t]).

    `codes` are those of qform and sform; `affine` is one for both, or a pair of (qform, sform). `fields` go into the
    header as they are.
    """
    both = affine if isinstance(affine, tuple) else (affine, affine)
    image = kind(np.ascontiguousarray(array), np.asarray(both[1], float))
    content = bytearray(image.to_bytes())  # nibabel corrects the header here, so that it is changed afterwards
    header = image.header.copy()
    header.set_qform(np.asarray(both[0], float), codes[0])
    header.set_sform(np.asarray(both[1], float), codes[1])
    if zooms is not None:
        header["pixdim"][1 : len(zooms) + 1] = zooms
    header.set_xyzt_units(*units)
    for name, value in fields.items():
        header[name] = value
    content[: header.sizeof_hdr] = header.binaryblock
    path.write_bytes(gzip.compress(content) if path.name.lower().endswith(".gz") else content)
    return path


def read(path):
    """Reads an array as it is stored, (x, y[, t])."""
    return np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes())).dataobj).copy()


def shorter_header(content):
    """Halves the number of frames that the header states, and keeps the pixels."""
    plain = bytearray(gzip.decompress(content))
    frames = int.from_bytes(plain[46:48], "little")  # dim[3]
    plain[46:48] = (frames // 2).to_bytes(2, "little")
    return gzip.compress(bytes(plain))
