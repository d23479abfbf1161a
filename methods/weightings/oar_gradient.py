"""OAR-G: tokens weigh by how much the likelihood of the final answer depends on them."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from methods.answers import in_answers
from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.options import check_options
from methods.weightings.bi_level import bi_level


@dataclass(frozen=True)
class OarGradient:
    """OAR-G (arXiv:2601.07408), as in the authors' code; over the L tokens of a completion that reason

        x = log(1 + |⟨e, ∂J/∂e⟩|),  J = mean log π_old of the answer's tokens,  e a token's input embedding
        s = (x − min x)/(max x − min x),  q = the ``threshold`` quantile of s
        w = max(s/q, floor) below q,  1 + β·(s − q)/(1 − q) from q on;  then w ← w·L/Σw

    separator   an answer follows its last occurrence ...
    until       ... in each stretch that this text ends, so that a text may hold several; empty: in the text
    threshold   in [0, 1];  boost: β ≥ 0;  floor: in [0, 1]

    The code differentiates by default a KL divergence under a little noise; J is its mode ``answer_joint``.
    An answer (an end token included) and what follows the last one keep w = 1, as does a completion without an
    answer or without a token before it; tokens of equal importance get 1. Σ_t w_t·|A| = L·|A| per completion.
    One forward and backward pass if any row with credit has an answer.
    Metrics: oar_reshaped_rows, the share of rows with credit that do; oar_weight_sd over their L tokens.
    """

    separator: str = "="
    until: str = ";"
    threshold: float = 0.25
    boost: float = 1.0
    floor: float = 0.1

    needs: ClassVar[frozenset[str]] = frozenset({"token_texts", "input_gradients"})

    def __post_init__(self) -> None:
        check_options(self)
        if not self.separator:
            raise ValueError("OarGradient.separator must not be empty")
        for name, most in (("threshold", 1), ("floor", 1), ("boost", math.inf)):
            if not (0 <= getattr(self, name) <= most and math.isfinite(getattr(self, name))):
                raise ValueError(f"OarGradient.{name} must lie in [0, {most}], got {getattr(self, name)}")

    def __call__(self, batch: RolloutBatch, credit: Credit) -> Credit:
        A, answers, ahead = credit.values, torch.zeros_like(batch.mask), torch.zeros_like(batch.mask)
        assert A.shape == batch.mask.shape
        active = A.any(1).nonzero()[:, 0].tolist()
        for i in active:
            places, texts = batch.mask[i].nonzero()[:, 0], batch.token_texts[i]
            if len(texts) != len(places):
                raise ValueError(f"token_texts, row {i}: {len(texts)} texts for {len(places)} tokens")
            answer = torch.tensor(in_answers(texts, self.separator, self.until), device=places.device)
            ahead[i, places] = ~answer & (answer.flip(0).cumsum(0).flip(0) > 0)  # an answer's token is yet to come
            answers[i, places] = answer & ahead[i].any()
        if not ahead.any():
            return Credit(A, {"oar_reshaped_rows": 0.0, "oar_weight_sd": 0.0})
        values = batch.input_gradients(answers).abs_()  # importance, made into credit row by row
        reasoning = ahead.any(1).nonzero()[:, 0].tolist()
        tokens = squares = 0
        for i in range(len(A)):
            x = (values[i, ahead[i]] / answers[i].sum()).log1p()
            values[i] = A[i]
            if len(x):
                w = bi_level(x, self.threshold, self.boost, self.floor)
                values[i, ahead[i]] *= w
                tokens, squares = tokens + len(w), squares + (w - 1).square().sum().item()  # their mean is 1
        metrics = {"oar_reshaped_rows": len(reasoning) / len(active), "oar_weight_sd": (squares / tokens) ** 0.5}
        return Credit(values, metrics)
