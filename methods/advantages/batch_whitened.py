"""REINFORCE++: advantages whitened over the whole batch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.groups import deviations
from methods.options import check_options


@dataclass(frozen=True)
class BatchWhitened:
    """REINFORCE++ (arXiv:2501.03262):  A_i = (R_i − b_i − m) / √max(v, ε);  scope: the rollout batch

    baseline  b_i: none   0: prompts are compared with each other
                   group  the mean reward of the group, the paper's variant "w/ baseline"
    over      m, v = mean and population variance of R_i − b_i over the batch's
                   tokens       each completion counts |o_i| times: the authors' OpenRLHF
                   completions  each counts once, as in ms-swift
    epsilon   least variance, 1e-8 in OpenRLHF (verl adds it to the unbiased variance instead)

    Unscorable rows do not vote and get 0, with baseline group also a row alone in its group. Equal rewards in
    all the batch give exactly 0. Equal rewards in one group do not: with baseline none they differ from other
    groups', with baseline group over tokens they get −m/√v, since longer completions pull m off 0.
    Metric: whitening_sd = √v.
    """

    baseline: Literal["none", "group"] = "none"
    over: Literal["tokens", "completions"] = "tokens"
    epsilon: float = 1e-8

    scope: ClassVar[str] = "batch"
    degenerate: ClassVar[str] = "their distance from the batch's mean"

    def __post_init__(self) -> None:
        check_options(self)
        if not self.epsilon > 0:
            raise ValueError(f"BatchWhitened.epsilon must be positive, got {self.epsilon}")

    def __call__(self, batch: RolloutBatch) -> Credit:
        rewards, votes = batch.rewards[None], batch.valid[None]
        if self.baseline == "group":
            rewards, votes = batch.grouped(batch.rewards), batch.grouped(batch.valid)
            votes = votes & (votes.sum(1, keepdim=True) >= 2)
        deviation, _ = deviations(rewards, votes)  # of the batch where not of the group: m takes up the rest
        deviation, votes = deviation.flatten(), votes.flatten()
        assert deviation.shape == batch.rewards.shape

        count = batch.lengths if self.over == "tokens" else torch.ones_like(batch.lengths)
        weight = count.where(votes, 0).double()
        weight = weight / weight.sum().clamp(min=1)
        centred = deviation - (weight * deviation).sum()  # R_i − b_i − m
        v = (weight * centred.square()).sum()
        advantages = (centred * v.clamp(min=self.epsilon).rsqrt()).where(votes, 0.0)
        return Credit.broadcast(advantages, batch.mask, whitening_sd=v.sqrt().item())
