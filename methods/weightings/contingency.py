"""How much a token's presence says about correctness: statistics of 2×2 tables."""

from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from math import comb

import numpy as np
from scipy.special import xlogy


@lru_cache(maxsize=256)
def fisher_p(correct: int, wrong: int) -> np.ndarray:
    """Two-sided p of the tables with these two totals: p[a, b], (correct + 1, wrong + 1), read-only.

    a of the correct and b of the wrong completions contain a token. Of the tables with the same a + b, those
    no more likely than the observed one count: Σ C(correct, i)·C(wrong, m − i) / C(correct + wrong, m).
    Counted in whole numbers, so that equally likely tables tie and p = 1 is exactly 1.
    """
    p = np.ones((correct + 1, wrong + 1))
    for m in range(correct + wrong + 1):
        possible = range(max(0, m - wrong), min(correct, m) + 1)
        ways = [comb(correct, i) * comb(wrong, m - i) for i in possible]
        ordered = sorted(ways)
        up_to = [0, *accumulate(ordered)]
        for i, number in zip(possible, ways, strict=True):
            p[i, m - i] = up_to[bisect_right(ordered, number)] / up_to[-1]
    p.flags.writeable = False  # the cached table is shared
    return p


def information_gain(a: np.ndarray, b: np.ndarray, correct: int, wrong: int) -> np.ndarray:
    """H(correct) − H(correct | a token is there) in bits, for tables as above; (U,) counts → (U,).

    n·H is φ(n) − φ(n₁) − φ(n₂) with φ(x) = x·log₂ x, for the whole group and for its parts with and without.
    """

    def spread(first, second):  # n·H of a pile of two kinds
        return xlogy(first + second, first + second) - xlogy(first, first) - xlogy(second, second)

    gain = spread(correct, wrong) - spread(a, b) - spread(correct - a, wrong - b)
    return np.maximum(gain, 0.0) / (np.log(2) * (correct + wrong))
