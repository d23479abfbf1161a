"""No advantage: a control."""

from dataclasses import dataclass

import torch

from methods.batch import RolloutBatch
from methods.credit import Credit


@dataclass(frozen=True)
class Zero:
    """A_i = 0: nothing may move. What a policy gains nevertheless, the harness gave it."""

    def __call__(self, batch: RolloutBatch) -> Credit:
        return Credit(torch.zeros(batch.mask.shape, dtype=torch.float64, device=batch.mask.device))
