"""Each remark about a failure appears when its fault is drawn, and only then."""

import numpy as np
import pytest

from echoforge_jax.evaluation.failures import failure_reasons

Y, X = np.mgrid[:100, :80]


def ellipse(y=50, x=40, a=28, b=16):
    return ((Y - y) / a) ** 2 + ((X - x) / b) ** 2 <= 1


REFERENCE = ellipse()
PICTURE = np.where(REFERENCE, 40, 120).astype(np.uint8)


def test_a_good_mask_on_a_clear_picture_needs_no_remark():
    assert failure_reasons(PICTURE, REFERENCE, REFERENCE, (0.5, 0.5)) == []
    assert failure_reasons(PICTURE, ellipse(y=51), REFERENCE, None) == []


@pytest.mark.parametrize(
    ("prediction", "remark"),
    [
        (np.zeros_like(REFERENCE), "nothing was drawn"),
        (REFERENCE | ellipse(10, 10, 4, 4), "in 2 pieces, the largest holds 97 %"),
        (ellipse(a=22, b=12), "drawn too small"),
        (ellipse(a=33, b=20), "drawn too large"),
        (ellipse(x=50), "centre off by 5.0 mm, mostly right"),
        (ellipse(y=42), "centre off by 8.0 mm, mostly up"),
        (REFERENCE & (Y < 66), "% of the wrong pixels in the basal (lower) third"),
        (ellipse(10, 10, 4, 4), "drawn beside the ventricle"),
    ],
)
def test_what_is_wrong_with_the_mask(prediction, remark):
    assert any(remark in found for found in failure_reasons(PICTURE, prediction, REFERENCE, (1.0, 0.5)))


def test_what_makes_the_picture_hard():
    pale = np.where(REFERENCE, 100, 110).astype(np.uint8)
    assert failure_reasons(pale, REFERENCE, REFERENCE, None) == ["wall only 10 grey levels brighter than the cavity"]
    shadow = np.where(X > 40, 5, PICTURE).astype(np.uint8)
    (remark,) = failure_reasons(shadow, REFERENCE, REFERENCE, None)
    assert "of the wall in darkness" in remark and 40 < int(remark.split()[0]) < 60
    low = ellipse(y=80)
    assert "the ventricle is cut by the picture's edge" in failure_reasons(
        np.where(low, 40, 120).astype(np.uint8), low, low, None
    )
    assert failure_reasons(PICTURE, REFERENCE, np.zeros_like(REFERENCE), None) == ["the reference is empty"]
