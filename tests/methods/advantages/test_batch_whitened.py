"""REINFORCE++: whitening by hand over tokens and over completions, with and without the group's mean."""

import math

import pytest
import torch

from methods import RolloutBatch
from methods.advantages.batch_whitened import BatchWhitened

nan = math.nan


def advantages(batch, **options):
    values = BatchWhitened(**options)(batch).values
    assert (values[~batch.mask] == 0).all()
    rows = [values[i][batch.mask[i]] for i in range(len(values))]
    assert all((row == row[0]).all() for row in rows if len(row))  # the same number on every token
    return torch.stack([row[0] if len(row) else row.new_zeros(()) for row in rows])


def test_whitened_over_tokens_by_hand(batch_of, close):
    # 1, 2, 1, 1 tokens: mean 1/5, variance (1·.8² + 4·.2²)/5 = .16
    batch = batch_of([1.0, 0.0, 0.0, 0.0], 2, mask=[[1, 0], [1, 1], [0, 1], [1, 0]])
    close(advantages(batch), [2.0, -0.5, -0.5, -0.5])


def test_whitened_over_completions_by_hand(batch_of, close):
    # mean 1/4, variance (.75² + 3·.25²)/4 = 3/16, whatever the lengths
    batch = batch_of([1.0, 0.0, 0.0, 0.0], 2, mask=[[1, 0], [1, 1], [0, 1], [1, 0]])
    close(advantages(batch, over="completions"), [math.sqrt(3)] + [-1 / math.sqrt(3)] * 3)


MASK = [[1, 0, 0], [1, 1, 1], [1, 1, 0], [0, 1, 1]]  # 1, 3, 2, 2 tokens


def test_group_baseline_over_tokens_by_hand(batch_of, close):
    # R − R̄ = .5, −.5 | 0, 0; token mean (.5 − 3·.5)/8 = −.125
    # variance (1·.625² + 3·.375² + 4·.125²)/8 = .875/8: the group of equal rewards is not at 0
    sd = math.sqrt(0.875 / 8)
    batch = batch_of([1.0, 0.0, 1.0, 1.0], 2, mask=MASK)
    close(advantages(batch, baseline="group"), [0.625 / sd, -0.375 / sd, 0.125 / sd, 0.125 / sd])


def test_group_baseline_over_completions_by_hand(batch_of, close):
    # mean 0, variance (.25 + .25)/4 = 1/8
    batch = batch_of([1.0, 0.0, 1.0, 1.0], 2, mask=MASK)
    close(advantages(batch, baseline="group", over="completions"), [math.sqrt(2), -math.sqrt(2), 0.0, 0.0])


def test_without_a_baseline_groups_are_compared_with_each_other(batch_of, close):
    close(advantages(batch_of([1.0, 1.0, 0.0, 0.0], 2)), [1.0, 1.0, -1.0, -1.0])
    assert (advantages(batch_of([1.0, 1.0, 0.0, 0.0], 2), baseline="group") == 0).all()


@pytest.mark.parametrize("baseline", ["none", "group"])
def test_tokens_have_mean_zero_and_variance_one(batch_of, close, baseline):
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(12, 9, generator=generator) < 0.6
    batch = batch_of(torch.rand(12, generator=generator).double(), 4, mask=mask)
    tokens = BatchWhitened(baseline=baseline)(batch).values[mask]
    close(tokens.mean(), 0.0)
    close(tokens.square().mean(), 1.0)
    rows = advantages(batch, baseline=baseline, over="completions")
    close(rows.mean(), 0.0)
    close(rows.square().mean(), 1.0)


def test_unscorable_rows_are_in_no_statistic(batch_of, close):
    # the scorable ones are the first example's, their tokens too
    batch = batch_of([1.0, nan, 0.0, 0.0, nan, 0.0], 3, mask=[[1, 0], [1, 1], [1, 1], [0, 1], [1, 1], [1, 0]])
    close(advantages(batch), [2.0, 0.0, -0.5, -0.5, 0.0, -0.5])
    close(
        advantages(batch, over="completions"),
        [math.sqrt(3), 0.0, -1 / math.sqrt(3), -1 / math.sqrt(3), 0.0, -1 / math.sqrt(3)],
    )


@pytest.mark.parametrize("over", ["tokens", "completions"])
def test_a_row_alone_in_its_group_has_no_baseline_and_no_vote(batch_of, close, over):
    pair = batch_of([1.0, 0.0], 2, mask=[[1, 1], [1, 0]])
    batch = batch_of([1.0, 0.0, 7.0, nan], 2, mask=[[1, 1], [1, 0], [1, 1], [1, 1]])
    alone = advantages(batch, baseline="group", over=over)
    close(alone[:2], advantages(pair, baseline="group", over=over))
    assert alone[2:].tolist() == [0.0, 0.0]
    # without a baseline it is compared with the batch: mean 8/3 by completion, above it
    assert advantages(batch, over=over)[2] > 1


@pytest.mark.parametrize("baseline", ["none", "group"])
@pytest.mark.parametrize("over", ["tokens", "completions"])
@pytest.mark.parametrize("reward", [0.0, 0.1, 1 / 3, 1e6 + 0.1])
def test_equal_rewards_are_exactly_zero(batch_of, baseline, over, reward):
    assert (advantages(batch_of([reward] * 14, 7), baseline=baseline, over=over) == 0).all()


def test_a_variance_below_epsilon_is_raised_to_it(batch_of, close):
    # rewards ±5e-6 about their mean, variance 2.5e-11: divided by sqrt(1e-8) instead of 5e-6
    close(advantages(batch_of([0.0, 1e-5], 2)), [-0.05, 0.05])
    close(advantages(batch_of([0.0, 1e-5], 2), epsilon=1e-12), [-1.0, 1.0], tolerance=1e-9)
    close(advantages(batch_of([0.0, 4.0], 2), epsilon=16.0), [-0.5, 0.5])


@pytest.mark.parametrize("baseline", ["none", "group"])
def test_small_differences_on_large_rewards(batch_of, close, baseline):
    step = 2.0**-10
    batch = batch_of([1e6, 1e6 + step, 1e6 + step, 1e6], 4)
    close(advantages(batch, baseline=baseline), [-1.0, 1.0, 1.0, -1.0])


def test_batches_without_a_vote_or_a_token(batch_of):
    assert (advantages(batch_of([nan] * 4, 2)) == 0).all()
    assert (advantages(batch_of([1.0, nan, nan, nan], 2)) == 0).all()
    assert (advantages(batch_of([1.0, 0.0], 2, mask=[[0, 0], [0, 0]])) == 0).all()
    for rewards in ([nan, nan], [1.0, nan]):
        assert BatchWhitened()(batch_of(rewards, 2)).metrics == {"whitening_sd": 0.0}
    empty = RolloutBatch.from_tensors(
        torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0).bool(), [1.0, 0.0], 2
    )
    assert BatchWhitened()(empty).values.shape == (2, 0)


def test_the_spread_is_reported_and_the_scope_said(batch_of, close):
    batch = batch_of([1.0, 0.0, 0.0, 0.0], 2, mask=[[1, 0], [1, 1], [0, 1], [1, 0]])
    close(BatchWhitened()(batch).metrics["whitening_sd"], 0.4)
    close(BatchWhitened(over="completions")(batch).metrics["whitening_sd"], math.sqrt(3) / 4)
    assert BatchWhitened.scope == "batch"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "mean"}, "BatchWhitened.baseline.*none, group"),
        ({"over": "rows"}, "BatchWhitened.over.*tokens, completions"),
        ({"epsilon": 0.0}, "BatchWhitened.epsilon must be positive"),
        ({"epsilon": nan}, "BatchWhitened.epsilon must be positive"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BatchWhitened(**options)
