import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from statsmodels.stats.power import TTestPower

from harness.compare.power import detectable, sd_upper, seeds_needed


@pytest.mark.parametrize(
    ("difference", "power", "n"),
    [
        # the paired t test at .05, two-sided, as G*Power gives it: effect .2, .5, .8 standard deviations
        (0.2, 0.8, 199),
        (0.5, 0.8, 34),
        (0.8, 0.8, 15),
        (0.5, 0.9, 44),
        (-0.5, 0.8, 34),
    ],
)
def test_published_numbers(difference, power, n):
    assert seeds_needed(difference, 1.0, power) == n
    assert seeds_needed(difference / 25, 1 / 25, power) == n  # the unit does not matter


def test_never_fewer_than_a_verdict_needs():
    assert seeds_needed(0.5, 0.01) == 5  # 3 would do for the test
    assert seeds_needed(0.01, 0.0) == 5
    assert seeds_needed(1.69, 1.0) == 5
    assert seeds_needed(1.67, 1.0) == 6


def test_no_number_of_seeds_resolves_nothing():
    with pytest.raises(ValueError, match="difference of 0"):
        seeds_needed(0.0, 0.1)
    with pytest.raises(ValueError, match="difference"):
        seeds_needed(float("nan"), 0.1)


def test_huge_numbers_are_the_normal_ones():
    # t is normal here: ((1.959964 + .841621)/d)², from printed quantiles of one tail; the other has 1e-6
    for effect in (1e-3, 1e-6):
        assert seeds_needed(effect, 1.0) == pytest.approx((2.801585 / effect) ** 2, rel=1e-5)
    assert seeds_needed(1e-3, 1.0) == math.ceil(TTestPower().solve_power(1e-3, alpha=0.05, power=0.8))
    assert seeds_needed(1.1e-12, 1.0) > 1e24


def test_detectable_agrees_with_statsmodels():
    assert detectable(5, 1.0) == pytest.approx(1.68200, abs=1e-5)
    for n, power, alpha in [
        (3, 0.8, 0.05),
        (5, 0.8, 0.05),
        (8, 0.9, 0.05),
        (16, 0.8, 0.05 / 28),
        (5, 0.8, 0.01),
    ]:
        effect = detectable(n, 0.02, power, alpha) / 0.02
        assert TTestPower().power(effect, n, alpha) == pytest.approx(power, abs=1e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 28])
@pytest.mark.parametrize("n", [5, 6, 11, 40, 301])
def test_the_two_are_inverse(n, alpha):
    limit = detectable(n, 0.03, alpha=alpha)
    assert seeds_needed(limit * 1.0001, 0.03, alpha=alpha) == n
    assert seeds_needed(limit * 0.9999, 0.03, alpha=alpha) == n + 1


def test_detectable_is_in_proportion_and_falls_with_n():
    assert detectable(8, 0.06) == pytest.approx(2 * detectable(8, 0.03))
    assert detectable(8, 0.0) == 0
    limits = [detectable(n, 1.0) for n in range(2, 60)]
    assert (np.diff(limits) < 0).all()
    assert detectable(8, 1.0, power=0.9) > detectable(8, 1.0) > detectable(8, 1.0, alpha=0.1)


def test_power_by_simulation():
    for n in (5, 12):
        rng = np.random.default_rng(n)
        pilot = rng.normal(detectable(n, 0.03), 0.03, size=(20000, n))
        assert (ttest_1samp(pilot, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    ("n", "level", "chi_square"),
    [(5, 0.8, 1.649), (10, 0.95, 3.325), (2, 0.9, 0.01579), (31, 0.5, 29.336)],  # from printed tables
)
def test_upper_limit_by_hand(n, level, chi_square):
    assert sd_upper(0.02, n, level) == pytest.approx(0.02 * math.sqrt((n - 1) / chi_square), rel=3e-4)


def test_upper_limit_covers_as_it_says():
    rng = np.random.default_rng(0)
    sds = rng.normal(0, 0.03, size=(20000, 5)).std(axis=1, ddof=1)
    assert (sds * sd_upper(1.0, 5) > 0.03).mean() == pytest.approx(0.8, abs=0.01)
    assert sd_upper(0.0, 5) == 0


def test_refuses_what_makes_no_sense():
    for function in (lambda: detectable(1, 0.1), lambda: sd_upper(0.1, 1)):
        with pytest.raises(ValueError, match="at least 2"):
            function()
    with pytest.raises(ValueError, match="negative"):
        seeds_needed(0.1, -0.1)
    with pytest.raises(ValueError, match="finite"):
        sd_upper(float("nan"), 5)
    with pytest.raises(ValueError, match="alpha"):
        detectable(5, 0.1, power=0.05, alpha=0.05)
    with pytest.raises(ValueError, match="level"):
        sd_upper(0.1, 5, level=1.0)
