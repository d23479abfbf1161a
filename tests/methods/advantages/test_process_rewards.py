import math

import torch

from methods.advantages.process_rewards import (
    largest_to_go,
    left_one_out,
    pair_accuracy,
    returns_,
    to_go,
    token_left_one_out,
)

nan = math.nan


def double(x):
    return torch.tensor(x, dtype=torch.float64)


def test_to_go_by_hand(close):
    close(to_go(double([[1.0, 2.0, 4.0], [0.0, -1.0, 0.5]])), [[7.0, 6.0, 4.0], [-0.5, -0.5, 0.5]])


def test_largest_to_go_is_over_all_rows_and_signs(close):
    x = double([[1.0, -3.0], [0.5, 0.5], [-4.0, 1.0]])  # −2 and −3, 1 and .5, −3 and 1
    for rows in (1, 2, 3):
        close(largest_to_go(x, rows), 3.0)


def test_left_one_out_by_hand(close):
    # 3 − (1 + .5)/2, 1 − 3.5/2, .5 − 4/2; a lone valid one has no others; equal ones give exactly 0
    rewards = double([3.0, 1.0, 0.5, nan, 2.0, nan, 0.1, 0.1, 0.1])
    found = left_one_out(rewards, ~rewards.isnan(), 3)
    close(found, [2.25, -0.75, -1.5] + [0.0] * 6)
    assert (found[6:] == 0).all()


def test_token_left_one_out_by_hand(close):
    # rows (.1, .2, .3), (.4), (−.2, 0), one without tokens: r̄ = .2, .4, −.1, sum .5, n = 3: (3r − .5)/2
    r = double([[0.1, 0.2, 0.3], [0.4, nan, nan], [-0.2, 0.0, nan], [nan, nan, nan]])
    inside = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]]).bool()
    expected = [[-0.1, 0.05, 0.2], [0.35, 0.0, 0.0], [-0.55, -0.25, 0.0], [0.0, 0.0, 0.0]]
    close(token_left_one_out(r, inside), expected)
    assert (token_left_one_out(r, inside & torch.tensor([[1], [0], [0], [0]]).bool()) == 0).all()


def test_returns_by_hand(close):
    # as above for the first three rows; a group of its own where a single row has tokens keeps its outcome only
    r = double([[0.1, 0.2, 0.3], [0.4, 0.0, 0.0], [-0.2, 0.0, 0.0], [9.0, 9.0, 9.0], [0.0] * 3, [0.0] * 3])
    inside = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0]]).bool()
    returns_(r, inside, double([10.0, 20.0, 30.0, 40.0, 50.0, 60.0]), 3)
    expected = [
        [10.15, 10.25, 10.2],
        [20.35, 0.0, 0.0],
        [29.2, 29.75, 0.0],
        [40.0, 40.0, 0.0],
        [0.0] * 3,
        [0.0] * 3,
    ]
    close(r, expected)


def test_pair_accuracy_by_hand():
    # .2, .4 right and .4, 0 wrong: lost, won, tied, won
    right, wrong = torch.tensor([[1, 1, 0, 0]]).bool(), torch.tensor([[0, 0, 1, 1]]).bool()
    assert pair_accuracy(double([[0.2, 0.4, 0.4, 0.0]]), right, wrong) == 2.5 / 4
    assert pair_accuracy(double([[0.2, 0.4, 0.4, 0.0]]), wrong, right) == 1.5 / 4
    assert pair_accuracy(double([[0.2, 0.4, 0.4, 0.0]]), right, right & wrong) == 0.5


def test_pairs_are_within_a_group():
    right, wrong = torch.tensor([[1, 0], [0, 1]]).bool(), torch.tensor([[0, 0], [1, 0]]).bool()
    # only the second group has a pair: its wrong one is ahead
    assert pair_accuracy(double([[9.0, 9.0], [1.0, 0.0]]), right, wrong) == 0.0
