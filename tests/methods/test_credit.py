import pytest
import torch

from methods import Credit


def test_broadcast_copies_a_row_to_its_tokens_and_leaves_the_rest_zero():
    mask = torch.tensor([[True, True, False], [False, False, False], [True, False, True]])
    credit = Credit.broadcast(torch.tensor([2.0, 5.0, -1.0]), mask, spread=0.25)
    assert credit.values.dtype == torch.float64
    assert credit.values.tolist() == [[2.0, 2.0, 0.0], [0.0, 0.0, 0.0], [-1.0, 0.0, -1.0]]
    assert credit.metrics == {"spread": 0.25}


def test_broadcast_refuses_a_wrong_shape():
    with pytest.raises(ValueError, match=r"advantages.*\(2,\).*\(3,\)"):
        Credit.broadcast(torch.zeros(3), torch.ones(2, 4, dtype=torch.bool))


def test_metrics_default_to_none_at_all():
    assert Credit(torch.zeros(1, 1, dtype=torch.float64)).metrics == {}
