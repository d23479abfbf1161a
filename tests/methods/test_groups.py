import math

import torch

from methods.groups import deviations, sample_std


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_deviation_from_the_mean_of_the_voters(close):
    values, n = deviations(double([[1.0, math.nan, 0.0, 0.5]]), torch.tensor([[True, False, True, True]]))
    close(values, [[0.5, 0.0, -0.5, 0.0]])
    assert n.tolist() == [[3]]
    close(sample_std(values, n), [[0.5]])  # sqrt((0.25 + 0.25 + 0) / 2)


def test_equal_values_give_exactly_zero_though_their_mean_does_not():
    x = [0.1] * 6 + [0.2, 0.3]
    assert sum([0.1] * 6) / 6 != 0.1
    values, _ = deviations(double([x]), torch.tensor([[True] * 6 + [False] * 2]))
    assert values.tolist() == [[0.0] * 8]


def test_small_differences_on_large_values_are_kept():
    step = 2.0**-20
    values, n = deviations(double([[1e6, 1e6 + step, 1e6 + 2 * step]]), torch.ones(1, 3).bool())
    assert values.tolist() == [[-step, 0.0, step]]
    assert sample_std(values, n).tolist() == [[step]]


def test_one_voter_or_none_gives_zero():
    votes = torch.tensor([[True, False], [False, False]])
    values, n = deviations(double([[3.0, 1.0], [2.0, math.nan]]), votes)
    assert values.tolist() == [[0.0, 0.0], [0.0, 0.0]] and n.tolist() == [[1], [0]]
    assert sample_std(values, n).tolist() == [[0.0], [0.0]]
