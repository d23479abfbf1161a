"""Control: as few tokens as a weighting keeps, but any."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from methods.controls.rows import Batch, redistributed
from methods.credit import Credit
from methods.draws import token_uniforms
from methods.options import check_options


@dataclass(frozen=True)
class RandomTopk:
    """C′_it = Σ_u C_iu / k on k random tokens of the completion, 0 on the others

    k is the number of its tokens with credit if the weighting left some at 0, else ⌈share·n⌉ of its n tokens.
    The draw depends on the completion's tokens alone and is the same at every optimisation step.

    share    in (0, 1], for weightings that leave no token out

    Credits that cancel give 0. Metric: control_moved, the share of credit that changed place.
    """

    share: float = 0.2

    def __post_init__(self) -> None:
        check_options(self)
        if not 0 < self.share <= 1:
            raise ValueError(f"RandomTopk.share must lie in (0, 1], got {self.share}")

    def __call__(self, batch: Batch, credit: Credit) -> Credit:
        def rule(C, row, tokens):
            k, n = int(C.count_nonzero()), len(C)
            if k == n:
                k = math.ceil(self.share * n - 1e-9)  # 0.07·100 is a little more than 7 in floating point
            uniforms = token_uniforms(batch.completion_ids[row, tokens], "random_topk")
            chosen = torch.from_numpy(np.argsort(uniforms, kind="stable")[:k]).to(C.device)
            return torch.zeros_like(C).index_fill(0, chosen, C.sum().item() / k)

        return redistributed(batch, credit, rule)
