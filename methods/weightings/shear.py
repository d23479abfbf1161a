"""SHEAR: more credit where hidden states part from those of the opposite outcome."""

import math
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Literal

import numpy as np
import torch

from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.options import check_options
from methods.weightings.sinkhorn import span_distances
from methods.weightings.spans import Spans


@dataclass(frozen=True)
class Shear:
    """SHEAR (arXiv:2604.23318; second-hand):  C_it = ω_it·A_it;  scope: the group

        d_k  = min over the spans l of completions of the other outcome of W_ε(P_k, P_l), P: a span's h as a cloud
        ω_it = max_{k ∋ t} d_k / n̄,  n̄: mean ‖h‖ over the group's tokens
    h is the LM-head input, W_ε Sinkhorn's ⟨P, C⟩ with Euclidean costs.
    span, stride   w and s, in tokens; a completion that is no longer than w is one span and gets one weight
    points         tokens that stand for a span, evenly spaced; the paper takes all
    epsilon        of W_ε, as a share of the pair's largest cost;  iterations of the scalings
    normalise      group: as above · row: then also to mean 1 over each completion
    correct_above  a completion is correct if its reward, as shaped, exceeds this

    ω = 1 where none opposes. Unscorable and empty completions do not count. ω is no weight of mean 1.
    Metrics: shear_weight_mean, shear_weight_sd over tokens of groups with both outcomes; shear_mixed_share.
    """
    span: int = 100
    stride: int = 25
    points: int = 8
    epsilon: float = 0.05
    iterations: int = 20
    normalise: Literal["group", "row"] = "group"
    correct_above: float = 0.0
    needs: ClassVar[frozenset[str]] = frozenset({"hidden"})
    absolute: ClassVar[str] = "correct is a reward above correct_above"

    def __post_init__(self) -> None:
        check_options(self)
        if not (1 <= self.stride <= self.span and self.points >= 1 and self.iterations >= 1):
            raise ValueError(f"Shear: 1 ≤ stride ≤ span, points ≥ 1, iterations ≥ 1 must hold: {self}")
        if not (self.epsilon >= 0.002 and math.isfinite(self.correct_above)):
            raise ValueError(f"Shear: epsilon must be at least 0.002, correct_above finite: {self}")

    def __call__(self, batch: RolloutBatch, credit: Credit) -> Credit:
        assert credit.values.shape == batch.mask.shape == batch.hidden.shape[:2]
        values, correct = credit.values.clone(), batch.rewards > self.correct_above
        has_vote, mixed, seen = batch.valid & batch.mask.any(1), [], np.zeros(3)
        for rows in torch.arange(len(values)).split(batch.group_size):
            right = [i for i in rows.tolist() if has_vote[i] and correct[i]]
            wrong = [i for i in rows.tolist() if has_vote[i] and not correct[i]]
            mixed.append(bool(right and wrong))
            for i, omega in self.weights(batch, right, wrong).items() if mixed[-1] else ():
                values[i, batch.mask[i]] *= torch.from_numpy(omega).to(values.device)
                seen += len(omega), omega.sum(), np.square(omega).sum()
        mean, square = (seen[1:] / max(seen[0], 1)).tolist()
        spread = {"shear_weight_mean": mean, "shear_weight_sd": max(square - mean**2, 0.0) ** 0.5}
        return Credit(values, {**spread, "shear_mixed_share": sum(mixed) / len(mixed)})

    def weights(self, batch: RolloutBatch, right: list[int], wrong: list[int]) -> dict[int, np.ndarray]:
        """ω of each completion, (its tokens,), of one group's correct and wrong ones."""
        spans, points, norms = {}, {}, []
        for i in right + wrong:
            h = batch.hidden[i, batch.mask[i]]
            norms.append(torch.linalg.vector_norm(h, dim=1, dtype=torch.float64))
            spans[i] = Spans.of(len(h), self.span, self.stride, self.points)
            points[i] = h[torch.from_numpy(spans[i].tokens)].double()
        nearest = {i: np.full(len(s.start), np.inf) for i, s in spans.items()}
        for i, j in product(right, wrong):
            W = span_distances(points[i], points[j], spans[i], spans[j], self.epsilon, self.iterations)
            nearest[i] = np.minimum(nearest[i], W.amin(1).cpu().numpy())
            nearest[j] = np.minimum(nearest[j], W.amin(0).cpu().numpy())
        omega = {i: spans[i].largest(d) / torch.cat(norms).mean().item() for i, d in nearest.items()}
        return {i: w / (w.mean() or 1.0) if self.normalise == "row" else w for i, w in omega.items()}
