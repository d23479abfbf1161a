"""Bi-level reshaping: unimportant tokens are weighed down, important ones up, their total kept."""

import torch
from torch import Tensor


def bi_level(x: Tensor, threshold: float, boost: float, floor: float) -> Tensor:
    """OAR's weights w (L,) from importances x (L,), Σw = L; threshold, boost and floor as in OarGradient."""
    spread = x.max() - x.min()
    s = (x - x.min()) / spread.where(spread > 0, 1.0)
    q = s.quantile(threshold)
    above = 1 + boost * (s - q) / (1 - q).clamp(min=1e-8)
    w = torch.where(s < q, (s / q).clamp(min=floor), above)
    return w * len(w) / w.sum()
