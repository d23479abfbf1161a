"""DelTA: discriminative token weights from the geometry of token gradients."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.options import check_options
from methods.weightings.token_vectors import HeadVectors, HiddenVectors


@dataclass(frozen=True)
class Delta:
    """DelTA (arXiv:2605.21467), as in the authors' code; sides ±: tokens of the batch with A > 0, A < 0

        μ± = Σ|A|·v / Σ|A|                              centroids of each side's token gradients v
        m⁺ = ‖v − μ₋‖² − ‖v − μ₊‖² = 2v·(μ₊ − μ₋) + ‖μ₋‖² − ‖μ₊‖²,   m⁻ = −m⁺
        γ± = sqrt(max(Var(m±), 1e-8))                  unweighted, over the side's tokens
        refine K times:  α = σ(m±/γ±),  μ± ← Σ|A|αv / Σ|A|α
        λ  = low + (high − low)·α, α from μ^(K) with γ of μ^(K−1);  λ = low where A = 0
        C  = λ·N_tok/Σλ·A

    refine          K, 1 in the code
    bounds          (low, high), [0.8, 1.2] in the code
    normalise_over  N_tok and Σλ over all: the tokens of scorable rows, as in the code; the step grows, by at
                    most high/low, as tokens with A = 0 become many · active: tokens with A ≠ 0
    proxy           hidden: v = (1 − p)·h, as in the code · head: all of (e_y − p)hᵀ, needs ``probs``

    One side empty: w = 1. Metrics: weight_mass = Σw|A|/Σ|A|, weight_sd over credited tokens, one_sided.
    """

    scope: ClassVar[str] = "batch"

    refine: int = 1
    bounds: tuple[float, float] = (0.8, 1.2)
    normalise_over: Literal["all", "active"] = "all"
    proxy: Literal["hidden", "head"] = "hidden"

    def __post_init__(self) -> None:
        check_options(self)
        if self.refine < 0:
            raise ValueError(f"Delta.refine must not be negative, got {self.refine}")
        if len(self.bounds) != 2 or not 0 <= self.bounds[0] <= self.bounds[1] or self.bounds[1] <= 0:
            raise ValueError(f"Delta.bounds must have 0 ≤ low ≤ high and high > 0, got {self.bounds}")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"hidden", "probs" if self.proxy == "head" else "logps"})

    def __call__(self, batch: RolloutBatch, credit: Credit) -> Credit:
        assert credit.values.shape == batch.mask.shape
        active = credit.values != 0
        A = credit.values[active]  # (n,)
        sides = torch.stack([A > 0, A < 0])
        if not sides.any(1).all():
            return Credit(credit.values, {"weight_mass": 1.0, "weight_sd": 0.0, "one_sided": 1.0})

        v = (HeadVectors if self.proxy == "head" else HiddenVectors)(batch, active)
        weight = A.abs()
        for k in range(self.refine + 1):
            mu_pos, mu_neg = v.means(sides * weight)
            m = 2 * v.dot(mu_pos - mu_neg) + mu_neg.square().sum() - mu_pos.square().sum()
            m = A.sign() * m  # m⁺ on the positive side, m⁻ on the negative
            if k < max(self.refine, 1):  # γ stays that of the centroids before the last update
                variance = [m[side].var(correction=0).clamp(min=1e-8) for side in sides]
                gamma = torch.where(A > 0, *variance).sqrt()
            alpha = torch.sigmoid(m / gamma)
            weight = A.abs() * alpha

        low, high = self.bounds
        lam = low + (high - low) * alpha
        tokens = batch.mask & batch.valid[:, None] if self.normalise_over == "all" else active
        counted = tokens.count_nonzero().item()
        w = lam * counted / (lam.sum() + low * (counted - len(lam)))
        values = torch.zeros_like(credit.values).masked_scatter(active, w * A)
        mass = ((w * A.abs()).sum() / A.abs().sum()).item()
        sd = w.std(correction=0).item()
        return Credit(values, {"weight_mass": mass, "weight_sd": sd, "one_sided": 0.0})
