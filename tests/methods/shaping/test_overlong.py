"""DAPO's soft overlong punishment by hand."""

import math

import pytest
import torch

from methods.shaping.overlong import Overlong

nan = math.nan


def of_lengths(batch_of, rewards, lengths, group_size, **signals):
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return batch_of(rewards, group_size, mask=mask, **signals)


def test_zero_then_linear_to_minus_one_by_hand(batch_of, close):
    # L_max = 10, L_cache = 4: free up to 6 tokens, (6 − 7)/4, (6 − 8)/4, (6 − 9)/4, −1 at 10
    batch = of_lengths(batch_of, [1.0] * 6, [5, 6, 7, 8, 9, 10], 2)
    shaped = Overlong(max_tokens=10, cache_share=0.4)(batch)
    close(shaped.rewards, [1.0, 1.0, 0.75, 0.5, 0.25, 0.0])
    close(shaped.reward_terms["overlong"], [0.0, 0.0, -0.25, -0.5, -0.75, -1.0])
    assert batch.rewards.tolist() == [1.0] * 6


def test_the_paper_s_share_at_any_scale(batch_of, close):
    # a fifth of 64 is 12.8: free up to 51 tokens, (51.2 − 52)/12.8 = −1/16 at 52, −1 at 64
    batch = of_lengths(batch_of, [1.0, 1.0, 0.0, 0.0], [51, 52, 64, 0], 2)
    close(Overlong(max_tokens=64)(batch).rewards, [1.0, 15 / 16, -1.0, 0.0])


def test_a_cache_of_everything_punishes_from_the_first_token(batch_of, close):
    batch = of_lengths(batch_of, [0.0, 0.0], [1, 5], 2)
    close(Overlong(max_tokens=10, cache_share=1.0)(batch).rewards, [-0.1, -0.5])


def test_penalty_factor_scales_it(batch_of, close):
    batch = of_lengths(batch_of, [1.0, 1.0], [8, 10], 2)
    shaped = Overlong(max_tokens=10, cache_share=0.4, penalty_factor=0.5)(batch)
    close(shaped.rewards, [0.75, 0.5])
    close(shaped.reward_terms["overlong"], [-0.25, -0.5])


def test_only_tokens_of_the_policy_s_own_count(batch_of, close):
    mask = torch.ones(2, 10).bool()
    mask[0, 2:4], mask[1, 8:] = False, False  # eight each, one with a tool's answer inside
    close(Overlong(max_tokens=10, cache_share=0.4)(batch_of([1.0, 1.0], 2, mask=mask)).rewards, [0.5, 0.5])


def test_unscorable_rows_stay_so(batch_of, close):
    batch = of_lengths(batch_of, [nan, 1.0], [10, 10], 2, reward_terms={"format": [0.5, 0.5]})
    shaped = Overlong(max_tokens=10)(batch)
    assert shaped.rewards.isnan().tolist() == [True, False]
    assert shaped.rewards[1] == 0.0 and set(shaped.reward_terms) == {"format", "overlong"}
    assert shaped.completion_ids is batch.completion_ids and shaped.mask is batch.mask


def test_short_completions_keep_their_reward_to_the_bit(batch_of):
    batch = of_lengths(batch_of, [0.1, 1e6 + 0.1], [3, 8], 2)
    assert torch.equal(Overlong(max_tokens=10)(batch).rewards, batch.rewards)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "Overlong.max_tokens must be positive"),
        ({"max_tokens": 10.0}, "Overlong.max_tokens.*int"),
        ({"max_tokens": 10, "cache_share": 0.0}, "Overlong.cache_share"),
        ({"max_tokens": 10, "cache_share": 1.5}, "Overlong.cache_share"),
        ({"max_tokens": 10, "cache_share": nan}, "Overlong.cache_share"),
        ({"max_tokens": 10, "penalty_factor": 0.0}, "Overlong.penalty_factor"),
        ({"max_tokens": 10, "penalty_factor": math.inf}, "Overlong.penalty_factor"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Overlong(**options)


def test_the_longest_length_has_no_default():
    with pytest.raises(TypeError, match="max_tokens"):
        Overlong()


def test_a_completion_beyond_the_limit_is_refused(batch_of):
    with pytest.raises(ValueError, match="a completion has 5 tokens, max_tokens is 4"):
        Overlong(max_tokens=4)(batch_of([1.0, 0.0], 2, length=5))
