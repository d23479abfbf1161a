"""LamPO's dense auxiliary reward: overlap with a reference solution."""

import math
import re
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from rapidfuzz.distance import LCSseq

from methods.batch import RolloutBatch
from methods.options import check_options


@dataclass(frozen=True)
class RougeL:
    """LamPO (arXiv:2605.21235):  R_i ← R_i + λ_sem·ROUGE-L_F1(o_i, y*)

    weight          λ_sem
    text            compare the whole text, or the reasoning before or the answer after the last ``separator``
                    (a text without it is all reasoning)
    gate            none: every completion · correct: only those with R_i ≥ ``correct_reward``

    λ_sem, text and gate are open in the paper; the defaults are this project's choice.
    Rows without a reference, or whose reference lacks the part compared, keep their reward. F1 becomes the
    reward term ``rouge_l``.
    """

    weight: float = 0.1
    text: Literal["whole", "reasoning", "answer"] = "whole"
    separator: str = "</think>"
    gate: Literal["none", "correct"] = "none"
    correct_reward: float = 1.0

    needs: ClassVar[frozenset[str]] = frozenset({"completions", "references"})

    def __post_init__(self) -> None:
        check_options(self)
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"RougeL.weight must be finite and not negative, got {self.weight}")
        if not self.separator:
            raise ValueError("RougeL.separator must not be empty")

    def __call__(self, batch: RolloutBatch) -> RolloutBatch:
        gated = batch.valid & ((self.gate == "none") | (batch.rewards >= self.correct_reward))
        f1 = [
            rouge_l(self.compared(o), self.compared(y)) if use and y is not None else 0.0
            for o, y, use in zip(batch.completions, batch.references, gated.tolist(), strict=True)
        ]
        f1 = torch.tensor(f1, dtype=torch.float64, device=batch.rewards.device)
        assert f1.shape == batch.rewards.shape
        return batch.with_rewards(batch.rewards + self.weight * f1, {"rouge_l": f1})

    def compared(self, text: str) -> str:
        if self.text == "whole":
            return text
        before, found, after = text.rpartition(self.separator)
        reasoning, answer = (before, after) if found else (text, "")
        return reasoning if self.text == "reasoning" else answer


def rouge_l(o: str, y: str) -> float:
    """F1 = 2·P·Rc/(P + Rc), P = LCS/|o|, Rc = LCS/|y|, over words, numbers and symbols; case counts."""
    o, y = (re.findall(r"\w+|[^\w\s]", text) for text in (o, y))
    lcs = LCSseq.similarity(o, y)
    if lcs == 0:
        return 0.0
    P, Rc = lcs / len(o), lcs / len(y)
    return 2 * P * Rc / (P + Rc)
