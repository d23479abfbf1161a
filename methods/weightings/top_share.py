"""The largest values of some, wherever they stand."""

import math

import torch
from torch import Tensor


def top_share(x: Tensor, among: Tensor, share: float) -> Tensor:
    """Where x is one of the ⌈share·n⌉ largest of the n places in ``among``, bool of their shape; ties are all in.

    Which of several equal values is chosen would else depend on the order of rows.
    """
    candidates = x[among]
    if not len(candidates):
        return torch.zeros_like(among)
    k = math.ceil(share * len(candidates) - 1e-6)  # 0.07·100 is seven, whatever floating point says
    return among & (x >= candidates.topk(max(k, 1)).values[-1])
