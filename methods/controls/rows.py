"""Moving credit between the tokens of a completion."""

from collections.abc import Callable

import torch
from torch import Tensor

from methods.batch import RolloutBatch
from methods.credit import Credit
from methods.live import LiveBatch

Batch = RolloutBatch | LiveBatch


def redistributed(batch: Batch, credit: Credit, rule: Callable[[Tensor, int, Tensor], Tensor]) -> Credit:
    """Each completion's credit anew:  rule(C_i (n,), its row i, its tokens (T,) bool) → (n,).

    Rows without credit stay as they are. Metric: control_moved, ½·Σ|C′ − C| / Σ|C|, the share of credit that
    changed place: 0 where the control has nothing to change, as after weighting uniform.
    """
    assert credit.values.shape == batch.mask.shape
    values, moved = credit.values.clone(), torch.zeros((), dtype=torch.float64, device=credit.values.device)
    for row in credit.values.any(1).nonzero()[:, 0].tolist():
        tokens = batch.mask[row]
        before = credit.values[row, tokens]
        after = rule(before, row, tokens)
        values[row, tokens] = after
        moved += (after - before).abs().sum() / 2
    whole = torch.linalg.vector_norm(credit.values, ord=1).item()
    return Credit(values, {"control_moved": moved.item() / whole if whole > 0 else 0.0})
