"""Control: credit where the sampled token was improbable, whatever the weighting says."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from methods.controls.rows import Batch, redistributed
from methods.credit import Credit


@dataclass(frozen=True)
class SurprisalOnly:
    """C′_it = (1 − p_it)·Σ_u C_iu / Σ_u (1 − p_iu),  p = π_old(o_it)

    Keeps each completion's total only. Equal shares if every token was certain; credits that cancel give 0.
    Metric: control_moved, the share of credit that changed place.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logps"})

    def __call__(self, batch: Batch, credit: Credit) -> Credit:
        logps = batch.logps

        def rule(C, row, tokens):
            # 1 − p without cancellation at p → 1; rounding may leave log p a little above 0
            surprisal = -torch.expm1(logps[row, tokens].double().clamp(max=0.0))
            if surprisal.sum() == 0:
                surprisal = torch.ones_like(C)
            return surprisal * (C.sum() / surprisal.sum())

        return redistributed(batch, credit, rule)
