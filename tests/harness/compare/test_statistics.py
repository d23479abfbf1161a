import math

import numpy as np
import pytest

from harness.compare.statistics import (
    area_under_curve,
    first_crossing,
    holm,
    mean_curve,
    paired,
    t_interval,
    verdict,
)

T_4 = 2.7764451051977987  # 97.5 % quantile of Student's t with 4 degrees of freedom, from a printed table


def test_paired_interval_by_hand():
    # differences .02 .05 .00 .08 .05: mean .04, squared deviations .0004 .0001 .0016 .0016 .0001, sum .0038
    found = paired([0.72, 0.75, 0.70, 0.78, 0.75], [0.70] * 5)
    error = math.sqrt(0.0038 / 4 / 5)
    assert (found.n, found.mean) == (5, pytest.approx(0.04))
    assert found.low == pytest.approx(0.04 - T_4 * error, rel=1e-9)
    assert found.high == pytest.approx(0.04 + T_4 * error, rel=1e-9)
    t = 0.04 / error  # the distribution function of t with 4 degrees of freedom has a closed form
    upper = 0.5 - 0.375 * (t / math.sqrt(1 + t**2 / 4)) * (1 - t**2 / (1 + t**2 / 4) / 12)
    assert found.p == pytest.approx(2 * upper, rel=1e-9)


def test_interval_of_another_level():
    # t(0.95, 1) = tan(0.45 pi): for n = 2 the distribution is Cauchy's
    found = t_interval([0.0, 0.2], alpha=0.1)
    assert found.high == pytest.approx(0.1 + math.tan(0.45 * math.pi) * 0.1)


def test_few_values():
    assert t_interval([]).n == 0 and math.isnan(t_interval([]).mean)
    one = t_interval([0.3])
    assert one.mean == 0.3 and math.isnan(one.low) and math.isnan(one.p)


def test_equal_differences_have_no_spread_to_estimate():
    none = paired([0.7, 0.8, 0.9], [0.7, 0.8, 0.9])
    assert (none.mean, none.low, none.high, none.p) == (0, 0, 0, 1)
    same = paired([0.1 + 0.2] * 2 + [0.3] * 3, [0.2] * 5)  # equal up to rounding
    assert same.low == same.high == pytest.approx(0.1)
    assert same.p == 2 / 32
    assert t_interval([0.1] * 8).p == 2 / 256


def test_interval_refuses_what_is_no_vector_of_numbers():
    with pytest.raises(ValueError, match="finite"):
        t_interval([0.1, float("nan")])
    with pytest.raises(ValueError, match="match"):
        paired([0.1, 0.2], [0.1])


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 * .01; 2 * .03; max(1 * .04, .06)
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([float("nan"), 0.01, 0.04], [float("nan"), 0.02, 0.04]),  # no test, no place in the family
        ([], []),
    ],
)
def test_holm_by_hand(p, adjusted):
    np.testing.assert_allclose(holm(p), adjusted)


def test_verdict():
    assert verdict(5, 0.1, 0.049) == "better"
    assert verdict(5, -0.1, 0.049) == "worse"
    assert verdict(5, 0.1, 0.05) == "not resolved"
    assert verdict(4, 0.1, 1e-9) == "not resolved (n<5)"
    assert verdict(5, 0.1, 0.02, alpha=0.01) == "not resolved"
    assert verdict(5, 0.1, float("nan")) == "not resolved"


def test_area_by_hand():
    assert area_under_curve([0, 10, 30], [0.4, 0.6, 0.5]) == pytest.approx((0.5 * 10 + 0.55 * 20) / 30)
    assert math.isnan(area_under_curve([0], [0.4]))
    with pytest.raises(ValueError, match="increase"):
        area_under_curve([0, 10, 10], [0.4, 0.5, 0.6])


@pytest.mark.parametrize(
    ("threshold", "tokens"), [(0.45, 500), (0.5, 1000), (0.6, 2000), (0.7, 3000), (0.71, math.inf), (0.3, 0)]
)
def test_crossing_by_hand(threshold, tokens):
    assert first_crossing([0, 1000, 3000], [0.4, 0.5, 0.7], threshold) == pytest.approx(tokens)


def test_the_first_crossing_counts():
    assert first_crossing([0, 10, 20, 30], [0.4, 0.6, 0.4, 0.8], 0.5) == pytest.approx(5)


def test_mean_curve_on_shared_x():
    x, band = mean_curve(
        [(np.array([0, 10]), np.array([0.2, 0.5])), (np.array([0, 10]), np.array([0.2, 0.7]))]
    )
    np.testing.assert_array_equal(x, [0, 10])
    np.testing.assert_allclose(band[:, 0], [0.2, 0.6])
    np.testing.assert_allclose(band[0], 0.2)
    alone = t_interval([0.5, 0.7])
    np.testing.assert_allclose(band[1], [alone.mean, alone.low, alone.high])


def test_mean_curve_interpolates_and_never_extrapolates():
    x, band = mean_curve(
        [(np.array([0, 10]), np.array([0, 1])), (np.array([0, 20]), np.array([0, 1]))], points=3
    )
    np.testing.assert_allclose(x, [0, 5, 10])
    np.testing.assert_allclose(band[:, 0], [0, (0.5 + 0.25) / 2, (1 + 0.5) / 2])
    _, single = mean_curve([(np.array([0, 10]), np.array([0, 1]))])
    assert np.isnan(single[:, 1:]).all()


def test_false_positive_rate():
    """No effect: one comparison errs in 5 % of experiments; three with Holm err in no more of them."""
    rng = np.random.default_rng(0)
    experiments, alone, family = 1500, 0, 0
    for _ in range(experiments):
        baseline, *methods = rng.normal(0.7, 0.02, size=(4, 5))
        gaps = [paired(method, baseline) for method in methods]
        adjusted = holm([gap.p for gap in gaps])
        alone += verdict(5, gaps[0].mean, gaps[0].p) != "not resolved"
        family += any(verdict(5, g.mean, p) != "not resolved" for g, p in zip(gaps, adjusted, strict=True))
    assert 0.035 < alone / experiments < 0.065
    assert family / experiments < 0.065
