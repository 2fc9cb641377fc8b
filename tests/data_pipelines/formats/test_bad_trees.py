"""Trees of good and bad records: one bad file never stops the others, and each is counted by its reason."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.formats import camus
from data_pipelines.formats import echonet_dynamic as echonet
from data_pipelines.source import CamusSource, EchonetDynamicSource, load_split, open_source
from tests.helpers.trees import edit, edit_csv, make_clip, make_video_clip, read_only, save

KINDS = ("ED", "ES", "half_sequence", "ED_gt", "ES_gt", "half_sequence_gt")


def test_camus(tmp_path):
    root = tmp_path / "écho 心"
    names = [f"patient{number:04d}" for number in range(1, 14)]
    for name in names:
        camus.write_clip(make_clip(patient_id=name), root)

    def path(number, kind):
        return root / names[number - 1] / f"{names[number - 1]}_4CH_{kind}.nii.gz"

    def cfg(number, text):
        (root / names[number - 1] / "Info_4CH.cfg").write_text(text)

    path(2, "half_sequence").write_bytes(path(2, "half_sequence").read_bytes()[:200])
    save(path(3, "half_sequence"), np.zeros((60, 72, 0), np.uint8))
    edit(path(4, "half_sequence_gt"), lambda a: a[1:])
    edit(path(5, "half_sequence_gt"), lambda a: a + 1)
    cfg(6, "ED: 2\nES: 2\n")
    cfg(7, "what is this")
    for kind in KINDS:
        edit(path(8, kind), lambda a: np.swapaxes(a, 0, 1))
        edit(path(9, kind), lambda a: a[:, ::-1])
        path(10, kind).unlink()
    for kind in ("half_sequence", "half_sequence_gt", "ES"):
        path(11, kind).unlink()
    (root / names[11] / "Info_4CH.cfg").unlink()  # read all the same
    path(13, "half_sequence").unlink()
    path(13, "half_sequence").mkdir()  # a folder of that name: ED and ES are read
    seen = []
    loaded = load_split(
        CamusSource(root, views=("4CH",)),
        "train",
        lambda clip: clip,
        progress=lambda done, total: seen.append((done, total)),
    )
    clips, skipped = loaded.clips, loaded.skipped
    assert [clip.patient_id for clip in clips] == [names[0], names[11], names[12]]
    assert Counter(s.reason for s in skipped) == {
        "truncated file": 1,
        "zero frames": 1,
        "mask of another size": 1,
        "label out of range": 1,
        "ED equals ES": 1,
        "cfg garbled": 1,
        "axes transposed": 2,
        "view missing": 1,
        "ED or ES missing": 1,
    }
    assert seen[-1] == (12, 12)


def test_echonet(tmp_path):
    root = tmp_path / "écho 心"
    names = [f"0X{i:02d}" for i in range(11)]
    echonet.write_tree([make_video_clip(n=3, patient_id=name) for name in names], root, dict.fromkeys(names, "TRAIN"))

    def video(number):
        return root / "Videos" / f"{names[number]}.avi"

    def spoil(rows):
        for row in rows[1:]:
            number, frame = int(row[0][2:4]), row[5]
            if number == 3 and frame == "2":
                continue  # one traced frame
            if number == 5:
                row[2] = "nan"
            if number == 6:
                row[3] = "500"
            if number == 7 and frame == "2":
                row[5] = "40"
            yield row
            if number == 4 and frame == "0":
                yield row[:1] + row[3:5] + row[1:3] + row[5:]  # 42 rows a frame

    video(1).write_bytes(video(1).read_bytes()[:-100])
    video(2).unlink()
    video(8).write_bytes(b"")
    video(9).unlink()
    video(9).mkdir()
    edit_csv(root / "VolumeTracings.csv", lambda rows: [rows[0], *spoil(rows)])
    edit_csv(root / "FileList.csv", lambda rows: [*rows, [*rows[1][:1], "12", *rows[1][2:]]])
    loaded = load_split(EchonetDynamicSource(root), "train", lambda clip: clip)
    clips, skipped = loaded.clips, loaded.skipped
    assert [clip.patient_id for clip in clips] == ["0X10"]
    assert Counter(s.reason for s in skipped) == {
        "truncated file": 1,
        "empty file": 1,
        "video missing": 1,
        "fewer than two traced frames": 1,
        "row count": 1,
        "coordinates out of range or not finite": 2,
        "video shorter than the traced frame": 1,
        "duplicate id": 1,
        "not readable": 1,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"FileName,Split\n\xff\xfe,TRAIN\n", "not UTF-8"),
        (b"", "lacks the columns"),
        (b'FileName,Split\n"' + 200_000 * b"x", "not CSV"),
    ],
)
def test_echonet_tables_that_are_garbled(tmp_path, content, message):
    echonet.write_tree([make_video_clip(n=2)], tmp_path, {"0X10": "TRAIN"})
    (tmp_path / "FileList.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        echonet.index(tmp_path, "train")


@pytest.fixture
def open_folder():
    """A folder that other users may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_read_only_folders_are_read_and_writing_says_why(open_folder):
    clip, video = make_clip(), make_video_clip(n=2)
    roots = open_folder / "camus", open_folder / "echonet"
    camus.write_clip(clip, roots[0])
    echonet.write_tree([video], roots[1], {"0X10": "TRAIN"})
    with read_only(open_folder):
        for format, root in zip(("camus", "echonet_dynamic"), roots, strict=True):
            clips = load_split(open_source(format, root, views=("4CH",)), "train", lambda clip: clip).clips
            assert len(clips) == 1
        with pytest.raises(PermissionError, match=r"is the folder writable.*patient0001_4CH_ED"):
            camus.write_clip(clip, roots[0])
        with pytest.raises(PermissionError, match=r"cannot be made, write elsewhere.*patient0002"):
            camus.write_clip(make_clip(patient_id="patient0002"), roots[0])
        with pytest.raises(PermissionError, match=r"is the folder writable.*0X10\.avi"):
            echonet.write_tree([video], roots[1], {"0X10": "TRAIN"})
        with pytest.raises(PermissionError, match=r"cannot be made.*database_split"):
            camus.write_split(roots[0], {"train": ["patient0001"]})
    assert not [path for path in open_folder.rglob(".*") if path.is_file()]


def test_one_file_without_permission(open_folder):
    for number in (1, 2, 3):
        camus.write_clip(make_clip(patient_id=f"patient000{number}"), open_folder)
    hidden = (open_folder / "patient0002" / "patient0002_4CH_half_sequence.nii.gz", open_folder / "patient0003")
    with read_only(open_folder, hidden=hidden):
        loaded = load_split(CamusSource(open_folder, views=("4CH",)), "train", lambda clip: clip)
    assert [clip.patient_id for clip in loaded.clips] == ["patient0001"]
    assert [(record.record_id, record.reason) for record in loaded.skipped] == [
        ("patient0003_4CH", "not readable"),
        ("patient0002_4CH", "not readable"),
    ]


def test_a_full_disk_leaves_no_half_video(tmp_path):
    """A limit on the size of a file stands for it."""
    resource = pytest.importorskip("resource")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))
    try:
        with pytest.raises(OSError, match=r"is there room.*0X10\.avi"):
            echonet.write_tree([make_video_clip()], tmp_path, {"0X10": "TRAIN"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert list((tmp_path / "Videos").iterdir()) == []
