"""LiveBatch: what a live weighting sees at one optimisation step."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class LiveBatch:
    """The B rows of one micro-batch, while the loss is computed; a scope smaller than the rollout batch.

    completion_ids  (B, T) int64
    mask            (B, T) bool
    logps           (B, T) float64  log π_old, as in RolloutBatch
    logps_now       (B, T) float64  log π_θ, no gradient
    entropies_now   (B, T) float64  of π_θ, nats
    ref_logps       (B, T) float64, or None without a reference policy (trainer.beta = 0)
    epsilon, epsilon_high, beta     the surrogate's clip range, the weight of its KL term

    Outside the mask anything finite may stand.
    """

    completion_ids: Tensor
    mask: Tensor
    logps: Tensor
    logps_now: Tensor
    entropies_now: Tensor
    ref_logps: Tensor | None = None
    epsilon: float = 0.2
    epsilon_high: float = 0.2
    beta: float = 0.0

    @property
    def log_ratio(self) -> Tensor:
        """log r_it = log π_θ − log π_old, (B, T), 0 outside the mask."""
        return (self.logps_now - self.logps).where(self.mask, 0.0)
