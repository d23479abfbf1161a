"""Gradient vectors of tokens, never stored side by side: weighted means and dot products are all it takes."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from methods.batch import RolloutBatch

BLOCK = 1 << 22  # numbers of a block in float64 at a time, 32 MB, whatever the dtype of the signals


class HiddenVectors:
    """v_t = (1 − p_t)·h_t ∈ R^d at the n true places of tokens (N, T); h LM-head input, p = π_old(y_t)."""

    def __init__(self, batch: RolloutBatch, tokens: Tensor):
        self.hidden, self.at = batch.hidden, tokens.nonzero()
        self.surprise = -torch.expm1(batch.logps[tokens].double())  # 1 − p without cancellation at p → 1

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Positions among the n tokens and their h in float64."""
        size = max(1, BLOCK // self.hidden.shape[2])
        for block in torch.arange(len(self.at), device=self.at.device).split(size):
            yield block, self.hidden[self.at[block, 0], self.at[block, 1]].double()

    def means(self, weights: Tensor) -> Tensor:
        """Σ_t w_t·v_t / Σ_t w_t for each row of weights (k, n) → (k, d)."""
        total = sum((weights[:, block] * self.surprise[block]) @ h for block, h in self.blocks())
        return total / weights.sum(1, keepdim=True)

    def dot(self, direction: Tensor) -> Tensor:
        """⟨v_t, direction⟩ for direction (d,) → (n,)."""
        return torch.cat([self.surprise[block] * (h @ direction) for block, h in self.blocks()])


class HeadVectors:
    """v_t = (e_y − p_t)·h_tᵀ ∈ R^{V×d}, the exact gradient of log π(y_t) in the LM head; p_t is ``probs``.

    A mean is one V×d matrix per side and ⟨v_t, M⟩ = (e_y − p_t)ᵀ·M·h_t, so no token's own matrix is formed.
    """

    def __init__(self, batch: RolloutBatch, tokens: Tensor):
        self.hidden, self.probs, self.at = batch.hidden, batch.probs, tokens.nonzero()
        self.y = batch.completion_ids[tokens]
        if len(self.y) and self.y.max() >= self.probs.shape[2]:
            raise ValueError(
                f"signal 'probs' has {self.probs.shape[2]} words, but token id {self.y.max()} occurs"
            )

    def blocks(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Positions among the n tokens, their e_y − p and their h in float64."""
        V = self.probs.shape[2]
        size = max(1, BLOCK // max(V, self.hidden.shape[2]))
        for block in torch.arange(len(self.at), device=self.at.device).split(size):
            row, column = self.at[block].unbind(1)
            error = one_hot(self.y[block], V) - self.probs[row, column].double()
            yield block, error, self.hidden[row, column].double()

    def means(self, weights: Tensor) -> Tensor:
        """Σ_t w_t·v_t / Σ_t w_t for each row of weights (k, n) → (k, V, d)."""
        total = sum(
            torch.stack([(w * error.T) @ h for w in weights[:, block]]) for block, error, h in self.blocks()
        )
        return total / weights.sum(1)[:, None, None]

    def dot(self, direction: Tensor) -> Tensor:
        """⟨v_t, direction⟩ for direction (V, d) → (n,)."""
        return torch.cat([((error @ direction) * h).sum(1) for _, error, h in self.blocks()])
