import math

import pytest
import torch

from methods import Credit, MissingSignal, RolloutBatch
from methods.weightings.cepo import Cepo

nan = math.nan


class Policy:
    """log π by the answer shown: the prompt is `x`, the template `{prompt}{answer}`."""

    def __init__(self, probs):
        self.probs, self.asked = probs, []

    def score(self, requests):
        self.asked += [(r.row, r.prompt) for r in requests]
        return [torch.tensor(self.probs[r.prompt][r.row], dtype=torch.float64).log() for r in requests]


def cepo(**options):
    return Cepo(**({"template": "{prompt}{answer}"} | options))


@pytest.fixture
def example(batch_of):
    # row 1 is the only rejected completion: its text is r⁻ for both
    policy = Policy({"xR": [[0.6, 0.3], [0.2, 0.4]], "xW": [[0.5, 0.6], [0.5, 0.41]]})
    batch = batch_of(
        [1.0, 0.0],
        2,
        provider=policy,
        prompts=["x"] * 2,
        references=["R"] * 2,
        completions=["R", "W"],
        logps=torch.full((2, 2), nan).double(),
    )
    return batch, Credit.broadcast(torch.tensor([1.0, -2.0]), batch.mask)


def test_by_hand_with_the_published_values(example, close):
    result = cepo()(*example)
    # A > 0: w = .6/.5 = 1.2 and .3/.6 = .5;  A < 0: w = .5/.2 = 2.5 → 1.5 and .41/.4 = 1.025
    # ½ + ½w: 1.1, .75, 1.25, 1.0125
    close(result.values, [[1.1, 0.75], [-2.5, -2.025]])
    assert example[0].provider.asked == [(0, "xR"), (1, "xR"), (0, "xW"), (1, "xW")]
    assert result.metrics["cepo_weight_mean"] == pytest.approx((1.1 + 0.75 + 1.25 + 1.0125) / 4)
    assert result.metrics["cepo_contrasted_rows"] == result.metrics["cepo_shown_rows"] == 1.0


def test_by_hand_with_full_mix_and_a_narrow_clip(example, close):
    # λ = 1, clip to [.9, 1.1]: 1.2 → 1.1, .5 → .9, 2.5 → 1.1, 1.025
    result = cepo(mix=1.0, clip=0.1)(*example)
    close(result.values, [[1.1, 0.9], [-2.2, -2.05]])
    assert result.metrics["cepo_clipped_share"] == 0.75


def test_without_a_rejected_completion_the_denominator_is_that_of_rlsd(batch_of, close):
    policy = Policy(
        {"xR": [[0.6], [0.2], [0.6], [0.3]], "xW": [[0.5], [0.5], [nan], [nan]]},
    )
    batch = batch_of(
        [1.0, 0.0, 1.0, 0.5],
        2,
        length=1,
        provider=policy,
        prompts=["x"] * 4,
        references=["R"] * 4,
        completions=["R", "W", "R", "V"],
        logps=torch.tensor([[nan], [nan], [0.5], [0.4]], dtype=torch.float64).log(),
    )
    credit = Credit.broadcast(torch.tensor([1.0, -1.0, 1.0, -1.0]), batch.mask)
    result = cepo(mix=1.0, clip=0.9)(batch, credit)
    # group 0: .6/.5, .5/.2 → 1.9; group 1, nobody below ½: .6/.5, .4/.3
    close(result.values, [[1.2], [-1.9], [1.2], [-4 / 3]])
    assert policy.asked == [(0, "xR"), (1, "xR"), (2, "xR"), (3, "xR"), (0, "xW"), (1, "xW")]
    assert result.metrics["cepo_contrasted_rows"] == 0.5


def shown_against(batch_of, rewards, completions, **options):
    """The wrong answer that each group's rows were shown."""
    size = len(rewards)
    policy = Policy({f"x{answer}": [[0.5]] * size for answer in ("R", *"abcdef")})
    batch = batch_of(
        rewards,
        size,
        length=1,
        provider=policy,
        prompts=["x"] * size,
        references=["R"] * size,
        completions=completions,
        logps=torch.full((size, 1), -1.0).double(),
    )
    credit = Credit.broadcast(torch.tensor([0.0 if math.isnan(r) else 1.0 for r in rewards]), batch.mask)
    cepo(**options)(batch, credit)
    return {prompt[1:] for _, prompt in policy.asked} - {"R"}


def test_the_worst_rejected_completion_is_shown(batch_of):
    assert shown_against(batch_of, [0.4, 0.1, 0.3, 1.0], ["a", "b", "c", "d"]) == {"b"}


def test_only_rewards_below_the_limit_are_rejected(batch_of):
    assert shown_against(batch_of, [0.5, 0.6], ["a", "b"]) == set()
    assert shown_against(batch_of, [0.5, 0.6], ["a", "b"], rejected_below=0.6) == {"a"}


def test_an_unscorable_completion_is_not_a_wrong_one(batch_of):
    assert shown_against(batch_of, [nan, 0.3, 0.4], ["a", "b", "c"]) == {"b"}


def test_a_completion_without_answer_is_passed_over(batch_of):
    rewards, completions = [0.0, 0.1, 0.2, 1.0], ["a", "1=", "1=b", "1=c"]
    assert shown_against(batch_of, rewards, completions, separator="=") == {"b"}
    assert shown_against(batch_of, [0.0, 1.0], ["", "c"]) == set()


def test_equals_are_drawn_by_what_was_sampled_not_by_place(batch_of):
    """The same r⁻ in whatever order the rows stand, and over many groups not always the same place."""
    chosen = set()
    for k in range(12):
        ids = torch.tensor([[k, 1], [k, 2], [k, 3], [k, 4]])
        drawn = []
        for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
            policy = Policy({f"x{a}": [[0.5, 0.5]] * 4 for a in "Rabc"})
            batch = RolloutBatch.from_tensors(
                ids[order],
                torch.ones(4, 2).bool(),
                torch.tensor([0.0, 0.0, 0.0, 1.0])[order],
                4,
                provider=policy,
                prompts=["x"] * 4,
                references=["R"] * 4,
                completions=["abcR"[i] for i in order],
                logps=torch.full((4, 2), -1.0),
            )
            cepo()(batch, Credit.broadcast(torch.ones(4), batch.mask))
            drawn.append({prompt[1:] for _, prompt in policy.asked} - {"R"})
        assert drawn[0] == drawn[1] and len(drawn[0]) == 1
        chosen |= drawn[0]
    assert len(chosen) > 1


def test_the_wrong_answer_is_of_the_own_group(batch_of):
    policy = Policy({f"x{a}": [[0.5]] * 4 for a in "RSab"})
    batch = batch_of(
        [0.0, 1.0, 1.0, 0.0],
        2,
        length=1,
        provider=policy,
        prompts=["x"] * 4,
        references=["R", "R", "S", "S"],
        completions=["a", "R", "S", "b"],
        logps=torch.full((4, 1), -1.0).double(),
    )
    cepo()(batch, Credit.broadcast(torch.tensor([-1.0, 1.0, 1.0, -1.0]), batch.mask))
    assert policy.asked[4:] == [(0, "xa"), (1, "xa"), (2, "xb"), (3, "xb")]


def test_row_without_reference_is_not_asked_about(example, batch_of):
    batch, credit = example
    policy = Policy(batch.provider.probs)
    one = batch_of(
        [1.0, 0.0],
        2,
        provider=policy,
        prompts=["x"] * 2,
        references=[None, "R"],
        completions=["R", "W"],
        logps=batch.logps,
    )
    result = cepo()(one, credit)
    assert policy.asked == [(1, "xR"), (1, "xW")]
    assert result.values[0].tolist() == [1.0, 1.0]
    assert result.metrics["cepo_shown_rows"] == 0.5 and result.metrics["cepo_contrasted_rows"] == 1.0


def test_no_credit_at_all_is_no_error(example):
    batch, credit = example
    result = cepo()(batch, Credit(torch.zeros_like(credit.values)))
    assert result.values.abs().sum() == 0 and batch.provider.asked == []
    assert result.metrics["cepo_contrasted_rows"] == 0.0


def test_the_default_is_the_published_setting():
    assert (Cepo().mix, Cepo().clip, Cepo().rejected_below) == (0.5, 0.5, 0.5)


def test_what_it_needs_is_named(batch_of):
    assert Cepo().needs == {"prompts", "references", "completions", "score", "logps"}
    batch = batch_of([1.0, 0.0], 2, prompts=["?"] * 2, references=["4"] * 2, completions=["4", "5"])
    with pytest.raises(MissingSignal, match="score"):
        Cepo()(batch, Credit.broadcast(torch.tensor([1.0, -1.0]), batch.mask))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rejected_below": nan}, "rejected_below"),
        ({"rejected_below": "low"}, "rejected_below.*float"),
        ({"clip": 0.0}, "clip"),
        ({"template": "x"}, "template"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"Cepo.{message}"):
        Cepo(**options)
