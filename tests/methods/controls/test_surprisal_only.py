import math

import pytest
import torch

from methods import Credit, MissingSignal, RolloutBatch
from methods.controls.surprisal_only import SurprisalOnly

nan = math.nan
HALF, THREE_QUARTERS = math.log(0.5), math.log(0.75)


def test_by_hand(rows_of, close):
    # 1 − p is .5, .25, 0: the total 9 goes 6 : 3 : 0;  the total −3 of the second row over .25 and .5
    batch = rows_of([[1, 1, 1], [1, 0, 1]], [[HALF, THREE_QUARTERS, 0.0], [THREE_QUARTERS, nan, HALF]])
    values = torch.tensor([[1.0, 7.0, 1.0], [-3.0, 0.0, 0.0]]).double()
    result = SurprisalOnly()(batch, Credit(values))
    close(result.values, [[6.0, 3.0, 0.0], [-1.0, 0.0, -2.0]])
    # moved (5 + 4 + 1)/2 and (2 + 2)/2 of 9 + 3
    close(result.metrics["control_moved"], 7 / 12)


def test_sure_tokens_share_equally(rows_of, close):
    batch = rows_of([[1, 1, 0], [1, 1, 1]], [[0.0, 0.0, -5.0], [1e-9, 0.0, 0.0]])  # rounding may exceed 0
    values = torch.tensor([[3.0, 1.0, 0.0], [1.0, 1.0, 4.0]]).double()
    close(SurprisalOnly()(batch, Credit(values)).values, [[2.0, 2.0, 0.0], [2.0, 2.0, 2.0]])


def test_nearly_sure_tokens_keep_their_digits(rows_of, close):
    # 1 − e^{−1e−18} is 1e−18, though e^{−1e−18} is 1 to the computer
    batch = rows_of([[1, 1], [1, 1]], [[-1e-18, -3e-18], [-1e-18, -1e-18]])
    values = torch.tensor([[4.0, 0.0], [1.0, 0.0]]).double()
    close(SurprisalOnly()(batch, Credit(values)).values, [[1.0, 3.0], [0.5, 0.5]])


def test_credit_that_cancels_is_nothing_and_so_is_none(rows_of):
    batch = rows_of([[1, 1], [1, 1], [0, 0]], [[HALF, HALF]] * 3)
    values = torch.tensor([[1.0, -1.0], [0.0, 0.0], [0.0, 0.0]]).double()
    assert SurprisalOnly()(batch, Credit(values)).values.abs().sum() == 0


def test_totals_are_kept(rows_of, close):
    torch.manual_seed(0)
    mask = torch.rand(7, 12) < 0.7
    values = torch.randn(7, 12).double().where(mask, 0.0)
    result = SurprisalOnly()(rows_of(mask, -torch.rand(7, 12)), Credit(values)).values
    close(result.sum(1), values.sum(1))
    assert (result[~mask] == 0).all()


def test_half_precision_log_probs_count_in_float64(close):
    batch = RolloutBatch.from_tensors(
        [[1, 2], [3, 4]],
        [[1, 1], [1, 1]],
        [1.0, 0.0],
        2,
        logps=torch.full((2, 2), HALF, dtype=torch.bfloat16),
    )
    result = SurprisalOnly()(batch, Credit(torch.tensor([[1.0, 0.0], [0.0, 5.0]]).double()))
    close(result.values, [[0.5, 0.5], [2.5, 2.5]])


def test_signals_it_needs():
    assert SurprisalOnly.needs == {"logps"}
    batch = RolloutBatch.from_tensors([[1], [2]], [[1], [1]], [1.0, 0.0], 2)
    with pytest.raises(MissingSignal, match="logps"):
        SurprisalOnly()(batch, Credit(torch.ones(2, 1, dtype=torch.float64)))
