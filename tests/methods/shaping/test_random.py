"""The spurious reward: a coin for every completion."""

import math

import pytest
import torch

from methods.shaping import random
from methods.shaping.random import RandomReward

nan = math.nan


def pretend(monkeypatch, draws):
    def uniforms(batch, salt):
        return torch.tensor(draws, dtype=torch.float64)

    monkeypatch.setattr(random, "row_uniforms", uniforms)


def test_one_where_the_draw_lies_below_the_probability_by_hand(batch_of, monkeypatch):
    pretend(monkeypatch, [0.0, 0.49, 0.5, 0.99])
    batch = batch_of([7.0, 0.0, 1.0, 0.5], 2)
    assert RandomReward()(batch).rewards.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert RandomReward(probability=0.1)(batch).rewards.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert RandomReward(probability=0.995)(batch).rewards.tolist() == [1.0, 1.0, 1.0, 1.0]
    assert batch.rewards.tolist() == [7.0, 0.0, 1.0, 0.5]


def test_unscorable_rows_stay_so(batch_of, monkeypatch):
    pretend(monkeypatch, [0.1, 0.1, 0.9, 0.9])
    batch = batch_of([nan, 0.0, 1.0, 0.0], 2, reward_terms={"format": [1.0, 1.0, 1.0, nan]})
    shaped = RandomReward()(batch)
    assert shaped.rewards.isnan().tolist() == [True, False, False, True]
    assert shaped.rewards[1:3].tolist() == [1.0, 0.0]
    assert shaped.completion_ids is batch.completion_ids and shaped.mask is batch.mask


@pytest.mark.parametrize("probability", [0.5, 0.2])
def test_the_share_of_ones_is_the_probability(batch_of, probability):
    rewards = RandomReward(probability=probability)(batch_of([0.0] * 4000, 8, length=1)).rewards
    assert set(rewards.tolist()) == {0.0, 1.0}
    assert abs(rewards.mean() - probability) < 0.03  # four standard errors


def test_it_looks_at_the_rollouts_only(batch_of):
    state = torch.get_rng_state()
    first = RandomReward()(batch_of([1.0, 0.0] * 64, 8)).rewards
    assert torch.equal(first, RandomReward()(batch_of([0.0, 0.0, 1.0, 5.0] * 32, 8)).rewards)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(first.view(16, 8).unique(dim=0)) > 10  # not the same pattern in every group


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.5, nan])
def test_a_coin_with_one_side_is_refused(probability):
    with pytest.raises(ValueError, match="RandomReward.probability"):
        RandomReward(probability=probability)
