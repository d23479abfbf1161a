"""Mean, variance and whitening over a batch's tokens, in row blocks: no second (N, T) map is made."""

from collections.abc import Iterator

import torch
from torch import Tensor

ROWS = 64  # of a block
EPSILON = 1e-8  # added to the variance, as in verl's and TRL's masked_whiten


def moments(values: Tensor, mask: Tensor) -> tuple[int, float, float]:
    """Number, mean and unbiased variance of values (N, T) float64 at the true places of mask; 0.0 of too few.

    Values are shifted by the smallest first: equal ones have variance 0 exactly.
    """
    assert values.shape == mask.shape and values.dtype == torch.float64
    n = int(mask.count_nonzero())  # sum would count in a map of int64
    if n == 0:
        return 0, 0.0, 0.0
    low = min(x.amin().item() for x in _blocks(values, mask, torch.inf))
    mean = sum((x - low).sum().item() for x in _blocks(values, mask, low)) / n
    square = sum((x - low - mean).square().sum().item() for x in _blocks(values, mask, low + mean))
    return n, low + mean, square / (n - 1) if n > 1 else 0.0


def whiten_(values: Tensor, mask: Tensor) -> None:
    """x ← (x − x̄)/sqrt(Var + 1e-8), in place, over all true places of mask (N, T) together; 0 elsewhere.

    Equal values, or a single one, become exactly 0.
    """
    _, mean, variance = moments(values, mask)
    scale = (variance + EPSILON) ** -0.5
    for some, inside in zip(values.split(ROWS), mask.split(ROWS), strict=True):
        some.sub_(mean).mul_(scale).masked_fill_(~inside, 0.0)


def _blocks(values: Tensor, mask: Tensor, fill: float) -> Iterator[Tensor]:
    for some, inside in zip(values.split(ROWS), mask.split(ROWS), strict=True):
        yield some.where(inside, fill)
