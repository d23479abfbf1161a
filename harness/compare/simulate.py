"""Experiments whose truth is known, simulated: what the verdict of a comparison makes of them.

Everything here is a pure function of its arguments and a seeded generator; `calibrate` makes the page of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from harness.compare import statistics
from harness.compare.interaction import interaction

SEEDS = (3, 5, 8, 16)
METHODS = 10  # in the Holm family
PILOT = 2.5  # points, SD of a paired difference; end points of the demo sweep against grpo: 1.5 to 3.3
STEPS, POINTS = (0.5, 1.0, 2.0), (1.0, 2.0, 5.0)  # planted differences, in SDs and in points
EFFECTS = (1.0, 2.0, 4.0)  # of the 2×2: single gains, in SDs of a paired difference
TRUTHS = {"additive": 2.0, "redundant": 1.0, "synergistic": 3.0, "antagonistic": 0.0}  # gain of both / single gain
KINDS = (*TRUTHS, "not resolved")
TEST, ACCURACY, TRAINING = 192 * 4, 0.55, 0.01  # completions on the test set, base accuracy, SD between seeds
CHECKED = 20  # simulated experiments of every cell that also go through `statistics` itself

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True)
class Case:
    """Where seed differences come from. draw: runs of a given shape, in points; sd: of a paired difference.

    kind: "usual", and "extreme" (ties at most seeds, or runs that break down): a difference is one run less another
    of the same law, so symmetric. "skewed": draws are the differences themselves, of mean 0, so a method as good as
    the baseline whose seeds spread unlike the baseline's.
    """

    text: str
    draw: Draw
    sd: float
    kind: str = "usual"

    def differences(self, rng: np.random.Generator, repeats: int, methods: int, n: int) -> np.ndarray:
        """(repeats, methods, n) in points; all methods of an experiment share its baseline runs."""
        runs = self.draw(rng, (repeats, methods, n))
        return runs if self.kind == "skewed" else runs - self.draw(rng, (repeats, 1, n))


def _measured(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 100 * rng.binomial(TEST, np.clip(rng.normal(ACCURACY, TRAINING, shape), 0, 1)) / TEST


def _collapsing(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(0, PILOT / np.sqrt(2), shape) - 20 * (rng.random(shape) < 0.1)


_noise = ACCURACY * (1 - ACCURACY) / TEST + TRAINING**2 * (1 - 1 / TEST)
CASES = {
    "normal": Case("normal runs", lambda rng, shape: rng.normal(0, PILOT / np.sqrt(2), shape), PILOT),
    "measured": Case(
        f"normal runs of SD {100 * TRAINING:g} point, measured with {TEST} independent completions (192 problems × 4 "
        f"samples) at {100 * ACCURACY:g} %",
        _measured, 100 * np.sqrt(2 * _noise),
    ),
    "coarse": Case(
        "30 test problems, each answered once, right with probability 20 %: steps of 3.3 points, ties occur",
        lambda rng, shape: 100 * rng.binomial(30, 0.2, shape) / 30, 100 * np.sqrt(2 * 30 * 0.16) / 30,
    ),
    "skewed runs": Case(
        "exponential runs (skewness 2)",
        lambda rng, shape: rng.exponential(PILOT / np.sqrt(2), shape), PILOT,
    ),
    "heavy tails": Case(
        "runs with t tails of 3 degrees of freedom",
        lambda rng, shape: PILOT / np.sqrt(6) * rng.standard_t(3, shape), PILOT,
    ),
    "mostly ties": Case(
        "30 test problems, each answered once, of which only 3 vary (right every second time)",
        lambda rng, shape: 100 * rng.binomial(3, 0.5, shape) / 30, 100 * np.sqrt(1.5) / 30, kind="extreme",
    ),
    "collapsing": Case(
        "normal runs, of which one in ten ends 20 points lower",
        _collapsing, np.sqrt(PILOT**2 + 2 * 400 * 0.09), kind="extreme",
    ),
    "skewness 1": Case(
        "gamma differences of skewness 1",
        lambda rng, shape: PILOT * (rng.gamma(4.0, 0.5, shape) - 2), PILOT, kind="skewed",
    ),
    "skewness 2": Case(
        "exponential differences (skewness 2)",
        lambda rng, shape: PILOT * (rng.exponential(1.0, shape) - 1), PILOT, kind="skewed",
    ),
}  # fmt: skip


def intervals(values: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`statistics.t_interval` of many vectors: (..., n) -> mean, half width and p, (...) each."""
    n, mean = values.shape[-1], values.mean(axis=-1)
    error = values.std(axis=-1, ddof=1) / np.sqrt(n)
    equal = np.ptp(values, axis=-1) <= statistics.EQUAL
    p = 2 * stdtr(n - 1, -np.abs(mean) / np.where(equal, 1.0, error))
    alike = np.where(np.abs(mean) <= statistics.EQUAL, 1.0, min(1.0, 2.0 * 0.5**n))
    half = np.where(equal, 0.0, stdtrit(n - 1, 1 - alpha / 2) * error)
    return mean, half, np.where(equal, alike, p)


def check(values: np.ndarray, alpha: float) -> None:
    """RuntimeError if `intervals` is not what the comparison itself computes; values: (k, n)."""
    for own, mean, half, p in zip(values, *intervals(values, alpha), strict=True):
        found = statistics.t_interval(own, alpha)
        if not np.allclose((found.mean, found.low, found.high, found.p), (mean, mean - half, mean + half, p)):
            raise RuntimeError(f"the calibration does not simulate statistics.t_interval: {own} gives {found}")


def resolved(p_holm: np.ndarray, n: int, alpha: float) -> np.ndarray:
    """Where `statistics.verdict` says better or worse."""
    return (p_holm < alpha) & (n >= statistics.MIN_SEEDS)


def simulate(case: Case, n: int, repeats: int, rng: np.random.Generator, alpha: float) -> dict[str, float]:
    """Coverage, false positives (of one method; of a family of METHODS) and power at n seeds."""
    gaps = case.differences(rng, repeats, METHODS, n)
    check(gaps[:CHECKED, 0], alpha)
    mean, half, p = intervals(gaps, alpha)
    # Holm rejects anything if and only if it rejects the smallest p, which is adjusted to METHODS times itself
    found = {
        "coverage": np.mean(np.abs(mean[:, 0]) <= half[:, 0] + statistics.EQUAL),
        "false positives": np.mean(resolved(p[:, 0], n, alpha)),
        "family-wise": np.mean(resolved(METHODS * p.min(axis=1), n, alpha)),
    }
    planted = {f"power {step:g} SD": step * case.sd for step in STEPS}
    for name, shift in (planted | {f"power {points:g} points": points for points in POINTS}).items():
        moved, _, p = intervals(gaps[:, 0] + shift, alpha)
        found[name] = np.mean(resolved(p, n, alpha) & (moved > 0))
    return found


def bootstrap(case: Case, n: int, repeats: int, rng: np.random.Generator, alpha: float) -> float:
    """Coverage of SciPy's BCa bootstrap interval (999 resamples) of the mean difference."""
    from scipy.stats import bootstrap as resample  # slow to import, and needed nowhere else

    gaps = case.differences(rng, repeats, 1, n)[:, 0]
    found = resample((gaps,), np.mean, axis=-1, n_resamples=999, batch=100, confidence_level=1 - alpha, method="BCa",
                     rng=rng)  # fmt: skip
    return float(np.mean((found.confidence_interval.low <= 0) & (found.confidence_interval.high >= 0)))


def interactions(
    truth: str, effect: float, n: int, repeats: int, rng: np.random.Generator, alpha: float
) -> dict[str, float]:
    """Rate of each verdict of `interaction` on normal runs; effect: single gains in SDs, truth: key of TRUTHS."""
    gains = np.array([0, 1, 1, TRUTHS.get(truth, 0.0)]) * effect * PILOT
    runs = rng.normal(gains[:, None], PILOT / np.sqrt(2), (repeats, 4, n)) / 100
    found = [interaction(*cells, alpha).verdict for cells in runs]
    return {kind: sum(one.startswith(kind) for one in found) / repeats for kind in KINDS}


def splits(rng: np.random.Generator, count: int, n: int, repeats: int) -> np.ndarray:
    """(repeats, 2, n) places out of `count`: two disjoint halves in random order."""
    return np.argsort(rng.random((repeats, count)), axis=1)[:, : 2 * n].reshape(repeats, 2, n)


def against_itself(
    values: np.ndarray, n: int, repeats: int, rng: np.random.Generator, alpha: float
) -> dict[str, float]:
    """One baseline's runs (count,), fractions, split into halves of n: false positives, power, SD in points."""
    halves = 100 * values[splits(rng, len(values), n, repeats)]
    gaps = halves[:, 0] - halves[:, 1]
    check(gaps[:CHECKED], alpha)
    _, _, p = intervals(gaps, alpha)
    found = {"false positives": np.mean(resolved(p, n, alpha))}
    for points in POINTS:
        mean, _, p = intervals(gaps + points, alpha)
        found[f"power {points:g} points"] = np.mean(resolved(p, n, alpha) & (mean > 0))
    return found | {"SD": np.sqrt(2) * 100 * values.std(ddof=1)}
