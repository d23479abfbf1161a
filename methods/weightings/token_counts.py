"""Where the token ids of one group occur: what the 2×2 tables of a token are made of."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TokenCounts:
    """U token ids at the n true places of a group's tokens; two sides, correct and wrong completions.

    index    (n,)    which of the U ids stands at each place, row by row
    present  (U, 2)  completions of each side that contain the id
    occurs   (U, 2)  its occurrences on each side
    rows     (2,)    completions of each side that have a token
    closing  (U,)    bool: the id stands nowhere but at the end of a completion
    """

    index: np.ndarray
    present: np.ndarray
    occurs: np.ndarray
    rows: np.ndarray
    closing: np.ndarray

    @classmethod
    def of(cls, ids: Tensor, tokens: Tensor, correct: Tensor) -> "TokenCounts":
        """ids (G, T) int64, tokens (G, T) bool, correct (G,) bool."""
        assert ids.shape == tokens.shape and correct.shape == tokens.shape[:1]
        row = tokens.nonzero()[:, 0].cpu().numpy()
        found, index = np.unique(ids[tokens].cpu().numpy(), return_inverse=True)
        side = 1 - correct.long().cpu().numpy()  # 0 correct, 1 wrong
        there = np.zeros((len(found), len(side)), dtype=bool)
        there[index, row] = True
        present = np.stack([there[:, side == s].sum(1) for s in (0, 1)], 1)
        occurs = np.stack([np.bincount(index[side[row] == s], minlength=len(found)) for s in (0, 1)], 1)
        rows = np.bincount(side[np.unique(row)], minlength=2)
        last = np.append(row[1:] != row[:-1], True)[: len(row)]
        closing = np.bincount(index[last], minlength=len(found)) == occurs.sum(1)
        return cls(index, present, occurs, rows, closing)
