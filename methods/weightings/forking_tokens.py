"""80/20: only the tokens of highest entropy, where an answer forks, are trained."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.options import check_options


@dataclass(frozen=True)
class ForkingTokens:
    """80/20 (arXiv:2506.01939):  C_it = w·1[H_it ≥ τ]·A_it

    H  entropy of π_old where the token was drawn
    τ  the ⌈share·n⌉-th largest H; scope: the n tokens of scorable rows in the rollout batch, those with A = 0
       included. Tokens that tie with it are all kept, so equal entropies keep everything.

    share        ρ in (0, 1]
    denominator  kept: w = n/kept, mean weight 1, the loss averages over the kept tokens as in the authors' code
                 all:  w = 1, the loss still divides by every token as in the paper's objective; the step shrinks

    The authors recompute H at each optimisation step and take τ over a micro-batch; here both belong to the
    rollouts. Without a scorable token credit stays as it is (0).
    Metrics: forking_threshold, τ in nats; forking_kept_share of the n tokens.
    """

    share: float = 0.2
    denominator: Literal["kept", "all"] = "kept"

    needs: ClassVar[frozenset[str]] = frozenset({"entropies"})
    scope: ClassVar[str] = "batch"

    def __post_init__(self) -> None:
        check_options(self)
        if not 0 < self.share <= 1:
            raise ValueError(f"ForkingTokens.share must lie in (0, 1], got {self.share}")

    def __call__(self, batch: RolloutBatch, credit: Credit) -> Credit:
        assert credit.values.shape == batch.entropies.shape == batch.mask.shape
        n = int((batch.mask & batch.valid[:, None]).count_nonzero())
        if n == 0:
            return Credit(credit.values, {"forking_threshold": 0.0, "forking_kept_share": 0.0})
        dtype = torch.promote_types(batch.entropies.dtype, torch.float32)  # numpy has no bfloat16
        H, filled = torch.empty(n, dtype=dtype), 0
        for rows in torch.arange(len(batch.mask)).split(16):  # in blocks, for memory
            some = self.entropies(batch, rows)
            H[filled : filled + len(some)] = some
            filled += len(some)
        H = H.numpy()

        k = max(math.ceil(self.share * n - 1e-9), 1)  # 0.07·100 is a little more than 7 in floating point
        H.partition(n - k)  # the k-th largest without a sort, in place
        tau, number = float(H[n - k]), int((H[n - k :] >= H[n - k]).sum() + (H[: n - k] == H[n - k]).sum())
        del H
        values = credit.values.clone()
        for out, entropies in zip(values.split(16), batch.entropies.split(16), strict=True):
            out.masked_fill_(~(entropies >= tau), 0.0)
        if self.denominator == "kept":
            values *= n / number
        return Credit(values, {"forking_threshold": tau, "forking_kept_share": number / n})

    @staticmethod
    def entropies(batch: RolloutBatch, rows: Tensor) -> Tensor:
        """H of the tokens of scorable rows among ``rows`` that follow one another, (n,)."""
        first, last = int(rows[0]), int(rows[-1]) + 1
        counted = batch.mask[first:last] & batch.valid[first:last, None]
        broken = (counted & ~batch.entropies[first:last].isfinite()).nonzero()
        if len(broken):
            row, token = broken[0].tolist()
            raise ValueError(f"signal 'entropies': not finite at row {first + row}, token {token}")
        return batch.entropies[first:last][counted]
