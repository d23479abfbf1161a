"""An implicit reward model: log-ratios of a trained language model to the one it started as."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils import clip_grad_norm_

from methods.advantages.learnt import copied
from methods.batch import RolloutBatch
from methods.work import Auxiliary


class ImplicitReward:
    """q_t = log π_φ(o_t) − log π_ref(o_t); φ is trained so that σ(β·Σ_t q_t) says whether a completion is correct.

    φ belongs to the trainer, which saves it; what is learnt here is AdamW's. ``pass_rows`` completions at a time go
    through φ: that bounds memory and changes no result beyond rounding.
    """

    def __init__(self, beta: float, learning_rate: float, grad_clip: float, pass_rows: int) -> None:
        self.beta, self.learning_rate, self.grad_clip = beta, learning_rate, grad_clip
        self.pass_rows = pass_rows
        self.optimizer: torch.optim.AdamW | None = None
        self.loaded: dict = {}  # AdamW's state until the first batch shows the parameters it is of

    def step(
        self, model: Auxiliary, batch: RolloutBatch, rows: Sequence[int], correct: Tensor
    ) -> tuple[Tensor, float]:
        """One AdamW step on the mean cross-entropy over ``rows``, with correct (N,) float64, 0 or 1.

        Returns q (N, T) float64 and the loss, both from before the step; q is 0 outside the mask and ``rows``.
        """
        parameters = self._parameters(model)
        q, loss = torch.zeros(batch.mask.shape, dtype=torch.float64, device=batch.mask.device), 0.0
        self.optimizer.zero_grad()
        for some in self._passes(rows):
            with torch.enable_grad():
                ratio = self._ratio(model, batch, some)
                z, y = self.beta * ratio.sum(1), correct[some]
                part = binary_cross_entropy_with_logits(z, y, reduction="sum") / len(rows)
                part.backward()
            q[some] = ratio.detach()
            loss += part.item()
        if rows:
            clip_grad_norm_(parameters, self.grad_clip)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return q, loss

    @torch.no_grad()
    def rescore_(self, q: Tensor, model: Auxiliary, batch: RolloutBatch, rows: Sequence[int]) -> None:
        """Write q of the present φ into ``rows`` of q."""
        for some in self._passes(rows):
            q[some] = self._ratio(model, batch, some)

    def _ratio(self, model: Auxiliary, batch: RolloutBatch, rows: list[int]) -> Tensor:
        return (model.logps(rows).double() - batch.ref_logps[rows].double()).where(batch.mask[rows], 0.0)

    def _passes(self, rows: Sequence[int]) -> list[list[int]]:
        return [list(rows[i : i + self.pass_rows]) for i in range(0, len(rows), self.pass_rows)]

    def _parameters(self, model: Auxiliary) -> list[Tensor]:
        parameters = list(model.parameters())
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=0.0)
            if self.loaded:
                self.optimizer.load_state_dict(self.loaded)
        if [*map(id, parameters)] != [*map(id, self.optimizer.param_groups[0]["params"])]:
            raise ValueError(
                "auxiliary: not the model of the batch before; a part that learns serves one run"
            )
        return parameters

    def state_dict(self) -> dict:
        return copied(self.loaded if self.optimizer is None else self.optimizer.state_dict())

    def load_state_dict(self, state: dict) -> None:
        self.optimizer, self.loaded = None, copied(state)
