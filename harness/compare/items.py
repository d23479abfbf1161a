"""By-problem statistics: what the problems and the sampled completions of one cell or one pair tell.

One cell is a method on a domain: `correct` (seeds, problems) holds the right completions out of `n` (seeds,
problems) judged ones. A completion that could not be judged is counted in neither; a problem with n = 0 is left
out. None of these replaces the test over seeds: the unit of replication is the training seed, and `mcnemar`
and `permutation` speak only of the policies that were trained, not of their methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from harness.compare.aggregates import RESAMPLES, Estimate, percentile
from harness.compare.statistics import EQUAL

FLIPS = 9999  # random sign flips of a permutation test: the smallest p is 1/10000
OUTCOMES = 2**16  # up to so many distinct outcomes of all sign flips, the test is exact


@dataclass(frozen=True)
class McNemar:
    """b problems right in ours only, c in theirs only, and the exact two-sided p that both are as likely."""

    b: int
    c: int
    p: float


@dataclass(frozen=True)
class Variance:
    """Variance between seeds of a run's accuracy, and its two parts; NaN where it cannot be estimated."""

    total: float
    training: float
    evaluation: float


def hierarchical_interval(correct: np.ndarray, n: np.ndarray, alpha: float = 0.05, seed: int = 0) -> Estimate:
    """Mean accuracy of one cell with the percentile interval of a bootstrap of seeds, problems and completions.

    correct, n: (seeds, problems). The value is the mean over seeds of the mean over problems of correct / n. A
    resample draws seeds, of each drawn seed as many problems as it has, of each problem as many completions.
    Problems with the same (correct, n) are interchangeable: a seed's draw of problems is a multinomial over
    these classes, and the completions of all problems drawn from one class are one binomial.

    Problems are drawn afresh for each drawn seed, so what is common to a problem in all seeds averages out like
    noise: the interval is about these test problems, not about another test set. Each level's draw repeats a
    part of the noise of the level above, which makes the interval somewhat wide for few completions a problem.
    A single seed is drawn again and again: its interval then covers problems and completions only.
    """
    correct, n = _checked(correct, n)
    rng = np.random.Generator(np.random.Philox(seed))
    seeds = len(correct)
    drawn = rng.integers(seeds, size=(RESAMPLES, seeds))
    resampled, value = np.empty(drawn.shape), 0.0
    for s in range(seeds):
        judged = n[s] > 0
        problems = int(judged.sum())
        classes, sizes = np.unique(np.column_stack([correct[s], n[s]])[judged], axis=0, return_counts=True)
        right, judgements = classes.T
        slots = drawn == s
        times = rng.multinomial(problems, sizes / problems, size=int(slots.sum()))
        again = rng.binomial(times * judgements, right / judgements) / judgements
        resampled[slots] = again.sum(axis=1) / problems
        value += float(sizes @ (right / judgements)) / problems / seeds
    return percentile(value, resampled.mean(axis=1), alpha)


def mcnemar(ours: Sequence[float], theirs: Sequence[float]) -> McNemar:
    """Exact McNemar test of paired greedy answers of one seed (McNemar 1947).

    ours, theirs: (problems,), 1 or True where right, 0 or False where wrong, NaN or None where not judged; a
    problem not judged on both sides is left out. Without a problem on which they differ p is 1.
    """
    # statsmodels takes seconds to import, and runs without greedy completions do not need it
    from statsmodels.stats.contingency_tables import mcnemar as exact_test

    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"paired answers must be vectors that match: {a.shape} and {b.shape}")
    judged = ~(np.isnan(a) | np.isnan(b))
    a, b = a[judged], b[judged]
    if not np.isin([a, b], [0, 1]).all():
        raise ValueError("answers: expected right (1), wrong (0) or not judged (NaN)")
    only_ours, only_theirs = int((a > b).sum()), int((a < b).sum())
    # the diagonal, problems on which both agree, does not enter the test
    p = float(exact_test([[0, only_ours], [only_theirs, 0]], exact=True).pvalue)
    return McNemar(only_ours, only_theirs, p)


def permutation(differences: Sequence[float], weights: Sequence[float] | None = None, seed: int = 0) -> float:
    """Two-sided p of the paired sign-flip permutation test that the mean difference over problems is 0.

    differences: (problems,) ours - theirs in avg@k; weights: (problems,) not negative, for a weighted mean. A
    problem without difference keeps its 0 under any flip. Of m_v problems with the same |difference| v (times
    weight), a flip of signs turns a binomial number; so the test is exact wherever the product of m_v + 1 is
    small, and otherwise made of 9999 random flips with p = (1 + hits) / 10000. p is never 0.
    `scipy.stats.permutation_test` does the same, but takes seconds for a thousand problems.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or not np.isfinite(d).all():
        raise ValueError(f"differences: expected a vector of finite numbers, got shape {d.shape}: {d}")
    w = np.ones(d.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != d.shape or not (np.isfinite(w) & (w >= 0)).all():
        raise ValueError(f"weights: expected {d.shape} numbers, finite and not negative, got {w}")
    d = (d * w)[(np.abs(d) > EQUAL) & (w > 0)]
    if len(d) == 0:
        return 1.0
    # the unit drops out of the comparison; rounding it away makes 0.3 - 0.1 and 0.2 one class
    sizes, counts = np.unique((np.abs(d) / np.abs(d).max()).round(12), return_counts=True)
    observed = abs(d.sum()) / np.abs(d).max() - len(d) * 1e-11
    if np.prod(counts + 1.0) <= OUTCOMES:
        sums, chances = np.zeros(1), np.ones(1)
        for size, count in zip(sizes, counts, strict=True):
            kept = np.arange(count + 1)
            sums = np.add.outer(sums, size * (2 * kept - count)).ravel()
            chances = np.multiply.outer(chances, binom.pmf(kept, count, 0.5)).ravel()
        # a chance below the smallest number must not become 0
        return float(np.clip(chances[np.abs(sums) >= observed].sum(), np.finfo(np.float64).tiny, 1))
    rng = np.random.Generator(np.random.Philox(seed))
    sums = (2 * rng.binomial(counts, 0.5, size=(FLIPS, len(counts))) - counts) @ sizes
    return (1 + int((np.abs(sums) >= observed).sum())) / (1 + FLIPS)


def variance_split(correct: np.ndarray, n: np.ndarray) -> Variance:
    """Splits the variance between seeds of a run's accuracy into training seed and sampled completions.

    correct, n: (seeds, problems). total: variance over seeds (divisor seeds - 1) of the mean over problems of
    p = correct / n. evaluation: what drawing n completions a problem adds to it, the mean over seeds of
    sum p (1 - p) / (n - 1) / P², unbiased for these P problems. training: max(0, total - evaluation). One
    completion shows no spread: its problem is given the mean spread n/(n-1) p (1-p) of the seed's other
    problems, and evaluation and training are NaN if there are none. total is NaN for one seed.
    """
    correct, n = _checked(correct, n)
    accuracies, sampling = [], []
    for right, judgements in zip(correct, n, strict=True):
        right, judgements = right[judgements > 0], judgements[judgements > 0]
        p = right / judgements
        several = judgements > 1
        spread = np.full(len(p), np.nan)
        spread[several] = (p * (1 - p))[several] * judgements[several] / (judgements[several] - 1)
        if several.any():
            spread[~several] = spread[several].mean()
        accuracies.append(p.mean())
        sampling.append((spread / judgements).sum() / len(p) ** 2)
    total = float(np.var(accuracies, ddof=1)) if len(accuracies) > 1 else float("nan")
    evaluation = float(np.mean(sampling))
    return Variance(total, float(np.maximum(0.0, total - evaluation)), evaluation)  # NaN stays NaN


def _checked(correct: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as integers (seeds, problems) with 0 <= correct <= n and a judged problem in every seed."""
    right, judgements = np.asarray(correct), np.asarray(n)
    if right.ndim != 2 or right.shape != judgements.shape or right.size == 0:
        raise ValueError(f"expected two (seeds, problems) arrays, got {right.shape} and {judgements.shape}")
    if not (np.equal(right, np.round(right)).all() and np.equal(judgements, np.round(judgements)).all()):
        raise ValueError("counts of completions: expected whole numbers")
    right, judgements = right.astype(np.int64), judgements.astype(np.int64)
    if (right < 0).any() or (right > judgements).any():
        raise ValueError("counts of completions: expected 0 <= correct <= n")
    if lost := np.flatnonzero((judgements == 0).all(axis=1)).tolist():
        raise ValueError(f"no judged completion at all in rows {lost}: leave these seeds out")
    return right, judgements
