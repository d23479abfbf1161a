import torch

from methods import Credit
from methods.weightings.uniform import Uniform


def test_uniform_leaves_credit_as_it_is(batch_of):
    credit = Credit(torch.tensor([[1.0, 0.0], [-2.0, -2.0]]).double(), {"a": 1.0})
    result = Uniform()(batch_of([1.0, 0.0], 2), credit)
    assert torch.equal(result.values, credit.values)
