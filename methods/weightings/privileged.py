"""How an answer, once shown, changes the likelihood of a completion's tokens: what RLSD and CEPO share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.answers import last_answer
from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.options import check_options
from methods.work import ScoreRequest


@dataclass(frozen=True)
class Privileged:
    """C_t = A_t·[(1 − λ) + λ·clip(w_t, 1 − ε_w, 1 + ε_w)],  w_t = e^{sign(A_t)·Δ_t}; RLSD and CEPO say the rest."""
    template: str = "{prompt}{answer}?"
    separator: str = ""
    mix: float = 0.5
    clip: float = 0.2

    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_options(self)
        who = type(self).__name__
        for part in ("{prompt}", "{answer}"):
            if part not in self.template:
                raise ValueError(f"{who}.template must contain {part}, got {self.template!r}")
        if not 0 <= self.mix <= 1:
            raise ValueError(f"{who}.mix must lie between 0 and 1, got {self.mix}")
        if not 0 < self.clip <= 1:
            raise ValueError(f"{who}.clip must be positive and at most 1, got {self.clip}")

    def weighted(self, batch: RolloutBatch, credit: Credit, wrong: Mapping[int, str]) -> Credit:
        """Δ = log π(y_t | x, r⁺, y_<t) − log π(y_t | x, r⁻, y_<t), r⁺ the reference and r⁻ in ``wrong``.

        Rows that are not in ``wrong`` are compared with log π(y_t | x, y_<t).
        """
        values = credit.values.clone()
        assert values.shape == batch.mask.shape
        active = values.any(1).nonzero()[:, 0].tolist()
        right = {i: last_answer(y, self.separator) or y for i in active if (y := batch.references[i])}
        tokens = clipped = total = 0
        for some in torch.tensor(list(right), dtype=torch.int64).split(16):  # for memory
            shown = self.logps_shown(batch, {i: right[i] for i in some.tolist()})
            against = self.logps_shown(batch, {i: wrong[i] for i in some.tolist() if i in wrong})
            for i, logps in shown.items():
                inside = batch.mask[i]
                A, other = values[i, inside], against.get(i, batch.logps[i])
                delta = logps[inside[: len(logps)]] - other[inside[: len(other)]].double()
                w = (A.sign() * delta).exp()
                bounded = w.clamp(1 - self.clip, 1 + self.clip)
                weight = (1 - self.mix) + self.mix * bounded
                values[i, inside] = A * weight
                tokens, clipped, total = tokens + len(A), clipped + (w != bounded).sum(), total + weight.sum()
        metrics = {
            "weight_mean": float(total / tokens) if tokens else 1.0,
            "clipped_share": float(clipped / max(tokens, 1)),
            "shown_rows": len(right) / max(len(active), 1),
            "contrasted_rows": sum(i in wrong for i in right) / max(len(right), 1),
        }
        return Credit(values, {f"{self.name}_{key}": value for key, value in metrics.items()})

    def logps_shown(self, batch: RolloutBatch, answers: Mapping[int, str]) -> dict[int, Tensor]:
        """log π(y_t | x, r, y_<t) of rows shown an answer, float64, up to their last token in the mask."""
        ends = {i: int(batch.mask[i].nonzero()[-1]) + 1 for i in answers}
        requests = [
            ScoreRequest(i, batch.completion_ids[i, :end].tolist(), self.prompt(batch.prompts[i], answers[i]))
            for i, end in ends.items()
        ]
        return dict(zip(answers, batch.score(requests), strict=True)) if requests else {}

    def prompt(self, prompt: str, answer: str) -> str:
        texts = {"{prompt}": prompt, "{answer}": answer}
        return re.sub(r"\{prompt\}|\{answer\}", lambda part: texts[part[0]], self.template)
