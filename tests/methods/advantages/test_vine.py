"""VinePPO's step advantages by hand, from a table of continuations."""

import math

import pytest
import torch

from methods import MissingSignal, RolloutBatch
from methods.advantages.vine import Vine

nan = math.nan


class Table:
    """Continuations from a table: (group, text so far) → rewards, and what was asked of it."""

    def __init__(self, rewards, texts, group_size):
        self.rewards, self.texts, self.group_size = rewards, texts, group_size
        self.asked, self.counts = [], []

    def continuations(self, rows, lengths, count):
        states = [
            (row // self.group_size, "".join(self.texts[row][:n]))
            for row, n in zip(rows, lengths, strict=True)
        ]
        self.asked += states
        self.counts.append(count)
        return torch.tensor([self.rewards[state] for state in states], dtype=torch.float64)


def batch_of_texts(texts, rewards, table, group_size=2, mask=None):
    """Texts are lists of tokens; equal tokens have equal ids."""
    width = max(map(len, texts))
    ids = [[int.from_bytes(t.encode()) for t in row] + [7] * (width - len(row)) for row in texts]
    inside = torch.tensor([[j < len(row) for j in range(width)] for row in texts])
    inside = inside if mask is None else torch.as_tensor(mask).bool()
    own = [
        [t for t, keep in zip(row, inside[i].tolist(), strict=False) if keep] for i, row in enumerate(texts)
    ]
    provider = Table(table, texts, group_size)
    batch = RolloutBatch.from_tensors(ids, inside, rewards, group_size, token_texts=own, provider=provider)
    return batch, provider


TEXTS = [["a", ";", "b", "b", ";", "c"], ["a", ";", "d", "e"]]
TABLE = {
    (0, ""): [1.0, 0.0, 0.0, 0.0],  # V̂ = 1/4, the prompt's
    (0, "a;"): [1.0, 1.0, 0.0, 0.0],  # 1/2, a state of both completions
    (0, "a;bb;"): [1.0, 1.0, 1.0, 0.0],  # 3/4
}
# steps a; bb; c with R = 1:  1/2 − 1/4, 3/4 − 1/2, 1 + 0 − 3/4;  a; de with R = 0:  1/2 − 1/4, 0 + 0 − 1/2
BY_HAND = [[0.25, 0.25, 0.25, 0.25, 0.25, 0.25], [0.25, 0.25, -0.5, -0.5, 0.0, 0.0]]


def test_step_advantages_by_hand(close):
    batch, provider = batch_of_texts(TEXTS, [1.0, 0.0], TABLE)
    credit = Vine(rollouts=4, whiten=False)(batch)
    close(credit.values, BY_HAND)
    assert credit.metrics == {"vine_states": 3, "vine_unvalued": 0, "vine_steps": 2.5, "vine_value": 0.25}
    assert provider.counts == [4]
    # each state's value stands before the token that follows it, none within a step
    values = [[0.25, nan, 0.5, nan, nan, 0.75], [0.25, nan, 0.5, nan, nan, nan]]
    torch.testing.assert_close(credit.state_values, torch.tensor(values).double(), equal_nan=True)


def test_mean_value_of_the_prompts_by_hand(close):
    # 1/3, 1/2 and one without a vote: 5/12
    table = {(0, ""): [1.0, 0.0, 0.0, nan], (1, ""): [1.0, 0.0, nan, nan], (2, ""): [nan] * 4}
    batch, _ = batch_of_texts([["a"], ["b"], ["c"], ["d"], ["e"], ["f"]], [1.0, 0.0] * 3, table)
    close(Vine(rollouts=4)(batch).metrics["vine_value"], 5 / 12)


def test_each_state_of_a_group_is_asked_for_once():
    batch, provider = batch_of_texts(TEXTS, [1.0, 0.0], TABLE)
    Vine(rollouts=4)(batch)
    assert sorted(provider.asked) == sorted(TABLE)


def test_equal_beginnings_of_different_groups_are_different_states(close):
    table = {(0, ""): [0.0], (0, "a;"): [0.0], (1, ""): [1.0], (1, "a;"): [0.5]}
    batch, provider = batch_of_texts([["a", ";", "b"]] * 4, [0.0, 1.0, 0.0, 1.0], table)
    credit = Vine(rollouts=1, whiten=False)(batch)
    assert sorted(provider.asked) == sorted(table)
    close(credit.values[:, 0], [0.0, 0.0, -0.5, -0.5])
    close(credit.values[:, 2], [0.0, 1.0, -0.5, 0.5])
    assert credit.metrics["vine_value"] == 0.5


def test_a_token_in_the_middle_tells_states_apart():
    # the same length and last token, but another beginning
    texts = [["a", ";", "b", ";", "c"], ["x", ";", "b", ";", "c"]]
    table = {(0, s): [0.0] for s in ("", "a;", "x;", "a;b;", "x;b;")}
    batch, provider = batch_of_texts(texts, [0.0, 0.0], table)
    Vine(rollouts=1)(batch)
    assert sorted(provider.asked) == sorted(table)


def test_advantages_of_a_completion_sum_to_reward_less_the_prompts_value(close):
    batch, _ = batch_of_texts(TEXTS, [1.0, 0.0], TABLE)
    values = Vine(rollouts=4, whiten=False)(batch).values
    close(values[0, [0, 2, 5]].sum(), 1.0 - 0.25)
    close(values[1, [0, 2]].sum(), 0.0 - 0.25)


def test_whitened_by_hand(close):
    # 8 tokens with 1/4 and 2 with −1/2: mean 1/10, deviations .15 and −.6, unbiased variance (8·.0225 + 2·.36)/9 = .1
    batch, _ = batch_of_texts(TEXTS, [1.0, 0.0], TABLE)
    s = math.sqrt(0.1 + 1e-8)
    expected = torch.tensor(BY_HAND, dtype=torch.float64)
    expected = ((expected - 0.1) / s).where(batch.mask, 0.0)
    close(Vine(rollouts=4)(batch).values, expected)


def test_tokens_of_a_tool_stand_in_the_prefix_and_get_nothing(close):
    # the tool wrote the tokens 2 and 3 of the first completion
    texts = [["a", ";", "T", "T", "b", ";", "c"], ["d"]]
    mask = [[1, 1, 0, 0, 1, 1, 1], [1, 0, 0, 0, 0, 0, 0]]
    table = {(0, ""): [0.0], (0, "a;"): [0.5], (0, "a;TTb;"): [0.25]}
    batch, provider = batch_of_texts(texts, [1.0, 0.0], table, mask=mask)
    credit = Vine(rollouts=1, whiten=False)(batch)
    assert sorted(provider.asked) == sorted(table)
    close(credit.values[0], [0.5, 0.5, 0.0, 0.0, -0.25, -0.25, 0.75])


def test_bound_on_steps_leaves_the_rest_to_the_step_behind_it(close):
    # V̂ of the prompt and after one step; later states are taken at R = 1: step 2 gets 1 − 1/2, step 3 nothing
    batch, provider = batch_of_texts(TEXTS, [1.0, 0.0], TABLE)
    credit = Vine(rollouts=4, whiten=False, max_steps=1)(batch)
    assert sorted(provider.asked) == [(0, ""), (0, "a;")]
    close(credit.values, [[0.25, 0.25, 0.5, 0.5, 0.5, 0.0], BY_HAND[1]])
    assert credit.metrics["vine_states"] == 2 and credit.metrics["vine_steps"] == 2.5
    close(Vine(rollouts=4, whiten=False, max_steps=2)(batch).values, BY_HAND)


def test_continuations_without_a_verdict_do_not_vote(close):
    table = TABLE | {(0, "a;"): [nan, 1.0, 0.0, nan]}
    batch, _ = batch_of_texts(TEXTS, [1.0, 0.0], table)
    close(Vine(rollouts=4, whiten=False)(batch).values, BY_HAND)


def test_a_state_without_a_vote_is_passed_over(close):
    # a;bb; is one step: 3/4 − 1/4; and a;de: 0 − 1/4
    table = TABLE | {(0, "a;"): [nan] * 4}
    batch, _ = batch_of_texts(TEXTS, [1.0, 0.0], table)
    credit = Vine(rollouts=4, whiten=False)(batch)
    close(credit.values, [[0.5] * 5 + [0.25], [-0.25] * 4 + [0.0, 0.0]])
    assert credit.metrics["vine_unvalued"] == 1 and credit.metrics["vine_states"] == 3


def test_a_prompt_without_a_vote_leaves_the_first_step_without_credit(close):
    table = TABLE | {(0, ""): [nan] * 4}
    batch, _ = batch_of_texts(TEXTS, [1.0, 0.0], table)
    credit = Vine(rollouts=4, whiten=False)(batch)
    close(credit.values, [[0.0, 0.0, 0.25, 0.25, 0.25, 0.25], [0.0, 0.0, -0.5, -0.5, 0.0, 0.0]])
    assert credit.metrics["vine_value"] == 0.0


def test_unscorable_rows_get_nothing_and_are_not_continued(close):
    batch, provider = batch_of_texts(TEXTS, [nan, 0.0], TABLE)
    credit = Vine(rollouts=4, whiten=False)(batch)
    close(credit.values, [[0.0] * 6, BY_HAND[1]])
    assert sorted(provider.asked) == [(0, ""), (0, "a;")]
    assert credit.metrics["vine_steps"] == 2.0


def test_nothing_to_continue():
    batch, provider = batch_of_texts(TEXTS, [nan, nan], TABLE)
    credit = Vine(rollouts=4)(batch)
    assert (credit.values == 0).all() and provider.counts == []
    assert credit.metrics == {"vine_states": 0, "vine_unvalued": 0, "vine_steps": 0.0, "vine_value": 0.0}


def test_a_completion_without_tokens_is_left_out(close):
    batch, _ = batch_of_texts([TEXTS[0], []], [1.0, 0.0], TABLE)
    close(Vine(rollouts=4, whiten=False)(batch).values, [BY_HAND[0], [0.0] * 6])


def test_padding_and_row_order_do_not_matter(close):
    plain = Vine(rollouts=4)(batch_of_texts(TEXTS, [1.0, 0.0], TABLE)[0]).values
    swapped = Vine(rollouts=4)(batch_of_texts(TEXTS[::-1], [0.0, 1.0], TABLE)[0]).values
    close(swapped, plain.flip(0))
    wide, provider = batch_of_texts(TEXTS, [1.0, 0.0], TABLE)
    wide = RolloutBatch.from_tensors(
        torch.cat([wide.completion_ids, torch.full((2, 3), 5)], 1),
        torch.cat([wide.mask, torch.zeros(2, 3).bool()], 1),
        wide.rewards,
        2,
        token_texts=wide.token_texts,
        provider=provider,
    )
    close(Vine(rollouts=4)(wide).values, torch.cat([plain, torch.zeros(2, 3).double()], 1))


def test_work_it_needs_is_named(batch_of):
    assert Vine.needs == {"continuations", "token_texts"} and Vine.scope == "batch"
    with pytest.raises(MissingSignal, match="continuations"):
        Vine()(batch_of([1.0, 0.0], 2, token_texts=[["a", "b"]] * 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rollouts": 0}, "rollouts >= 1.*rollouts=0"),
        ({"rollouts": 1.5}, "rollouts.*int"),
        ({"separator": ""}, "a separator"),
        ({"max_steps": -1}, "max_steps >= 0"),
        ({"whiten": 1}, "whiten.*bool"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Vine(**options)
