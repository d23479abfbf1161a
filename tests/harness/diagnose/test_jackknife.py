import numpy as np
import pytest
from scipy import stats

from harness.diagnose.jackknife import Estimate, contrast, of_sums


def ratio(sums):
    return sums[..., :1] / sums[..., 1:]


def test_of_a_mean_it_is_the_t_interval():
    rows = np.array([1.0, 2.0, 4.0, 9.0])
    own = of_sums(("mean",), ratio, np.stack([rows, np.ones(4)], axis=1), np.arange(4))
    value, low, high = own.interval()
    expected = stats.t.interval(0.95, 3, loc=4, scale=stats.sem(rows))
    assert value[0] == 4 and (low[0], high[0]) == pytest.approx(expected)


def test_rows_of_a_unit_leave_together():
    # units 0 and 1 of two rows each: without 0 the mean is 6.5, without 1 it is 1.5
    sums = np.stack([[1.0, 2.0, 4.0, 9.0], np.ones(4)], axis=1)
    own = of_sums(("mean",), ratio, sums, np.array([0, 0, 1, 1]))
    assert own.left.ravel().tolist() == [6.5, 1.5] and own.value[0] == 4


def test_a_ratio_has_the_error_of_a_ratio():
    # over many draws the interval of a ratio of means holds the true ratio about as often as it says
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        below = rng.uniform(1, 3, size=8)
        sums = np.stack([below * 0.5 + rng.normal(scale=0.3, size=8), below], axis=1)
        _, low, high = of_sums(("ratio",), ratio, sums, np.arange(8)).interval()
        held += low[0] < 0.5 < high[0]
    assert 0.92 < held / 400 < 0.98


def test_a_contrast_is_paired():
    one = Estimate(("x",), np.array([3.0]), np.array([[2.0], [4.0]]))
    other = Estimate(("x",), np.array([1.0]), np.array([[0.0], [2.0]]))
    value, low, high = contrast({"b": 1, "a": -1}, {"a": other, "b": one}).interval()
    assert (value[0], low[0], high[0]) == (2, 2, 2)


def test_what_hangs_on_one_unit_is_none():
    own = Estimate(("x", "y"), np.array([1.0, 1.0]), np.array([[1.0, np.nan], [1.0, 1.0]]))
    value, _, _ = own.interval()
    assert value[0] == 1 and np.isnan(value[1])


def test_one_unit_has_no_interval():
    value, low, _ = Estimate(("x",), np.array([1.0]), np.array([[2.0]])).interval()
    assert value[0] == 1 and np.isnan(low[0])
