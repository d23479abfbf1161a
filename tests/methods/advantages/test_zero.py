import math

import torch

from methods.advantages.zero import Zero


def test_no_token_gets_credit(batch_of):
    values = Zero()(batch_of([1.0, 0.0, math.nan, 5.0], 2, mask=[[1, 1], [1, 0], [1, 1], [0, 0]])).values
    assert values.dtype == torch.float64
    assert values.tolist() == [[0.0, 0.0]] * 4
