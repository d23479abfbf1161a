"""A random reward: a control."""

from dataclasses import dataclass

import torch

from methods.batch import RolloutBatch
from methods.draws import row_uniforms
from methods.options import check_options


@dataclass(frozen=True)
class RandomReward:
    """Spurious reward (arXiv:2506.10947):  R_i ← 1 with a fixed probability, else 0, whatever the answer

    probability  of a reward of 1

    Unscorable rows stay unscorable.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_options(self)
        if not 0 < self.probability < 1:
            raise ValueError(f"RandomReward.probability must lie between 0 and 1, got {self.probability}")

    def __call__(self, batch: RolloutBatch) -> RolloutBatch:
        drawn = (row_uniforms(batch, "random reward") < self.probability).double()
        return batch.with_rewards(drawn.where(batch.valid, torch.nan))
