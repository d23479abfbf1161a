"""GMTS: only the tokens with the largest gradients keep their credit."""

from dataclasses import dataclass

import torch

from methods.batch import MissingSignal, RolloutBatch
from methods.credit import Credit
from methods.live import LiveBatch
from methods.options import check_options
from methods.weightings.top_share import top_share


@dataclass(frozen=True)
class Gmts:
    """GMTS (arXiv:2608.30632, second-hand):  keep the ⌈share·n⌉ of n tokens with the largest δ = |H·ω|

        ω_t = r_t·A_t·1[unclipped] + β·(π_ref/π_θ − 1),   H_t the entropy of π_θ

    Unclipped: not (A > 0 and r > 1 + ε_high), nor (A < 0 and r < 1 − ε), the surrogate's clip range; β that of its
    KL term, which itself stays on every token.

    Scope: the micro-batch, and the loss goes on dividing by all of its tokens (both open in what could be read,
    ours): the step shrinks with what is left out. Tokens with δ = 0 are not kept; ties with the last one that is are.
    Metrics: gmts_kept, the share of tokens.
    """

    share: float = 0.2

    def __post_init__(self) -> None:
        check_options(self)
        if not 0 < self.share <= 1:
            raise ValueError(f"Gmts.share must lie between 0 and 1, got {self.share}")

    def __call__(self, batch: RolloutBatch, credit: Credit) -> Credit:
        return credit

    def live(self, now: LiveBatch, credit: Credit) -> Credit:
        A, r = credit.values, now.log_ratio.exp()
        assert A.shape == r.shape == now.mask.shape

        clipped = (A > 0) & (r > 1 + now.epsilon_high) | (A < 0) & (r < 1 - now.epsilon)
        omega = (r * A).masked_fill(clipped, 0.0)
        if now.beta > 0:
            if now.ref_logps is None:
                raise MissingSignal("ref_logps")
            omega = omega + now.beta * torch.expm1(now.ref_logps - now.logps_now)
        delta = (now.entropies_now * omega).abs()
        kept = top_share(delta, now.mask, self.share) & (delta > 0)
        return Credit(A.where(kept, 0.0), {"gmts_kept": kept.sum().item() / max(now.mask.sum().item(), 1)})
