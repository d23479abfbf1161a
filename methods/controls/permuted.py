"""Control: the same credit on other tokens of the same completion."""

from dataclasses import dataclass

import numpy as np
import torch

from methods.controls.rows import Batch, redistributed
from methods.credit import Credit
from methods.draws import token_uniforms


@dataclass(frozen=True)
class Permuted:
    """C′_it = C_iσ(t), σ a permutation of the completion's tokens, drawn from them all

    Keeps each completion's credits, and so their mean and spread; takes away which token has which. σ is the
    same wherever the same tokens were sampled, and at every optimisation step.
    A row of equal credits is unchanged. Metric: control_moved, the share of credit that changed place.
    """

    def __call__(self, batch: Batch, credit: Credit) -> Credit:
        def rule(C, row, tokens):
            uniforms = token_uniforms(batch.completion_ids[row, tokens], "permuted")
            return C[torch.from_numpy(np.argsort(uniforms, kind="stable")).to(C.device)]

        return redistributed(batch, credit, rule)
