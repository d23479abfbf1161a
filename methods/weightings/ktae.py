"""KTAE: credit added to the tokens that tell right completions of a prompt from wrong ones."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.options import check_options
from methods.weightings.contingency import fisher_p, information_gain
from methods.weightings.token_counts import TokenCounts


@dataclass(frozen=True)
class Ktae:
    """KTAE (arXiv:2505.16826), as in the authors' code:  C_it = A_it + k(o_it);  scope: the group

        table of a token id: in a correct and b wrong completions, absent from c correct and d wrong
        F   = e^{−2p}, p of Fisher's two-sided exact test, 0 where p = 1;  IG = H(correct) − H(correct | there), bits
        x   = arcsin√(a/(a+c)) − arcsin√(b/(b+d)) + frequency·(tf⁺/(tf⁻ + 1e-5) − tf⁻/(tf⁺ + 1e-5))
        tf± = 3q/(q + 2(½ + ½·n±/n̄)), q the id's share of the side's n± tokens, n̄ = (n⁺ + n⁻)/2
        k   = scale·(2σ((fisher·F + gain·IG)/(fisher + gain)·x) − 1)

    fisher, gain, frequency  h₁, h₂, h₃ ≥ 0; the paper's text does not divide by h₁ + h₂ and has scale ½
    correct_above  a completion is correct if its reward, as shaped, exceeds this
    skip_end       k = 0 for the end of sequence. The authors name one id; here it is every id that only closes
                   completions of the group: any end token, and rarely the last one of a cut-off completion
    k = 0 in groups without correct or without wrong completions. Unscorable and empty ones do not vote.
    Metrics: ktae_mean_abs, mean |k| over tokens of scorable rows; ktae_mixed_share of groups with both sides;
    ktae_flipped_share of the tokens with A ≠ 0, whose sign k turns.
    """
    fisher: float = 1.0
    gain: float = 1.0
    frequency: float = 1.0
    scale: float = 1.0
    correct_above: float = 0.0
    skip_end: bool = True
    needs: ClassVar[frozenset[str]] = frozenset()
    absolute: ClassVar[str] = "correct is a reward above correct_above"

    def __post_init__(self) -> None:
        check_options(self)
        for name in ("fisher", "gain", "frequency"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"Ktae.{name} must not be negative, got {getattr(self, name)}")
        if not (self.fisher + self.gain > 0 and self.scale > 0 and np.isfinite(self.correct_above)):
            raise ValueError(f"Ktae: fisher + gain and scale must be positive, correct_above finite: {self}")

    def __call__(self, batch: RolloutBatch, credit: Credit) -> Credit:
        assert credit.values.shape == batch.mask.shape
        values, total, number, flipped, mixed = credit.values.clone(), 0.0, 0, 0, []
        for rows in torch.arange(len(values)).split(batch.group_size):
            rows, correct = slice(rows[0], rows[-1] + 1), batch.rewards[rows] > self.correct_above
            counted = batch.mask[rows] & batch.valid[rows, None]
            counts = TokenCounts.of(batch.completion_ids[rows], counted, correct)
            number += len(counts.index)
            mixed.append(counts.rows.all())
            if mixed[-1]:
                A = values[rows][counted]
                k = torch.from_numpy(self.key_values(counts)[counts.index]).to(A.device)
                values[rows][counted] = A + k  # values[rows] is a view
                total, flipped = total + k.abs().sum().item(), flipped + (A * (A + k) < 0).sum().item()
        metrics = {"ktae_mean_abs": total / max(number, 1)}
        metrics["ktae_flipped_share"] = flipped / max(credit.values.count_nonzero().item(), 1)
        return Credit(values, {**metrics, "ktae_mixed_share": float(np.mean(mixed))})

    def key_values(self, counts: TokenCounts) -> np.ndarray:
        """k of each of the group's U token ids, (U,)."""
        (a, b), (right, wrong) = counts.present.T, counts.rows
        p = fisher_p(right, wrong)[a, b]
        strength = self.fisher * np.exp(-2 * p) * (p < 1) + self.gain * information_gain(a, b, right, wrong)
        n = counts.occurs.sum(0)
        q = counts.occurs / n
        tf, other = (3 * q / (q + 2 * (0.5 + 0.5 * n / n.mean()))).T
        x = np.arcsin(np.sqrt(a / right)) - np.arcsin(np.sqrt(b / wrong))
        x = x + self.frequency * (tf / (other + 1e-5) - other / (tf + 1e-5))
        k = self.scale * np.tanh(strength / (self.fisher + self.gain) * x / 2)  # 2σ(z) − 1 = tanh(z/2)
        return np.where(counts.closing & self.skip_end, 0.0, k)
