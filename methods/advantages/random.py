"""A random advantage: a control."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from methods.advantages.group_mean import GroupMean
from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.draws import row_uniforms


@dataclass(frozen=True)
class RandomAdvantage:
    """A_i = (z_i − z̄)/s,  z_i ~ N(0, 1) whatever the reward: GRPO's advantage of pure noise

    Centred and of unit variance in its group as the group-mean baseline's, so that only the information is
    missing; groups of equal rewards get noise too, since rewards are not looked at. Unscorable rows draw nothing
    and get 0, as does a row alone in its group.
    """

    degenerate: ClassVar[str] = "noise as anywhere"

    def __call__(self, batch: RolloutBatch) -> Credit:
        u = row_uniforms(batch, "random advantage")
        z = torch.special.ndtri(u.clamp(min=2.0**-54))  # a draw of 0 would be −∞; the next above it is 2⁻⁵³
        return GroupMean(epsilon=0.0)(batch.with_rewards(z.where(batch.valid, torch.nan)))
