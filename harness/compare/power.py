"""How many seeds a comparison needs, from the standard deviation of paired differences in a pilot.

Everything is about the two-sided paired t test of `statistics.paired`. Its power with n seeds is
P(F > t²_{1-alpha/2, n-1}), where F has the noncentral F distribution with 1 and n - 1 degrees of freedom and
noncentrality n (difference / sd)²: the square of the noncentral t (Cohen 1988, chapter 2). `scipy.special`
holds it and imports at once, where statsmodels' TTestPower takes seconds; its noncentral t (`nctdtr`) is not
used since it is NaN far out in the other tail. For a family of m Holm-adjusted comparisons, alpha/m is a safe
choice.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import chdtri, ncfdtr, stdtrit

from harness.compare.statistics import EQUAL, MIN_SEEDS


def seeds_needed(difference: float, sd: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """The smallest number of seeds with which the true difference is resolved with the given probability.

    difference: of accuracies, its sign does not matter; sd: standard deviation over seeds of the paired
    differences, in the same unit. Never less than MIN_SEEDS, below which no verdict is given; that is also the
    answer where sd is 0. Raises ValueError for a difference of 0, which no number of seeds resolves.
    """
    if not abs(difference) > EQUAL:
        raise ValueError(f"no number of seeds resolves a difference of {difference}")
    low = high = MIN_SEEDS
    while detectable(high, sd, power, alpha) > abs(difference):
        low, high = high, 2 * high
    while low < high:  # detectable falls with n
        middle = (low + high) // 2
        if detectable(middle, sd, power, alpha) > abs(difference):
            low = middle + 1
        else:
            high = middle
    return high


def detectable(n: int, sd: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true difference that n seeds resolve with the given probability, in the unit of sd.

    n >= 2; below MIN_SEEDS this is what the t test resolves, though no verdict is given on it. 0 where sd is 0.
    """
    _check(sd, n)
    if not 0 < alpha < power < 1:
        raise ValueError(f"expected 0 < alpha < power < 1, got alpha {alpha} and power {power}")
    if sd <= EQUAL:
        return 0.0
    critical = float(stdtrit(n - 1, 1 - alpha / 2)) ** 2

    def excess(root: float) -> float:
        """Probability of no verdict at the noncentrality root², less what is allowed."""
        return float(ncfdtr(1, n - 1, root**2, critical)) - (1 - power)

    high = 1.0
    while excess(high) > 0:
        high *= 2
    return sd * float(brentq(excess, 0.0, high, xtol=1e-12)) / math.sqrt(n)


def sd_upper(sd: float, n: int, level: float = 0.8) -> float:
    """One-sided upper confidence limit of a standard deviation estimated from n values (divisor n - 1).

    sd · √((n - 1) / χ²_{1-level, n-1}), for normal values. A pilot of five seeds is a poor guide: the true
    standard deviation lies above the estimate more often than not, and with 80 % confidence below 1.56 times
    the estimate. Planned with this limit, four experiments of five have at least the power they were promised.
    """
    _check(sd, n)
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level}")
    return sd * math.sqrt((n - 1) / float(chdtri(n - 1, level)))  # chdtri takes the upper tail


def _check(sd: float, n: int) -> None:
    if not (sd >= 0 and math.isfinite(sd)):
        raise ValueError(f"a standard deviation must be finite and not negative, got {sd}")
    if n < 2:
        raise ValueError(f"a paired t test needs at least 2 seeds, got {n}")
