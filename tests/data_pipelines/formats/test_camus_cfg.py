"""Info_*.cfg: only ED and ES are needed; every other field is read as far as it goes, and compared."""

import dataclasses

import numpy as np
import pytest

from data_pipelines.formats import camus
from data_pipelines.records import UnreadableRecord
from tests.helpers.trees import edit, make_clip, path_of, remove

GOOD = "ED: 1\nES: 6\n"


@pytest.fixture
def tree(tmp_path):
    camus.write_clip(make_clip(), tmp_path)
    return tmp_path


def read(tree, text, **options):
    content = text if isinstance(text, bytes) else text.encode()
    (tree / "patient0001" / "Info_4CH.cfg").write_bytes(content)
    (entry,) = camus.index(tree, "all", views=("4CH",)).entries
    return camus.read(entry, **options)


def codes(clip):
    return sorted(one.code for one in clip.notes)


@pytest.mark.parametrize(
    "text",
    [
        "ImageQuality: NA",
        "ImageQuality: excellent",
        "EF: n/a",
        "EF: nan",
        "EF: 140",
        "EF: -3",
        "Age: unknown",
        "Age",
        "FrameRate: 0",
        "FrameRate: fast",
        "LVedv: -4\nLVesv: 20",
        "LVedv: 20\nLVesv: 40",
        "LVedv: 9e9\nLVesv: 1e9",
        "NbFrame: many",
        "# a remark\n// another\n; a third",
        "Sex: F\nSex: M",
        "EF: 40\nEF: 60",
    ],
)
def test_a_field_that_is_not_needed_never_costs_the_record(tree, text):
    clip = read(tree, f"{GOOD}{text}\n")
    assert np.array_equal(clip.frames, make_clip().frames)
    assert (clip.quality, clip.ef_percent, clip.volumes_ml, clip.fps) == (None, None, None, None)
    assert set(codes(clip)) <= {"stated value not used"}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfED: 1\r\nES: 6\r\nEF: 63,2\r\n",
        "ED: 1\nES: 6\nName: M\xfcller\nEF: 63.2 %\n".encode("latin-1"),
        "\ufeffED: 1\nES: 6\nEF: 63.2\n".encode("utf-16-le"),
        b"ed = 1\nes = 6\nLVef = 63.2\n",
        b"ED:\t1\nES:\t6\nEF:\t63.2%\n\n\n",
        b"ED: 1.0\nES: 6.0 # last\nEF: 63.2\n",
        b"ED: 1\rES: 6\rEF: 63.2\r",
        b"Info of the record\nED: 1\nES: 6\nEF: 63.2\n",
    ],
)
def test_every_way_to_write_it_is_read(tree, content):
    clip = read(tree, content)
    assert clip.ef_percent == 63.2 and clip.ed_index == 0 and len(clip) == 6


@pytest.mark.parametrize(
    ("text", "ef_percent", "volumes_ml", "code"),
    [
        ("EF: 0.55", 55.0, None, ["stated value corrected"]),
        ("LVef: 0,6", 60.0, None, ["stated value corrected"]),
        ("EF: 0.5 %", 0.5, None, []),
        ("LVedv: 0.1\nLVesv: 0.045", None, (100.0, 45.0), ["stated value corrected"]),
        ("LVedv: 100000\nLVesv: 45000", None, (100.0, 45.0), ["stated value corrected"]),
        ("LVedv: 100 ml\nLVesv: 45 mL\nEF: 55", 55.0, (100.0, 45.0), []),
        ("LVedv: 100\nLVesv: 45\nEF: 54", 54.0, (100.0, 45.0), []),
        ("LVedv: 100\nLVesv: 45\nEF: 35", 35.0, (100.0, 45.0), ["ejection fraction contradicted"]),
        ("LVedv: 100\nLVesv: 45\nEF: 0.55", 55.0, (100.0, 45.0), ["stated value corrected"]),
    ],
)
def test_units_are_told_and_the_ejection_fraction_is_compared(tree, text, ef_percent, volumes_ml, code):
    clip = read(tree, f"{GOOD}{text}\n")
    assert clip.ef_percent == (ef_percent and pytest.approx(ef_percent))
    assert clip.volumes_ml == (volumes_ml and pytest.approx(volumes_ml)) and codes(clip) == code


@pytest.mark.parametrize("text", ["ED: one\nES: 6", "ED: 1", "ED: 1.5\nES: 6", "ED: 1\nED: 2\nES: 6", "ED: 1\nES: 9"])
def test_ed_and_es_are_needed_for_a_sequence_alone(tree, text):
    with pytest.raises(UnreadableRecord, match=r"cfg garbled.*images of ED and ES show frames 1 and 6"):
        read(tree, text)
    assert len(read(tree, text, sequence=False)) == 2
    remove(tree, "half_sequence", "half_sequence_gt")
    assert len(read(tree, text)) == 2


def test_the_images_tell_where_the_cfg_names_other_frames(tree):
    clip = read(tree, "ED: 2\nES: 5\n")
    assert len(clip) == 6 and codes(clip) == ["ED and ES contradicted by the images"]
    assert "ED 2 and ES 5" in clip.notes[0].text and "frame 6" in clip.notes[0].text
    for text in ("ED: 6\nES: 1\n", "ED: 1\nES: 6\nNbFrame: 5\n"):
        with pytest.raises(UnreadableRecord) as caught:
            read(tree, text)
        assert caught.value.reason in ("ED and ES contradicted", "cfg garbled")


def test_without_the_cfg_both_images_tell_ends_inside_the_sequence(tree):
    clip = make_clip(9, ed_index=2, es_index=6)
    for kind, frames in (("half_sequence", clip.frames), ("half_sequence_gt", clip.label_map)):
        edit(path_of(tree, kind), lambda _, frames=frames: frames.transpose(2, 1, 0))
    for kind, index in (("ED", 2), ("ES", 6)):
        edit(path_of(tree, kind), lambda _, index=index: clip.frames[index].T)
    (tree / "patient0001" / "Info_4CH.cfg").unlink()
    (entry,) = camus.index(tree, "all", views=("4CH",)).entries
    assert np.array_equal(camus.read(entry).frames, clip.frames[2:7])


def test_an_image_that_is_not_in_the_sequence_is_noted(tree):
    edit(path_of(tree, "ED"), lambda a: a // 2)
    assert codes(read(tree, GOOD)) == ["image not in sequence"]
    path_of(tree, "ED").write_bytes(b"")
    clip = read(tree, GOOD)
    assert codes(clip) == ["image not in sequence"] and "empty file" in clip.notes[0].text


def test_a_frame_rate_that_no_half_cycle_has_is_noted(tmp_path):
    clip = make_clip(10, fps=500.0)
    camus.write_clip(clip, tmp_path)
    (entry,) = camus.index(tmp_path, "all", views=("4CH",)).entries
    assert codes(camus.read(entry)) == ["frame rate doubtful"]
    camus.write_clip(dataclasses.replace(clip, fps=30.0), tmp_path)
    assert codes(camus.read(entry)) == []


def test_swapped_masks_of_ed_and_es_are_noted(tree):
    remove(tree, "half_sequence", "half_sequence_gt")
    contents = [path_of(tree, kind).read_bytes() for kind in ("ED", "ED_gt", "ES", "ES_gt")]
    for kind, content in zip(("ES", "ES_gt", "ED", "ED_gt"), contents, strict=True):
        path_of(tree, kind).write_bytes(content)
    assert codes(read(tree, GOOD)) == ["ES area larger than ED area"]
