"""Scores of whole completions under the policy that sampled them, and the spread of their weights."""

import zlib

import torch
from torch import Tensor

from methods.batch import RolloutBatch
from methods.groups import deviations, sample_std


def group_scores(batch: RolloutBatch, score: str) -> tuple[Tensor, Tensor]:
    """s_i (P, G) float64 from log π_old, and which rows have one (P, G) bool: scorable ones with a token.

    score = mean    Σ_t log π_old(o_it) / |o_i|
            sum     Σ_t log π_old(o_it); at thousands of tokens σ(Δ) is 0 or 1
            zscore  the means as (s_i − s̄) / (std + 1e-4) over the group's scored rows; 1e-4 as for rewards
    """
    total = batch.logps.double().masked_fill(~batch.mask, 0.0).sum(1)
    scored = batch.grouped(batch.valid & (batch.lengths > 0))
    if score == "sum":
        return batch.grouped(total), scored
    mean = batch.grouped(total / batch.lengths.clamp(min=1))
    if score == "mean":
        return mean, scored
    deviation, n = deviations(mean, scored)
    return deviation / (sample_std(deviation, n) + 1e-4), scored


def shuffled_within_groups(s: Tensor, scored: Tensor, batch: RolloutBatch) -> Tensor:
    """Permute s (P, G) among the scored rows of each group, seeded by the batch's tokens, not globally."""
    seed = zlib.crc32(batch.completion_ids[batch.mask].cpu().numpy().tobytes())
    draws = torch.rand(s.shape, generator=torch.Generator().manual_seed(seed)).to(s.device)
    # scored rows first, in random order and in their own: the k-th of the second gets the k-th of the first
    source = draws.masked_fill(~scored, 2.0).argsort(dim=1, stable=True)
    place = (~scored).to(torch.int8).argsort(dim=1, stable=True)
    return s.scatter(1, place, s.gather(1, source))


def weight_spread(w: Tensor) -> dict[str, float]:
    """Standard deviation of weights w (n,) in [0, 1], and the share near an end; zeros if there are none."""
    sd = w.std(correction=0).item() if len(w) else 0.0
    saturated = ((w < 0.01) | (w > 0.99)).sum().item() / max(len(w), 1)
    return {"pair_weight_sd": sd, "pair_weight_saturated": saturated}
