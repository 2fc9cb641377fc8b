"""The report parses, requests nothing, and holds the numbers that it was given."""

import base64
import hashlib
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from echoforge_jax.evaluation.ejection_fraction import EF_METHODS
from echoforge_jax.evaluation.rows import EFPairs
from echoforge_jax.evaluation.scores import score_clips, score_ejection_fraction
from echoforge_jax.report.figures import dice_by_phase_view, learning_curves, regression_and_bland_altman
from echoforge_jax.report.overlays import animation_webp, overlay_grid, overlay_png, overlay_rgb
from echoforge_jax.report.published import compare_with_paper
from echoforge_jax.report.selection import Pictures, pick_animations, pick_curves, pick_overlays
from echoforge_jax.report.style import for_light_and_dark
from tests.helpers.reports import build, history, moving, overlay, scores

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    return (*build(path), path)


def test_the_page_parses_and_requests_nothing(report):
    text, page, _, _ = report
    assert not re.search(r"https?://", text)
    for tag, name, value in page.attributes:
        if name in ("src", "srcset", "href", "action", "data"):
            assert value.startswith(("data:image/", "#")), (tag, name, value[:60])
    assert "url(" not in text and "@import" not in text


def test_the_policy_allows_this_script_only(report):
    text, page, _, _ = report
    (policy,) = (v for t, n, v in page.attributes if t == "meta" and n == "content" and "default-src" in v)
    script = re.search(r"<script>(.*?)</script>", text, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert not any(name.startswith("on") for _, name, _ in page.attributes)


def test_the_page_holds_the_numbers(report):
    _, page, summary, _ = report
    text = " ".join(page.text.split())
    percent, distances = summary["dice_percent"], summary["distances"]["mm"]
    assert f"{percent['mean']:.2f} %" in text
    assert f"{percent['ci95'][0]:.2f} to {percent['ci95'][1]:.2f}" in text
    assert f"{distances['hd95']['mean']:.2f} mm" in text and "of 47 of 48 frames" in text
    assert f"{distances['assd']['mean']:.3f}" in text
    for method in EF_METHODS:
        agreement = summary["ejection_fraction"][method.name]["agreement"]
        assert f"{agreement['pearson_r']:.3f}" in text
        assert f"{agreement['bias']:+.2f}" in text
    for method in EF_METHODS[:2]:  # the cards above hold these
        agreement = summary["ejection_fraction"][method.name]["agreement"]
        assert f"MAE {agreement['mae']:.1f} points" in text
        assert f"bias {agreement['bias']:+.2f} points; r = {agreement['pearson_r']:.3f}; measured in 11 of 12" in text
    assert "1 × prediction: the mask is empty" in text  # noqa: RUF001
    assert all(f"patient{i:04d}" in text for i in range(12))
    assert "A run <with> & signs" in text and "EchoForge <small>" in text
    assert not re.search(r"\b(nan|None)\b", text)


def test_the_gallery_shows_worst_median_and_best(report):
    _, page, _, _ = report
    # Sorted by Dice; the shift of overlay i grows with i.
    captions = re.findall(r"patient(\d{4}) 4CH ED <frame 0> · Dice", page.text)
    assert captions == [f"{i:04d}" for i in (10, 9, 8, 6, 5, 4, 2, 1, 0)]
    assert "Worst frames by Dice" in page.text


def test_the_paper_is_compared_under_the_same_protocol_only(report):
    _, page, summary, _ = report
    assert "94.89" in page.text and f"{summary['dice_percent']['mean'] - 94.89:+.2f}" in page.text
    for changes, data_set, simulated, reason in (
        ({}, "CAMUS", True, "cannot be compared with any published result"),
        ({"split": "validation"}, "CAMUS", False, "The split is 'validation'"),
        ({}, "mine", False, "no result for the data set 'mine'"),
        ({"protocol": "other"}, "CAMUS", False, "under the protocol 'other'"),
    ):
        comparison = compare_with_paper(summary | changes, data_set=data_set, simulated=simulated)
        assert reason in comparison.reason and not comparison.numbers
    in_pixels = compare_with_paper(summary, data_set="EchoNet-Dynamic", simulated=False)
    assert [number.paper for number in in_pixels.numbers] == [93.63] and in_pixels.published.unit == "px"


def test_simulated_data_are_marked_and_compared_with_nothing(tmp_path):
    text = build(tmp_path / "r.html", n=4, n_overlays=0, history=[], simulated=True)[1].text
    assert "Simulated data." in text and "Not comparable." in text and "94.89" not in text


def test_a_report_of_nothing_is_a_page(tmp_path):
    text = build(tmp_path / "r.html", n=0, n_overlays=0, history=[])[1].text
    assert "No frame was scored." in text and "No training history." in text


def test_a_report_that_fails_leaves_the_old_one(tmp_path):
    old = tmp_path / "r.html"
    old.write_text("old")
    with pytest.raises((AttributeError, TypeError)):
        build(old, n=0, history=[], pictures=Pictures([None]))
    assert old.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_figures_are_valid_and_repeatable():
    frames = scores(4).frames
    reference = np.array([30.0, 45, 60, 62])
    pairs = EFPairs(reference + 1, reference)
    agreement = {"pearson_r": 0.9, "bias": 1.0, "loa_low": -3.0, "loa_high": np.nan}
    for draw in (
        lambda: learning_curves(history(1), columns=1),
        lambda: for_light_and_dark(dice_by_phase_view(frames)),
        lambda: regression_and_bland_altman(pairs, agreement, method="m"),
    ):
        image = draw()
        assert ET.fromstring(image).tag.endswith("svg") and image == draw()
    for draw, message in ((learning_curves, "no value"), (dice_by_phase_view, "no row")):
        with pytest.raises(ValueError, match=message):
            draw([])


def test_the_worst_clip_is_animated_with_remarks(tmp_path):
    cases = moving()
    frame_rows, patients = score_clips(cases, [range(5)]), score_ejection_fraction(cases)
    animations, curves = pick_animations(cases, frame_rows), pick_curves(cases, patients)
    (animation,), (curve,) = animations, curves.values()
    assert "worst" in animation.caption and "(ES, frame 4)" in animation.caption
    assert any("drawn too small" in remark for remark in animation.remarks)
    with Image.open(io.BytesIO(animation_webp(animation.frames))) as picture:
        assert picture.n_frames == 8 and picture.size == (round(80 * 240 / 96 * 1.6), 240)  # 5 forth, 3 back
    assert (curve.reference[:-1] == curve.prediction[:-1]).all() and curve.unit == "ml"
    assert curve.prediction[-1] < curve.reference[-1] < curve.reference[0]
    worst = pick_overlays(cases, frame_rows, 1)[0]
    assert worst.caption.startswith("worst: patient0001 4CH ES") and worst.remarks == animation.remarks
    text, page, _ = build(tmp_path / "r.html", n=4, n_overlays=1, animations=animations, curves=curves)
    assert "data:image/webp;base64," in text and animation.remarks[0] in page.text and "Volume through the clip" in text
    assert pick_animations([], []) == [] and pick_curves([], []) == {}


def test_overlays_have_true_proportions_and_the_three_colours():
    item = overlay(6)
    rgb = overlay_rgb(item, height=192)
    assert rgb.shape == (192, round(80 * 2 * 0.8 / 0.5), 3)
    reference_only, prediction_only = (rgb[:, :, 1] > rgb[:, :, 0] + 0.15), (rgb[:, :, 0] > rgb[:, :, 1] + 0.15)
    both = (rgb[:, :, 0] > rgb[:, :, 2] + 0.15) & (rgb[:, :, 1] > rgb[:, :, 2] + 0.15)
    assert min(reference_only.sum(), prediction_only.sum(), both.sum()) > 100
    assert 0 < item.dice_percent < 100
    assert overlay_png(item).startswith(PNG)
    assert overlay_grid([item, overlay(1), overlay(2)], columns=2).startswith(PNG)
    with pytest.raises(ValueError, match="at least one"):
        overlay_grid([], columns=2)
