import math
import pickle

import numpy as np
import pytest
import torch

from methods import MissingSignal, RolloutBatch
from methods.batch import SIGNALS

nan = math.nan


class Counting:
    """A provider that knows some signals and counts how often each is asked for."""

    def __init__(self, **known):
        self.known, self.asked = known, []

    def signal(self, name):
        self.asked.append(name)
        if name not in self.known:
            raise MissingSignal(name)
        return self.known[name]


def test_from_tensors_brings_plain_input_to_the_batch_types():
    batch = RolloutBatch.from_tensors(
        np.array([[5, 6], [7, 8]], dtype=np.int32), [[1, 1], [1, 0]], np.array([1, 0], dtype=np.float32), 2
    )
    assert batch.completion_ids.dtype == torch.int64
    assert batch.mask.dtype == torch.bool and batch.mask.tolist() == [[True, True], [True, False]]
    assert batch.rewards.dtype == torch.float64 and batch.rewards.tolist() == [1.0, 0.0]
    assert batch.lengths.tolist() == [2, 1]


def test_grouped_keeps_rows_of_one_prompt_together(batch_of):
    batch = batch_of([1.0, 2.0, 3.0, 4.0], 2)
    assert batch.grouped(batch.rewards).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert batch.grouped(batch.completion_ids).shape == (2, 2, 2)


def test_nan_reward_or_nan_term_makes_the_row_unscorable(batch_of):
    batch = batch_of([1.0, nan, 0.5, 0.0], 2, reward_terms={"format": [nan, 0.0, 1.0, 1.0]})
    assert batch.valid.tolist() == [False, False, True, True]
    assert math.isnan(batch.rewards[0]) and batch.rewards[2:].tolist() == [0.5, 0.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group_size": 1}, "group_size.*1.*at least 2.*num_generations"),
        ({"group_size": 3}, "group_size.*3.*4 rows.*multiple"),
        ({"group_size": 2.0}, "group_size.*int"),
        ({"rewards": [1.0, 2.0]}, r"rewards.*\(4,\).*\(2,\)"),
        ({"rewards": [1.0, 2.0, math.inf, 0.0]}, "rewards.*inf.*row 2"),
        ({"mask": torch.ones(4, 3, dtype=torch.bool)}, r"mask.*\(4, 2\).*\(4, 3\)"),
        ({"mask": torch.full((4, 2), 2)}, "mask.*0 and 1"),
        ({"completion_ids": torch.zeros(4, dtype=torch.int64)}, r"completion_ids.*\(N, T\)"),
        ({"completion_ids": torch.zeros(4, 2)}, "completion_ids.*integer"),
        ({"reward_terms": {"format": [1.0]}}, r"reward_terms\['format'\].*\(4,\)"),
        ({"logps": torch.zeros(4, 3)}, r"logps.*\(N, T\).*\(4, 2\).*\(4, 3\)"),
        ({"logps": torch.zeros(4, 2, dtype=torch.int64)}, "logps.*float"),
        ({"logps": [[0.0, 0.0]] * 4}, "logps.*Tensor"),
        ({"hidden": torch.zeros(4, 2)}, r"hidden.*\(N, T, d\)"),
        ({"hidden": torch.zeros(4, 3, 5)}, r"hidden.*\(4, 2, "),
        ({"decisive": torch.zeros(4, 2)}, "decisive.*integer"),
        ({"logps": torch.zeros(4, 2, device="meta")}, "logps.*meta.*cpu"),
        ({"completions": ["a", "b"]}, "completions.*4.*2"),
        ({"completions": ["a", "b", "c", None]}, "completions.*row 3.*None"),
        ({"prompts": "abcd"}, "prompts.*sequence"),
    ],
)
def test_wrong_input_is_refused_naming_the_field(change, message):
    good = {
        "completion_ids": torch.zeros(4, 2, dtype=torch.int64),
        "mask": torch.ones(4, 2, dtype=torch.bool),
        "rewards": [0.0, 1.0, 0.0, 1.0],
        "group_size": 2,
    }
    RolloutBatch.from_tensors(**good)
    with pytest.raises((ValueError, TypeError), match=message):
        RolloutBatch.from_tensors(**{**good, **change})


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="no completions"):
        RolloutBatch.from_tensors(torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, 2).bool(), [], 2)


def test_unknown_signal_lists_the_valid_names(batch_of):
    with pytest.raises(ValueError, match="logpss.*logps.*entropies"):
        batch_of([1.0, 0.0], 2, logpss=torch.zeros(2, 2))


def test_signal_given_comes_back_in_its_dtype_without_gradient(batch_of):
    logps = torch.full((2, 2), -0.5, dtype=torch.float32, requires_grad=True)
    batch = batch_of([1.0, 0.0], 2, logps=logps, references=["a", None], prompts=("x", "y"))
    assert batch.logps.dtype == torch.float32 and not batch.logps.requires_grad
    assert batch.references == ["a", None] and batch.prompts == ["x", "y"]


def test_signal_neither_given_nor_computable_is_named(batch_of):
    with pytest.raises(MissingSignal, match="'hidden'.*neither given nor computable"):
        batch_of([1.0, 0.0], 2).hidden  # noqa: B018
    with pytest.raises(LookupError, match="'hidden'"):
        batch_of([1.0, 0.0], 2, provider=Counting()).hidden  # noqa: B018


def test_missing_signal_survives_pickling():
    error = pickle.loads(pickle.dumps(MissingSignal("hidden", wanted_by="method 'delta', weighting Delta")))
    assert error.name == "hidden" and "method 'delta', weighting Delta" in str(error)


def test_provider_is_asked_once_and_only_on_use(batch_of):
    provider = Counting(entropies=torch.ones(2, 2), logps=torch.zeros(2, 2))
    batch = batch_of([1.0, 0.0], 2, provider=provider)
    assert provider.asked == []
    shaped = batch.with_rewards(
        torch.tensor([2.0, 1.0], dtype=torch.float64), {"bonus": torch.ones(2).double()}
    )
    assert shaped.entropies is shaped.entropies and batch.entropies is shaped.entropies
    assert provider.asked == ["entropies"]


def test_a_given_signal_wins_over_the_provider(batch_of):
    provider = Counting(logps=torch.zeros(2, 2))
    batch = batch_of([1.0, 0.0], 2, provider=provider, logps=torch.full((2, 2), -1.0))
    assert batch.logps[0, 0] == -1.0 and provider.asked == []


def test_what_a_provider_returns_is_checked_too(batch_of):
    with pytest.raises(ValueError, match="entropies"):
        batch_of([1.0, 0.0], 2, provider=Counting(entropies=torch.ones(2, 5))).entropies  # noqa: B018


def test_with_rewards_adds_terms_and_leaves_the_original(batch_of):
    batch = batch_of([1.0, 0.0], 2, reward_terms={"correct": [1.0, 0.0]})
    shaped = batch.with_rewards(
        torch.tensor([1.5, 0.5], dtype=torch.float64), {"bonus": torch.tensor([0.5, 0.5]).double()}
    )
    assert batch.rewards.tolist() == [1.0, 0.0] and list(batch.reward_terms) == ["correct"]
    assert shaped.rewards.tolist() == [1.5, 0.5] and list(shaped.reward_terms) == ["correct", "bonus"]


def test_the_signals_of_the_contract_exist():
    numbers = {"logps", "entropies", "sum_sq_probs", "probs", "hidden", "ref_logps", "decisive"}
    assert set(SIGNALS) == numbers | {"prompts", "completions", "references", "token_texts"}


def test_completions_of_no_tokens_at_all_are_a_batch():
    batch = RolloutBatch.from_tensors(
        torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0).bool(), [1.0, 0.0], 2
    )
    assert batch.lengths.tolist() == [0, 0]


def test_a_batch_shares_no_memory_with_the_callers_tensors():
    ids, mask = torch.tensor([[1, 2], [3, 4]]), torch.ones(2, 2, dtype=torch.bool)
    rewards = torch.tensor([1.0, 0.0], dtype=torch.float64)
    batch = RolloutBatch.from_tensors(ids, mask, rewards, 2)
    rewards[0] = 7.0
    batch.completion_ids.zero_()
    assert batch.rewards.tolist() == [1.0, 0.0]
    assert ids.tolist() == [[1, 2], [3, 4]]
