"""Statistics of a comparison: pure functions of NumPy arrays. The unit of replication is the training seed.

Student's t is taken from `scipy.special` (the functions behind `scipy.stats.t`), which imports ten times
faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

MIN_SEEDS = 5  # below this a paired t interval is too wide and too fragile to call a verdict
EQUAL = 1e-12  # accuracies are ratios of counts: differences closer than this are rounding


@dataclass(frozen=True)
class Interval:
    """Mean of n values with a two-sided t interval and the p-value of the hypothesis that the mean is 0.

    low, high and p are NaN where n < 2.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float


def t_interval(values: Sequence[float], alpha: float = 0.05) -> Interval:
    """mean ± t_{1-alpha/2, n-1} · s / √n, with s the standard deviation of divisor n - 1.

    values: (n,) one number per seed, for a paired comparison the differences method - baseline. Identical
    values have no spread to estimate, and the t statistic is 0/0 or infinite. The interval is then the single
    point, and p is 1 where that point is 0 and otherwise the exact sign test's 2 · 2^-n (0.0625 at n = 5):
    five equal differences are weak evidence, mostly of a coarse test set, and not infinitely strong evidence.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise ValueError(f"values: expected a vector of finite numbers, got shape {x.shape}: {x}")
    n = len(x)
    if n == 0:
        return Interval(0, np.nan, np.nan, np.nan, np.nan)
    mean = float(x.mean())
    if n == 1:
        return Interval(1, mean, np.nan, np.nan, np.nan)
    if np.ptp(x) <= EQUAL:
        zero = abs(mean) <= EQUAL
        point = 0.0 if zero else mean
        return Interval(n, point, point, point, 1.0 if zero else min(1.0, 2.0 * 0.5**n))
    error = float(x.std(ddof=1)) / np.sqrt(n)
    half = float(stdtrit(n - 1, 1 - alpha / 2)) * error
    p = 2.0 * float(stdtr(n - 1, -abs(mean) / error))
    return Interval(n, mean, mean - half, mean + half, p)


def paired(method: Sequence[float], baseline: Sequence[float], alpha: float = 0.05) -> Interval:
    """The t interval of method - baseline; both (n,), in the same order of seeds."""
    a, b = np.asarray(method, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired values must match: {a.shape} and {b.shape}")
    return t_interval(a - b, alpha)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjustment (Holm 1979): sorted, p_(i) becomes max over j <= i of min(1, (m - j + 1) ·
    p_(j)).

    p_values: (m,) -> adjusted (m,) in the same order. NaN (no test was made) stays NaN and does not count in
    m.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * p[order]))
    return adjusted


def verdict(pairs: int, difference: float, p_holm: float, alpha: float = 0.05) -> str:
    """better | worse | not resolved: the sign of the difference counts only where the Holm-adjusted p <
    alpha.
    """
    if pairs < MIN_SEEDS:
        return f"not resolved (n<{MIN_SEEDS})"
    if not p_holm < alpha:
        return "not resolved"
    return "better" if difference > 0 else "worse"


def area_under_curve(steps: Sequence[float], values: Sequence[float]) -> float:
    """Trapezoid area over steps divided by their range: the mean accuracy over training. NaN with fewer than
    2 points.

    steps, values: (k,), steps strictly increasing.
    """
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.shape != y.shape or (np.diff(x) <= 0).any():
        raise ValueError(f"steps must increase and match values: {x} and {y}")
    return float(np.trapezoid(y, x) / (x[-1] - x[0])) if len(x) > 1 else float("nan")


def first_crossing(x: Sequence[float], values: Sequence[float], threshold: float) -> float:
    """The first x at which the piecewise linear curve reaches the threshold; inf if it never does (censored).

    x, values: (k,), x not decreasing. A curve that starts at or above the threshold crosses at x[0].
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(values, dtype=np.float64)
    reached = np.flatnonzero(y >= threshold)
    if len(reached) == 0:
        return float("inf")
    i = int(reached[0])
    if i == 0:
        return float(x[0])
    return float(x[i - 1] + (x[i] - x[i - 1]) * (threshold - y[i - 1]) / (y[i] - y[i - 1]))


def mean_curve(
    curves: Sequence[tuple[np.ndarray, np.ndarray]], alpha: float = 0.05, points: int = 41
) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds of curves whose x may differ, on a common grid: ((k,) x, (k, 3) mean, low, high).

    curves: one (x, y) a seed. Where all x agree they are the grid; otherwise (generated tokens, seconds) each
    curve is interpolated linearly on `points` values from the largest first x to the smallest last x, so that
    nobody is extrapolated. low and high are the t interval over seeds, NaN for one seed.
    """
    first = np.asarray(curves[0][0], dtype=np.float64)
    same = all(np.array_equal(first, x) for x, _ in curves)
    grid = first if same else np.linspace(max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves), points)
    values = np.stack([np.interp(grid, x, y) for x, y in curves], axis=1)
    n = values.shape[1]
    mean, half = values.mean(axis=1), np.full(len(grid), np.nan)
    if n > 1:
        half = float(stdtrit(n - 1, 1 - alpha / 2)) * values.std(axis=1, ddof=1) / np.sqrt(n)
    return grid, np.stack([mean, mean - half, mean + half], axis=1)
