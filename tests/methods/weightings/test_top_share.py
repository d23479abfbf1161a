import math

import pytest
import torch

from methods.weightings.top_share import top_share

nan = math.nan


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        # among 5, 1, 4, 3, 2 (the third is not among them): ⌈share·5⌉ of them, at least one
        (1e-7, [[1, 0, 0], [0, 0, 0]]),
        (0.1, [[1, 0, 0], [0, 0, 0]]),
        (0.2, [[1, 0, 0], [0, 0, 0]]),
        (0.21, [[1, 0, 0], [1, 0, 0]]),
        (0.6, [[1, 0, 0], [1, 1, 0]]),
        (1.0, [[1, 1, 0], [1, 1, 1]]),
    ],
)
def test_by_hand(share, expected):
    among = torch.tensor([[1, 1, 0], [1, 1, 1]]).bool()
    for outside in (nan, 9.0):
        x = torch.tensor([[5.0, 1.0, outside], [4.0, 3.0, 2.0]])
        assert torch.equal(top_share(x, among, share), torch.tensor(expected).bool())


def test_a_share_that_is_a_whole_number_but_for_rounding():
    assert 0.07 * 100 > 7
    x = torch.arange(100.0)
    assert top_share(x, torch.ones(100).bool(), 0.07).sum() == 7


def test_ties_at_the_border_are_all_in():
    x = torch.tensor([3.0, 2.0, 2.0, 2.0, 1.0])
    assert torch.equal(top_share(x, torch.ones(5).bool(), 0.4), torch.tensor([1, 1, 1, 1, 0]).bool())


def test_none_to_choose_from():
    none = torch.zeros(2, 3).bool()
    assert torch.equal(top_share(torch.randn(2, 3), none, 0.5), none)
    assert top_share(torch.zeros(2, 0), torch.zeros(2, 0).bool(), 0.5).shape == (2, 0)
