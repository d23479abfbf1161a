"""Perfect credit, for suites that know which tokens decided: the positive control of every comparison."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from methods.batch import RolloutBatch
from methods.credit import Credit


@dataclass(frozen=True)
class Oracle:
    """C_it = A_it·1[A_it > 0 and d_it = +1, or A_it < 0 and d_it = −1],  d = ``decisive``

    Praise goes to the right decisions, blame to where a decision or a step went wrong; no other token moves.
    Metrics: ``oracle_kept_share`` of the tokens with credit; ``oracle_lost_rows``, the share of completions
    with credit that keep none, because nothing in them is marked (a cut-off completion, say).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"decisive"})

    def __call__(self, batch: RolloutBatch, credit: Credit) -> Credit:
        A, d = credit.values, batch.decisive
        assert A.shape == d.shape == batch.mask.shape

        values, given, had, rows, lost = torch.zeros_like(A), 0, 0, 0, 0
        for a, sign, out in zip(A.split(16), d.split(16), values.split(16), strict=True):  # rows, for memory
            kept = (a > 0) & (sign == 1) | (a < 0) & (sign == -1)
            out.copy_(a.where(kept, 0.0))
            given, had = given + kept.sum().item(), had + a.count_nonzero().item()
            rows, lost = rows + a.any(1).sum().item(), lost + (a.any(1) & ~kept.any(1)).sum().item()
        metrics = {"oracle_kept_share": given / max(had, 1), "oracle_lost_rows": lost / max(rows, 1)}
        return Credit(values, metrics)
