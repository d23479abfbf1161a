"""OTB: a baseline for every token, from how much each completion has moved the policy so far."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.groups import deviations
from methods.options import check_options


@dataclass(frozen=True)
class OptimalTokenBaseline:
    """OTB (arXiv:2602.07078), as in the authors' verl code:  A_it = R_i − B_t

        W_it = Σ_{j≤t} (1 − 2π_ij + Σ_v π_ij(v)²)        π_ij the probability of the j-th token, so W is the sum
        B_t  = Σ_i W_it·R_i / (Σ_i W_it + ε)              of ‖e − π‖², squared gradient norms in the logits

    Sums over the scorable completions of the group that have a t-th token inside the mask: a finished one has
    no say. ε draws B_t to the group's mean instead of, as in the code, to 0: where nothing was uncertain yet
    the mean serves.

    epsilon           ε, 1e-8 in the code
    handle_zero_tail  behind the second-longest completion one is alone; true: B_t = 0, so A_it = R_i, as in
                      the code · false: its own reward, A_it = 0

    Unscorable rows do not vote and get 0, as does a row alone in its group. Equal rewards give exactly 0, but
    R_i on the tail. Metrics: otb_shift, the root mean square of B_t − R̄ over tokens with a baseline;
    otb_tail_share of the credited tokens.
    """

    epsilon: float = 1e-8
    handle_zero_tail: bool = True

    needs: ClassVar[frozenset[str]] = frozenset({"logps", "sum_sq_probs"})
    degenerate: ClassVar[str] = "R_i on the tail"
    absolute: ClassVar[str] = "no baseline on the tail"

    def __post_init__(self) -> None:
        check_options(self)
        if not self.epsilon >= 0:
            raise ValueError(f"OptimalTokenBaseline.epsilon must not be negative, got {self.epsilon}")

    def __call__(self, batch: RolloutBatch) -> Credit:
        logps, squares = batch.logps, batch.sum_sq_probs
        deviation, n = deviations(batch.grouped(batch.rewards), batch.grouped(batch.valid))  # R_i − R̄
        values = torch.zeros(batch.mask.shape, dtype=torch.float64, device=batch.mask.device)
        tokens, tail, square = 0, 0, 0.0
        for g in (n[:, 0] >= 2).nonzero()[:, 0].tolist():
            rows = slice(g * batch.group_size, (g + 1) * batch.group_size)
            inside = batch.mask[rows] & batch.valid[rows, None]
            row, place = inside.nonzero()[:, 0], inside.cumsum(1)[inside] - 1  # place: which token of its row
            W = energies(logps[rows], squares[rows], inside)
            total = sum_at(place, W) + self.epsilon
            shift = sum_at(place, W * deviation[g, row]) / total.masked_fill(total == 0, 1.0)  # B_t − R̄
            alone = sum_at(place, torch.ones_like(W)) == 1
            lone = batch.rewards[rows][row] if self.handle_zero_tail else torch.zeros_like(W)
            values[rows][inside] = torch.where(alone, lone, deviation[g, row] - shift)
            tokens, tail = tokens + len(W), tail + int(alone.sum())
            square += shift[~alone].square().sum().item()
        shift = (square / max(tokens - tail, 1)) ** 0.5
        return Credit(values, {"otb_shift": shift, "otb_tail_share": tail / max(tokens, 1)})


def sum_at(place: Tensor, x: Tensor) -> Tensor:
    """For each of the n tokens the sum of x (n,) over the tokens at its place."""
    return x.new_zeros(int(place.max()) + 1 if len(place) else 0).index_add(0, place, x)[place]


def energies(logps: Tensor, squares: Tensor, inside: Tensor) -> Tensor:
    """W_it at the n true places of inside (G, T), in their order: (n,) float64."""
    logps, squares = logps[inside].double(), squares[inside].double()
    # (1 − π)² + Σ_{v≠y} π_v², which rounding cannot make negative
    w = torch.expm1(logps).square() + (squares - (2 * logps).exp()).clamp(min=0)
    return w.new_zeros(inside.shape).masked_scatter(inside, w).cumsum(1)[inside]
