"""The surrogate objective as data: the trainer settings it stands for."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from methods.options import check_options


@dataclass(frozen=True)
class Surrogate:
    """min(r·C, clip(r, 1 − ε, 1 + ε_high)·C) and how it is averaged; C the credit map, r = π_θ/π_old.

    loss_type       grpo     mean over each completion, then over completions
                    bnpo     mean over the tokens of a micro-batch
                    dapo     mean over the tokens of the batch
                    dr_grpo  sum over tokens, divided by G·L_max
                    cispo    sg[min(r, ε_high)]·C·log π, mean over the tokens of the batch
    importance_sampling_level
                    token    r for each token
                    sequence one r per completion, the geometric mean of its tokens' (GSPO, arXiv:2507.18071)
    epsilon, epsilon_high    clip range; for cispo ε_high is the cap on the ratio itself
    delta           upper bound on the ratio where C < 0 (two-sided clipping); None = unbounded
    """

    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo"] = "grpo"
    importance_sampling_level: Literal["token", "sequence"] = "token"
    epsilon: float = 0.2
    epsilon_high: float = 0.2
    delta: float | None = None

    def __post_init__(self) -> None:
        check_options(self)
        if not 0 < self.epsilon < 1:
            raise ValueError(f"Surrogate.epsilon must lie between 0 and 1, got {self.epsilon}")
        if not self.epsilon_high > 0:
            raise ValueError(f"Surrogate.epsilon_high must be positive, got {self.epsilon_high}")
        if self.loss_type == "cispo" and (self.epsilon_high < 1 or self.delta is not None):
            raise ValueError(
                f"Surrogate: cispo needs epsilon_high, which caps the ratio, at 1 or above (5 in the paper), "
                f"got {self.epsilon_high}; and no delta, got {self.delta}"
            )
        if self.delta is not None and not self.delta > 1 + self.epsilon_high:
            raise ValueError(
                f"Surrogate.delta must exceed 1 + epsilon_high = {1 + self.epsilon_high}, got {self.delta}"
            )
        if self.importance_sampling_level == "sequence" and self.loss_type != "grpo":
            raise ValueError(
                f"Surrogate: a sequence-level ratio is one number per completion and needs loss_type grpo, "
                f"got {self.loss_type}, which averages over tokens"
            )

    def trainer_args(self) -> dict:
        """Keyword arguments for ``trl.GRPOConfig``."""
        return {name: getattr(self, name) for name in Surrogate.__dataclass_fields__}

    def log_ratio(self, log_ratio: Tensor, mask: Tensor) -> Tensor:
        """The logarithm of what stands for r, from log π_θ − log π_old; (B, T) each, with gradient."""
        return log_ratio

    def bounded(self, credit: Tensor) -> Tensor:
        """The credit map (N, T) as this objective takes it."""
        return credit


@dataclass(frozen=True)
class Sapo(Surrogate):
    """SAPO (arXiv:2511.20347):  σ(τ(r − 1))·4/τ·C, a soft gate instead of the clip; its clip range is unread.

    tau_pos, tau_neg    τ where C > 0, and elsewhere; the larger, the sooner the gate closes
    """

    loss_type: Literal["sapo"] = "sapo"
    tau_pos: float = 1.0
    tau_neg: float = 1.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.tau_pos > 0 and self.tau_neg > 0):
            raise ValueError(f"Sapo.tau_pos and tau_neg must be positive, got {self.tau_pos}, {self.tau_neg}")

    def trainer_args(self) -> dict:
        own = {"sapo_temperature_pos": self.tau_pos, "sapo_temperature_neg": self.tau_neg}
        return super().trainer_args() | own
