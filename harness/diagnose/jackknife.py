"""Intervals of what is measured on independent units: prompts, batches of rollouts, or whole seeds of rollout noise.

A measure is computed once from all units, and once without each of the U units in turn. The spread of the latter gives
its standard error (the jackknife, Quenouille 1949, Tukey 1958), Student's t with U − 1 degrees of freedom its interval.
For a plain mean that is the usual t interval; it also holds for ratios and cosines of sums, and what is left out of
two methods at once pairs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit


@dataclass(frozen=True)
class Estimate:
    """Measures by name: value (M,) from all units, and left (U, M) without each of them."""

    measures: Sequence[str]
    value: np.ndarray
    left: np.ndarray

    def interval(self, alpha: float = 0.05) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """value, low, high, (M,) each. All are NaN where a measure does not exist without one of the units, since then
        it hangs on that unit alone; low and high where there is but one unit.
        """
        units = len(self.left)
        value = np.where(np.isfinite(self.left).all(axis=0), self.value, np.nan)
        if units < 2:
            return value, np.full_like(value, np.nan), np.full_like(value, np.nan)
        error = np.sqrt((units - 1) / units * ((self.left - self.left.mean(axis=0)) ** 2).sum(axis=0))
        half = float(stdtrit(units - 1, 1 - alpha / 2)) * error
        return value, value - half, value + half

    def frame(self, method: str, alpha: float = 0.05) -> pd.DataFrame:
        """Rows method, measure, value, low, high."""
        columns = zip(self.measures, *self.interval(alpha), strict=True)
        rows = [(method, *row) for row in columns]
        return pd.DataFrame(rows, columns=["method", "measure", "value", "low", "high"])


def contrast(terms: Mapping[str, float], of: Mapping[str, Estimate]) -> Estimate:
    """The sum of coefficient · measures over methods, unit by unit: a difference, or an interaction."""
    parts = [(weight, of[name]) for name, weight in terms.items()]
    value = sum(weight * own.value for weight, own in parts)
    return Estimate(parts[0][1].measures, value, sum(weight * own.left for weight, own in parts))


def of_sums(measures: Sequence[str], compute, sums: np.ndarray, units: np.ndarray) -> Estimate:
    """Measures of sums that add up over rows. sums (n, S); units (n,): the unit that each row belongs to; compute:
    (…, S) -> (…, M).
    """
    whole = sums.sum(axis=0)
    left = np.stack([whole - sums[units == unit].sum(axis=0) for unit in np.unique(units)])
    return Estimate(measures, compute(whole), compute(left))
