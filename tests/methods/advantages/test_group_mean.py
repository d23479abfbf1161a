import math

import pytest
import torch

from methods.advantages.group_mean import GroupMean

nan = math.nan


def advantages(batch, **options):
    values = GroupMean(**options)(batch).values
    assert (values == values[:, :1]).all()  # the same number on every token
    return values[:, 0]


def test_group_scale_by_hand(batch_of, close):
    # mean 0.5, unbiased variance 4 * 0.25 / 3
    a = 0.5 / (math.sqrt(1.0 / 3.0) + 1e-4)
    close(advantages(batch_of([1.0, 0.0, 0.0, 1.0], 4)), [a, -a, -a, a])


def test_batch_scale_by_hand(batch_of, close):
    # rewards 1 0 | 4 2: deviations ±0.5 and ±1; batch mean 7/4, unbiased variance (21 - 49/4) / 3 = 35/12
    s = math.sqrt(35.0 / 12.0) + 1e-4
    close(
        advantages(batch_of([1.0, 0.0, 4.0, 2.0], 2), scale="batch"), [0.5 / s, -0.5 / s, 1.0 / s, -1.0 / s]
    )


def test_no_scale_is_dr_grpo(batch_of, close):
    close(advantages(batch_of([1.0, 0.0, 0.5, 0.5], 4), scale="none"), [0.5, -0.5, 0.0, 0.0])


def test_epsilon_is_an_option(batch_of, close):
    close(
        advantages(batch_of([1.0, 0.0], 2), epsilon=1.0),
        [0.5 / (math.sqrt(0.5) + 1.0), -0.5 / (math.sqrt(0.5) + 1.0)],
    )


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_unscorable_rows_get_nothing_and_do_not_vote(batch_of, close, scale):
    # valid rewards 1, 0, 0.5: mean 0.5, unbiased std 0.5, the second group has one valid row
    batch = batch_of([1.0, nan, 0.0, 0.5, nan, 7.0, nan, nan], 4)
    # for `batch` the lone 7 votes in the scale: mean 8.5/4, variance (50.25 - 8.5^2/4) / 3
    s = {"group": 0.5 + 1e-4, "batch": math.sqrt((50.25 - 8.5**2 / 4) / 3) + 1e-4, "none": 1.0}[scale]
    close(advantages(batch, scale=scale), [0.5 / s, 0.0, -0.5 / s, 0.0, 0.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("reward", [0.0, 0.1, 1 / 3, 1e6 + 0.1])
def test_equal_rewards_are_exactly_zero(batch_of, scale, reward):
    assert (advantages(batch_of([reward] * 7, 7), scale=scale) == 0).all()


def test_equal_rewards_are_zero_without_the_guard_too(batch_of):
    assert (advantages(batch_of([0.1] * 4, 4), epsilon=0.0) == 0).all()


def test_small_differences_on_large_rewards(batch_of, close):
    step = 2.0**-20  # exact at 1e6 in float64, lost in float32
    batch = batch_of([1e6, 1e6 + step, 1e6 + step, 1e6], 4)
    close(advantages(batch, scale="none"), [-step / 2, step / 2, step / 2, -step / 2])


def test_masked_tokens_and_empty_rows_get_zero(batch_of):
    credit = GroupMean(scale="none")(batch_of([1.0, 0.0, 1.0, 0.0], 4, mask=[[1, 1], [1, 0], [0, 0], [0, 1]]))
    assert credit.values.tolist() == [[0.5, 0.5], [-0.5, 0.0], [0.0, 0.0], [0.0, -0.5]]


def test_groups_are_apart(batch_of):
    torch.manual_seed(0)
    rewards = torch.rand(12).double()
    whole = advantages(batch_of(rewards, 4))
    assert torch.equal(whole[4:8], advantages(batch_of(rewards[4:8], 4)))


def test_matches_the_sum_to_zero_and_the_unit_variance(batch_of, close):
    torch.manual_seed(0)
    a = advantages(batch_of(torch.rand(8).double(), 8), epsilon=0.0)
    close(a.sum(), 0.0)
    close(a.square().sum() / 7, 1.0)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="scale.*group, batch, none"):
        GroupMean(scale="std")
    with pytest.raises(ValueError, match="epsilon"):
        GroupMean(epsilon=-1.0)
