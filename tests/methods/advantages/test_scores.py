import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from methods import RolloutBatch
from methods.advantages.scores import group_scores, shuffled_within_groups, weight_spread

nan = math.nan


class Allocated(TorchDispatchMode):
    """The size in bytes of the largest tensor that an operation returned without it being one of its inputs."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        before = {x.untyped_storage().data_ptr() for x in args if isinstance(x, torch.Tensor)}
        for x in [result] if isinstance(result, torch.Tensor) else []:
            if x.untyped_storage().data_ptr() not in before:
                self.largest = max(self.largest, x.untyped_storage().nbytes())
        return result


@pytest.fixture
def batch(batch_of):
    # sums -2, -0.5, 0 | -4, -3, -1; the third row has no token, the last is unscorable
    logps = torch.tensor([[-1.5, -0.5], [-0.5, nan], [nan, nan], [-3.0, -1.0], [5.0, -3.0], [-0.5, -0.5]])
    mask = [[1, 1], [1, 0], [0, 0], [1, 1], [0, 1], [1, 1]]
    return batch_of([1.0, 0.0, 0.0, 1.0, 0.0, nan], 3, mask=mask, logps=logps)


def test_which_rows_have_a_score(batch):
    _, scored = group_scores(batch, "mean")
    assert scored.tolist() == [[True, True, False], [True, True, False]]


def test_sum_and_mean_by_hand(batch, close):
    close(group_scores(batch, "sum")[0], [[-2.0, -0.5, 0.0], [-4.0, -3.0, -1.0]])
    close(group_scores(batch, "mean")[0], [[-1.0, -0.5, 0.0], [-2.0, -3.0, -0.5]])


def test_zscore_by_hand(batch, close):
    # scored means -1, -0.5 | -2, -3: deviations ±1/4 and ±1/2, unbiased std sqrt(1/8) and sqrt(1/2)
    a, b = 0.25 / (math.sqrt(1 / 8) + 1e-4), 0.5 / (math.sqrt(1 / 2) + 1e-4)
    close(group_scores(batch, "zscore")[0], [[-a, a, 0.0], [b, -b, 0.0]])


def test_shuffled_keeps_the_scores_of_scored_rows_together(batch_of):
    batch = batch_of([0.0] * 400, 4)
    s = torch.arange(400.0).double().view(100, 4)
    scored = torch.tensor([True, False, True, True]).expand(100, 4)
    shuffled = shuffled_within_groups(s, scored, batch)
    assert torch.equal(shuffled[:, 1], s[:, 1])
    assert torch.equal(shuffled.sort(1).values, s)
    # all six orders of three scores occur, none far more often than the sixteen or so of its share
    orders, counts = (shuffled - s[:, :1]).unique(dim=0, return_counts=True)
    assert len(orders) == 6 and counts.min() >= 6 and counts.max() <= 30


def test_a_shuffle_follows_from_its_group_alone(batch_of):
    batch = batch_of([0.0] * 32, 8)
    s, scored = torch.arange(32.0).double().view(4, 8), torch.ones(4, 8).bool()
    whole = shuffled_within_groups(s, scored, batch)
    assert not torch.equal(whole, s)
    for g in range(4):
        rows = slice(8 * g, 8 * g + 8)
        alone = RolloutBatch.from_tensors(batch.completion_ids[rows], batch.mask[rows], [0.0] * 8, 8)
        assert torch.equal(shuffled_within_groups(s[g : g + 1], scored[:1], alone), whole[g : g + 1])
    assert len((whole - s[:, :1]).unique(dim=0)) == 4  # not one permutation for all


def test_a_completion_gets_the_same_score_wherever_it_stands(batch_of):
    batch = batch_of([0.0] * 5, 5)
    s, scored = torch.arange(5.0).double()[None], torch.tensor([[True, True, False, True, True]])
    order = [3, 2, 0, 4, 1]
    moved = RolloutBatch.from_tensors(batch.completion_ids[order], batch.mask[order], [0.0] * 5, 5)
    whole = shuffled_within_groups(s, scored, batch)
    assert torch.equal(shuffled_within_groups(s[:, order], scored[:, order], moved), whole[:, order])


@pytest.mark.parametrize("score", ["mean", "sum", "zscore"])
def test_no_copy_of_all_log_probs_is_made(batch_of, score):
    batch = batch_of([0.0] * 512, 8, length=256, logps=-torch.rand(512, 256))
    with Allocated() as made:
        group_scores(batch, score)
    assert 0 < made.largest < 512 * 256 * 8 / 4


def test_weight_spread_by_hand():
    w = torch.tensor([0.0, 0.009, 0.5, 0.991], dtype=torch.float64)
    mean = (0.009 + 0.5 + 0.991) / 4
    sd = math.sqrt(sum((x - mean) ** 2 for x in (0.0, 0.009, 0.5, 0.991)) / 4)
    assert weight_spread(w) == {"pair_weight_sd": pytest.approx(sd), "pair_weight_saturated": 0.75}
    assert weight_spread(w[:0]) == {"pair_weight_sd": 0.0, "pair_weight_saturated": 0.0}
