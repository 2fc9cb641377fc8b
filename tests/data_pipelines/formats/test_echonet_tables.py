"""EchoNet: what its tables state is compared with the videos and with itself; other spellings are read."""

import cv2
import numpy as np
import pytest

from data_pipelines.formats import echonet_dynamic as echonet
from data_pipelines.formats.echonet_dynamic.tracings import outline
from data_pipelines.formats.echonet_dynamic.video import write_video
from data_pipelines.records import ENDOCARDIUM, UnreadableRecord
from data_pipelines.splits import PatientSplits
from tests.helpers.trees import edit_csv, make_video_clip

SPLITS = {"0X1": "TRAIN", "0X2": "VAL", "0X3": "TEST"}


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    echonet.write_tree([make_video_clip(n=6, patient_id=name) for name in SPLITS], root, SPLITS)
    return root


def set_fields(root, row=1, **fields):
    """Sets fields of one row of FileList.csv; row=None sets those of all rows."""

    def change(rows):
        for one in rows[1:] if row is None else [rows[row]]:
            for name, value in fields.items():
                one[rows[0].index(name)] = value
        return rows

    edit_csv(root / "FileList.csv", change)


def read_first(root, split="all"):
    return echonet.read(echonet.index(root, split).entries[0])


def codes(clip):
    """Returns the codes of the notes, without those on where levels and rate come from."""
    return [one.code for one in clip.notes if one.code not in ("grey levels", "frame rate", "frame rate unknown")]


def fault(root):
    with pytest.raises(UnreadableRecord) as caught:
        read_first(root)
    return caught.value


def replace_video(root, frames, name="0X1.avi", fps=50.5):
    write_video(np.ascontiguousarray(frames), fps, root / "Videos" / "0X1.avi")
    (root / "Videos" / "0X1.avi").rename(root / "Videos" / name)


def frames_of(root):
    return make_video_clip(n=6).frames


def test_a_healthy_tree_has_no_note(tree):
    assert codes(read_first(tree)) == []


# ---- table against video -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "stated"), [((256, 256), (112, 112)), ((224, 224), (112, 112))])
def test_tracings_of_an_enlarged_video_are_enlarged(tree, shape, stated):
    frames = np.stack([cv2.resize(frame, shape[::-1]) for frame in frames_of(tree)])
    replace_video(tree, frames)
    clip = read_first(tree)
    assert codes(clip) == ["tracings scaled"] and clip.notes[0].severity == "warning"
    assert "256 x 256" in clip.notes[0].text or shape != (256, 256)
    truth = cv2.resize(make_video_clip(n=6).label_map[0], shape[::-1], interpolation=cv2.INTER_NEAREST) == ENDOCARDIUM
    mask = clip.label_map[0] == ENDOCARDIUM
    assert 2 * (truth & mask).sum() / (truth.sum() + mask.sum()) > 0.97


@pytest.mark.parametrize(
    "change",
    [
        lambda f: np.pad(f, ((0, 0), (8, 8), (8, 8))),  # padded on all sides
        lambda f: np.pad(f, ((0, 0), (0, 144), (0, 144))),  # in the corner of 256 x 256
        lambda f: f[:, 6:-6, 6:-6],  # cut
        lambda f: np.stack([cv2.resize(frame, (64, 64)) for frame in f]),
        lambda f: np.stack([cv2.resize(frame, (160, 112)) for frame in f]),
        lambda f: np.stack([cv2.resize(frame, (320, 240)) for frame in f]),
        lambda f: f[:, :-1, :-1],
    ],
)
def test_a_video_of_another_size_is_refused_with_both_sizes(tree, change):
    replace_video(tree, change(frames_of(tree)))
    error = fault(tree)
    assert error.reason == "video of another size than its tracings" and "112 x 112" in error.detail


def test_one_of_height_and_width_is_compared_too(tree):
    set_fields(tree, FrameHeight="256", FrameWidth="")
    error = fault(tree)
    assert error.reason == "video of another size than its tracings" and "256 x None" in error.detail
    set_fields(tree, FrameHeight="112")
    assert codes(read_first(tree)) == []


def test_height_and_width_of_the_table_that_are_swapped_are_refused(tmp_path):
    echonet.write_tree([make_video_clip(shape=(112, 128))], tmp_path, {"0X10": "TRAIN"})
    set_fields(tmp_path, FrameHeight="128", FrameWidth="112")
    assert fault(tmp_path).reason == "video of another size than its tracings"


@pytest.mark.parametrize("known", [True, False])
def test_tracings_of_a_small_video_on_a_large_one_are_found_without_a_stated_size(tree, known):
    replace_video(tree, np.stack([cv2.resize(frame, (256, 256)) for frame in frames_of(tree)]))
    set_fields(tree, FrameHeight="256" if known else "", FrameWidth="256" if known else "")
    assert codes(read_first(tree)) == ["tracings in one corner"]


def test_the_number_of_frames_is_compared(tree):
    set_fields(tree, NumberOfFrames="7")
    assert codes(read_first(tree)) == ["frame count contradicts the table"]
    for stated in ("60", "12", "3"):
        set_fields(tree, NumberOfFrames=stated)
        error = fault(tree)
        assert error.reason == "video of another length than its tracings"
        assert "6 frames" in error.detail and f"states {stated}" in error.detail


@pytest.mark.parametrize(("stated", "fps"), [("30", 50), ("25", 50), ("52", 50), ("1", None), ("50.5", 50.5)])
def test_the_frame_rate_is_compared_with_the_times(tree, stated, fps):
    set_fields(tree, FPS=stated)
    clip = read_first(tree)
    assert clip.fps == (fps and pytest.approx(fps))
    expected = {"50.5": [], "1": ["value not possible"]}
    assert codes(clip) == expected.get(stated, ["frame rate contradicts the table"])


# ---- table against itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code", "ef_percent", "volumes_ml"),
    [
        ({"EF": "30"}, "EF contradicts the volumes", None, None),
        ({"EF": "0.5517"}, "EF is a fraction", 55.17, (101.5, 45.5)),
        ({"EF": "0.3"}, "value not possible", None, (101.5, 45.5)),
        ({"EF": "-20"}, "value not possible", None, (101.5, 45.5)),
        ({"EF": "550"}, "value not possible", None, (101.5, 45.5)),
        ({"EDV": "45.5", "ESV": "101.5"}, "EDV smaller than ESV", 55.25, (101.5, 45.5)),
        ({"EF": "", "EDV": "45.5", "ESV": "101.5"}, "EDV smaller than ESV", None, (101.5, 45.5)),
        ({"EDV": "0.1015", "ESV": "0.0455"}, "value not possible", 55.25, None),
        ({"EDV": "-1", "ESV": "45.5", "EF": ""}, "value not possible", None, None),
        ({"EDV": "x"}, "field not read", 55.25, None),
        ({"EF": "high"}, "field not read", None, (101.5, 45.5)),
        ({"FrameHeight": "tall"}, "field not read", 55.25, (101.5, 45.5)),
        ({"FrameHeight": "0"}, "value not possible", 55.25, (101.5, 45.5)),
        ({"NumberOfFrames": "0"}, "value not possible", 55.25, (101.5, 45.5)),
        ({"NumberOfFrames": "6.5"}, "value not possible", 55.25, (101.5, 45.5)),
    ],
)
def test_statements_of_one_row(tree, fields, code, ef_percent, volumes_ml):
    set_fields(tree, **fields)
    clip = read_first(tree)
    assert clip.notes[0].code == code and clip.notes[0].severity == "warning"
    assert clip.ef_percent == (ef_percent and pytest.approx(ef_percent))
    assert clip.volumes_ml == (volumes_ml and pytest.approx(volumes_ml))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"EF": "0.5525"}, "EF is a fraction"),
        ({"EF": "0.5525", "EDV": "", "ESV": ""}, "EF is a fraction"),
        ({"EDV": "0.1015", "ESV": "0.0455"}, "volumes in another unit"),
        ({"EDV": "101500", "ESV": "45500"}, "volumes in another unit"),
    ],
)
def test_a_column_in_another_unit_is_converted(tree, fields, code):
    set_fields(tree, None, **fields)
    clip = read_first(tree)
    assert codes(clip) == [code] and clip.ef_percent == pytest.approx(55.25)
    assert clip.volumes_ml is None if fields.get("EDV") == "" else clip.volumes_ml == pytest.approx((101.5, 45.5))


@pytest.mark.parametrize("text", ["NA", "n/a", "NaN", " ", "unknown"])
def test_fields_that_say_that_nothing_is_known(tree, text):
    set_fields(tree, EF=text, EDV=text, FPS=text, FrameHeight=text, NumberOfFrames=text)
    clip = read_first(tree)
    assert codes(clip) == [] and (clip.ef_percent, clip.volumes_ml, clip.fps) == (None, None, None)


def test_equal_rows_count_once_and_different_ones_are_refused(tree):
    edit_csv(tree / "FileList.csv", lambda rows: [*rows, [f"{rows[1][0]}.avi", *rows[1][1:]]])
    listed = echonet.index(tree, "all")
    assert len(listed.entries) == 3 and codes(echonet.read(listed.entries[0])) == ["row repeated"]
    assert echonet.patient_splits(tree).patients["train"] == ["0X1"]
    edit_csv(tree / "FileList.csv", lambda rows: [*rows[:-1], [rows[1][0], "20", *rows[1][2:]]])
    (skipped,) = echonet.index(tree, "all").skipped
    assert skipped.reason == "duplicate id" and "ef '55.25' and '20'" in skipped.detail


def test_a_tracing_that_is_there_twice_counts_once(tree):
    before = read_first(tree)
    edit_csv(tree / "VolumeTracings.csv", lambda rows: [*rows, *rows[1:22]])
    after = read_first(tree)
    assert codes(after) == ["tracing repeated"] and np.array_equal(before.label_map, after.label_map)
    edit_csv(tree / "VolumeTracings.csv", lambda rows: [*rows[:-1], ["0X1.avi", "1", "2", "3", "4", "0"]])
    assert fault(tree).reason == "row count"


def test_a_stray_comma_is_named(tree):
    edit_csv(tree / "FileList.csv", lambda rows: [rows[0], [rows[1][0], "55", *rows[1][1:]], *rows[2:]])
    (skipped,) = echonet.index(tree, "all").skipped
    assert (skipped.record_id, skipped.reason) == ("0X1_4CH", "file list garbled") and "stray comma" in skipped.detail


def test_tracings_as_fractions_of_the_picture_are_refused(tree):
    def change(rows):
        return [rows[0], *([row[0], *(str(float(value) / 112) for value in row[1:5]), row[5]] for row in rows[1:])]

    edit_csv(tree / "VolumeTracings.csv", change)
    error = fault(tree)
    assert error.reason == "coordinates out of range or not finite" and "0..1" in error.detail


# ---- spellings -----------------------------------------------------------------------------------------------------


def rewrite(path, change):
    path.write_bytes(change(path.read_text(encoding="utf-8")))


def decimal_commas(text):
    return text.replace(",", ";").replace(".avi", "#avi").replace(".", ",").replace("#avi", ".avi").encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode("utf-16"),
        lambda text: b"sep=;\r\n" + decimal_commas(text),
        decimal_commas,
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: (text + ",,,,,,,,\n,,,\n\n  \n").encode(),
        lambda text: text.replace("\n", "\n\n").encode(),
        lambda text: text.replace(",", '","').replace("\n", '"\n"')[:-1].join(['"', ""]).encode(),
        lambda text: text.upper().encode(),
        lambda text: text.replace("FileName", "File Name").replace("FrameHeight", "frame_height").encode(),
        lambda text: "".join(f"{line},\n" for line in text.splitlines()).encode(),
        lambda text: (text + text.splitlines()[0] + "\n").encode(),
        lambda text: text.replace(",", ", ").encode(),
        lambda text: "".join(f"{i},{line}\n" for i, line in enumerate(text.splitlines())).encode(),
    ],
)
def test_tables_as_people_and_spreadsheets_write_them(tree, change):
    before = [echonet.read(entry) for entry in echonet.index(tree, "all").entries]
    for name in ("FileList.csv", "VolumeTracings.csv"):
        rewrite(tree / name, change)
    listed = echonet.index(tree, "all")
    assert listed.skipped == [] and len(listed.entries) == 3
    for old, entry in zip(before, listed.entries, strict=True):
        new = echonet.read(entry)
        assert np.array_equal(old.label_map, new.label_map) and np.array_equal(old.frames, new.frames)
        assert (old.ef_percent, old.volumes_ml, old.fps) == (new.ef_percent, new.volumes_ml, new.fps)
    assert echonet.patient_splits(tree).patients == {"train": ["0X1"], "validation": ["0X2"], "test": ["0X3"]}


@pytest.mark.parametrize(
    "values",
    [
        ("train", "val", "test"),
        ("Training", "valid", "Testing"),
        (" TRAIN ", "VAL ", "TEST"),
        ("trn", "dev", "tst"),
        ("Training set", "validation_set", "test-set"),
        ("0", "8", "9"),
        ("3.0", "8.0", "9.0"),
    ],
)
def test_values_of_split(tree, values):
    for row, value in enumerate(values, 1):
        set_fields(tree, row, Split=value)
    assert echonet.patient_splits(tree).patients == {"train": ["0X1"], "validation": ["0X2"], "test": ["0X3"]}
    assert [entry.patient_id for entry in echonet.index(tree, "validation").entries] == ["0X2"]


def test_values_of_split_that_say_nothing(tree):
    set_fields(tree, 1, Split="external_test")
    set_fields(tree, 2, Split="")
    assert echonet.leftovers(tree, echonet.patient_splits(tree)).unknown_splits == {
        "external_test": ("0X1",),
        "": ("0X2",),
    }
    assert len(echonet.index(tree, "all").entries) == 3
    for row in (1, 2, 3):
        set_fields(tree, row, Split=str(row - 1))
    with pytest.raises(ValueError, match="folds or numbers of splits"):
        echonet.patient_splits(tree)
    assert len(echonet.index(tree, "all").entries) == 3
    edit_csv(tree / "FileList.csv", lambda rows: [row[:-1] for row in rows])  # no column Split
    with pytest.raises(ValueError, match="is empty"):
        echonet.index(tree, "train")
    assert len(echonet.index(tree, "all").entries) == 3


@pytest.mark.parametrize(
    ("name", "codes_expected"),
    [
        ("0X1.AVI", ["video under another name"]),
        ("0x1.avi", ["video under another name"]),
        ("0X1.mp4", ["video under another name"]),
        ("0X1.Mkv", ["video under another name"]),
        ("batch1/0X1.avi", ["video under another name"]),
        ("a/b/0x1.MOV", ["video under another name"]),
    ],
)
def test_videos_of_other_names_are_found(tree, name, codes_expected):
    frames, path = frames_of(tree), tree / "Videos" / name
    (tree / "Videos" / "0X1.avi").unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    code = cv2.VideoWriter.fourcc(*("MJPG" if name.lower().endswith("avi") else "mp4v"))
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, 50.0, (112, 112))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    listed = echonet.index(tree, "all")
    clip = echonet.read(listed.entries[0])
    assert listed.skipped == [] and (clip.patient_id, len(clip)) == ("0X1", 6) and codes(clip) == codes_expected
    assert np.abs(clip.frames.astype(int) - frames).mean() < 6


@pytest.mark.parametrize("name", ["0X1.avi", "Videos/0X1.avi", r"C:\data\Videos\0X1.AVI", "0X1.mp4", "./0X1", " 0X1 "])
def test_names_of_tables_with_suffix_and_folder(tree, name):
    before = read_first(tree)
    set_fields(tree, FileName=name)
    after = read_first(tree)
    assert after.patient_id == "0X1" and codes(after) == [] and np.array_equal(before.label_map, after.label_map)


def test_one_name_in_two_folders_is_two_patients(tree):
    for folder, old in (("siteA", "0X1"), ("siteB", "0X2")):
        (tree / "Videos" / folder).mkdir()
        (tree / "Videos" / f"{old}.avi").rename(tree / "Videos" / folder / "0X.avi")
        for name in ("FileList.csv", "VolumeTracings.csv"):
            edit_csv(
                tree / name,
                lambda rows, old=old, folder=folder: [
                    [f"{folder}/0X.avi", *row[1:]] if row[0].removesuffix(".avi") == old else row for row in rows
                ],
            )
    listed = echonet.index(tree, "all")
    assert [entry.patient_id for entry in listed.entries] == ["0X3", "siteA-0X", "siteB-0X"] and listed.skipped == []
    assert [str(entry.path.relative_to(tree)) for entry in listed.entries][1:] == [
        "Videos/siteA/0X.avi",
        "Videos/siteB/0X.avi",
    ]
    set_fields(tree, 1, FileName="0X.avi")
    set_fields(tree, 2, FileName="0X9.avi")
    skipped = echonet.index(tree, "all").skipped  # which of the two folders?
    assert [(one.record_id, one.reason) for one in skipped] == [
        ("0X9_4CH", "video missing"),
        ("0X_4CH", "video missing"),
    ]


def test_several_videos_of_one_name(tree):
    (tree / "Videos" / "0X1.mp4").write_bytes((tree / "Videos" / "0X1.avi").read_bytes())
    assert codes(read_first(tree)) == ["several videos of one name"]
    (tree / "Videos" / "0X1.avi").rename(tree / "Videos" / "0X1.mov")
    (skipped,) = echonet.index(tree, "all").skipped
    assert skipped.reason == "several videos of one name" and "0X1.mov, 0X1.mp4" in skipped.detail


def test_tables_and_folder_in_any_case(tree):
    for old, new in (
        ("FileList.csv", "filelist.CSV"),
        ("VolumeTracings.csv", "volumetracings.csv"),
        ("Videos", "videos"),
    ):
        (tree / old).rename(tree / new)
    assert len(echonet.index(tree, "all").entries) == 3 and codes(read_first(tree)) == []


def test_what_is_not_read_is_listed(tree):
    set_fields(tree, 2, FileName="0X9")
    (tree / "Videos" / "0X3.dcm").write_bytes(b"")
    (tree / "Videos" / "notes.xlsx").write_bytes(b"")
    (tree / "FileList (1).csv").write_text("")
    (tree / "README.md").write_text("")
    left = echonet.leftovers(tree, echonet.patient_splits(tree))
    assert left.videos == left.tracings == ("0X2",)
    assert left.files == ("FileList (1).csv", "Videos/0X3.dcm", "Videos/notes.xlsx")
    (skipped,) = echonet.index(tree, "all").skipped
    assert (skipped.record_id, skipped.reason) == ("0X9_4CH", "video missing")


def test_frames_written_as_decimal_numbers(tree):
    edit_csv(tree / "VolumeTracings.csv", lambda rows: [rows[0], *([*row[:5], f"{row[5]}.0"] for row in rows[1:])])
    assert len(read_first(tree)) == 6


def test_a_table_that_names_no_video_says_so(tree):
    edit_csv(tree / "FileList.csv", lambda rows: rows[:1])
    with pytest.raises(ValueError, match=r"FileList\.csv names no video"):
        echonet.index(tree, "all")


def test_two_columns_of_one_name_are_refused(tree):
    edit_csv(
        tree / "FileList.csv", lambda rows: [[*rows[0][:-1], "EF", "Split"], *([*r[:-1], "1", r[-1]] for r in rows[1:])]
    )
    with pytest.raises(ValueError, match=r"columns \['ef'\] twice"):
        echonet.index(tree, "all")


# ---- EchoNet-Pediatric ---------------------------------------------------------------------------------------------


def as_polygons(rows):
    """Turns the chords of VolumeTracings.csv into corners of polygons."""
    tracings = {}
    for name, *numbers, frame in rows[1:]:
        tracings.setdefault((name, frame), []).append([float(value) for value in numbers])
    corners = [
        [name, x, y, frame] for (name, frame), chords in tracings.items() for x, y in outline(np.array(chords)).tolist()
    ]
    return [["FileName", "X", "Y", "Frame"], *corners]


@pytest.fixture
def pediatric(tree, tmp_path):
    """Three videos of A4C with polygons and folds, and PSAX beside it."""
    root = tmp_path / "pediatric_echo_avi"
    root.mkdir()
    tree.rename(root / "A4C")
    edit_csv(root / "A4C" / "VolumeTracings.csv", as_polygons)
    edit_csv(
        root / "A4C" / "FileList.csv",
        lambda rows: [
            ["FileName", "EF", "Sex", "Age", "Weight", "Height", "Split"],
            *(
                [f"{row[0]}.avi", row[1], "F", "7", "20.5", "112", fold]
                for row, fold in zip(rows[1:], "089", strict=True)
            ),
        ],
    )
    (root / "PSAX" / "Videos").mkdir(parents=True)
    for name in ("FileList.csv", "VolumeTracings.csv"):
        (root / "PSAX" / name).write_text((root / "A4C" / name).read_text())
    return root


def test_pediatric_polygons_are_drawn_as_chords_are(tree):
    before = read_first(tree)
    edit_csv(tree / "VolumeTracings.csv", as_polygons)
    assert np.array_equal(before.label_map, read_first(tree).label_map)


@pytest.mark.parametrize("below", ["", "A4C"])
def test_pediatric_tree(pediatric, below):
    root = pediatric / below
    assert echonet.patient_splits(root) == PatientSplits(
        "folds", {"train": ["0X1"], "validation": ["0X2"], "test": ["0X3"]}
    )
    (entry,) = echonet.index(root, "test").entries
    clip = echonet.read(entry)
    assert (clip.record_id, clip.view, clip.fps, clip.ef_percent) == ("0X3_4CH", "4CH", None, 55.25)
    assert (clip.label_map[0] == ENDOCARDIUM).sum() > 1000 and codes(clip) == []
    assert echonet.leftovers(root, echonet.patient_splits(root)).other_views == (() if below else ("PSAX",))


def test_pediatric_folds_are_certain_even_if_small(pediatric):
    edit_csv(pediatric / "A4C" / "FileList.csv", lambda rows: [rows[0], *([*row[:-1], "1"] for row in rows[1:])])
    assert echonet.patient_splits(pediatric).patients["train"] == ["0X1", "0X2", "0X3"]


def test_a_frame_that_is_not_there_and_a_polygon_of_two_points(pediatric):
    path = pediatric / "A4C" / "VolumeTracings.csv"
    edit_csv(path, lambda rows: [*rows, ["0X1.avi", "0", "0", "No Systolic"]])
    assert len(read_first(pediatric)) == 6
    edit_csv(path, lambda rows: [row if row[3] != "0" else [*row[:3], "No Diastolic"] for row in rows])
    assert fault(pediatric).reason == "fewer than two traced frames"
    edit_csv(path, lambda rows: [*rows, *([["0X1.avi", "10", "10", "0"]] * 3), ["0X1.avi", "20", "20", "0"]])
    assert fault(pediatric).reason == "row count"


def test_the_parasternal_view_is_refused_by_name(pediatric):
    with pytest.raises(echonet.NotApical, match=r"PSAX.*no apical view"):
        echonet.index(pediatric / "PSAX", "all")
    (pediatric / "A4C").rename(pediatric / "other")
    with pytest.raises(echonet.NotApical, match=r"PSAX.*no apical view"):
        echonet.index(pediatric, "all")
