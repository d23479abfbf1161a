"""Credit: what every advantage and weighting returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Credit:
    """values (N, T) float64, 0 outside the mask and in unscorable rows; metrics: numbers for the records.

    state_values (N, T), of methods that estimate it: V̂(s_t), the reward expected before token t is drawn, NaN where the
    method has no estimate. Nothing trains on it; harness.diagnose measures how good it is.
    """

    values: Tensor
    metrics: Mapping[str, float] = field(default_factory=dict)
    state_values: Tensor | None = None

    @classmethod
    def broadcast(cls, advantages: Tensor, mask: Tensor, **metrics: float) -> "Credit":
        """One number per completion, (N,), copied to each of its tokens in mask (N, T)."""
        if advantages.shape != mask.shape[:1]:
            raise ValueError(f"advantages: expected {tuple(mask.shape[:1])}, got {tuple(advantages.shape)}")
        return cls(torch.where(mask, advantages.double()[:, None], 0.0), metrics)
