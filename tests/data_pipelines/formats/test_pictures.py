"""Folders of pictures: which are frames, their order and range, and pictures of several frames in one file."""

import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from data_pipelines.formats import cine
from data_pipelines.formats.cine.sequences import find_sequences
from data_pipelines.records import UnreadableRecord
from tests.helpers.dicom_files import picture

FRAMES = picture(6, (48, 64))
NUMBERED = tuple(f"frame_{i}.png" for i in range(6))


def save(folder, names=NUMBERED, frames=FRAMES, **how):
    folder.mkdir(exist_ok=True)
    for name, frame in zip(names, frames, strict=True):
        one = frame if isinstance(frame, Image.Image) else Image.fromarray(frame)
        one.save(folder / name, **how)
    return folder


def load(path):
    return cine.load(path, crop=False).clip


def chunk(name, content):
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def stating_size(good, side):
    return good[:8] + chunk(b"IHDR", side.to_bytes(4, "big") * 2 + good[24:29]) + good[33:]


def codes(clip):
    return {one.code for one in clip.notes}


def fault(path):
    with pytest.raises(UnreadableRecord) as caught:
        cine.read(path)
    return caught.value


# ---- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "sequences", "others"),
    [
        (["a_10.png", "a_9.png", "a_1.png"], {"a_#.png": ["a_1.png", "a_9.png", "a_10.png"]}, []),
        (["001.jpg", "002.JPG"], {"#.jpg": ["001.jpg", "002.JPG"]}, []),
        (["p12_f1.png", "p12_f2.png", "p12.png"], {"p12_f#.png": ["p12_f1.png", "p12_f2.png"]}, ["p12.png"]),
        (["b1_f1.png", "b1_f2.png", "b2_f1.png", "b2_f2.png"], {"b1_f#.png": ..., "b2_f#.png": ...}, []),
        (["1_t33.png", "2_t67.png", "3_t100.png"], {"1_t#.png": ["1_t33.png", "2_t67.png", "3_t100.png"]}, []),
        (["a1.png", "a2.png", "b1.png", "b2.png"], {"a#.png": ..., "b#.png": ...}, []),
        (["a1.png", "a2.png", "a1.jpg", "a2.jpg"], {"a#.png": ..., "a#.jpg": ...}, []),
        (["a1.png", "a2.png", "a1_mask.png", "a2_mask.png"], {"a#.png": ...}, []),
        (["a1.png", "a2.png", "mask_a1.png", "mask_a2.png"], {"a#.png": ...}, []),
        (["a1.png", "a2.png", "a1_gt.png", "a2_gt.png", "a1Overlay.png", "a2Overlay.png"], {"a#.png": ...}, []),
        (["a1.png", "a2.png", "thumbnail.png", ".a3.png", "Thumbs.db"], {"a#.png": ...}, ["thumbnail.png"]),
        (["ed.png", "es.png"], {}, ["ed.png", "es.png"]),
        (["mask_1.png", "mask_2.png"], {"mask_#.png": ...}, []),
        (["still_1.png"], {}, ["still_1.png"]),
    ],
)
def test_one_pattern_with_one_counter_is_a_cine(names, sequences, others):
    found = find_sequences(names)
    assert {one.pattern for one in found.sequences} == sequences.keys() and list(found.others) == others
    for one in found.sequences:
        if sequences[one.pattern] is not ...:
            assert list(one.names) == sequences[one.pattern]


@pytest.mark.parametrize("ending", ["_mask", "_gt", "_seg", "_label", "_overlay", "-thumb"])
def test_masks_beside_frames_are_left_out_and_named(tmp_path, ending):
    folder = save(tmp_path / "a")
    save(folder, [name.replace(".", f"{ending}.") for name in NUMBERED], (FRAMES > 99).astype(np.uint8) * 255)
    (entry,) = cine.index(tmp_path).entries
    clip = load(entry)
    np.testing.assert_array_equal(clip.frames, FRAMES)
    (text,) = [one.text for one in clip.notes if one.code == "pictures left out"]
    assert "6 pictures" in text and ending in text


@pytest.mark.parametrize("name", ["masks", "Segmentation", "gt"])
def test_a_folder_of_masks_is_no_cine(tmp_path, name):
    levels = np.array([0, 85, 170, 255], np.uint8)
    assert fault(save(tmp_path / name, frames=levels[FRAMES // 64])).reason == "a mask, not a picture"
    assert fault(save(tmp_path / "a", frames=FRAMES // 64)).reason == "grey level out of range"  # labels 0..3


def test_two_sequences_of_a_folder_are_two_cines(tmp_path):
    folder = save(tmp_path / "p1", [f"a4c_{i}.png" for i in range(6)])
    save(folder, [f"a2c_{i}.png" for i in range(6)], FRAMES[::-1])
    entries = cine.index(tmp_path).entries
    assert [entry.record_id for entry in entries] == ["p1-a2c", "p1-a4c"]
    assert {entry.patient_id for entry in entries} == {"p1"}
    np.testing.assert_array_equal(load(entries[0]).frames, FRAMES[::-1])
    np.testing.assert_array_equal(load(entries[1]).frames, FRAMES)
    error = fault(folder)
    assert error.reason == "several pictures" and "a4c_#" in error.detail and "a2c_#" in error.detail


def test_gaps_steps_and_copies(tmp_path):
    assert "numbers missing" in codes(load(save(tmp_path / "a", [f"f{i}.png" for i in (0, 1, 2, 5, 6, 7)])))
    assert "pictures in steps" in codes(load(save(tmp_path / "b", [f"f{i}.png" for i in range(0, 30, 5)])))
    assert not codes(load(save(tmp_path / "c"))) & {"numbers missing", "pictures in steps", "pictures left out"}
    folder = save(tmp_path / "d")
    (folder / "frame_03.png").write_bytes((folder / "frame_3.png").read_bytes())
    clip = load(folder)
    assert len(clip) == 6 and "pictures left out" in codes(clip)
    Image.fromarray(FRAMES[0]).save(folder / "frame_03.png")
    assert fault(folder).reason == "two pictures of one number"


# ---- kinds of pictures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".pgm", ".PNG", ".webp", ".jpg", ".JPEG"])
def test_pictures_of_any_kind(tmp_path, suffix):
    how = {".webp": {"lossless": True}, ".jpg": {"quality": 100}, ".JPEG": {"quality": 100}}.get(suffix, {})
    save(tmp_path / "a", [f"image_{i}{suffix}" for i in range(6)], **how)
    (entry,) = cine.index(tmp_path).entries
    np.testing.assert_allclose(load(entry).frames, FRAMES, atol=2 if "j" in suffix.lower() else 0)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_modes_of_pictures(tmp_path, mode):
    clip = load(save(tmp_path / "a", frames=[Image.fromarray(frame).convert(mode) for frame in FRAMES]))
    np.testing.assert_array_equal(clip.frames, FRAMES)
    assert "transparency" not in codes(clip)


def test_transparency_is_noted_and_cmyk_read(tmp_path):
    ghost = [Image.merge("LA", (Image.fromarray(frame), Image.fromarray(frame))) for frame in FRAMES]
    assert "transparency" in codes(load(save(tmp_path / "a", frames=ghost)))
    ink = [Image.fromarray(frame).convert("RGB").convert("CMYK") for frame in FRAMES]
    clip = load(save(tmp_path / "b", [f"{i}.jpg" for i in range(6)], ink, quality=100))
    np.testing.assert_allclose(clip.frames, FRAMES, atol=6)


def test_samples_of_16_bits_are_scaled_and_12_bits_in_them_refused(tmp_path):
    np.testing.assert_array_equal(load(save(tmp_path / "a", frames=FRAMES.astype(np.uint16) * 257)).frames, FRAMES)
    error = fault(save(tmp_path / "b", frames=FRAMES.astype(np.uint16) * 16 + 7))
    assert error.reason == "grey level out of range" and "65535" in error.detail
    clip = load(save(tmp_path / "c", [f"{i}.tif" for i in range(6)], FRAMES.astype(np.float32) / 255))
    np.testing.assert_array_equal(clip.frames, FRAMES)


def test_colours_of_16_bits_with_12_bits_in_them_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    for name, frame in zip(NUMBERED, FRAMES, strict=True):
        cv2.imwrite(str(tmp_path / "a" / name), np.stack([frame.astype(np.uint16) * 16] * 3, axis=-1))
    assert fault(tmp_path / "a").reason == "grey level out of range"


@pytest.mark.parametrize(("mode", "levels"), [("L", FRAMES > 128), ("1", FRAMES > 128)])
def test_pictures_of_0_and_1(tmp_path, mode, levels):
    frames = [Image.fromarray(one) if mode == "1" else Image.fromarray(one.astype(np.uint8)) for one in levels]
    folder = save(tmp_path / "a", frames=frames)
    if mode == "L":
        assert fault(folder).reason == "grey level out of range"
    else:
        np.testing.assert_array_equal(load(folder).frames, levels * np.uint8(255))


def test_the_orientation_and_the_shape_of_pixels_that_pictures_state(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    names = [f"{i}.jpg" for i in range(6)]
    clip = load(save(tmp_path / "a", names, exif=exif, quality=100))
    np.testing.assert_allclose(clip.frames, np.rot90(FRAMES, -1, axes=(1, 2)), atol=2)
    assert "picture turned" in codes(clip)
    for folder, how in (("b", {"dpi": (100, 50)}), ("c", {"dpi": (200, 100), "exif": exif})):
        clip = load(save(tmp_path / folder, names, quality=100, **how))
        assert clip.frames.shape[1:] == {"b": (96, 64), "c": (64, 96)}[folder] and "pixels not square" in codes(clip)
    density = (1000).to_bytes(4, "big") + (2000).to_bytes(4, "big") + b"\0"
    for path in save(tmp_path / "d").iterdir():
        content = path.read_bytes()
        path.write_bytes(content[:33] + chunk(b"pHYs", density) + content[33:])
    assert load(tmp_path / "d").frames.shape[1:] == (48, 128)
    assert load(save(tmp_path / "e", dpi=(96, 96))).frames.shape[1:] == (48, 64)
    assert "pixel shape disputed" in codes(load(save(tmp_path / "f", names, dpi=(300, 1))))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda good: b"", "empty file"),
        (lambda good: b"<html></html>", "not an image"),
        (lambda good: b"version https://git-lfs.github.com/spec/v1", "not an image"),
        (lambda good: good[: len(good) // 2], "truncated file"),
        (lambda good: good[:200] + bytes(100) + good[300:], "damaged frames"),
        (lambda good: good[:16] + bytes(8) + good[24:], "damaged frames"),
        (lambda good: stating_size(good, 100_000), "picture too large"),
        (lambda good: stating_size(good, 7_000), "picture too large"),
    ],
)
def test_a_bad_picture_in_the_middle_is_named_with_its_cause(tmp_path, content, reason):
    path = save(tmp_path / "a") / "frame_3.png"
    path.write_bytes(content(path.read_bytes()))
    error = fault(tmp_path / "a")
    assert error.reason == reason and "frame_3.png" in error.detail


# ---- pictures of several frames ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "how", "fps"),
    [
        ("a.gif", {"duration": 40}, 25),
        ("a.png", {"duration": 50}, 20),
        ("a.webp", {"duration": 20, "lossless": True}, 50),
        ("a.tif", {}, None),
        ("a.gif", {}, None),
    ],
)
def test_a_picture_of_several_frames_is_a_cine(tmp_path, name, how, fps):
    first, *rest = [Image.fromarray(frame) for frame in FRAMES]
    first.save(tmp_path / name, save_all=True, append_images=rest, **how)
    (entry,) = cine.index(tmp_path).entries
    clip = load(entry)
    assert entry.record_id == "a" and clip.fps == (fps and pytest.approx(fps))
    np.testing.assert_array_equal(clip.frames, FRAMES)


def test_uneven_delays_still_pictures_and_a_stated_number_of_pages(tmp_path):
    first, *rest = [Image.fromarray(frame) for frame in FRAMES]
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=[20, 20, 200, 20, 20, 20])
    clip = load(tmp_path / "a.gif")
    assert clip.fps == pytest.approx(50) and "uneven frame times" in codes(clip)
    first.save(tmp_path / "b.gif")
    assert fault(tmp_path / "b.gif").reason == "one frame only"
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270] = "ImageJ=1.53\nimages=60\n"
    first.save(tmp_path / "c.tif", save_all=True, append_images=rest, tiffinfo=tags)
    error = fault(tmp_path / "c.tif")
    assert error.reason == "frames missing" and "60" in error.detail and "6 pages" in error.detail


def test_real_folders_of_pictures(real_data):
    entries = cine.index(real_data / "cines" / "apical_frames").entries
    assert len(entries) == 37
    clip = load(entries[0])
    assert clip.frames.shape[1:] == (448, 512) and "pictures in steps" in codes(clip)
