import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from harness.compare.aggregates import (
    RESAMPLES,
    iqm,
    iqm_interval,
    optimality_gap,
    optimality_gap_interval,
    performance_profile,
    probability_of_improvement,
    probability_of_improvement_interval,
    profile_band,
)

RUNS = np.random.default_rng(0).integers(0, 21, size=(3, 25, 4)) / 20  # three methods, with many ties


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # 5 runs: floor(5/4) = 1 off each end of .1 .2 .6 .8 .9
        ([[0.9], [0.1], [0.6], [0.2], [0.8]], (0.2 + 0.6 + 0.8) / 3),
        # 6 runs over both tasks together: .1 | .3 .3 .5 .7 | 1
        ([[0.1, 0.3], [0.3, 0.5], [0.7, 1.0]], 0.45),
        # 8 runs: 0 .2 | .2 .4 .4 .6 | .8 1; the mean would be .45
        ([[0.0, 0.2], [0.2, 0.4], [0.4, 0.6], [0.8, 1.0]], 0.4),
        # 3 runs: floor(3/4) = 0, the plain mean
        ([[0.0], [0.1], [0.8]], 0.3),
    ],
)
def test_iqm_by_hand(values, expected):
    assert iqm(values) == pytest.approx(expected)


def test_optimality_gap_by_hand():
    values = [[0.5, 1.0], [0.75, 0.25]]  # mean 2.5/4
    assert optimality_gap(values) == pytest.approx(0.375)
    # cut at .6: .5 .6 .6 .25, mean 1.95/4 = .4875
    assert optimality_gap(values, gamma=0.6) == pytest.approx(0.1125)


def test_probability_of_improvement_by_hand():
    x, y = [[0.5, 0.9], [0.7, 0.8], [0.7, 0.1]], [[0.6, 0.2], [0.7, 0.8]]
    # task 0: .5 beats none; .7 beats .6 and ties with .7, twice: 3 of 6
    # task 1: .9 beats both; .8 beats .2 and ties with .8; .1 beats none: 3.5 of 6
    assert probability_of_improvement(x, y) == pytest.approx((3 / 6 + 3.5 / 6) / 2)
    assert probability_of_improvement([[0.9], [0.8]], [[0.1], [0.2], [0.3]]) == 1
    assert probability_of_improvement([[0.1 + 0.2]], [[0.3]]) == 0.5  # equal up to rounding


def test_performance_profile_by_hand():
    values = [[0.2, 0.6], [0.4, 0.6], [0.8, 1.0]]
    # above 0: all; above .4: .6 .6 .8 1; above .6: .8 1; above 1: none
    np.testing.assert_allclose(performance_profile(values, [0, 0.4, 0.6, 1]), [1, 4 / 6, 2 / 6, 0])
    np.testing.assert_array_equal(performance_profile([[0.1 + 0.2], [0.5]], [0.3]), [0.5])


def test_agrees_with_scipy():
    for x, y in ((RUNS[0], RUNS[1]), (RUNS[1][:7], RUNS[2][:12])):
        statistic = mannwhitneyu(x, y, axis=0).statistic
        assert probability_of_improvement(x, y) == pytest.approx((statistic / (len(x) * len(y))).mean())


def test_leading_axes():
    pairs = [probability_of_improvement(x, y) for x, y in zip(RUNS, RUNS[::-1], strict=True)]
    np.testing.assert_allclose(probability_of_improvement(RUNS, RUNS[::-1]), pairs)
    np.testing.assert_allclose(iqm(RUNS), [iqm(one) for one in RUNS])
    np.testing.assert_allclose(optimality_gap(RUNS, 0.8), [optimality_gap(one, 0.8) for one in RUNS])
    taus = [0.1, 0.5]
    np.testing.assert_allclose(
        performance_profile(RUNS, taus), [performance_profile(one, taus) for one in RUNS]
    )


def test_symmetry_and_monotonicity():
    x, y = RUNS[0], RUNS[1][:9]
    assert probability_of_improvement(x, y) + probability_of_improvement(y, x) == pytest.approx(1)
    assert probability_of_improvement(x, x) == pytest.approx(0.5)
    better = x + 0.05
    assert probability_of_improvement(better, y) > probability_of_improvement(x, y)
    assert iqm(better) == pytest.approx(iqm(x) + 0.05)
    assert optimality_gap(better, gamma=2) == pytest.approx(optimality_gap(x, gamma=2) - 0.05)
    profile = performance_profile(x, np.linspace(-0.1, 1, 23))
    assert profile[0] == 1 and profile[-1] == 0 and (np.diff(profile) <= 0).all()
    # the area under the profile from 0 to 1 is the mean accuracy; a grid of 1000 is exact to 1/1000
    assert performance_profile(x, np.arange(1000) / 1000).mean() == pytest.approx(x.mean(), abs=1e-3)


# Two seeds, one task: a resample is .2 .2 | .2 .6 | .6 .6 with chances 1/4, 1/2, 1/4. So the 2.5 % and 97.5 %
# quantiles of its mean are .2 and .6, and the 30 % and 70 % quantiles are both .4.
TWO = np.array([[0.2], [0.6]])


@pytest.mark.parametrize(("alpha", "low", "high"), [(0.05, 0.2, 0.6), (0.3, 0.2, 0.6), (0.6, 0.4, 0.4)])
def test_intervals_by_hand(alpha, low, high):
    middle = iqm_interval(TWO, alpha)
    assert (middle.value, middle.low, middle.high) == pytest.approx((0.4, low, high))
    gap = optimality_gap_interval(TWO, alpha=alpha)
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.6, 1 - high, 1 - low))
    capped = optimality_gap_interval(TWO, gamma=0.4, alpha=0.05)  # the seeds fall short by .2 and 0
    assert (capped.value, capped.low, capped.high) == pytest.approx((0.1, 0, 0.2))
    # above .5 only the second seed counts: shares 0, 1/2, 1 with the same chances; above .1 both; above .9 none
    low, high = {0.2: 0, 0.4: 0.5}[low], {0.6: 1, 0.4: 0.5}[high]
    band = profile_band(TWO, [0.1, 0.5, 0.9], alpha)
    np.testing.assert_allclose(band, [[1, 1, 1], [0.5, low, high], [0, 0, 0]])
    # against two runs at .5 it is again the share of the second seed
    improvement = probability_of_improvement_interval(TWO, [[0.5], [0.5]], alpha)
    assert (improvement.value, improvement.low, improvement.high) == pytest.approx((0.5, low, high))
    mirrored = probability_of_improvement_interval([[0.5], [0.5], [0.5]], TWO, alpha)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - high, 1 - low))


def test_tasks_of_a_seed_are_resampled_together():
    # every seed has mean .5 over its tasks; resampled task by task the gap would range from 0 to 1
    gap = optimality_gap_interval([[0.0, 1.0], [1.0, 0.0]])
    assert (gap.low, gap.high) == pytest.approx((0.5, 0.5))
    np.testing.assert_allclose(profile_band([[0.0, 1.0], [1.0, 0.0]], [0.5]), [[0.5, 0.5, 0.5]])


def test_improvement_interval_is_that_of_whole_resamples():
    x, y = RUNS[0][:8], RUNS[1][:5]
    rng = np.random.Generator(np.random.Philox(3))
    of_x, of_y = rng.integers(8, size=(RESAMPLES, 8)), rng.integers(5, size=(RESAMPLES, 5))
    low, high = np.quantile(probability_of_improvement(x[of_x], y[of_y]), [0.05, 0.95])
    found = probability_of_improvement_interval(x, y, alpha=0.1, seed=3)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.value == pytest.approx(probability_of_improvement(x, y))


def test_same_input_same_digits():
    x, y = np.random.default_rng(1).uniform(size=(2, 25, 4))  # no ties: no two resamples agree
    taus = np.linspace(0, 1, 30)
    for make in (
        lambda seed: iqm_interval(x, seed=seed),
        lambda seed: optimality_gap_interval(x, seed=seed),
        lambda seed: probability_of_improvement_interval(x, y, seed=seed),
        lambda seed: tuple(profile_band(x, taus, seed=seed).ravel()),
    ):
        np.random.seed(0)
        first = make(1)
        np.random.seed(1)
        assert make(1) == first
        assert make(2) != first


def test_interval_has_the_width_of_the_sampling_error():
    # the gap of one task is 1 - a mean of 400 uniform numbers: standard error √(1/12/400) = .01443
    found = optimality_gap_interval(np.random.default_rng(5).uniform(size=(400, 1)))
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(0.01443, rel=0.06)


def test_one_seed_has_no_interval():
    one = iqm_interval([[0.2, 0.6]])
    assert one.value == pytest.approx(0.4) and math.isnan(one.low) and math.isnan(one.high)
    assert math.isnan(optimality_gap_interval([[0.2, 0.6]]).low)
    assert math.isnan(probability_of_improvement_interval([[0.2]], [[0.1], [0.3]]).low)
    band = profile_band([[0.2, 0.6]], [0.4])
    assert band[0, 0] == 0.5 and np.isnan(band[0, 1:]).all()


def test_refuses_what_is_no_table_of_accuracies():
    with pytest.raises(ValueError, match="finite"):
        iqm([[0.1, float("nan")]])
    with pytest.raises(ValueError, match="shape"):
        optimality_gap([0.1, 0.2])
    with pytest.raises(ValueError, match="shape"):
        iqm_interval(RUNS)
    with pytest.raises(ValueError, match="shape"):
        iqm(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="same tasks"):
        probability_of_improvement([[0.1, 0.2]], [[0.1]])
