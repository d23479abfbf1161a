"""FIPO: credit follows what the update does to the rest of the completion."""

import math
from dataclasses import dataclass

from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.live import LiveBatch
from methods.options import check_options
from methods.traces import decayed_sum


@dataclass(frozen=True)
class Fipo:
    """FIPO (arXiv:2603.19835), as in the authors' code; r = π_θ/π_old at every optimisation step

        F_t = Σ_{k≥t} γ^{k−t}·1[r_k ≤ cap]·log r_k,   γ = 2^(−1/half_life)
        f_t = clip(e^{F_t}, low, high),   C_t = f_t·A_t

    half_life     of a token's influence on those before it, in columns
    cap           c, of the dual clip: tokens beyond it are in no sum; a completion with two or more of them at
                  A < 0 gets 0, as in the code (where it leaves the denominator too)
    bounds        (low, high) around 1: [0.8, 1.2] for the 7B model, [1, 1.2] for the 32B one
    safety        where A < 0 and r > safety, f is clipped to [safety_floor, 1]: no more blame than usual for what
                  became likely
    safety_floor  0.8 in the code; 1, that is f = 1, in the paper

    At r = 1, so at the first update of a rollout batch, f = 1. Scope: one completion.
    Metrics over a micro-batch: fipo_weight, the mean f, and fipo_at_bound, the share at low or high, of tokens
    with credit; fipo_extreme, the share of tokens beyond cap; fipo_lost_rows.
    """

    half_life: float = 32.0
    cap: float = 10.0
    bounds: tuple[float, float] = (0.8, 1.2)
    safety: float = 3.0
    safety_floor: float = 0.8

    def __post_init__(self) -> None:
        check_options(self)
        for name, least in {"half_life": 0, "cap": 1, "safety": 1}.items():
            if not getattr(self, name) > least:
                raise ValueError(f"Fipo.{name} must exceed {least}, got {getattr(self, name)}")
        if len(self.bounds) != 2 or not 0 <= self.bounds[0] <= 1 <= self.bounds[1]:
            raise ValueError(f"Fipo.bounds must have 0 ≤ low ≤ 1 ≤ high, got {self.bounds}")
        if not 0 <= self.safety_floor <= 1:
            raise ValueError(f"Fipo.safety_floor must lie between 0 and 1, got {self.safety_floor}")

    def __call__(self, batch: RolloutBatch, credit: Credit) -> Credit:
        return credit

    def live(self, now: LiveBatch, credit: Credit) -> Credit:
        A, log_r = credit.values, now.log_ratio
        assert A.shape == log_r.shape == now.mask.shape

        extreme = log_r > math.log(self.cap)
        gamma = 2 ** (-1 / self.half_life)
        F = decayed_sum(log_r.masked_fill(extreme, 0.0).flip(1), gamma).flip(1)
        low, high = self.bounds
        f = F.exp().clamp(low, high)
        unsafe = (A < 0) & (log_r > math.log(self.safety))
        f = f.clamp(self.safety_floor, 1.0).where(unsafe, f)
        lost = ((A < 0) & extreme).sum(1) > 1

        weights = f[A != 0]
        metrics = {
            "fipo_weight": weights.mean().item() if len(weights) else 1.0,
            "fipo_at_bound": ((weights == low) | (weights == high)).sum().item() / max(len(weights), 1),
            "fipo_extreme": extreme.sum().item() / max(now.mask.sum().item(), 1),
            "fipo_lost_rows": lost.sum().item() / max(len(A), 1),
        }
        return Credit((f * A).masked_fill(lost[:, None], 0.0), metrics)
