"""Overlapping spans of a completion, each standing for a small cloud of its tokens."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Spans:
    """S spans of at most ``span`` of n ≥ 1 tokens, one every ``stride``, until one reaches the last token.

    start, stop  (S,)    [start, stop) among the n tokens
    tokens       (U,)    those that stand for a span, ascending
    index        (P, S)  which of the U stand for each span: P = min(points, span, n), evenly spaced
    mass         (P, S)  their shares; a shorter last span may have fewer than P, the rest weighs 0
    """

    start: np.ndarray
    stop: np.ndarray
    tokens: np.ndarray
    index: np.ndarray
    mass: np.ndarray

    @classmethod
    def of(cls, n: int, span: int, stride: int, points: int) -> "Spans":
        start = np.arange(-(-max(n - span, 0) // stride) + 1) * stride
        length = np.minimum(span, n - start)
        taken = np.minimum(points, length)
        place = np.arange(taken.max())[:, None]
        used = place < taken
        at = start + np.where(used, place * length // taken, 0)  # (P, S)
        tokens, index = np.unique(at, return_inverse=True)
        return cls(start, start + length, tokens, index.reshape(at.shape), used / taken)

    def largest(self, values: np.ndarray) -> np.ndarray:
        """The largest of values (S,) ≥ 0 among the spans that cover each token, (n,)."""
        found = np.zeros(self.stop[-1])
        for start, stop, value in zip(self.start, self.stop, values, strict=True):
            np.maximum(found[start:stop], value, out=found[start:stop])
        return found
