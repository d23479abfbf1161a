"""Traces against numbers by hand, naive double loops in float64, and autograd."""

import pytest
import torch

from methods.traces import decayed_sum, two_sided_sum

WEIGHT = {
    decayed_sum: lambda decay, t, lag: decay**lag,
    two_sided_sum: lambda decay, t, lag: max(decay**lag, decay ** (t - lag)),
}
BOTH = pytest.mark.parametrize("trace", [decayed_sum, two_sided_sum])


def naive(trace, x, decay):
    rows = []
    for row in x:
        rows.append(
            torch.stack(
                [
                    sum(WEIGHT[trace](decay, t, lag) * row[t - lag] for lag in range(t + 1))
                    for t in range(len(row))
                ]
            )
        )
    return torch.stack(rows)


def test_decayed_sum_by_hand(close):
    # ½: 1; 2 + ½·1; 4 + ½·2.5; 8 + ½·5.25; and the row above it in reverse order of magnitude
    close(
        decayed_sum(torch.tensor([[1.0, 2.0, 4.0, 8.0], [8.0, 0.0, 0.0, 0.0]], dtype=torch.float64), 0.5),
        [[1.0, 2.5, 5.25, 10.625], [8.0, 4.0, 2.0, 1.0]],
    )


def test_two_sided_sum_by_hand(close):
    # weights max(½^l, ½^(t−l)) of the tokens 0 … t:  1 | 1 1 | 1 ½ 1 | 1 ½ ½ 1 | 1 ½ ¼ ½ 1
    close(
        two_sided_sum(torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0]], dtype=torch.float64), 0.5),
        [[1.0, 3.0, 1 + 1 + 4, 1 + 1 + 2 + 8, 1 + 1 + 1 + 4 + 16]],
    )


@BOTH
@pytest.mark.parametrize("decay", [0.0, 0.3, 0.99, 1.0])
@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 33])
def test_as_the_double_loop(trace, decay, length, close):
    x = torch.randn(3, length, generator=torch.Generator().manual_seed(length)).double()
    close(trace(x, decay), naive(trace, x, decay))


@BOTH
def test_gradient_is_that_of_the_double_loop(trace, close):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 9, generator=generator).double().requires_grad_()
    upstream = torch.randn(2, 9, generator=generator).double()
    [fast] = torch.autograd.grad(trace(x, 0.9), x, upstream)
    [slow] = torch.autograd.grad(naive(trace, x, 0.9), x, upstream)
    close(fast, slow)
    assert torch.autograd.gradcheck(lambda y: trace(y, 0.9), x)


@BOTH
def test_no_tokens_and_no_log_ratio(trace):
    assert trace(torch.zeros(2, 0), 0.9).shape == (2, 0)
    assert torch.equal(trace(torch.zeros(2, 5), 0.9), torch.zeros(2, 5))


@BOTH
def test_single_precision_over_a_long_completion(trace, close):
    x = torch.randn(2, 2048, generator=torch.Generator().manual_seed(1)) * 0.05
    close(trace(x, 0.99).double(), trace(x.double(), 0.99), tolerance=1e-5)
