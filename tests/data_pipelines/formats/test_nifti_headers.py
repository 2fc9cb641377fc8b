"""NIfTI headers: containers under any name, causes of refusals in their own words, times and spacings that count."""

import gzip
import zipfile

import nibabel as nib
import numpy as np
import pytest

from data_pipelines.formats import camus, cine, image_file
from data_pipelines.records import UnreadableRecord
from tests.helpers.nifti import write
from tests.helpers.trees import make_clip, path_of

PLAIN = np.diag([-0.3, -0.4, 1.0, 1.0])
FRAMES = make_clip().frames
ON_DISK = FRAMES.transpose(2, 1, 0)


def clip_of(path):
    return cine.load(path, crop=False).clip


def reason(path):
    with pytest.raises(UnreadableRecord) as caught:
        clip_of(path)
    return caught.value.reason, caught.value.detail


def codes(clip):
    return {one.code for one in clip.notes}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII", "A.NII.GZ"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_container_is_read(tmp_path, name, kind, order):
    header = (nib.Nifti2Header if kind is nib.Nifti2Image else nib.Nifti1Header)(endianness=order)
    image = kind(ON_DISK.astype(f"{order}i2"), PLAIN, header)
    content = image.to_bytes()
    for path, packed in ((tmp_path / name, content), (tmp_path / f"gz-{name}", gzip.compress(content))):
        path.write_bytes(packed)
        assert np.array_equal(clip_of(path).frames, FRAMES)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_kind_of_number_is_read(tmp_path, dtype):
    image = nib.Nifti1Image(ON_DISK.astype(dtype), PLAIN, dtype=np.dtype(dtype))
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    assert np.array_equal(clip_of(tmp_path / "a.nii").frames, FRAMES)


def test_a_pair_of_header_and_pixels_in_a_camus_tree(tmp_path):
    camus.write_clip(make_clip(), tmp_path)
    path = path_of(tmp_path, "half_sequence")
    path.unlink()
    stem = path.parent / path.name.removesuffix(".nii.gz")
    nib.save(nib.Nifti1Pair(ON_DISK, np.diag([-0.154, -0.308, 1, 1])), f"{stem}.hdr")
    (entry,) = camus.index(tmp_path, "all", views=("4CH",)).entries
    assert np.array_equal(camus.read(entry).frames, FRAMES)
    stem.with_suffix(".img").unlink()
    with pytest.raises(UnreadableRecord, match="data file missing"):
        camus.read(entry)


def test_a_pair_in_a_folder_of_cines(tmp_path):
    nib.save(nib.Nifti1Pair(ON_DISK, PLAIN), tmp_path / "a.hdr")
    listed = cine.index(tmp_path)
    assert [entry.record_id for entry in listed.entries] == ["a"] and not listed.skipped
    assert np.array_equal(clip_of(tmp_path / "a.hdr").frames, FRAMES)


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.nii", b"0" * 100)


@pytest.mark.parametrize(
    ("content", "expected", "words"),
    [
        (b"", "empty file", "0 bytes"),
        (b"<!DOCTYPE html><html>", "not an image", "web page"),
        (b"Error 404: no such file", "not an image", "text that begins"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not an image", "version https"),
        (b"\x89PNG\r\n\x1a\n" + bytes(400), "not an image", "89 50 4e 47"),
        (gzip.compress(b"hello", mtime=0), "not an image", "text"),
        (b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 50, "damaged file", "check"),
    ],
)
def test_what_is_no_image_says_what_it_is(tmp_path, content, expected, words):
    (tmp_path / "a.nii.gz").write_bytes(content)
    found, detail = reason(tmp_path / "a.nii.gz")
    assert found == expected and words in detail


def test_archives_truncation_and_damage_are_told_apart(tmp_path):
    path = tmp_path / "a.nii.gz"
    zipped(path)
    assert reason(path)[1].endswith("a ZIP archive: unpack it")
    content = write(path, ON_DISK, affine=PLAIN).read_bytes()
    path.write_bytes(content[:-1])
    assert reason(path)[0] == "truncated file"
    path.write_bytes(content[:-8] + bytes(4) + content[-4:])
    assert reason(path)[0] == "damaged file"
    path.write_bytes(content[:-4] + bytes(4))
    assert reason(path)[0] == "damaged file"
    plain = gzip.decompress(content)
    path.write_bytes(gzip.compress(plain[:-1]))
    assert reason(path)[0] == "truncated file" and "needs" in reason(path)[1]
    path.write_bytes(plain[:200])
    assert reason(path)[0] == "truncated file"
    path.write_bytes(content + b"tail")
    assert "bytes beyond the image" in codes(clip_of(path))
    path.write_bytes(gzip.compress(content))
    assert np.array_equal(clip_of(path).frames, FRAMES)


def test_a_file_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(image_file, "MOST_UNPACKED", 2**20)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(bytes(2**21)))
    assert reason(path) == ("video too large", f"{path} unpacks to more than {2**20} bytes: cut it into shorter clips")


def test_packed_data_in_thousands_of_members_are_read_in_time(tmp_path):
    content = nib.Nifti1Image(ON_DISK, PLAIN).to_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"".join(gzip.compress(content[i : i + 8]) for i in range(0, len(content), 8)))
    np.testing.assert_array_equal(clip_of(path).frames, FRAMES)


def test_more_frames_than_the_header_states_are_read(tmp_path):
    path = write(tmp_path / "a.nii", ON_DISK, affine=PLAIN)
    content = bytearray(path.read_bytes())
    content[46] = 3  # dim[3]
    path.write_bytes(content)
    clip = clip_of(path)
    assert np.array_equal(clip.frames, FRAMES) and "frame count contradicted" in codes(clip)
    content[46] = 200
    path.write_bytes(content)
    assert reason(path)[0] == "truncated file"


def test_optional_elements_that_are_impossible_take_nothing_with_them(tmp_path):
    path = tmp_path / "a.nii"
    nan, inf = float("nan"), float("inf")
    for fields in (
        {"scl_slope": 0, "scl_inter": nan},
        {"scl_slope": nan, "scl_inter": 5},
        {"scl_slope": inf, "scl_inter": 0},
        {"scl_slope": 1, "scl_inter": nan},
        {"toffset": nan, "slice_duration": nan},
        {"cal_max": nan, "cal_min": -inf},
        {"intent_code": 999, "slice_code": 99},
        {"xyzt_units": 238},
        {"vox_offset": nan},
        {"quatern_b": nan, "quatern_c": 9, "qform_code": 1},
    ):
        write(path, ON_DISK, affine=PLAIN)
        content = bytearray(path.read_bytes())
        header = nib.Nifti1Header(bytes(content[:348]), check=False)
        for name, value in fields.items():
            header[name] = value
        content[:348] = header.binaryblock
        path.write_bytes(content)
        assert np.array_equal(clip_of(path).frames, FRAMES), fields
    write(path, ON_DISK.astype(np.float32), affine=PLAIN)
    content = bytearray(path.read_bytes())
    content[112:116] = np.float32(1 / 255).tobytes()  # scl_slope
    path.write_bytes(content)
    assert np.array_equal(clip_of(path).frames, FRAMES)


@pytest.mark.parametrize(
    ("shape", "units", "zoom", "fps", "code"),
    [
        ("xyt", "msec", 1.0, None, "frame rate unknown"),
        ("xy1t", "msec", 1.0, None, "frame rate unknown"),
        ("xy1t", "usec", 1.0, None, "frame rate unknown"),
        ("xy1t", "sec", 0.02, 50, "frame rate"),
        ("xy1t", "msec", 20.0, 50, "frame rate"),
        ("xy1t", "usec", 20000.0, 50, "frame rate"),
        ("xyt", "msec", 20.0, 50, "frame rate"),
        ("xy1t", "unknown", 20.0, None, "frame rate unknown"),
        ("xy1t", "msec", 0.02, None, "frame rate doubtful"),
        ("xy1t", "sec", 20.0, None, "frame rate doubtful"),
        ("xy1t", "hz", 50.0, None, "frame rate doubtful"),
        ("xy1t", "ppm", 50.0, None, "frame rate doubtful"),
        ("xy1t", "msec", 0.0, None, "frame rate unknown"),
        ("xy1t", "msec", -20.0, None, "frame rate unknown"),
        ("xy1t", "msec", float("nan"), None, "frame rate unknown"),
    ],
)
def test_a_default_is_no_frame_rate(tmp_path, shape, units, zoom, fps, code):
    array = ON_DISK if shape == "xyt" else ON_DISK[:, :, None]
    path = write(tmp_path / "a.nii", array, affine=PLAIN, units=("mm", units), zooms=(0.3, 0.4, 1, zoom))
    clip = clip_of(path)
    assert clip.fps == (fps and pytest.approx(fps)) and code in codes(clip)


def test_slices_that_take_longer_than_a_frame_are_noted(tmp_path):
    options = {"affine": PLAIN, "units": ("mm", "msec"), "zooms": (0.3, 0.4, 1, 20)}
    assert "frame rate doubtful" in codes(
        clip_of(write(tmp_path / "a.nii", ON_DISK[:, :, None], slice_duration=40, **options))
    )


@pytest.mark.parametrize(
    ("affine", "zooms", "spacing_mm", "is_doubtful"),
    [
        (PLAIN, (0.3, 0.4, 1), (0.4, 0.3), False),
        (np.eye(4), (0.3, 0.4, 1), (0.4, 0.3), False),
        (PLAIN, (1, 1, 1), (0.4, 0.3), True),
        (PLAIN, (0.6, 0.8, 1), None, True),
        (np.eye(4), (1, 1, 1), (1.0, 1.0), True),
        (PLAIN, (0, 0.4, 1), None, False),
        (PLAIN, (-0.3, 0.4, 1), None, False),
    ],
)
def test_two_statements_of_the_spacing(tmp_path, affine, zooms, spacing_mm, is_doubtful):
    path = write(tmp_path / "a.nii", ON_DISK, affine=affine)
    content = bytearray(path.read_bytes())
    content[80:92] = np.array(zooms, np.float32).tobytes()
    path.write_bytes(content)
    clip = clip_of(path)
    assert clip.spacing_mm == (spacing_mm and pytest.approx(spacing_mm))
    assert ("pixel spacing doubtful" in codes(clip)) == is_doubtful


@pytest.mark.parametrize(
    "array",
    [np.zeros((60, 72, 3, 4), np.uint8), np.zeros((60, 72, 1, 1, 3), np.uint8), np.zeros((60, 72, 5), np.complex64)],
)
def test_several_numbers_for_a_pixel_are_refused(tmp_path, array):
    assert reason(write(tmp_path / "a.nii", array, affine=PLAIN))[0] == "pixel format not supported"


def test_axes_in_the_order_of_an_array_are_refused(tmp_path):
    rows, columns = np.mgrid[:80, :90]
    sector = np.hypot(rows, columns - 45) < 70
    sector &= np.abs(columns - 45) < 0.8 * rows + 3
    frames = np.random.default_rng(0).integers(30, 220, (40, 80, 90)).astype(np.uint8) * sector.astype(np.uint8)
    assert np.array_equal(
        clip_of(write(tmp_path / "right.nii", frames.transpose(2, 1, 0), affine=PLAIN)).frames, frames
    )
    assert reason(write(tmp_path / "wrong.nii", frames, affine=PLAIN))[0] == "axes permuted"
    assert reason(write(tmp_path / "few.nii", frames[:12], affine=PLAIN))[0] == "axes permuted"
    assert "transpose" in reason(tmp_path / "few.nii")[1]


def test_the_range_of_a_cine_is_that_of_its_samples_or_its_header(tmp_path):
    path = tmp_path / "a.nii"
    assert np.array_equal(clip_of(write(path, ON_DISK / np.float32(255), affine=PLAIN)).frames, FRAMES)
    assert reason(write(path, ON_DISK.astype(np.uint16) * 15, affine=PLAIN))[0] == "grey level out of range"
    clip = clip_of(write(path, ON_DISK.astype(np.uint16) * 15, affine=PLAIN, cal_min=0, cal_max=255 * 15))
    assert np.array_equal(clip.frames, FRAMES)


def test_a_spacing_without_a_unit_is_unknown_and_said(tmp_path):
    path = tmp_path / "a.nii"
    image = nib.Nifti1Image(ON_DISK, PLAIN)
    image.header.set_xyzt_units(0)
    path.write_bytes(image.to_bytes())
    clip = clip_of(path)
    assert clip.spacing_mm is None
    (only,) = [one for one in clip.notes if one.code == "pixel spacing unknown"]
    assert only.text == "pixdim states 0.4 x 0.3 without a unit."
