"""Rewards of single tokens: what they come to with a leave-one-out baseline, and how they tell right from wrong."""

import torch
from torch import Tensor

from methods.groups import deviations


def to_go(x: Tensor) -> Tensor:
    """Σ_{s≥t} x_s along the rows of x (n, T)."""
    return x.flip(1).cumsum(1).flip(1)


def largest_to_go(r: Tensor, rows: int) -> float:
    """max |Σ_{s≥t} r_s| over r (N, T), ``rows`` at a time."""
    return max(to_go(some).abs().max().item() for some in r.split(rows))


def left_one_out(rewards: Tensor, valid: Tensor, group_size: int) -> Tensor:
    """(n·R_i − Σ_j R_j)/(n − 1) over the n valid of each group of rewards (N,); 0 for others, and with n < 2."""
    deviation, n = deviations(rewards.unflatten(0, (-1, group_size)), valid.unflatten(0, (-1, group_size)))
    return (n / (n - 1).clamp(min=1) * deviation).flatten()


def token_left_one_out(r: Tensor, inside: Tensor) -> Tensor:
    """(n·r_t − Σ_j r̄_j)/(n − 1) over the n rows of a group's r (G, T) with true places in ``inside``, r̄ a row's mean.

    0 elsewhere, and with n < 2.
    """
    lengths = inside.sum(1)
    n = (lengths > 0).sum().item()
    if n < 2:
        return torch.zeros_like(r)
    means = r.where(inside, 0.0).sum(1) / lengths.clamp(min=1)
    return ((n * r - means.sum()) / (n - 1)).where(inside, 0.0)


def returns_(r: Tensor, inside: Tensor, outcomes: Tensor, group_size: int) -> None:
    """r (N, T) ← Σ_{s≥t} of it left one out, plus outcomes (N,), in place, group by group; 0 outside ``inside``."""
    groups = (x.split(group_size) for x in (r, inside, outcomes))
    for of_group, here, outcome in zip(*groups, strict=True):
        of_group.copy_((to_go(token_left_one_out(of_group, here)) + outcome[:, None]).where(here, 0.0))


def pair_accuracy(scores: Tensor, right: Tensor, wrong: Tensor) -> float:
    """Share of the pairs of a right and a wrong one that scores (P, G) order well, ties half; ½ without a pair."""
    pair = right[:, :, None] & wrong[:, None, :]
    order = (scores[:, :, None] - scores[:, None, :]).sign()[pair]
    return 0.5 + 0.5 * order.mean().item() if len(order) else 0.5
