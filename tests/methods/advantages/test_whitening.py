import math

import pytest
import torch

from methods.advantages import whitening
from methods.advantages.whitening import moments, whiten_

nan = math.nan


@pytest.fixture(params=[64, 1])
def rows(request, monkeypatch):
    monkeypatch.setattr(whitening, "ROWS", request.param)


def test_moments_by_hand(rows, close):
    # 1, 2 and 6: mean 3, unbiased variance (4 + 1 + 9)/2 = 7; what is outside the mask does not count
    values = torch.tensor([[1.0, nan], [2.0, 6.0], [99.0, 99.0]]).double()
    mask = torch.tensor([[1, 0], [1, 1], [0, 0]]).bool()
    close(moments(values, mask), (3, 3.0, 7.0))


def test_whitened_by_hand(rows, close):
    values = torch.tensor([[1.0, nan], [2.0, 6.0], [99.0, 99.0]]).double()
    mask = torch.tensor([[1, 0], [1, 1], [0, 0]]).bool()
    whiten_(values, mask)
    s = math.sqrt(7 + 1e-8)
    close(values, [[-2 / s, 0.0], [-1 / s, 3 / s], [0.0, 0.0]])


def test_the_floor_is_added_to_the_variance(close):
    # 0 and 2e-4: deviations ±1e-4, variance 2e-8
    values = torch.tensor([[0.0, 2e-4]], dtype=torch.float64)
    whiten_(values, torch.ones(1, 2).bool())
    close(values, [[-1e-4 / math.sqrt(3e-8), 1e-4 / math.sqrt(3e-8)]])


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e6 + 0.1])
def test_equal_values_and_a_single_one_become_exactly_zero(rows, value):
    for count in (1, 7):
        values = torch.full((count, 1), value, dtype=torch.float64)
        whiten_(values, torch.ones(count, 1).bool())
        assert (values == 0).all()


def test_small_differences_on_large_values(close):
    step = 2.0**-20
    values = torch.tensor([[1e6, 1e6 + step, 1e6 + 2 * step]]).double()
    close(moments(values, torch.ones(1, 3).bool())[2], step**2)


def test_nothing_to_whiten():
    values = torch.full((2, 2), nan).double()
    assert moments(values, torch.zeros(2, 2).bool()) == (0, 0.0, 0.0)
    whiten_(values, torch.zeros(2, 2).bool())
    assert (values == 0).all()
