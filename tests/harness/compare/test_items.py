import math

import numpy as np
import pytest
from scipy.stats import permutation_test

from harness.compare.items import (
    FLIPS,
    OUTCOMES,
    McNemar,
    hierarchical_interval,
    mcnemar,
    permutation,
    variance_split,
)

NAN = float("nan")


def test_mean_accuracy_by_hand():
    # seed 0: (1/2 + 2/4 + 4/4)/3 = 2/3; seed 1: (0/4 + 3/4)/2 = 3/8, its first problem was not judged
    found = hierarchical_interval([[1, 2, 4], [0, 0, 3]], [[2, 4, 4], [0, 4, 4]])
    assert found.value == pytest.approx((2 / 3 + 3 / 8) / 2)
    assert found.low < found.value < found.high


def test_nothing_varies_where_all_is_right():
    found = hierarchical_interval([[4, 2]] * 3, [[4, 2]] * 3)
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))


def test_seeds_vary_alone_by_hand():
    # one seed right throughout, one wrong: resampled means 0, 1/2, 1 with chances 1/4, 1/2, 1/4
    correct, n = [[0, 0], [4, 4]], [[4, 4], [4, 4]]
    wide, narrow = hierarchical_interval(correct, n, 0.05), hierarchical_interval(correct, n, 0.6)
    assert (wide.low, wide.high, narrow.low, narrow.high) == (0, 1, 0.5, 0.5)


def _half_width(correct, n):
    found = hierarchical_interval(correct, n)
    return (found.high - found.low) / 2


def test_width_by_hand():
    """Wide enough to be normal: half the width is 1.96 standard deviations of the three draws."""
    # completions alone: all 200 problems have p = 1/2, k = 4: variance 1/4/4/200
    one = np.full((1, 200), 2), np.full((1, 200), 4)
    assert _half_width(*one) == pytest.approx(1.96 * math.sqrt(0.25 / 4 / 200), rel=0.07)
    # problems too: half p = 1/4, half p = 3/4: problems 1/16, completions 3/16/4
    correct, n = np.array([[1, 3] * 100]), np.full((1, 200), 4)
    assert _half_width(correct, n) == pytest.approx(1.96 * math.sqrt((1 / 16 + 3 / 64) / 200), rel=0.07)
    # seeds too: accuracies 0, 1/40, ..., 40/40, all problems right or wrong: seeds (41² - 1)/12/40² = .0875,
    # problems mean of p (1 - p)/200 = (1/2 - 1/4 - .0875)/200
    correct, n = 4 * (np.arange(200) < 5 * np.arange(41)[:, None]), np.full((41, 200), 4)
    assert _half_width(correct, n) == pytest.approx(1.96 * math.sqrt((0.0875 + 0.1625 / 200) / 41), rel=0.07)


def test_mixed_numbers_of_completions():
    # 100 problems with 1 of 2 and 100 with 4 of 8: no variance between problems, completions 1/4 (1/2 + 1/8)/2
    correct, n = np.array([[1, 4] * 100]), np.array([[2, 8] * 100])
    assert _half_width(correct, n) == pytest.approx(1.96 * math.sqrt(0.25 * 0.3125 / 200), rel=0.07)


def test_problems_without_judgement_are_left_out():
    correct, n = np.array([[1, 3, 2], [0, 4, 4]]), np.full((2, 3), 4)
    padded = [np.insert(a, 1, 0, axis=1) for a in (correct, n)]
    assert hierarchical_interval(*padded) == hierarchical_interval(correct, n)
    assert variance_split(*padded) == variance_split(correct, n)


def test_same_input_same_digits():
    correct, n = np.array([[1, 3, 2], [0, 4, 4]]), np.full((2, 3), 4)
    correct, n = np.tile(correct, 31), np.tile(n, 31)
    first = hierarchical_interval(correct, n, seed=1)
    assert hierarchical_interval(correct, n, seed=1) == first != hierarchical_interval(correct, n, seed=2)
    d = np.random.default_rng(0).normal(0.1, 1, 50)
    assert permutation(d, seed=1) == permutation(d, seed=1) != permutation(d, seed=2)


@pytest.mark.parametrize(
    ("both", "b", "c", "p"),
    [
        (4, 1, 7, 2 * (1 + 8) / 256),
        (0, 5, 0, 2 / 32),
        (9, 2, 3, 1.0),  # 2 · (1 + 5 + 10)/32
        (2, 3, 3, 1.0),  # the doubled tail would be above 1
        (6, 0, 0, 1.0),
    ],
)
def test_mcnemar_by_hand(both, b, c, p):
    ours = [True] * both + [True] * b + [False] * c + [False] * 2
    theirs = [True] * both + [False] * b + [True] * c + [False] * 2
    found = mcnemar(ours, theirs)
    assert (found.b, found.c, found.p) == (b, c, pytest.approx(p))
    assert mcnemar(theirs, ours) == McNemar(c, b, found.p)


def test_mcnemar_leaves_out_what_was_not_judged():
    assert mcnemar([1, None, 1, 0, NAN], [0, 1, None, 1, 0]) == McNemar(1, 1, 1.0)
    assert mcnemar([], []) == McNemar(0, 0, 1.0)
    with pytest.raises(ValueError, match="right"):
        mcnemar([0.5], [1])
    with pytest.raises(ValueError, match="match"):
        mcnemar([1, 0], [1])


@pytest.mark.parametrize(
    ("differences", "weights", "p"),
    [
        ([0.25, 0.5, 0.75], None, 2 / 8),  # only +++ and --- reach 1.5
        ([0.5, 0.5, -0.25], None, 4 / 8),  # sum .75; +++ gives 1.25, ++- .75, +-± less
        ([-0.5, -0.5, 0.25], None, 4 / 8),
        ([0.5, 0, 0.5, 0, -0.25], None, 4 / 8),  # no difference, no evidence
        ([0.5, -0.5], None, 1.0),
        ([0.0, 0.0], None, 1.0),
        ([], None, 1.0),
        ([0.5, 0.5, -0.25], [3, 1, 2], 6 / 8),  # 1.5 .5 -.5, sum 1.5: 2.5, 1.5 and 1.5, not .5
        ([0.5, 0.5, -0.25], [1, 0, 2], 1.0),  # .5 -.5
        ([0.25] * 6, None, 2 / 64),
        # four equal up to rounding, one against: 4 of 4 (1/8) or 3 of 4 (8/16)
        ([0.3 - 0.1, 0.2, 0.9 - 0.7, -0.2], None, 10 / 16),
        ([0.1 + 0.2, -0.3], None, 1.0),
    ],
)
def test_permutation_by_hand(differences, weights, p):
    assert permutation(differences, weights) == pytest.approx(p)


def _scipy(d):
    def mean(x, axis):
        return x.mean(axis=axis)

    rng = np.random.Generator(np.random.Philox(7))
    return permutation_test((d,), mean, permutation_type="samples", vectorized=True, rng=rng).pvalue


def test_permutation_agrees_with_scipy():
    rng = np.random.default_rng(1)
    for _ in range(5):  # ten problems: both enumerate
        d = rng.integers(-4, 6, size=10) / 4
        assert permutation(d) == pytest.approx(_scipy(d))
    d = rng.normal(0.2, 1, size=40)  # both flip at random: standard error below .005 each
    assert permutation(d) == pytest.approx(_scipy(d), abs=0.02)


def test_exact_and_random_flips_agree():
    d = np.repeat([0.25, -0.25, 0.5, -0.5, 0.75, 1.0], [30, 22, 12, 9, 6, 2])
    exact = permutation(d)  # 53 · 22 · 7 · 3 outcomes
    jitter = d + np.linspace(0, 1e-6, len(d))  # no two the same: 2^81 outcomes
    assert OUTCOMES >= 53 * 22 * 7 * 3
    assert exact != permutation(jitter)
    assert exact == pytest.approx(permutation(jitter), abs=0.005)


def test_permutation_is_never_certain():
    assert permutation(np.linspace(0.5, 1, 60)) == 1 / (FLIPS + 1)
    assert permutation(np.full(20, 0.25)) == pytest.approx(2 / 2**20)
    assert permutation(0.2 + 1e-15 * np.arange(20)) == pytest.approx(2 / 2**20)  # equal up to rounding
    assert 0 < permutation(np.full(3000, 0.25)) < 1e-300


def test_permutation_false_positive_rate():
    rng = np.random.default_rng(2)
    p = np.array([permutation(rng.integers(-4, 5, size=20) / 4) for _ in range(600)])
    assert 0.03 < (p < 0.05).mean() < 0.07
    assert 0.5 < p.mean() < 0.56  # ties make p a little larger than uniform


def test_permutation_refuses_what_is_no_vector_of_numbers():
    with pytest.raises(ValueError, match="finite"):
        permutation([0.1, NAN])
    with pytest.raises(ValueError, match="weights"):
        permutation([0.1, 0.2], [1.0])
    with pytest.raises(ValueError, match="weights"):
        permutation([0.1, 0.2], [1.0, -1.0])


def test_variance_split_by_hand():
    # p = .5 1 | .25 .5, k = 4: accuracies .75 and .375, total .375²/2 = .0703125
    # evaluation: seed 0 (.25/3 + 0)/4 = .25/12, seed 1 (.1875/3 + .25/3)/4 = .4375/12; mean .6875/24
    found = variance_split([[2, 4], [1, 2]], [[4, 4], [4, 4]])
    assert found.total == pytest.approx(0.0703125)
    assert found.evaluation == pytest.approx(0.6875 / 24)
    assert found.training == pytest.approx(0.0703125 - 0.6875 / 24)


def test_variance_split_of_equal_seeds():
    # total 0, evaluation (.25/3 + .25/3)/4 = 1/24: nothing is left for training
    found = variance_split([[2, 2], [2, 2]], [[4, 4], [4, 4]])
    assert (found.total, found.training, found.evaluation) == pytest.approx((0, 0, 1 / 24))


def test_one_completion_borrows_the_spread_of_the_others():
    # 2 of 4: spread 4/3 · 1/4 = 1/3, shared by the problem with 1 of 1: (1/3/4 + 1/3/1)/2² = 5/48
    found = variance_split([[2, 1], [2, 1]], [[4, 1], [4, 1]])
    assert found.evaluation == pytest.approx(5 / 48)


def test_what_cannot_be_estimated():
    alone = variance_split([[2, 4]], [[4, 4]])
    assert math.isnan(alone.total) and math.isnan(alone.training)
    assert alone.evaluation == pytest.approx(0.25 / 12)
    greedy = variance_split([[1, 0], [1, 1]], [[1, 1], [1, 1]])  # accuracies .5 and 1
    assert greedy.total == pytest.approx(0.125)
    assert math.isnan(greedy.evaluation) and math.isnan(greedy.training)


def test_variance_split_finds_what_was_put_in():
    rng = np.random.default_rng(3)
    p = 0.5 + rng.normal(0, 0.05, size=(3000, 1)) + np.linspace(-0.3, 0.3, 20)
    found = variance_split(rng.binomial(4, p.clip(0, 1)), np.full(p.shape, 4))
    # completions: mean of p (1 - p)/4/20 with p (1 - p) = 1/4 - variance of p, (.05² + .0332)
    assert found.evaluation == pytest.approx(
        (0.25 - 0.0025 - np.linspace(-0.3, 0.3, 20).var()) / 80, rel=0.03
    )
    assert found.training == pytest.approx(0.0025, rel=0.12)


@pytest.mark.parametrize(
    ("correct", "n", "message"),
    [
        ([[1, 5]], [[4, 4]], "0 <= correct <= n"),
        ([[-1, 2]], [[4, 4]], "0 <= correct <= n"),
        ([[0.5, 2]], [[4, 4]], "whole"),
        ([[NAN, 2]], [[4, 4]], "whole"),
        ([[1, 2], [0, 0]], [[4, 4], [0, 0]], r"rows \[1\]"),
        ([1, 2], [4, 4], "arrays"),
        ([[1, 2]], [[4]], "arrays"),
    ],
)
def test_refuses_what_are_no_counts(correct, n, message):
    for function in (hierarchical_interval, variance_split):
        with pytest.raises(ValueError, match=message):
            function(correct, n)
