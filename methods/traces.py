"""Sums over a completion in which a token counts the less, the farther it is."""

import torch
from torch import Tensor
from torch.nn.functional import pad


def decayed_sum(x: Tensor, decay: float) -> Tensor:
    """Σ_{l≤t} decay^l·x_{t−l}, (B, T), differentiable.

    By doubling: after n rounds every place holds its last 2^n terms; neither a T × T matrix nor a loop over T.
    """
    step = 1
    while step < x.shape[1]:
        x = x + decay**step * pad(x[:, :-step], (step, 0))
        step *= 2
    return x


def two_sided_sum(x: Tensor, decay: float) -> Tensor:
    """Σ_{l≤t} max(decay^l, decay^{t−l})·x_{t−l}, (B, T), differentiable; tokens near t and near the start count.

    With k = t − l: decay^k is the larger weight up to k = ⌊t/2⌋, decay^{t−k} behind it.
    """
    t = torch.arange(x.shape[1], device=x.device)
    half = t // 2
    scale = torch.tensor(decay, dtype=x.dtype, device=x.device)
    early = (x * scale**t).cumsum(1)[:, half]
    recent = decayed_sum(x, decay)
    return early + recent - scale ** (t - half) * recent[:, half]
