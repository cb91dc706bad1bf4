import math

import numpy as np
import pytest

from parity.measures.arrays import NotComparableError, compare_arrays, worst


def test_known_values():
    m = compare_arrays(np.array([3.0, 4.0], np.float32), np.array([3.0, 4.5], np.float32))
    assert (m.max_abs, m.mean_abs, m.rel_l2) == pytest.approx((0.5, 0.25, 0.1))
    assert m.psnr_db == pytest.approx(20 * math.log10(4 / (0.5 / math.sqrt(2))))
    assert m.cosine == pytest.approx((9 + 18) / (5 * math.hypot(3, 4.5)))


def test_equal_arrays():
    m = compare_arrays(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32))
    assert (m.max_abs, m.rel_l2, m.psnr_db, m.non_finite, m.elements) == (0, 0, math.inf, 0, 6)
    assert m.cosine == pytest.approx(1)


def test_zero_reference():
    m = compare_arrays(np.zeros(4, np.float32), np.ones(4, np.float32))
    assert (m.rel_l2, m.psnr_db, m.cosine) == (math.inf, -math.inf, 0)
    assert compare_arrays(np.zeros(4, np.float32), np.zeros(4, np.float32)).cosine == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_is_counted_and_the_rest_measured(bad):
    m = compare_arrays(np.array([1.0, 2.0]), np.array([1.0, bad]))
    assert (m.non_finite, m.max_abs) == (1, 0)
    assert compare_arrays(np.array([1.0, bad]), np.array([1.0, 2.0])).non_finite == 1


def test_equal_infinities_agree_and_nan_never_does():
    assert compare_arrays(np.array([1.0, -np.inf]), np.array([1.0, -np.inf])).non_finite == 0
    assert compare_arrays(np.array([1.0, np.nan]), np.array([1.0, np.nan])).non_finite == 1
    assert math.isnan(compare_arrays(np.array([np.nan]), np.array([1.0])).max_abs)


def test_fp16_overflow_does_not_hide():
    assert compare_arrays(np.array([70000.0], np.float32), np.array([70000.0]).astype(np.float32)).max_abs == 0
    with np.errstate(over="ignore"):
        assert (
            compare_arrays(np.array([7e4], np.float32), np.array([7e4], np.float32).astype(np.float16)).non_finite == 1
        )


def test_integers_are_counted():
    m = compare_arrays(np.array([1, 2, 3]), np.array([1, 5, 3], np.int32))
    assert (m.mismatches, m.max_abs, m.integer) == (1, 3, True)
    assert m.shown() == {"max_abs": 3, "mismatches": 1, "elements": 3}


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((1, 2)), np.zeros((2, 1))),
        (np.zeros(2), np.zeros(2, np.int32)),
        (np.zeros(0), np.zeros(0)),
    ],
)
def test_what_cannot_be_compared(a, b):
    with pytest.raises(NotComparableError):
        compare_arrays(a, b)


def test_worst_takes_the_worst_of_each_figure():
    good = compare_arrays(np.ones(2), np.ones(2))
    bad = compare_arrays(np.ones(2), np.array([1.0, np.nan]))
    off = compare_arrays(np.ones(2), np.array([1.0, 2.0]))
    m = worst([good, bad, off])
    assert (m.elements, m.non_finite, m.max_abs, m.psnr_db) == (6, 1, 1, off.psnr_db)
    with pytest.raises(NotComparableError, match="no common output"):
        worst([])


def test_worst_does_not_lose_a_nan():
    nothing = compare_arrays(np.array([np.nan]), np.array([1.0]))
    fine = compare_arrays(np.ones(1), np.ones(1))
    assert math.isnan(worst([fine, nothing]).max_abs)
    assert math.isnan(worst([nothing, fine]).psnr_db)
