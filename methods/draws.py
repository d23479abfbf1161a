"""Randomness of methods: keyed by what was sampled, so that the same rollouts always get the same draws.

Neither the order of rows, nor padding, nor what else is in the batch changes a draw, and a resumed run repeats
it. No global generator is touched. Equal groups get equal draws whatever their prompts: where completions are but
a letter or two, noise comes again.
"""

import hashlib
from collections import Counter

import numpy as np
import torch
from torch import Tensor

from methods.batch import RolloutBatch


def row_uniforms(batch: RolloutBatch, salt: str) -> Tensor:
    """One uniform in [0, 1) for every completion, (N,) float64; ``salt`` names its purpose.

    Keyed by the row's tokens and those of its group; equal rows of a group are told apart by their order.
    """
    rows = [_content(ids[keep]) for ids, keep in zip(batch.completion_ids, batch.mask, strict=True)]
    draws, empty = [], _content(batch.completion_ids[0, :0])  # rows without a token fill up an imported group
    for start in range(0, len(rows), batch.group_size):
        group = rows[start : start + batch.group_size]
        whole, seen = "".join(sorted(row for row in group if row != empty)), Counter()
        for row in group:
            draws.append(_generator(salt, whole, row, str(seen[row])).random())
            seen[row] += 1
    return torch.tensor(draws, dtype=torch.float64, device=batch.mask.device)


def token_uniforms(ids: Tensor, salt: str) -> np.ndarray:
    """One uniform in [0, 1) for each of a completion's tokens, (n,) int64 → (n,) float64; keyed by them all."""
    return _generator(salt, _content(ids)).random(len(ids))


def _content(ids: Tensor) -> str:
    return hashlib.blake2b(ids.cpu().numpy().tobytes(), digest_size=16).hexdigest()


def _generator(*key: str) -> np.random.Generator:
    digest = hashlib.blake2b("/".join(key).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, dtype=np.uint64)))
