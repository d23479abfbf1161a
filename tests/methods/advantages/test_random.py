"""The random advantage: what GRPO would give rewards drawn without looking at the answer."""

import math

import pytest
import torch

from methods.advantages import random
from methods.advantages.group_mean import GroupMean
from methods.advantages.random import RandomAdvantage

nan = math.nan


def advantages(batch):
    values = RandomAdvantage()(batch).values
    assert (values == values[:, :1]).all()
    return values[:, 0]


def pretend(monkeypatch, draws):
    def uniforms(batch, salt):
        return torch.tensor(draws, dtype=torch.float64)

    monkeypatch.setattr(random, "row_uniforms", uniforms)


def test_standard_normal_draws_standardised_in_their_group_by_hand(batch_of, close, monkeypatch):
    # Φ⁻¹ of Φ(0), Φ(1), Φ(2): z = 0, 1, 2, mean 1, unbiased deviation 1
    pretend(monkeypatch, [0.5, 0.8413447460685429, 0.9772498680518208])
    close(advantages(batch_of([0.0, 0.0, 1.0], 3)), [-1.0, 0.0, 1.0])
    # Φ(0) and Φ(3): z = 0, 3, mean 3/2, unbiased variance 2·(9/4): ±1/√2
    pretend(monkeypatch, [0.5, 0.9986501019683699])
    close(advantages(batch_of([0.0, 1.0], 2)), [-math.sqrt(0.5), math.sqrt(0.5)])


def test_unscorable_rows_neither_draw_nor_get(batch_of, close, monkeypatch):
    pretend(monkeypatch, [0.5, 0.999, 0.8413447460685429, 0.9772498680518208])
    close(advantages(batch_of([0.0, nan, 0.0, 1.0], 4)), [-1.0, 0.0, 0.0, 1.0])


def test_a_uniform_of_zero_is_finite(batch_of, monkeypatch):
    pretend(monkeypatch, [0.0, 1 - 2.0**-53])
    assert advantages(batch_of([0.0, 1.0], 2)).isfinite().all()


def test_centred_and_of_unit_variance_in_every_group(batch_of, close):
    a = advantages(batch_of([1.0] * 32, 8)).view(4, 8)  # where rewards are equal, too: they are not looked at
    close(a.sum(1), [0.0] * 4)
    close(a.square().sum(1) / 7, [1.0] * 4)


def test_the_same_size_as_the_baseline_s(batch_of, close):
    batch = batch_of([1.0, 0.0, 0.0, 1.0] * 8, 4)
    own, baseline = (
        part(batch).values.square().mean() for part in (RandomAdvantage(), GroupMean(epsilon=0.0))
    )
    close(own, baseline)


def test_two_scorable_rows_are_needed(batch_of):
    a = advantages(batch_of([1.0, nan, nan, nan, nan, nan], 3))
    assert (a == 0).all()


def test_it_does_not_look_at_rewards(batch_of):
    first = advantages(batch_of([1.0, 0.0] * 32, 8))
    assert torch.equal(first, advantages(batch_of([0.0, 1.0, 0.0, 0.0] * 16, 8)))
    reward = torch.tensor([1.0, 0.0] * 32).double()
    assert abs((first * (reward - 0.5)).sum() / first.norm() / (reward - 0.5).norm()) < 0.3
    assert len(first.unique()) == 64


def test_the_draws_are_normal_and_keyed_by_what_was_sampled(batch_of):
    batch = batch_of([0.0] * 4000, 400, length=1)
    state = torch.get_rng_state()
    a = advantages(batch)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a, advantages(batch))
    # fourth moment 3 for a normal, 1.8 for a uniform, 1 for signs; its standard error is about .15 here
    assert abs(a.pow(4).mean() - 3) < 0.5 and abs(a.pow(3).mean()) < 0.2
    assert abs((a > 1).double().mean() - 0.1587) < 0.02


def test_masked_tokens_get_zero(batch_of):
    values = RandomAdvantage()(batch_of([1.0, 0.0], 2, mask=[[0, 1], [0, 0]])).values
    assert values[0, 0] == 0 and values[0, 1] != 0 and (values[1] == 0).all()


def test_it_asks_for_nothing():
    assert not getattr(RandomAdvantage(), "needs", ())
    with pytest.raises(TypeError):
        RandomAdvantage(0)
