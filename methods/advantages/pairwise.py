"""LamPO's pairwise decomposed advantage."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from methods.advantages.scores import group_scores, shuffled_within_groups, weight_spread
from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.groups import deviations
from methods.options import check_options


@dataclass(frozen=True)
class Pairwise:
    """LamPO (arXiv:2605.21235):  A_i = 1/Z·Σ_{j≠i} w_ij·(R_i − R_j),  Δ_ij = s_i − s_j

    weight       w_ij: self        σ(Δ_ij/τ)
                       winner      σ(sign(R_i − R_j)·Δ_ij/τ)
                       lambdarank  σ(−sign(R_i − R_j)·Δ_ij/τ), the RankNet gradient
                       constant ½ · shuffled: self, s_i permuted within the group (both are controls)
    score        s_i from log π_old: mean over tokens · sum · zscore: the means standardised in the group
    temperature  τ > 0
    pair_norm    Z over n scorable rows: peers n − 1 · group n · none 1 · weights Σ_j w_ij
    center       subtract the group's mean: for self Σ_i A_i = 1/Z·Σ_{i<j} (R_i − R_j)·tanh(Δ_ij/2τ), not 0

    The paper leaves score, τ, Z and center open (defaults: ours); `self` follows a second-hand note of it,
    `winner` its abstract. w_ij depends on o_i: for finite τ this is not an unbiased baseline.
    Unscorable rows do not vote and get 0; equal rewards give exactly 0; without tokens no score, then w = ½.
    Metrics, of pairs with R_i ≠ R_j: pair_weight_sd; pair_weight_saturated, the share of w beyond .01/.99.
    """

    weight: Literal["self", "winner", "lambdarank", "constant", "shuffled"] = "self"
    score: Literal["mean", "sum", "zscore"] = "mean"
    temperature: float = 0.1
    pair_norm: Literal["peers", "group", "none", "weights"] = "peers"
    center: bool = False

    def __post_init__(self) -> None:
        check_options(self)
        if not self.temperature > 0:
            raise ValueError(f"Pairwise.temperature must be positive, got {self.temperature}")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset() if self.weight == "constant" else frozenset({"logps"})

    def __call__(self, batch: RolloutBatch) -> Credit:
        rewards, votes = batch.grouped(batch.rewards), batch.grouped(batch.valid)
        G, n = batch.group_size, votes.sum(1)[:, None, None]
        pair = votes[:, :, None] & votes[:, None, :] & ~torch.eye(G, dtype=torch.bool, device=votes.device)
        gap = torch.where(pair, rewards[:, :, None] - rewards[:, None, :], 0.0)  # R_i − R_j
        assert gap.shape == (len(rewards), G, G)

        log_w = logsigmoid(self.evidence(batch, gap) / self.temperature)
        w = log_w.exp()
        if self.pair_norm == "weights":  # w_ij/Σ_j w_ij as a softmax: exact where every w_ij underflows
            share = log_w.masked_fill(~pair, -torch.inf).softmax(2).masked_fill(~pair, 0.0)
        else:
            share = w / {"peers": (n - 1).clamp(min=1), "group": n.clamp(min=1), "none": 1}[self.pair_norm]
        advantages = (share * gap).sum(2)
        if self.center:
            advantages, _ = deviations(advantages, votes)

        return Credit.broadcast(advantages.flatten(), batch.mask, **weight_spread(w[gap != 0]))

    def evidence(self, batch: RolloutBatch, gap: Tensor) -> Tensor:
        """What σ is taken of, times τ: (P, G, G)."""
        if self.weight == "constant":
            return torch.zeros_like(gap)
        s, scored = group_scores(batch, self.score)
        if self.weight == "shuffled":
            s = shuffled_within_groups(s, scored, batch)
        delta = (s[:, :, None] - s[:, None, :]).where(scored[:, :, None] & scored[:, None, :], 0.0)
        return {"winner": gap.sign(), "lambdarank": -gap.sign()}.get(self.weight, 1.0) * delta
