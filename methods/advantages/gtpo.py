"""GTPO: token rewards that follow entropy where the answer is right and confidence where it is wrong."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.groups import deviations
from methods.options import check_options


@dataclass(frozen=True)
class Gtpo:
    """GTPO (arXiv:2508.04349; second-hand):  A_it = (r̃_it − mean r̃) / (std r̃ + ε);  scope: the group

        right  r̃_it =  α₁·R_i + α₂·d_t·H_it / Σ_k H_kt             k: the d_t right completions that reach place t
        wrong  r̃_it = −α₁     − α₂·h_t·(1/H_it) / Σ_k (1/H_kt)     k: the h_t wrong ones

    reward_weight, entropy_weight  α₁, α₂
    normalise      side: mean and std over the right and over the wrong tokens apart, as the paper has it. That
                   erases the sign of correctness: half of a right answer is pushed down, whatever α₁
                   group: over all of the group's tokens, which keeps it
    correct_above  a completion is right if its reward, as shaped, exceeds this
    epsilon        ε; also the least entropy that is divided by

    Because of the first, only groups whose rewards differ count (s > 0, ours): elsewhere credit is 0, not noise.
    A side of one completion has all shares to itself and gets exactly 0 with normalise side. std is over n.
    Unscorable completions get 0 and do not vote. Place t is a completion's t-th own token.
    Metric: gtpo_opposed_share of the tokens of those groups, whose credit contradicts the outcome.
    """

    reward_weight: float = 1.0
    entropy_weight: float = 0.1
    normalise: Literal["side", "group"] = "side"
    correct_above: float = 0.0
    epsilon: float = 1e-8
    needs: ClassVar[frozenset[str]] = frozenset({"entropies"})
    absolute: ClassVar[str] = "correct is a reward above correct_above"

    def __post_init__(self) -> None:
        check_options(self)
        if not (self.reward_weight >= 0 and self.entropy_weight >= 0):
            raise ValueError(f"Gtpo: reward_weight and entropy_weight must not be negative: {self}")
        if not (math.isfinite(self.correct_above) and self.epsilon > 0):
            raise ValueError(f"Gtpo: correct_above must be finite and epsilon positive: {self}")

    def __call__(self, batch: RolloutBatch) -> Credit:
        assert batch.entropies.shape == batch.mask.shape
        values = torch.zeros(batch.mask.shape, dtype=torch.float64, device=batch.mask.device)
        spread, _ = deviations(batch.grouped(batch.rewards), batch.grouped(batch.valid))
        opposed, count, size = 0, 0, batch.group_size
        for group in (spread != 0).any(1).nonzero()[:, 0].tolist():
            rows = slice(group * size, (group + 1) * size)
            reward = batch.rewards[rows, None]
            tokens, correct = batch.mask[rows] & batch.valid[rows, None], reward > self.correct_above
            right, wrong = tokens & correct, tokens & ~correct
            H = batch.entropies[rows].double().where(tokens, 0.0)
            place = batch.mask[rows].cumsum(1)
            inverse = 1 / H.clamp(min=self.epsilon)
            bonus = self.shares(H, right, place) - self.shares(inverse, wrong, place)
            shaped = self.reward_weight * reward.where(right, -1.0) + self.entropy_weight * bonus
            for side in (right, wrong) if self.normalise == "side" else (tokens,):
                deviation, n = deviations(shaped.reshape(1, -1), side.reshape(1, -1))
                std = (deviation.square().sum() / n.clamp(min=1)).sqrt()
                values[rows] += (deviation / (std + self.epsilon)).view(H.shape)
            opposed += (right & (values[rows] < 0) | wrong & (values[rows] > 0)).sum().item()
            count += tokens.sum().item()
        return Credit(values, {"gtpo_opposed_share": opposed / max(count, 1)})

    @staticmethod
    def shares(x: torch.Tensor, side: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """Each token's share of x (G, T) among the tokens of its place and side, times their number; 0 elsewhere."""
        x, none = x.where(side, 0.0), x.new_zeros(x.shape[1] + 1)
        total = none.scatter_add(0, place[side], x[side])[place]
        number = none.scatter_add(0, place[side], side[side].double())[place]
        return (x / total * number).where(side & (total > 0), 0.0)
