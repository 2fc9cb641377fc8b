"""Every container of a cine, written here and read back; the index of a folder; one bad file stops no other."""

import dataclasses
import gzip

import cv2
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from data_pipelines.formats import cine
from data_pipelines.formats.camus.writing import nifti_bytes
from data_pipelines.formats.cine import sector
from data_pipelines.formats.cine.sequences import natural_order
from data_pipelines.records import Index, UnreadableRecord, summarise_skipped
from tests.helpers.dicom_files import jpeg_422_file, picture, region, write
from tests.helpers.screens import fan, screen, speckle

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}


def write_video(path, frames, fps=25.0):
    height, width = frames.shape[1:3]
    code = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def write_nifti(path, frames, units=("mm", "sec"), zooms=(0.4, 0.3, 1.0, 0.02), on_disk=None):
    """As (x, y, 1, t), unless `on_disk` is given."""
    pixels = frames.transpose(2, 1, 0)[:, :, None] if on_disk is None else on_disk
    image = nib.Nifti1Image(pixels, np.eye(4))
    image.header.set_zooms(zooms[: pixels.ndim])
    image.header.set_xyzt_units(*units)
    path.write_bytes(gzip.compress(image.to_bytes()) if path.suffix == ".gz" else image.to_bytes())
    return path


def write_pngs(folder, frames, names=None):
    folder.mkdir(parents=True)
    for name, frame in zip(names or [f"frame_{i}.png" for i in range(len(frames))], frames, strict=True):
        Image.fromarray(frame).save(folder / name)
    return folder


def fault(path):
    with pytest.raises(UnreadableRecord) as caught:
        cine.read(path)
    return caught.value.reason


def assert_plain(clip, patient_id):
    assert clip.patient_id == clip.record_id == patient_id and clip.frames.dtype == np.uint8
    assert clip.label_map.shape == clip.frames.shape and not clip.label_map.any() and not clip.has_reference.any()
    assert clip.has_reference.shape == (len(clip),)
    assert (clip.ed_index, clip.es_index, clip.view, clip.quality, clip.ef_percent) == (None, None, "", None, None)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mov", ".mkv", ".MP4"])
def test_video_round_trip(tmp_path, suffix):
    frames = picture(9, (96, 128))
    path = write_video(tmp_path / f"Bild 心 1.2{suffix}", frames)
    clip = cine.load(path, crop=False).clip
    assert_plain(clip, "Bild 心 1.2")
    assert clip.frames.shape == frames.shape and clip.fps == pytest.approx(25) and clip.spacing_mm is None
    difference = np.abs(clip.frames.astype(int) - frames)
    assert difference.mean() < 4 and difference.max() < 45  # a flip or a shift by one frame is far more


def test_a_colour_video_becomes_luminance_and_a_nonsense_rate_none(tmp_path):
    blue = np.zeros((5, 96, 128, 3), np.uint8)
    blue[..., 0], blue[..., 2] = 200, picture(5, (96, 128)) // 4
    clip = cine.load(write_video(tmp_path / "a.avi", blue, fps=1.0), crop=False).clip
    assert clip.fps is None
    assert abs(clip.frames.mean() - (0.114 * 200 + 0.299 * blue[..., 2].mean())) < 2


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("units", "zooms", "spacing_mm", "fps"),
    [
        (("mm", "sec"), (0.4, 0.3, 1.0, 0.02), (0.3, 0.4), 50.0),
        (("meter", "msec"), (4e-4, 3e-4, 1.0, 20.0), (0.3, 0.4), 50.0),
        (("unknown", "unknown"), (0.4, 0.3, 1.0, 0.02), None, None),
        (("mm", "sec"), (0.4, 0.3, 1.0, 1.0), (0.3, 0.4), None),  # one frame a second is a default, not a rate
    ],
)
def test_nifti_round_trip(tmp_path, suffix, units, zooms, spacing_mm, fps):
    frames = picture(6)
    clip = cine.read(write_nifti(tmp_path / f"patient7{suffix}", frames, units, zooms))
    assert_plain(clip, "patient7")
    np.testing.assert_array_equal(clip.frames, frames)
    assert clip.fps == pytest.approx(fps) and clip.spacing_mm == (spacing_mm and pytest.approx(spacing_mm))


def test_nifti_of_three_axes_as_camus_writes_it(tmp_path):
    (tmp_path / "p_4CH_half_sequence.nii.gz").write_bytes(nifti_bytes(picture(5), (0.25, 0.5)))
    clip = cine.read(tmp_path / "p_4CH_half_sequence.nii.gz")
    np.testing.assert_array_equal(clip.frames, picture(5))
    assert clip.spacing_mm == (0.25, 0.5) and clip.fps is None


def test_pngs_in_the_order_of_their_numbers(tmp_path):
    frames = picture(12)
    write_pngs(tmp_path / "Fall ä", frames)
    clip = cine.read(tmp_path / "Fall ä")
    assert_plain(clip, "Fall ä")
    np.testing.assert_array_equal(clip.frames, frames)
    assert natural_order(["b10", "b9", "b", "a2x10", "a2x9", "a02", "10", "9"]) == [
        "9",
        "10",
        "a02",
        "a2x9",
        "a2x10",
        "b",
        "b9",
        "b10",
    ]


@pytest.mark.parametrize("change", [lambda f: np.stack([f] * 3, axis=-1), lambda f: f.astype(np.uint16) * 257])
def test_pngs_of_colour_and_of_16_bits(tmp_path, change):
    write_pngs(tmp_path / "a", change(picture()))
    np.testing.assert_array_equal(cine.read(tmp_path / "a").frames, picture())


def test_dicom_is_cropped_within_its_region_and_masks_return(tmp_path):
    area = fan()
    frames = screen(speckle(area))
    path = write(
        tmp_path / "a.b.dcm",
        frames,
        FrameTime="20",
        ViewName="A4C",
        PixelSpacing=[9, 9],
        SequenceOfUltrasoundRegions=[region(30, 15, 289, 214)],
    )
    loaded = cine.load(path)
    clip, found = loaded.clip, loaded.sector
    assert (clip.patient_id, clip.view, clip.fps, clip.spacing_mm) == ("a.b", "4CH", 50.0, pytest.approx((0.5, 0.3)))
    assert loaded.shape == frames.shape[1:] and clip.frames.shape[1:] == found.mask.shape
    placed = sector.place_back(clip.frames, found, loaded.shape)
    assert (placed[:, area] == frames[:, area]).mean() > 0.99
    text = (frames.min(axis=0) > 100) & ~area
    assert text.sum() > 1000 and not placed[:, text].any()
    assert [(one.code, one.text) for one in clip.notes] == [
        ("grey levels", "As stored."),
        ("frame rate", "From Frame Time."),
        ("pixel spacing", "From the region of ultrasound."),
        (
            "element ignored",
            "Pixel Spacing means 9 x 9 mm, which no pixel of such a picture has; it was left out of account.",
        ),
    ]
    uncropped = cine.load(path, crop=False)
    np.testing.assert_array_equal(uncropped.clip.frames, frames)
    assert uncropped.clip.spacing_mm == clip.spacing_mm


def test_a_cine_without_a_sector_says_so(tmp_path):
    write_pngs(tmp_path / "a", np.zeros((3, 40, 40), np.uint8))
    loaded = cine.load(tmp_path / "a")
    assert loaded.clip.frames.shape == (3, 40, 40) and loaded.sector.warning == sector.NO_SECTOR
    assert loaded.clip.notes[-1].code == "sector uncertain"


def test_index_finds_every_kind_and_one_bad_file_stops_no_other(tmp_path):
    root = tmp_path / "Büro 心"
    write_pngs(root / "sub" / "pictures", picture(3))
    write_video(root / "case10.avi", picture(4, (96, 128)))
    write_video(root / "case9.mp4", picture(4, (96, 128)))
    write_nifti(root / "sub" / "a.nii.gz", picture(4))
    write_nifti(root / "sub" / "a_gt.nii.gz", picture(4))
    jpeg_422_file(root / "sub" / "IM0001", picture(4))  # as exports name them
    write(root / "still.dcm", picture(1))
    write(root / "DICOMDIR", picture(1))
    (root / "letter.dcm").write_text("not a cine")
    (root / "table.csv").write_text("a,b")
    (root / "notes").write_text("x")
    (root / ".hidden.mp4").write_text("x")
    listed = cine.index(root)
    found, skipped = listed.entries, listed.skipped
    assert [entry.path.relative_to(root).as_posix() for entry in found] == [
        "case9.mp4",
        "case10.avi",
        "letter.dcm",
        "still.dcm",
        "sub/IM0001",
        "sub/a.nii.gz",
        "sub/pictures",
    ]
    assert [(s.record_id, s.reason) for s in skipped] == [
        ("notes", "unsupported suffix"),
        ("table.csv", "unsupported suffix"),
        ("a_gt", "a mask, not a picture"),
    ]
    assert "2 x unsupported suffix" in summarise_skipped(skipped)
    read, faults = {}, {}
    for entry in found:
        try:
            clip = cine.read(entry)
            read[clip.record_id, clip.patient_id] = len(clip)
        except UnreadableRecord as error:
            faults[error.record_id] = error.reason
    assert read == {
        ("case9", "case9"): 4,
        ("case10", "case10"): 4,
        ("IM0001", "sub"): 4,
        ("a", "sub"): 4,
        ("pictures", "sub"): 3,
    }
    assert faults == {"letter": "not a DICOM file", "still": "one frame only"}


def test_index_of_a_file_of_a_missing_path_and_of_an_empty_folder(tmp_path):
    path = write_video(tmp_path / "a.avi", picture(3, (96, 128)))
    assert cine.index(path) == Index([cine.CineEntry((path,), "a", "a")], [])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        cine.index(tmp_path / "none")
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds no file"):
        cine.index(tmp_path / "empty")
    assert fault(tmp_path / "empty") == "empty folder"
    assert fault(tmp_path / "none.mp4") == "file missing"


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".nii", ".nii.gz", ".dcm"])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5])
def test_truncated_files(tmp_path, suffix, part):
    path, frames = tmp_path / f"a{suffix}", picture(40, (96, 128))
    if suffix in CODECS:
        write_video(path, frames)
    elif suffix == ".dcm":
        write(path, frames)
    else:
        write_nifti(path, frames)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    empty = "not a DICOM file" if suffix == ".dcm" else "empty file"
    assert fault(path) == (empty if part == 0 else "truncated file")


def test_other_faults_by_reason(tmp_path):
    frames = picture()
    (tmp_path / "a.docx").write_bytes(b"PK")
    assert fault(tmp_path / "a.docx") == "unsupported suffix"
    for suffix, reason in ((".mp4", "not a video"), (".nii", "not an image")):
        (tmp_path / f"text{suffix}").write_text("no video at all " * 100)
        assert fault(tmp_path / f"text{suffix}") == reason
    assert fault(write_video(tmp_path / "one.avi", picture(1, (96, 128)))) == "one frame only"
    assert fault(write_pngs(tmp_path / "one", frames[:1])) == "one frame only"
    assert fault(write_nifti(tmp_path / "one.nii", frames, on_disk=frames[0].T)) == "one frame only"
    assert fault(write_nifti(tmp_path / "two.nii", frames, on_disk=frames.T[:, :, :0])) == "zero frames"
    volume = np.zeros((8, 8, 3, 4), np.uint8)
    assert fault(write_nifti(tmp_path / "three.nii", frames, on_disk=volume)) == "pixel format not supported"
    for name, value in (("minus", -1.0), ("large", 256.0), ("nan", np.nan)):
        wrong = frames.T.astype(np.float32)
        wrong[0, 0, 0] = value
        assert fault(write_nifti(tmp_path / f"{name}.nii", frames, on_disk=wrong)) == "grey level out of range"
    write_pngs(tmp_path / "sizes", [frames[0], frames[1][:-1]])
    assert fault(tmp_path / "sizes") == "frames of another size"
    write_pngs(tmp_path / "cut", frames)
    cut = tmp_path / "cut" / "frame_2.png"
    cut.write_bytes(cut.read_bytes()[:-400])
    assert fault(tmp_path / "cut") == "truncated file"


def test_reading_twice_gives_the_same(tmp_path):
    path = write_video(tmp_path / "a.mp4", screen(speckle(fan())))
    first, second = cine.read(path), cine.read(path)
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))
    assert first.frames.shape[1] < 230 and first.frames.shape[2] < 290


@pytest.mark.parametrize(
    ("name", "count", "fps", "spacing_mm"),
    [
        ("input.mp4", 45, 20.0, None),
        ("input1.mp4", 68, 25.0, None),
        ("color3d_jpeg_baseline.dcm", 120, 30.0003, (0.510497, 0.510497)),
    ],
)
def test_real_cines(real_data, name, count, fps, spacing_mm):
    clip = cine.read(real_data / "clips" / name)
    assert_plain(clip, name.rpartition(".")[0])
    assert len(clip) == count and clip.fps == pytest.approx(fps, abs=1e-3)
    assert clip.spacing_mm == (spacing_mm and pytest.approx(spacing_mm, abs=1e-5))
