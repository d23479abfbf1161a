import math

import torch

from methods.advantages.generalised import generalised_advantages

nan = math.nan


def test_by_hand(close):
    # V = 1, 1/2, 1/4 and R = 2:  δ_3 = 2 − 1/4, δ_2 = 1/2·1/4 − 1/2 = −3/8, δ_1 = 1/2·1/2 − 1 = −3/4
    # A_3 = 7/4, A_2 = −3/8 + 1/4·7/4 = 1/16, A_1 = −3/4 + 1/4·1/16 = −47/64
    values = torch.tensor([[1.0, 0.5, 0.25]]).double()
    result = generalised_advantages(torch.tensor([2.0]).double(), values, torch.ones(1, 3).bool(), 0.5, 0.5)
    close(result, [[-47 / 64, 1 / 16, 7 / 4]])


def test_tokens_of_a_tool_are_no_steps(close):
    # the second token is outside the mask: V, R and A as if it were not there
    values = torch.tensor([[1.0, nan, 0.5], [1.0, 0.5, nan]]).double()
    mask = torch.tensor([[1, 0, 1], [1, 1, 0]]).bool()
    result = generalised_advantages(torch.tensor([2.0, 2.0]).double(), values, mask, gamma=0.5, lam=0.5)
    # δ_2 = 1.5; δ_1 = 0.25 − 1 = −0.75, A_1 = −0.75 + 0.25·1.5
    close(result, [[-0.375, 0.0, 1.5], [-0.375, 1.5, 0.0]])


def test_lambda_1_is_reward_less_value(close):
    torch.manual_seed(0)
    values, rewards = torch.randn(4, 6).double(), torch.randn(4).double()
    mask = torch.rand(4, 6) < 0.6
    close(
        generalised_advantages(rewards, values, mask, 1.0, 1.0), (rewards[:, None] - values).where(mask, 0.0)
    )
