import numpy as np
import pytest

from harness.diagnose.values import MEASURES, SUMS, measures, prompt_sums, value_quality


def found(*problems):
    sums = prompt_sums([{(i,): state for i, state in enumerate(states)} for states in problems])
    return dict(zip(MEASURES, measures(sums.sum(axis=0)), strict=True))


def test_by_hand():
    # v, V^a, V^b of three states. Errors: (0.5-1)(0.5-0.5) = 0, (0-0.5)(0-0.5) = 0.25, (0-0)(0-0) = 0; mean 1/12
    own = found([(0.5, 1.0, 0.5), (0.0, 0.5, 0.5), (0.0, 0.0, 0.0)])
    assert own["value_error"] == pytest.approx(np.sqrt(1 / 12))
    # cov: mean of ab = (0.5 + 0.25 + 0)/3 = 0.25, means 0.5 and 1/3: 0.25 - 1/6 = 1/12
    assert own["value_r2"] == pytest.approx(0)
    # v has mean 1/6 and variance 1/12 − 1/36 = 1/18; cov with V = 0.75, 0.5, 0: 0.125 − 5/12·1/6 = 1/18
    assert own["value_correlation"] == pytest.approx((1 / 18) / np.sqrt(1 / 12 * 1 / 18))
    # pairs that both halves order alike: (0, 2) and (1, 2), since b ties 0 and 1; v orders the first, ties the second
    assert own["value_pairs"] == pytest.approx(0.75)


def test_pairs_are_of_one_problem():
    one, other = [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0)], [(0.0, 1.0, 1.0), (1.0, 0.0, 0.0)]
    assert found(one, other)["value_pairs"] == 0.5
    assert prompt_sums([dict(enumerate(one)), dict(enumerate(other))])[:, SUMS.index("pairs")].tolist() == [1, 1]


def test_the_noise_of_the_truth_is_taken_out():
    rng = np.random.default_rng(0)
    true = rng.uniform(size=4000)
    halves = true + rng.normal(scale=0.2, size=(2, 4000))
    problems = [
        {(i,): (t + 0.1, a, b) for i, (t, a, b) in enumerate(zip(*part, strict=True))}
        for part in zip(*(x.reshape(400, 10) for x in (true, *halves)), strict=True)
    ]
    value, low, high = value_quality(prompt_sums(problems), np.arange(400)).interval()
    assert low[0] < 0.1 < high[0] and high[0] - low[0] < 0.06
    assert low[1] < 1 - 0.01 / (1 / 12) < high[1]
    assert low[2] < 1 < high[2] and high[2] - low[2] < 0.1
    # noise of the two halves: value + 0.1 everywhere puts everything in order, as far as both halves agree
    assert 0.7 < value[3] < 1


def test_a_problem_without_estimates_says_nothing():
    assert prompt_sums([{}]).tolist() == [[0.0] * len(SUMS)]
    assert np.isnan(measures(np.zeros(len(SUMS)))).all()
