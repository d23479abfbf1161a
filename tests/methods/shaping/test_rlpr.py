import math

import pytest
import torch

from methods import MissingSignal
from methods.shaping.rlpr import Rlpr

nan = math.nan


class Policy:
    """Probabilities of a target's tokens by (text before it, target); keeps the requests."""

    def __init__(self, probs):
        self.probs, self.asked = probs, []

    def score(self, requests):
        assert all(r.prompt is None for r in requests)
        self.asked += [(r.row, r.given, r.target) for r in requests]
        return [torch.tensor(self.probs[r.given, r.target], dtype=torch.float64).log() for r in requests]


def batch_with(batch_of, completions, references, probs, rewards=None):
    rewards = [0.0] * len(completions) if rewards is None else rewards
    return batch_of(
        rewards, len(completions), provider=Policy(probs), completions=completions, references=references
    )


ONE = {("", "11"): [0.2, 0.4], ("3+8=", "11"): [0.9, 0.7], ("7*2=", "11"): [0.1, 0.3]}


def test_one_answer_by_hand(batch_of, close):
    batch = batch_with(batch_of, ["3+8=12", "7*2=14", "11"], ["3+8=11"] * 3, ONE)
    shaped = Rlpr(until="")(batch)
    # p̄(y*|x) = .3; p̄(y*|x, z) = .8 and .2; the third has no reasoning to read
    close(shaped.rewards, [0.9 * 0.5 + 0.1, 0.9 * 0.0 + 0.1, 0.0])
    close(shaped.reward_terms["rlpr_gain"], [0.5, 0.0, 0.0])
    close(shaped.reward_terms["rlpr_format"], [1.0, 1.0, 0.0])
    # the reference alone once for the group
    assert batch.provider.asked == [(0, "", "11"), (0, "3+8=", "11"), (1, "7*2=", "11")]
    assert batch.rewards.tolist() == [0.0, 0.0, 0.0]


def test_several_answers_by_hand(batch_of, close):
    probs = {
        ("", "11"): [0.2, 0.4],
        ("11;", "4"): [0.6],
        ("3+8=", "11"): [0.9, 0.7],
        # the completion's 12 gives way to the reference's 11
        ("3+8=11;7-3=", "4"): [0.5],
        ("5=", "11"): [0.1, 0.1],
        ("5=11;6=", "4"): [1.0],
    }
    batch = batch_with(batch_of, ["3+8=12;7-3=4", "5=5;6=6"], ["3+8=11;7-3=4"] * 2, probs)
    shaped = Rlpr(format_weight=0.2)(batch)
    # means over the three tokens: 1.2/3 = .4 alone, 2.1/3 = .7 and 1.2/3 = .4 with the reasoning
    close(shaped.rewards, [0.8 * 0.3 + 0.2, 0.2])
    assert batch.provider.asked[:2] == [(0, "", "11"), (0, "11;", "4")]


def test_tags_around_an_answer(batch_of, close):
    probs = {("", "42"): [0.1], ("so <answer>", "42"): [0.6]}
    completions = ["so <answer>7</answer>", "so <answer>7</answer> or <answer>8</answer>"]
    batch = batch_with(batch_of, completions, ["42", "42"], probs)
    # a reference without the separator is the answer itself; two answers where one is asked for are no format
    close(Rlpr(separator="<answer>", until="</answer>")(batch).rewards, [0.9 * 0.5 + 0.1, 0.0])


@pytest.mark.parametrize("completion", ["", "3+8", "3+8=", "1=2;3=4", "3+8=;1"])
def test_a_completion_without_the_form_gets_nothing_and_costs_nothing(batch_of, completion):
    batch = batch_with(batch_of, [completion, completion], ["3+8=11"] * 2, ONE)
    assert Rlpr()(batch).rewards.tolist() == [0.0, 0.0]
    assert [given for _, given, _ in batch.provider.asked] == []


def test_the_verifiers_reward_is_replaced_but_what_it_could_not_judge_stays_so(batch_of, close):
    batch = batch_with(
        batch_of, ["3+8=12", "7*2=14", "3+8=1"], ["3+8=11", "3+8=11", None], ONE, [7.0, -3.0, nan]
    )
    shaped = Rlpr()(batch)
    close(shaped.rewards[:2], [0.55, 0.1])
    assert math.isnan(shaped.rewards[2])
    assert {row for row, *_ in batch.provider.asked} == {0, 1}


def test_references_that_differ_have_their_own_baseline(batch_of, close):
    probs = ONE | {("", "5"): [0.5], ("7*2=", "5"): [0.9]}
    batch = batch_with(batch_of, ["3+8=12", "7*2=14"], ["3+8=11", "5"], probs)
    close(Rlpr()(batch).rewards, [0.55, 0.9 * 0.4 + 0.1])


def test_the_baseline_is_of_the_own_group(batch_of, close):
    batch = batch_of(
        [0.0] * 4,
        2,
        provider=Policy(ONE),
        completions=["3+8=1", "7*2=1"] * 2,
        references=["3+8=11"] * 4,
    )
    close(Rlpr()(batch).rewards, [0.55, 0.1] * 2)
    assert [row for row, given, _ in batch.provider.asked if given == ""] == [0, 2]


def test_a_row_without_reference_is_named(batch_of):
    batch = batch_with(batch_of, ["3+8=12", "7*2=14"], ["3+8=11", None], ONE)
    with pytest.raises(ValueError, match="row 1 has no reference"):
        Rlpr()(batch)


@pytest.mark.parametrize("reference", ["", "3+8=", "3+8=;1=2"])
def test_a_reference_without_an_answer_is_named(batch_of, reference):
    batch = batch_with(batch_of, ["3+8=12", "7*2=14"], ["3+8=11", reference], ONE)
    with pytest.raises(ValueError, match="row 1.*empty answer"):
        Rlpr()(batch)


def test_texts_and_work_that_are_missing_are_named(batch_of):
    assert Rlpr().needs == {"completions", "references", "score"}
    with pytest.raises(MissingSignal, match="references"):
        Rlpr()(batch_of([0.0, 0.0], 2, completions=["1=1"] * 2))
    with pytest.raises(MissingSignal, match="score"):
        Rlpr()(batch_of([0.0, 0.0], 2, completions=["1=1"] * 2, references=["1=1"] * 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": ""}, "separator"),
        ({"until": 3}, "until.*str"),
        ({"format_weight": -0.1}, "format_weight"),
        ({"format_weight": 1.1}, "format_weight"),
        ({"format_weight": nan}, "format_weight"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"Rlpr.{message}"):
        Rlpr(**options)
