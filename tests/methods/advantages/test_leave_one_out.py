import math

import pytest
import torch

from methods.advantages.leave_one_out import LeaveOneOut

nan = math.nan


def advantages(batch):
    return LeaveOneOut()(batch).values[:, 0]


def test_reward_less_the_mean_of_the_others(batch_of, close):
    close(advantages(batch_of([1.0, 0.0, 0.0, 1.0], 4)), [2 / 3, -2 / 3, -2 / 3, 2 / 3])
    # 3 - (1 + 0.5) / 2 = 2.25;  1 - 3.5 / 2 = -0.75;  0.5 - 4 / 2 = -1.5
    close(advantages(batch_of([3.0, 1.0, 0.5], 3)), [2.25, -0.75, -1.5])


def test_unscorable_rows_do_not_vote(batch_of, close):
    # 1 - (0 + 0.5) / 2 = 0.75;  0 - 1.5 / 2 = -0.75;  0.5 - 1 / 2 = 0;  lone valid rows have no peers
    batch = batch_of([1.0, nan, 0.0, 0.5, nan, 7.0, nan, nan, nan, nan, nan, nan], 4)
    close(advantages(batch), [0.75, 0.0, -0.75, 0.0] + [0.0] * 8)


@pytest.mark.parametrize("reward", [0.1, 1 / 3, 1e6 + 0.1])
def test_equal_rewards_are_exactly_zero(batch_of, reward):
    assert (advantages(batch_of([reward] * 7, 7)) == 0).all()


def test_small_differences_on_large_rewards(batch_of, close):
    step = 2.0**-20
    close(advantages(batch_of([1e6, 1e6 + step], 2)), [-step, step])


def test_masked_tokens_get_zero(batch_of):
    values = LeaveOneOut()(batch_of([1.0, 0.0], 2, mask=[[0, 1], [0, 0]])).values
    assert values.tolist() == [[0.0, 1.0], [0.0, 0.0]]


def test_definition_holds_on_random_rewards(batch_of, close):
    torch.manual_seed(0)
    rewards = torch.rand(6).double().tolist()
    close(advantages(batch_of(rewards, 6)), [r - (sum(rewards) - r) / 5 for r in rewards])
