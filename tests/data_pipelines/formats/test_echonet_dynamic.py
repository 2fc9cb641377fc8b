"""EchoNet-Dynamic: the round trip within MJPG's loss, the published rasterisation, and every fault with its reason."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.formats import echonet_dynamic as echonet
from data_pipelines.formats.echonet_dynamic.tracings import chords, crosses_itself, polygon_mask
from data_pipelines.notes import warnings_of
from data_pipelines.records import ENDOCARDIUM, UnreadableRecord
from tests.helpers.trees import edit_csv as edit
from tests.helpers.trees import make_video_clip as make_clip


def ellipse(shape, centre, radii, angle=0.0):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    down, across = rows - centre[0], columns - centre[1]
    along, aside = (np.cos(angle) * down + np.sin(angle) * across, np.cos(angle) * across - np.sin(angle) * down)
    return (along / radii[0]) ** 2 + (aside / radii[1]) ** 2 <= 1


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "écho 心"
    echonet.write_tree(
        [make_clip(patient_id=name) for name in ("0X1", "0X2", "0X3")],
        root,
        {"0X1": "TRAIN", "0X2": "VAL", "0X3": "TEST"},
    )
    return root


def edit_tracings(root, change):
    edit(root / "VolumeTracings.csv", lambda rows: [rows[0], *change(rows[1:])])


def read_first(root):
    entries = echonet.index(root, "train").entries
    assert [entry.record_id for entry in entries] == ["0X1_4CH"]
    return echonet.read(entries[0])


def fault(root):
    with pytest.raises(UnreadableRecord) as caught:
        read_first(root)
    assert caught.value.record_id == "0X1_4CH"
    return caught.value.reason


def assert_round_trip(read, frames, masks):
    difference = np.abs(read.frames.astype(int) - frames)
    assert difference.mean() < 2 and difference.max() <= 30  # measured: 0.6 to 0.9, and 10
    for end in (0, -1):
        assert dice(read.label_map[end] == ENDOCARDIUM, masks[end] == ENDOCARDIUM) > 0.975  # measured: 0.980 to 0.991
    assert set(np.unique(read.label_map)) == {0, ENDOCARDIUM} and not read.label_map[1:-1].any()
    n = len(frames)
    assert read.has_reference.tolist() == [True, *[False] * (n - 2), True]
    assert (read.ed_index, read.es_index, read.spacing_mm, read.view) == (0, n - 1, None, "4CH")


@pytest.mark.parametrize("shape", [(112, 112), (111, 113), (128, 160)])
def test_round_trip(tmp_path, shape):
    clip = make_clip(shape=shape)
    echonet.write_tree([clip], tmp_path, {"0X10": "TRAIN"})
    listed = echonet.index(tmp_path, "train")
    (entry,), skipped = listed.entries, listed.skipped
    read = echonet.read(entry)
    assert_round_trip(read, clip.frames, clip.label_map)
    assert skipped == [] and read.record_id == entry.record_id == "0X10_4CH"
    assert (read.fps, read.ef_percent, read.volumes_ml) == (50.5, 55.25, (101.5, 45.5))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["0X10.avi", "FileList.csv", "Videos", "VolumeTracings.csv"]


def test_ed_after_es_is_reversed_in_time_and_cut(tmp_path):
    clip = make_clip(n=10)
    backwards = dataclasses.replace(
        clip, frames=clip.frames[::-1], label_map=clip.label_map[::-1], ed_index=8, es_index=2
    )
    echonet.write_tree([backwards], tmp_path, {"0X10": "VAL"})
    (entry,) = echonet.index(tmp_path, "validation").entries
    assert sorted(entry.tracings) == [2, 8]
    assert_round_trip(echonet.read(entry), clip.frames[1:8], clip.label_map[1:8])


def test_the_order_of_the_frames_in_the_tracings_does_not_matter(tree):
    before = read_first(tree)
    edit_tracings(tree, lambda rows: [*rows[21:42], *rows[:21], *rows[42:]])
    after = read_first(tree)
    assert np.array_equal(before.frames, after.frames) and np.array_equal(before.label_map, after.label_map)


def test_unknown_facts_stay_unknown(tmp_path):
    clip = make_clip(fps=None, ef_percent=None, volumes_ml=None)
    echonet.write_tree([clip], tmp_path, {"0X10": "TEST"})
    (entry,) = echonet.index(tmp_path, "test").entries
    read = echonet.read(entry)
    assert (read.fps, read.ef_percent, read.volumes_ml) == (None, None, None)


def test_a_traced_frame_has_the_long_axis_then_chords_from_apex_to_base(tree):
    (entry,) = echonet.index(tree, "train").entries
    for rows in entry.tracings.values():
        assert rows.shape == (21, 4)
        middles_y = (rows[1:, 1] + rows[1:, 3]) / 2
        assert (np.diff(middles_y) > 0).all()
        assert rows[0, [1, 3]] == pytest.approx(middles_y[[0, -1]], abs=1e-3)


def test_rasterisation_as_published():
    """A square of corners (2, 3) and (6, 8), x and y; row 0 is dropped and half pixels are rounded."""
    y = np.linspace(3.3, 8.4, 20)
    rows = np.column_stack([np.full(20, 2.4), y, np.full(20, 5.6), y])
    rows = np.concatenate([[[50.0, 50.0, 90.0, 90.0]], rows])
    mask = polygon_mask(rows, 12, 11)
    expected = np.zeros((12, 11), bool)
    expected[3:9, 2:7] = True
    assert np.array_equal(mask, expected)


def test_an_outline_that_crosses_itself():
    rows = chords(ellipse((112, 112), (50, 56), (32, 20), 0.2))
    assert not crosses_itself(rows)
    assert not crosses_itself(rows.round())
    swapped = rows.copy()
    swapped[8] = swapped[8, [2, 3, 0, 1]]
    assert crosses_itself(swapped)
    assert not crosses_itself(np.repeat(rows[:1], 21, axis=0))


@settings(deadline=None, max_examples=40)
@given(length=st.floats(8, 45), ratio=st.floats(0.35, 0.9), angle=st.floats(-0.6, 0.6), cut=st.floats(0.3, 1.0))
def test_chords_read_back_as_the_mask(length, ratio, angle, cut):
    """Half ellipses with a flat base, tilted, of any size."""
    mask = ellipse((112, 112), (56, 56), (length, ratio * length), angle)
    rows, columns = np.ogrid[:112, :112]
    mask &= np.cos(angle) * (rows - 56) + np.sin(angle) * (columns - 56) <= cut * length
    drawn = polygon_mask(chords(mask), 112, 112)
    assert dice(mask, drawn) > 0.93


# ---- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 21])
def test_fewer_than_two_traced_frames(tree, keep):
    edit_tracings(tree, lambda rows: rows[:keep] + rows[42:])
    assert fault(tree) == "fewer than two traced frames"


@pytest.mark.parametrize("change", [lambda rows: rows[1:], lambda rows: [rows[0], *rows]])
def test_row_count(tree, change):
    edit_tracings(tree, change)
    assert fault(tree) == "row count"


@pytest.mark.parametrize(("column", "value"), [(1, "nan"), (2, "inf"), (3, "-20"), (4, "150"), (1, "left"), (1, "")])
def test_coordinates_out_of_range_or_not_finite(tree, column, value):
    edit_tracings(tree, lambda rows: [[*rows[0][:column], value, *rows[0][column + 1 :]], *rows[1:]])
    assert fault(tree) == "coordinates out of range or not finite"


def test_a_frame_number_that_cannot_be_read_is_a_fault(tree):
    edit_tracings(tree, lambda rows: [[*row[:5], "?" if row[5] == "7" else row[5]] for row in rows])
    assert fault(tree) == "coordinates out of range or not finite"


def test_a_tracing_a_little_outside_is_cut_off(tree):
    edit_tracings(tree, lambda rows: [[*rows[0][:1], "-2.5", *rows[0][2:]], *rows[1:]])
    assert read_first(tree).has_reference.sum() == 2


def test_video_shorter_than_the_traced_frame(tree):
    edit_tracings(tree, lambda rows: [[*row[:5], "8" if row[5] == "7" else row[5]] for row in rows])
    assert fault(tree) == "video shorter than the traced frame"


@pytest.mark.parametrize("keep", [0, 100, 0.5, -50])
def test_truncated_file(tree, keep):
    video = tree / "Videos" / "0X1.avi"
    content = video.read_bytes()
    video.write_bytes(content[: int(keep * len(content)) if keep == 0.5 else keep])
    assert fault(tree) == ("truncated file" if keep else "empty file")


def test_zero_frames(tree):
    video = tree / "Videos" / "0X1.avi"
    cv2.VideoWriter(str(video), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), 50.0, (112, 112)).release()
    assert fault(tree) == "zero frames"


def test_empty_mask(tree):
    edit_tracings(tree, lambda rows: [[row[0], "-3", "9", "-3", "9", row[5]] if row[5] == "7" else row for row in rows])
    assert fault(tree) == "empty mask"


# ---- the index -----------------------------------------------------------------------------------------------------


def test_video_missing(tree):
    (tree / "Videos" / "0X1.avi").unlink()
    listed = echonet.index(tree, "all")
    entries, skipped = listed.entries, listed.skipped
    assert [entry.patient_id for entry in entries] == ["0X2", "0X3"]
    assert [(s.record_id, s.reason) for s in skipped] == [("0X1_4CH", "video missing")]


def test_a_name_in_two_splits_is_read_in_none(tree):
    edit(tree / "FileList.csv", lambda rows: [*rows, [*rows[1][:8], "TEST"]])
    for split, there in (("train", []), ("test", ["0X3"]), ("all", ["0X2", "0X3"])):
        listed = echonet.index(tree, split)
        assert [entry.patient_id for entry in listed.entries] == there
        assert [(s.record_id, s.reason) for s in listed.skipped] == [("0X1_4CH", "duplicate id")]
        assert "split 'TRAIN' and 'TEST'" in listed.skipped[0].detail


def test_a_field_that_is_no_number_is_not_known_and_the_record_is_read(tree):
    edit(tree / "FileList.csv", lambda rows: [rows[0], [rows[1][0], "high", *rows[1][2:]], *rows[2:]])
    clip = read_first(tree)
    assert clip.ef_percent is None and clip.volumes_ml == (101.5, 45.5)
    assert [one.code for one in warnings_of(clip.notes)] == ["field not read"]


def test_columns_and_splits_in_any_case_and_order(tree):
    def change(rows):
        header = [name.upper() for name in rows[0]][::-1]
        return [
            header,
            *[
                [value.lower() if value in ("TRAIN", "VAL", "TEST") else value for value in row][::-1]
                for row in rows[1:]
            ],
        ]

    before = echonet.index(tree, "validation")
    edit(tree / "FileList.csv", change)
    edit(tree / "VolumeTracings.csv", lambda rows: [[name.lower() for name in rows[0]], *rows[1:]])
    assert echonet.index(tree, "validation") == before
    assert [entry.patient_id for entry in before.entries] == ["0X2"]


def test_folders_that_are_no_echonet_tree_are_refused(tree):
    with pytest.raises(ValueError, match="'holdout'"):
        echonet.index(tree, "holdout")
    edit(tree / "FileList.csv", lambda rows: rows[:2])
    with pytest.raises(ValueError, match=r"'test' .*'train': 1"):
        echonet.index(tree, "test")
    edit(tree / "FileList.csv", lambda rows: [row[:8] for row in rows])
    with pytest.raises(ValueError, match="split"):
        echonet.index(tree, "train")
    (tree / "VolumeTracings.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"VolumeTracings\.csv"):
        echonet.index(tree, "train")


@pytest.mark.parametrize(
    "changes",
    [
        {"es_index": 0},
        {"ed_index": None},
        {"has_reference": np.zeros(8, bool)},
        {"view": "2CH"},
        {"patient_id": "0X99"},
        {"label_map": np.zeros((8, 112, 112), np.uint8)},
    ],
)
def test_the_writer_refuses(tmp_path, changes):
    with pytest.raises(ValueError, match=r"0X|empty"):
        echonet.write_tree([make_clip(**changes)], tmp_path, {"0X10": "TRAIN"})
    assert not (tmp_path / "FileList.csv").exists()


def test_the_writer_refuses_a_patient_twice(tmp_path):
    with pytest.raises(ValueError, match="new"):
        echonet.write_tree([make_clip(), make_clip()], tmp_path, {"0X10": "TRAIN"})
