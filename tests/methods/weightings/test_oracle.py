import pytest
import torch

from methods import Credit, MissingSignal
from methods.weightings.oracle import Oracle

CREDIT = torch.tensor([[2.0, 2.0, 2.0], [-1.0, -1.0, -1.0], [0.0, 0.0, 0.0], [-3.0, -3.0, 0.0]]).double()
DECISIVE = torch.tensor([[1, 0, -1], [1, -1, 0], [1, -1, 0], [1, 0, -1]], dtype=torch.int8)


def test_credit_stays_on_the_tokens_that_decided(batch_of):
    mask = [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 0]]
    batch = batch_of([1.0, 0.0, 1.0, 0.0], 2, mask=mask, decisive=DECISIVE)
    result = Oracle()(batch, Credit(CREDIT))
    # the last row's deciding token is masked: nothing is left
    assert result.values.tolist() == [[2.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    # 2 of the 8 tokens that had credit; 1 of the 3 rows that had credit lost all of it
    assert result.metrics == {"oracle_kept_share": 0.25, "oracle_lost_rows": pytest.approx(1 / 3)}


def test_no_credit_at_all_is_no_error(batch_of):
    batch = batch_of([1.0, 1.0], 2, length=3, decisive=DECISIVE[:2])
    result = Oracle()(batch, Credit(torch.zeros(2, 3, dtype=torch.float64)))
    assert result.values.abs().sum() == 0
    assert result.metrics == {"oracle_kept_share": 0.0, "oracle_lost_rows": 0.0}


def test_a_suite_that_does_not_know_is_named(batch_of):
    with pytest.raises(MissingSignal, match="decisive"):
        Oracle()(batch_of([1.0, 0.0], 2), Credit(CREDIT[:2, :2]))
