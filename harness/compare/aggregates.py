"""Aggregates over seeds and tasks (Agarwal et al. 2021, arXiv 2108.13264), each with a bootstrap interval.

Values are accuracies in [0, 1] of shape (..., seeds, tasks); a task is a domain. The point functions vectorise
over leading axes, so that a bootstrap is one call. The intervals are percentile intervals of 2000 resamples,
each from a generator of its own: the same input gives the same digits.

Difference from rliable, the authors' library: there the runs of each task are resampled on their own. Here one
seed is one run, and its tasks are resampled together, since one policy answers the problems of all domains.

These intervals describe; they give no verdict: with five seeds or fewer a percentile bootstrap covers less than
it says, and a verdict comes from the paired t interval in `statistics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from harness.compare.statistics import EQUAL

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; low and high are NaN where one seed leaves nothing to resample."""

    value: float
    low: float
    high: float


def percentile(value: float, resampled: np.ndarray, alpha: float) -> Estimate:
    """The value with the alpha/2 and 1 - alpha/2 quantiles of its resampled values, (resamples,)."""
    low, high = np.quantile(resampled, [alpha / 2, 1 - alpha / 2])
    return Estimate(float(value), float(low), float(high))


def iqm(values: np.ndarray) -> np.ndarray:
    """Interquartile mean: the mean of the middle half of all runs, seeds x tasks taken together.

    values: (..., seeds, tasks) -> (...). Of n runs the floor(n/4) lowest and as many of the highest are left
    out, as in rliable.
    """
    x = _checked(values)
    return stats.trim_mean(x.reshape(*x.shape[:-2], -1), 0.25, axis=-1)


def optimality_gap(values: np.ndarray, gamma: float = 1.0) -> np.ndarray:
    """How far the runs fall short of the accuracy gamma, in the mean: gamma - mean(min(value, gamma)).

    values: (..., seeds, tasks) -> (...). Lower is better. With gamma = 1 it is 1 - the mean accuracy.
    """
    return gamma - np.minimum(_checked(values), gamma).mean(axis=(-2, -1))


def probability_of_improvement(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """P(X > Y) + P(X = Y)/2 of a random run of x and one of y on one task, averaged over tasks (Mann-Whitney).

    x: (..., n, tasks), y: (..., m, tasks) -> (...). Accuracies closer than rounding are ties.
    """
    return _wins(x, y).mean(axis=(-2, -1))


def performance_profile(values: np.ndarray, taus: Sequence[float]) -> np.ndarray:
    """Share of runs whose accuracy exceeds each tau, averaged over tasks.

    values: (..., seeds, tasks), taus: (k,) -> (..., k). An accuracy equal to tau up to rounding does not exceed
    it: 0.7 of a grid and 7/10 of a count are the same.
    """
    return _profiles(values, taus).mean(axis=-2)


def iqm_interval(values: np.ndarray, alpha: float = 0.05, seed: int = 0) -> Estimate:
    """The IQM of (seeds, tasks) with its interval over seeds."""
    x = _checked(values, batched=False)
    return _estimate(iqm(x), iqm(x[_draws(_generator(seed), len(x))]), len(x), alpha)


def optimality_gap_interval(
    values: np.ndarray, gamma: float = 1.0, alpha: float = 0.05, seed: int = 0
) -> Estimate:
    """The optimality gap of (seeds, tasks) with its interval over seeds."""
    x = _checked(values, batched=False)
    resampled = optimality_gap(x[_draws(_generator(seed), len(x))], gamma)
    return _estimate(optimality_gap(x, gamma), resampled, len(x), alpha)


def probability_of_improvement_interval(
    x: np.ndarray, y: np.ndarray, alpha: float = 0.05, seed: int = 0
) -> Estimate:
    """The probability of improvement with its interval; x: (n, tasks), y: (m, tasks).

    The seeds of x and of y are resampled independently, as in rliable, although both may hold the same seeds:
    the statistic compares every run with every other, not seed by seed. How often each seed was drawn, w_x and
    w_y, tells all: a resample's value is w_x' C w_y / (n m), C being the comparisons averaged over tasks.
    """
    x, y = _checked(x, batched=False), _checked(y, batched=False)
    wins = _wins(x, y)
    of_x, of_y = _counts(seed, len(x), len(y))
    resampled = ((of_x @ wins) * of_y).sum(axis=1) / wins.size
    return _estimate(wins.mean(), resampled, min(len(x), len(y)), alpha)


def profile_band(values: np.ndarray, taus: Sequence[float], alpha: float = 0.05, seed: int = 0) -> np.ndarray:
    """The performance profile of (seeds, tasks) at taus (k,) with a pointwise interval over seeds.

    -> (k, 3): value, low, high; low and high are NaN for one seed.
    """
    profiles = _profiles(_checked(values, batched=False), taus)
    n = len(profiles)
    band = np.full((profiles.shape[1], 2), np.nan)
    if n > 1:
        (of,) = _counts(seed, n)
        resampled = of @ profiles / n
        band = np.quantile(resampled, [alpha / 2, 1 - alpha / 2], axis=0).T
    return np.column_stack([profiles.mean(axis=0), band])


def _estimate(value: float, resampled: np.ndarray, seeds: int, alpha: float) -> Estimate:
    return percentile(value, resampled, alpha) if seeds > 1 else Estimate(float(value), np.nan, np.nan)


def _wins(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1[x_i > y_j] + 1[x_i = y_j]/2 averaged over tasks: (..., n, m)."""
    x, y = _checked(x), _checked(y)
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(f"both need the same tasks, got shapes {x.shape} and {y.shape}")
    gap = x[..., :, None, :] - y[..., None, :, :]
    return np.where(np.abs(gap) <= EQUAL, 0.5, gap > 0).mean(axis=-1)


def _profiles(values: np.ndarray, taus: Sequence[float]) -> np.ndarray:
    """Each seed's share of tasks whose accuracy exceeds each tau: (..., seeds, k)."""
    grid = np.asarray(taus, dtype=np.float64)
    return (_checked(values)[..., None] - grid > EQUAL).mean(axis=-2)


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _draws(rng: np.random.Generator, n: int) -> np.ndarray:
    """(resamples, n): which seeds each resample holds."""
    return rng.integers(n, size=(RESAMPLES, n))


@lru_cache(maxsize=16)  # a matrix of pairs asks for the same draws again and again
def _counts(seed: int, *sizes: int) -> tuple[np.ndarray, ...]:
    """How often each resample holds each seed: for each n of sizes (resamples, n), rows sum to n."""
    rng, counts = _generator(seed), []
    for n in sizes:
        cells = _draws(rng, n) + n * np.arange(RESAMPLES)[:, None]
        flat = np.bincount(cells.ravel(), minlength=n * RESAMPLES).astype(np.float64)
        flat.flags.writeable = False
        counts.append(flat.reshape(RESAMPLES, n))
    return tuple(counts)


def _checked(values: np.ndarray, batched: bool = True) -> np.ndarray:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim < 2 or (x.ndim > 2 and not batched) or x.size == 0:
        raise ValueError(f"values: expected an array (seeds, tasks), got shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("values: expected finite numbers; leave incomplete seeds or tasks out")
    return x
