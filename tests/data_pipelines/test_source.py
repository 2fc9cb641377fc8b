"""Sampling and resizing of clips, and reading a split with broken files in it."""

import numpy as np
import pytest

from data_pipelines.formats import camus
from data_pipelines.preprocessing import to_native
from data_pipelines.records import UnreadableRecord
from data_pipelines.sampling import draw_half_cycle, ed_to_es, resize_cine, sample_clip, uniform_frames
from data_pipelines.source import CamusSource, EmptySplit, load_split, open_source
from data_pipelines.splits import SplitError
from tests.helpers.clips import make_clip


@pytest.mark.parametrize("last", [1, 8, 9, 10, 19, 23])
@pytest.mark.parametrize("count", [2, 5, 10])
def test_uniform_frames_are_the_papers_formula(last: int, count: int):
    from fractions import Fraction

    step = Fraction(last, count - 1)
    expected = [int(step * i) for i in range(count)]  # floor(first + step * i), exactly
    assert uniform_frames(0, last, count).tolist() == expected
    assert expected[0] == 0 and expected[-1] == last


def test_a_reversed_half_cycle_is_flipped():
    half = ed_to_es(make_clip(ed=5, es=2))
    assert half.frames[:, 0, 0].tolist() == [50, 40, 30, 20]
    assert (half.ed_index, half.es_index) == (0, 3)


def test_only_ed_and_es_are_labelled_and_spacing_follows_the_size():
    sampled = sample_clip(make_clip(), frames=4, size=32)
    assert sampled.may_train.tolist() == [True, False, False, True]
    assert sampled.has_reference.all()
    assert sampled.frames[:, 0, 0].tolist() == [0, 20, 40, 60]
    assert sampled.spacing_mm == pytest.approx((0.5 * 60 / 32, 0.25 * 40 / 32))
    assert set(np.unique(sampled.cavity)) == {0, 1}
    assert sample_clip(make_clip(), frames=4, size=32, training_labels="all").may_train.all()


def test_two_frames_are_never_repeated_to_make_more():
    two = make_clip(frames=2)
    assert len(sample_clip(two, frames=2, size=32).frames) == 2
    with pytest.raises(UnreadableRecord, match=r"data\.frames=2"):
        sample_clip(two, frames=10, size=32)
    with pytest.raises(UnreadableRecord, match="ED or ES"):
        sample_clip(make_clip(es_index=None), frames=2, size=32)


def test_masks_return_to_the_size_of_the_clip():
    clip = make_clip(size=(120, 80))
    small = sample_clip(clip, frames=7, size=64, training_labels="all")
    back = to_native(small.cavity.astype(np.float32), (120, 80))
    reference = clip.label_map == 1
    overlap = 2 * (back.astype(bool) & reference).sum() / (back.sum() + reference.sum())
    assert overlap > 0.95


def test_a_cine_gives_windows_of_about_half_a_cycle():
    cine = resize_cine(make_clip(frames=61, ed_index=None, es_index=None), frames=4, size=16)
    starts, spans = set(), set()
    for seed in range(200):
        drawn = draw_half_cycle(cine, 4, np.random.default_rng(seed))
        levels = drawn.frames[:, 0, 0].astype(int) // 10  # (frame 10 t) wraps at 256: unwrap by the shortest way
        span = sum(int(d) % 25 for d in np.diff(levels))
        assert drawn.frames.shape == (4, 16, 16) and not drawn.may_train.any() and not drawn.has_reference.any()
        starts.add(int(levels[0]))
        spans.add(span)
    assert len(starts) > 15
    assert min(spans) >= round(0.25 * 30) - 2 and max(spans) <= round(0.5 * 30) + 3
    same = [draw_half_cycle(cine, 4, np.random.default_rng(7)).frames for _ in range(2)]
    np.testing.assert_array_equal(*same)


def test_a_cine_shorter_than_a_draw_is_refused():
    with pytest.raises(UnreadableRecord, match=r"too few frames: 3 frames, 4 asked for"):
        resize_cine(make_clip(frames=3), frames=4, size=16)
    whole = resize_cine(make_clip(frames=4, fps=None), frames=4, size=16)
    assert draw_half_cycle(whole, 4, np.random.default_rng(0)).frames[:, 0, 0].tolist() == [0, 10, 20, 30]


def _tree(root, patients: int = 3):
    names = [f"patient{i:04d}" for i in range(1, patients + 1)]
    for name in names:
        camus.write_clip(make_clip(patient_id=name), root)
    camus.write_split(root, {"training": names, "validation": [], "testing": []})
    return names


def test_one_broken_file_is_named_counted_and_skipped(tmp_path):
    names = _tree(tmp_path)
    broken = tmp_path / names[1] / f"{names[1]}_4CH_ED.nii.gz"
    for path in (tmp_path / names[1]).glob("*_4CH_*.nii.gz"):
        path.write_bytes(path.read_bytes()[:60])
    assert broken.exists()
    source = CamusSource(tmp_path, views=("4CH",))
    loaded = load_split(source, "train", lambda clip: sample_clip(clip, 3, 16))
    assert [clip.record_id for clip in loaded.clips] == [f"{names[0]}_4CH", f"{names[2]}_4CH"]
    assert [(s.record_id, s.reason) for s in loaded.skipped] == [(f"{names[1]}_4CH", "truncated file")]
    with pytest.raises(UnreadableRecord, match=names[1]):
        load_split(source, "train", lambda clip: clip, skip_unreadable=False)


def test_a_split_without_a_usable_record_says_why(tmp_path):
    for name in _tree(tmp_path):
        for path in (tmp_path / name).glob("*_4CH_*.nii.gz"):
            path.write_bytes(b"")
    with pytest.raises(EmptySplit, match="3 x empty file"):
        load_split(CamusSource(tmp_path, views=("4CH",)), "train", lambda clip: clip)


def test_the_whole_tree_is_scored_whatever_splits_it_lacks(tmp_path):
    for number in (401, 402, 777):
        camus.write_clip(make_clip(patient_id=f"patient{number:04d}"), tmp_path)
    source = CamusSource(tmp_path, "number", views=("4CH",))
    assert load_split(source, "all", lambda clip: clip.record_id).clips == [
        "patient0401_4CH",
        "patient0402_4CH",
        "patient0777_4CH",
    ]
    with pytest.raises(SplitError, match=r"knows 1..500"):
        source.index("train")


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"format is 'camsu'; expected 'camus'"):
        open_source("camsu", tmp_path)
