"""STARE: more credit for surprising tokens while entropy is low."""

from dataclasses import dataclass

from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.live import LiveBatch
from methods.options import check_options
from methods.weightings.top_share import top_share


@dataclass(frozen=True)
class Stare:
    """STARE (arXiv:2606.19236), as in the authors' code;  s_t = −log π_θ(o_t),  C_t = ω_t·A_t

        ω_t = weight_pos   among the tokens with A > 0, those of the largest s: ⌈top·n⌉ of n
              weight_neg   likewise among those with A < 0
              1            elsewhere, and everywhere unless the mean entropy is below target_entropy

    weight_pos, weight_neg    W ≥ 1 and 0 < M ≤ 1; M = 1 is the one-sided variant O1, M < 1 the two-sided C2
    target_entropy            nats a token, over all tokens

    Scope: the micro-batch, for the gate too; in the code the gate's mean is that of the rollout batch under
    π_old. A policy whose entropy starts below the target has its gate open throughout.
    Ties with the last token that counts are in. One side empty: the other's rule alone.
    Metrics: stare_gate, 1 if open; stare_weighted, the share of tokens with credit whose ω is W or M.
    """

    top: float = 0.1
    weight_pos: float = 1.1
    weight_neg: float = 1.0
    target_entropy: float = 0.3

    def __post_init__(self) -> None:
        check_options(self)
        if not 0 < self.top <= 1:
            raise ValueError(f"Stare.top must lie between 0 and 1, got {self.top}")
        if not self.weight_pos >= 1:
            raise ValueError(f"Stare.weight_pos must be at least 1, got {self.weight_pos}")
        if not 0 < self.weight_neg <= 1:
            raise ValueError(f"Stare.weight_neg must lie between 0 and 1, got {self.weight_neg}")
        if not self.target_entropy > 0:
            raise ValueError(f"Stare.target_entropy must be positive, got {self.target_entropy}")

    def __call__(self, batch: RolloutBatch, credit: Credit) -> Credit:
        return credit

    def live(self, now: LiveBatch, credit: Credit) -> Credit:
        A = credit.values
        assert A.shape == now.mask.shape

        H = now.entropies_now[now.mask]
        if not len(H) or H.mean() >= self.target_entropy:
            return Credit(A, {"stare_gate": 0.0, "stare_weighted": 0.0})
        values, weighted = A, 0
        for side, weight in ((A > 0, self.weight_pos), (A < 0, self.weight_neg)):
            if weight != 1:
                chosen = top_share(-now.logps_now, side & now.mask, self.top)
                values = (weight * A).where(chosen, values)
                weighted += chosen.sum().item()
        return Credit(values, {"stare_gate": 1.0, "stare_weighted": weighted / max((A != 0).sum().item(), 1)})
