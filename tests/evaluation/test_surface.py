"""Border distances: golden values, analytic shapes, SimpleITK as an oracle, and invariances."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from echoforge_jax.evaluation.overlap import dice
from echoforge_jax.evaluation.surface import border, surface_distances

MASKS = arrays(np.bool_, (9, 11))


def ellipse(row, column, row_radius, column_radius, shape=(120, 160)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return ((rows - row) / row_radius) ** 2 + ((columns - column) / column_radius) ** 2 <= 1


def square(top, left, side=10, shape=(40, 40)):
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def values(distances):
    return np.array(dataclasses.astuple(distances))


def test_golden_values_shared_by_medpy_and_monai():
    prediction, reference = ellipse(60, 80, 37, 25), ellipse(63, 83, 40, 22)
    assert dice(prediction, reference) == pytest.approx(0.899823, abs=5e-7)
    found = surface_distances(prediction, reference, (0.5, 0.8))
    assert found.hd == pytest.approx(5.028916, abs=5e-7)
    assert found.hd95 == pytest.approx(4.8, abs=5e-7)
    assert found.asd_prediction_to_reference == pytest.approx(1.942218, abs=5e-7)
    assert found.asd_reference_to_prediction == pytest.approx(1.854615, abs=5e-7)
    assert found.assd == pytest.approx(1.897924, abs=5e-7)


def test_shifted_square():
    found = surface_distances(square(10, 10), square(13, 10), (1.0, 1.0))
    assert found.hd == 3.0
    # 36 border points a square: the far side of 10 is 3 away, the sides' rows 0, 1, 2 ... lie on the other's sides.
    assert found.asd_prediction_to_reference == found.asd_reference_to_prediction == found.assd
    assert surface_distances(square(10, 10), square(13, 10), (0.5, 9.0)).hd == 1.5
    assert surface_distances(square(10, 10), square(10, 14), (9.0, 0.25)).hd == 1.0


def test_concentric_discs_are_a_radius_difference_apart():
    found = surface_distances(ellipse(60, 80, 40, 40), ellipse(60, 80, 30, 30), (1.0, 1.0))
    assert found.hd == pytest.approx(10, abs=0.8)
    assert found.assd == pytest.approx(10, abs=0.3)
    assert found.hd95 == pytest.approx(10, abs=0.8)


def test_directed_percentile_differs_from_pooled_on_one_sided_error():
    reference = ellipse(60, 60, 30, 30)
    prediction = reference | square(58, 85, side=50, shape=reference.shape)
    found = surface_distances(prediction, reference, (1.0, 1.0))
    assert found.hd95_directed > found.hd95
    assert found.asd_prediction_to_reference > found.asd_reference_to_prediction


def test_empty_masks():
    empty, full = np.zeros((8, 9), bool), np.ones((8, 9), bool)
    for a, b, distance, score in (
        (empty, empty, 0, 1),
        (empty, full, np.nan, 0),
        (full, empty, np.nan, 0),
        (full, full, 0, 1),
    ):
        found = values(surface_distances(a, b, (1.0, 2.0)))
        np.testing.assert_array_equal(found, [distance] * 6 + [score] * 2)


def test_boundary_f_score_of_a_shifted_square():
    a, b = square(10, 10), square(10, 11)  # one pixel to the right
    assert surface_distances(a, b, (1.0, 1.0)).boundary_f_1 == 1
    assert surface_distances(a, b, (1.0, 2.5)).boundary_f_2 < 1 == surface_distances(a, b, (1.0, 2.0)).boundary_f_2
    down = surface_distances(a, square(15, 10), (1.0, 1.0))
    # Of 36 border points the sides' lower five and the bottom row's two ends lie on the other border; two more rows of
    # the sides, and the ends of the other top and bottom rows, lie within 1 px of it.
    assert 12 / 36 <= down.boundary_f_1 < down.boundary_f_2 < 1


def test_border_treats_the_picture_edge_as_outside():
    assert border(np.ones((4, 5), bool)).sum() == 14
    assert border(np.ones((1, 1), bool)).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.8)])
def test_agrees_with_simpleitk(seed, spacing):
    sitk = pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(seed)
    prediction, reference = (
        ellipse(*rng.uniform((50, 70), (70, 90)), *rng.uniform((20, 15), (45, 40))) for _ in range(2)
    )
    images = []
    for mask in (prediction, reference):
        image = sitk.GetImageFromArray(border(mask).astype(np.uint8))
        image.SetSpacing((spacing[1], spacing[0]))
        images.append(image)
    distances = []
    for image, other in (images, images[::-1]):
        field = sitk.SignedMaurerDistanceMap(other, squaredDistance=False, useImageSpacing=True, insideIsPositive=False)
        distances.append(np.abs(sitk.GetArrayFromImage(field))[sitk.GetArrayFromImage(image) > 0])
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(*images)
    found = surface_distances(prediction, reference, spacing)
    assert found.hd == pytest.approx(hausdorff.GetHausdorffDistance(), abs=1e-4)
    assert found.asd_prediction_to_reference == pytest.approx(distances[0].mean(), abs=1e-4)
    assert found.asd_reference_to_prediction == pytest.approx(distances[1].mean(), abs=1e-4)
    assert found.hd95 == pytest.approx(np.percentile(np.concatenate(distances), 95), abs=1e-4)


@settings(deadline=None)
@given(MASKS, MASKS, st.floats(0.1, 10))
def test_distances_are_symmetric_scaled_by_the_spacing_and_ordered(a, b, factor):
    forward, backward = surface_distances(a, b, (0.7, 1.3)), surface_distances(b, a, (0.7, 1.3))
    swap = [0, 1, 2, 4, 3, 5, 6, 7]
    np.testing.assert_allclose(values(forward), values(backward)[swap], rtol=1e-12)
    scaled = surface_distances(a, b, (0.7 * factor, 1.3 * factor))
    np.testing.assert_allclose(values(scaled)[:6], factor * values(forward)[:6], rtol=1e-9)
    np.testing.assert_allclose(values(surface_distances(a.T, b.T, (1.3, 0.7))), values(forward), rtol=1e-9)
    if np.isfinite(forward.hd):
        # hd95 may exceed hd95_directed by a little: percentiles of few points are interpolated.
        assert max(forward.assd, forward.hd95, forward.hd95_directed) <= forward.hd + 1e-12
    np.testing.assert_array_equal(values(surface_distances(a, a, (0.7, 1.3))), [0] * 6 + [1] * 2)


@settings(deadline=None)
@given(MASKS, MASKS, st.integers(0, 7), st.integers(0, 7))
def test_shift_and_picture_size_do_not_matter(a, b, down, right):
    # One more empty row and column all round, so that the picture's edge never touches the masks.
    small = [np.pad(m, 1) for m in (a, b)]
    large = [np.pad(m, ((1 + down, 8), (1 + right, 8))) for m in (a, b)]
    np.testing.assert_array_equal(
        values(surface_distances(*small, (0.7, 1.3))), values(surface_distances(*large, (0.7, 1.3)))
    )


def test_bad_spacing_is_refused():
    with pytest.raises(ValueError, match="spacing"):
        surface_distances(square(1, 1), square(1, 1), (0.0, 1.0))
