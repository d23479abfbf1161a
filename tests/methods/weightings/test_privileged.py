"""What CEPO and RLSD share: whom they show an answer, in which words, and what becomes of the credit."""

import math

import pytest
import torch

from methods import Credit
from methods.weightings.rlsd import Rlsd

nan = math.nan


class Policy:
    """A provider that answers every request with ``value`` and keeps what it was asked."""

    def __init__(self, value=-1.0):
        self.value, self.asked = value, []

    def score(self, requests):
        self.asked += requests
        return [torch.full((len(r.target),), self.value, dtype=torch.float64) for r in requests]


def batch_with(batch_of, provider, references=("4", "4"), **given):
    logps = torch.full((2, 2), math.log(0.5), dtype=torch.float64)
    given = {"prompts": ["1+3?"] * 2, "logps": logps} | given
    return batch_of([1.0, 0.0], 2, provider=provider, references=list(references), **given)


def test_the_template_is_filled_with_prompt_and_reference(batch_of):
    policy = Policy()
    batch = batch_with(batch_of, policy, references=["1+3=4", "1+3=5"])
    credit = Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask)
    Rlsd(template="{answer}>{prompt}{x}{")(batch, credit)
    assert [r.prompt for r in policy.asked] == ["1+3=4>1+3?{x}{", "1+3=5>1+3?{x}{"]
    assert [(r.row, r.target, r.given) for r in policy.asked] == [(0, [0, 1], ""), (1, [2, 3], "")]


def test_words_like_a_placeholder_inside_a_text_stay_as_they_are(batch_of):
    policy = Policy()
    batch = batch_with(batch_of, policy, prompts=["{answer}", "{prompt}"], references=["{prompt}", "a"])
    Rlsd(template="{prompt}|{answer}")(batch, Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask))
    assert [r.prompt for r in policy.asked] == ["{answer}|{prompt}", "{prompt}|a"]


@pytest.mark.parametrize(
    ("separator", "shown"),
    [("", "a=b=c"), ("=", "c"), (">", "a=b=c")],  # a reference without it is the answer itself
)
def test_what_is_shown_of_a_reference(batch_of, separator, shown):
    policy = Policy()
    batch = batch_with(batch_of, policy, references=["a=b=c", None])
    Rlsd(template="{prompt}{answer}", separator=separator)(
        batch, Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask)
    )
    assert [r.prompt for r in policy.asked] == ["1+3?" + shown]


def test_only_rows_with_credit_and_reference_cost_a_pass_and_the_others_keep_their_credit(batch_of):
    policy = Policy(math.log(0.25))
    batch = batch_of(
        [1.0, 0.0, 1.0, 1.0],
        2,
        provider=policy,
        prompts=["a?"] * 4,
        references=["r", None, "r", "r"],
        logps=torch.full((4, 2), math.log(0.5), dtype=torch.float64),
    )
    credit = Credit.broadcast(torch.tensor([2.0, -2.0, 0.0, 3.0]), batch.mask)
    result = Rlsd(mix=1.0, clip=0.9)(batch, credit)
    assert [r.row for r in policy.asked] == [0, 3]
    # A > 0: w = .25/.5
    assert result.values.tolist() == [[1.0, 1.0], [-2.0, -2.0], [0.0, 0.0], [1.5, 1.5]]
    assert result.metrics["rlsd_shown_rows"] == pytest.approx(2 / 3)
    assert credit.values.tolist() == [[2.0, 2.0], [-2.0, -2.0], [0.0, 0.0], [3.0, 3.0]]


def test_nobody_is_asked_where_nothing_can_be_shown(batch_of):
    batch = batch_with(batch_of, None, references=[None, None])
    credit = Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask)
    result = Rlsd()(batch, credit)
    assert torch.equal(result.values, credit.values)
    assert result.metrics == {"rlsd_weight_mean": 1.0, "rlsd_clipped_share": 0.0, "rlsd_shown_rows": 0.0}


def test_tokens_of_others_inside_a_completion_are_scored_over_and_get_nothing(batch_of, close):
    # the completion is t0, a tool's t1, t2, then padding: three tokens are sent, two are weighted
    class Three(Policy):
        def score(self, requests):
            super().score(requests)
            return [torch.tensor([0.4, 0.001, 0.6], dtype=torch.float64).log() for _ in requests]

    policy = Three()
    batch = batch_with(
        batch_of,
        policy,
        mask=[[1, 0, 1, 0], [0, 0, 0, 0]],
        logps=torch.tensor([[0.5, nan, 0.5, nan], [nan] * 4], dtype=torch.float64).log(),
    )
    result = Rlsd(mix=1.0, clip=0.5)(batch, Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask))
    assert [r.target for r in policy.asked] == [[0, 1, 2]]
    close(result.values, [[0.8, 0.0, 1.2, 0.0], [0.0, 0.0, 0.0, 0.0]])


def test_the_sign_is_that_of_each_token(batch_of, close):
    batch = batch_with(batch_of, Policy(math.log(0.4)), references=["r", None])
    credit = Credit(torch.tensor([[1.0, -1.0], [0.0, 0.0]]).double())
    # w = .4/.5 = .8 where A > 0, .5/.4 = 1.25 where A < 0
    close(Rlsd(mix=1.0, clip=0.5)(batch, credit).values, [[0.8, -1.25], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": "{prompt}"}, "template.*{answer}"),
        ({"template": "{answer}"}, "template.*{prompt}"),
        ({"separator": 1}, "separator.*str"),
        ({"mix": -0.1}, "mix"),
        ({"mix": 1.1}, "mix"),
        ({"mix": nan}, "mix"),
        ({"clip": 0.0}, "clip"),
        ({"clip": 1.1}, "clip"),
        ({"clip": "wide"}, "clip.*float"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"Rlsd.{message}"):
        Rlsd(**options)
