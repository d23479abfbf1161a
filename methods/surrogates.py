"""The surrogate objective as data: the trainer settings it stands for, and what becomes of ratio and credit."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from methods.options import check_options
from methods.traces import decayed_sum, two_sided_sum


@dataclass(frozen=True)
class Surrogate:
    """min(r·C, clip(r, 1 − ε, 1 + ε_high)·C) and how it is averaged; C the credit map, r = π_θ/π_old.

    loss_type       grpo     mean over each completion, then over completions
                    bnpo     mean over the tokens of a micro-batch
                    dapo     mean over the tokens of the batch
                    dr_grpo  sum over tokens, divided by G·L_max
    importance_sampling_level
                    token    r for each token
                    sequence one r per completion, the geometric mean of its tokens' (GSPO, arXiv:2507.18071)
    epsilon, epsilon_high    clip range
    delta           upper bound on the ratio where C < 0 (two-sided or dual clipping); None = unbounded

    An objective of another form is a subclass that makes constants of what it does not read.
    """

    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "grpo"
    importance_sampling_level: Literal["token", "sequence"] = "token"
    epsilon: float = 0.2
    epsilon_high: float = 0.2
    delta: float | None = None

    changes_ratio: ClassVar[bool] = False  # whether log_ratio is anything but its argument

    def __post_init__(self) -> None:
        check_options(self)
        name = type(self).__name__
        if not 0 < self.epsilon <= 1:
            raise ValueError(f"{name}.epsilon must lie between 0 and 1, got {self.epsilon}")
        if not self.epsilon_high > 0:
            raise ValueError(f"{name}.epsilon_high must be positive, got {self.epsilon_high}")
        if self.delta is not None and not self.delta > 1 + self.epsilon_high:
            raise ValueError(
                f"{name}.delta must exceed 1 + epsilon_high = {1 + self.epsilon_high}, got {self.delta}"
            )
        if self.importance_sampling_level == "sequence" and self.loss_type != "grpo":
            raise ValueError(
                f"{name}: a sequence-level ratio is one number per completion and needs loss_type grpo, "
                f"got {self.loss_type}, which averages over tokens"
            )

    def trainer_args(self) -> dict:
        """Keyword arguments for ``trl.GRPOConfig``."""
        names = ("loss_type", "importance_sampling_level", "epsilon", "epsilon_high", "delta")
        return {name: getattr(self, name) for name in names}

    def log_ratio(self, log_ratio: Tensor, mask: Tensor) -> Tensor:
        """The logarithm of what stands for r, from log π_θ − log π_old; (B, T) each, with gradient."""
        return log_ratio

    def bounded(self, credit: Tensor) -> Tensor:
        """The credit map (N, T) as this objective takes it."""
        return credit


@dataclass(frozen=True)
class Unclipped(Surrogate):
    """Base of token-level objectives without a clip: the range that TRL and live weightings see excludes no r."""

    importance_sampling_level: ClassVar[str] = "token"
    epsilon: ClassVar[float] = 1.0
    epsilon_high: ClassVar[float] = math.inf
    delta: ClassVar[None] = None


@dataclass(frozen=True)
class Cispo(Unclipped):
    """CISPO (arXiv:2506.13585):  sg[min(r, cap)]·C·log π_θ, mean over the tokens of the batch

    No token loses its gradient; cap ≥ 1 bounds its weight. At r = 1 the gradient is that of C·r.
    """

    loss_type: ClassVar[str] = "cispo"
    cap: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.cap >= 1:
            raise ValueError(f"Cispo.cap bounds the ratio itself and must be at least 1, got {self.cap}")

    def trainer_args(self) -> dict:
        return super().trainer_args() | {"epsilon_high": self.cap}  # what TRL calls it here


@dataclass(frozen=True)
class Sapo(Unclipped):
    """SAPO (arXiv:2511.20347):  σ(τ(r − 1))·4/τ·C, a soft gate instead of the clip

    Mean over each completion, then over completions. At r = 1 the gradient is that of C·r, whatever τ.

    tau_pos, tau_neg    τ where C > 0, and elsewhere; the larger, the sooner the gate closes
    """

    loss_type: ClassVar[str] = "sapo"
    tau_pos: float = 1.0
    tau_neg: float = 1.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.tau_pos > 0 and self.tau_neg > 0):
            raise ValueError(f"Sapo.tau_pos and tau_neg must be positive, got {self.tau_pos}, {self.tau_neg}")

    def trainer_args(self) -> dict:
        own = {"sapo_temperature_pos": self.tau_pos, "sapo_temperature_neg": self.tau_neg}
        return super().trainer_args() | own


@dataclass(frozen=True)
class GrpoLambda(Surrogate):
    """GRPO-λ (arXiv:2510.00194, second-hand): Surrogate's objective with an eligibility trace in place of r

        log r'_t = Σ_{l≤t} tr(t, l)·log r_{t−l},   C ← max(C, floor)

    trace   tr(t, l): recent  (γλ)^l · both  max((γλ)^l, (γλ)^{t−l}), which keeps the first tokens too
    decay   γλ in [0, 1]; 0 with `recent` is the plain ratio
    floor   ≤ 0, −0.1 in the paper; −inf = no bound

    t counts columns; tokens outside the mask add 0. Token k acts through every later ratio: at r = 1 its gradient
    is Σ_{t≥k} tr(t, t − k)·C_t, with `recent` up to 1/(1 − γλ) times GRPO's, and the clip is reached the sooner.
    """

    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "grpo"
    importance_sampling_level: ClassVar[str] = "token"
    trace: Literal["recent", "both"] = "recent"
    decay: float = 0.99
    floor: float = -0.1

    changes_ratio: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.decay <= 1:
            raise ValueError(f"GrpoLambda.decay must lie between 0 and 1, got {self.decay}")
        if not self.floor <= 0:
            raise ValueError(f"GrpoLambda.floor must not be positive, got {self.floor}")

    def log_ratio(self, log_ratio: Tensor, mask: Tensor) -> Tensor:
        assert log_ratio.shape == mask.shape
        traced = decayed_sum if self.trace == "recent" else two_sided_sum
        return traced(log_ratio.where(mask, 0.0), self.decay).where(mask, 0.0)

    def bounded(self, credit: Tensor) -> Tensor:
        return credit.clamp(min=self.floor)
