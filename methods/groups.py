"""Group statistics in float64 that survive ties, missing votes and large offsets."""

import torch
from torch import Tensor


def deviations(x: Tensor, votes: Tensor) -> tuple[Tensor, Tensor]:
    """x_i − x̄ over the voters of each group.

    x (P, G) float64, votes (P, G) bool → deviations (P, G), 0 for rows without a vote; votes (P, 1) float64.
    Values are shifted by the group's smallest first: equal ones then give exactly 0 (the mean of six 0.1 is
    not 0.1), and small differences on top of large values keep their digits.
    """
    assert x.shape == votes.shape and x.ndim == 2 and x.dtype == torch.float64
    smallest = x.masked_fill(~votes, torch.inf).amin(1, keepdim=True)
    shifted = torch.where(votes, x - smallest, 0.0)
    n = votes.double().sum(1, keepdim=True)
    mean = shifted.sum(1, keepdim=True) / n.clamp(min=1)
    return torch.where(votes, shifted - mean, 0.0), n


def sample_std(deviation: Tensor, n: Tensor) -> Tensor:
    """Unbiased standard deviation (P, 1) from the results of ``deviations``; 0 with fewer than two votes."""
    return (deviation.square().sum(1, keepdim=True) / (n - 1).clamp(min=1)).sqrt()
