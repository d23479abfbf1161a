"""Perfect credit, for suites that know which tokens decided: the positive control of every comparison."""

from dataclasses import dataclass
from typing import ClassVar

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

        kept = (A > 0) & (d == 1) | (A < 0) & (d == -1)
        had = A != 0
        rows = had.any(1)
        metrics = {
            "oracle_kept_share": kept.sum().item() / max(had.sum().item(), 1),
            "oracle_lost_rows": (rows & ~kept.any(1)).sum().item() / max(rows.sum().item(), 1),
        }
        return Credit(A.where(kept, 0.0), metrics)
